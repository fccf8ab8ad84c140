"""A small site whose people log in through Keycloak: its storage, rules, account directory and hub's configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from http.cookiejar import Cookie
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.components.hub import Hub, running_hub
from tests.components.keycloak import SITE, Keycloak
from tests.components.keycloak_admin import Admin
from tests.components.keycloak_gate import Gate, gate
from tests.components.keycloak_realms import CLIENT_SECRET, shipped_client
from tests.components.ports import free_ports
from tests.components.visitor import Visitor

GROUPS = {"users": 61000, "atlas": 61100, "cms": 61101, "deep-learning": 61200}
ACCOUNTS = {
    "alice": (62101, ("atlas",)),
    "bob": (62102, ()),
    "carol": (62103, ("atlas", "cms")),
    "lapsed": (62104, ()),
    "anna": (62111, ("atlas",)),
}
"""Name to uid and supplementary groups; ``anna`` is who comes from a home organisation, once she is linked."""

RULES = """\
profiles:
  cpu: {title: "CPU", description: "Everyday work", allow: true}
rules:
  - name: group storage
    match: {groups: [atlas, cms]}
    mounts: [{source: "TOP/sps/{group}", target: "/sps/{group}"}]
defaults:
  memory: 1G
  cpu: 1
  quota: {servers: 2, gpus: 0}
  mounts:
    - {source: "TOP{home}", target: "{home}"}
"""

COMMON = """\
c = get_config()
c.JupyterHub.allow_named_servers = True
c.JupyterHub.authenticate_prometheus = False
c.Authenticator.allow_all = True
c.OAuthenticator.client_id = "CLIENT_ID"
c.OAuthenticator.client_secret = "CLIENT_SECRET"
c.OAuthenticator.oauth_callback_url = "HUB_URL/hub/oauth_callback"
"""

OURS = """\
from nbplatform_spawners.pages import template_paths
c.JupyterHub.template_paths = template_paths
c.JupyterHub.authenticator_class = "nbplatform-keycloak"
c.JupyterHub.spawner_class = "nbplatform-local"
c.KeycloakAuthenticator.issuer = "ISSUER"
c.KeycloakAuthenticator.home_organisation_claim = "home_organisation"
c.IdentityMixin.accounts = "TOP/accounts.yaml"
c.NbplatformSpawner.rules_directory = "TOP/placement_rules"
c.LocalSpawner.runtime_directory = "TOP/run"
c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
"""

STOCK = """\
c.JupyterHub.authenticator_class = "generic-oauth"
c.JupyterHub.spawner_class = "simple"
c.GenericOAuthenticator.authorize_url = "ISSUER/protocol/openid-connect/auth"
c.GenericOAuthenticator.token_url = "ISSUER/protocol/openid-connect/token"
c.GenericOAuthenticator.userdata_from_id_token = True
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.scope = ["openid", "profile"]
c.GenericOAuthenticator.enable_auth_state = True
"""


@dataclass(frozen=True)
class Site:
    """One hub's surroundings: a client of its own in the realm, a gate of its own, folders of its own.

    Attributes:
        top: folder of the site.
        keycloak: the Keycloak.
        admin: its administrator, who speaks through the gate's address.
        gate: between hub (and browsers) and Keycloak.
        client_id: of the hub.
        port: of the hub.
        realm: whose people log in.
    """

    top: Path
    keycloak: Keycloak
    admin: Admin
    gate: Gate
    client_id: str
    port: int
    realm: str = SITE
    visitors: list[Visitor] = field(default_factory=list)
    known: dict[str, list[Cookie]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where browsers reach the hub, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        """The realm's address as hub and browsers know it."""
        return self.gate.issuer(self.realm)

    @property
    def config(self) -> str:
        """A hub configuration with ``nbplatform-keycloak``."""
        return self.placed(COMMON + OURS)

    @property
    def stock_config(self) -> str:
        """A hub configuration with oauthenticator's own generic class, which takes the id_token for who somebody is."""
        return self.placed(COMMON + STOCK)

    def placed(self, text: str) -> str:
        """Put this site's places for ``TOP``, ``ISSUER``, ``HUB_URL``, ``CLIENT_ID`` and ``CLIENT_SECRET``."""
        words = {"TOP": str(self.top), "ISSUER": self.issuer, "HUB_URL": self.url}
        for word, value in {**words, "CLIENT_ID": self.client_id, "CLIENT_SECRET": CLIENT_SECRET}.items():
            text = text.replace(word, value)
        return text

    def write_rules(self, text: str = RULES) -> None:
        """Write the only rule file."""
        new = self.top / "placement_rules" / "new.tmp"
        new.write_text(text.replace("TOP", str(self.top)))
        new.replace(new.with_name("site.yaml"))

    def write_accounts(self, changes: Mapping[str, str | None] | None = None, more: str = "") -> None:
        """Write the account directory.

        Args:
            changes: account name to further YAML text of its entry, such as ``valid_until: …``; None leaves it out.
            more: further lines of accounts.
        """
        changes = changes or {}
        lines = [f"groups: {{{', '.join(f'{name}: {gid}' for name, gid in GROUPS.items())}}}", "accounts:"]
        for name, (uid, groups) in ACCOUNTS.items():
            change = changes.get(name, "")
            if change is not None:
                extra = f", {change}" if change else ""
                lines.append(f"  {name}: {{uid: {uid}, group: users, groups: [{', '.join(groups)}]{extra}}}")
        new = self.top / "accounts.tmp"
        new.write_text("\n".join([*lines, more]) + "\n")
        new.replace(self.top / "accounts.yaml")

    def visitor(self) -> Visitor:
        """A new browser; it is closed at the end of the site."""
        self.visitors.append(Visitor(self.url))
        return self.visitors[-1]

    def known_visitor(self, username: str) -> Visitor:
        """A new browser that is logged in at Keycloak from before, and not at the hub: quicker than a password."""
        visitor = self.visitor()
        if username not in self.known:
            visitor.authorise(username)
            self.known[username] = [one for one in visitor.jar if one.path.startswith("/realms/")]
            visitor.jar.clear()
        for cookie in self.known[username]:
            visitor.jar.set_cookie(copy(cookie))
        return visitor

    def log_in(self, username: str, password: str = "", **more: Any) -> Visitor:
        """A new browser in which somebody has logged in to the hub; see :meth:`Visitor.log_in`."""
        visitor = self.visitor()
        visitor.log_in(username, password, **more)
        return visitor

    def put_back(self) -> None:
        """Undo what a test did to gate, rules and accounts."""
        self.gate.clear()
        self.gate.forget()
        self.write_rules()
        self.write_accounts()


@contextmanager
def keycloak_site(keycloak: Keycloak, *, realm: str = SITE) -> Iterator[Site]:
    """A site with a client of its own, ``jupyterhub-PORT``, which is the shipped client otherwise.

    Args:
        keycloak: where.
        realm: which is there already and was made by ``keycloak_realms.site_realm``.
    """
    port = free_ports().public
    with TemporaryDirectory(prefix="nbp-kc-site-") as folder, gate(keycloak.url) as front:
        top = Path(folder)
        top.chmod(0o711)
        admin = Admin(keycloak, front.url)
        site = Site(top, keycloak, admin, front, f"jupyterhub-{port}", port, realm)
        admin.make_client(shipped_client(site.client_id, site.url), realm)
        make_folders(site)
        try:
            yield site
        finally:
            for visitor in site.visitors:
                visitor.close()
            front.clear()
            admin.remove_client(site.client_id, realm)
            admin.close()


@contextmanager
def site_hub(site: Site, config: str = "", *, more: str = "", **options: Any) -> Iterator[Hub]:
    """The hub of a site.

    Args:
        site: the site.
        config: its configuration; that with ``nbplatform-keycloak`` when empty.
        more: further lines; the words of :meth:`Site.placed` are replaced.
        options: those of ``running_hub``.
    """
    with running_hub((config or site.config) + site.placed(more), port=site.port, **options) as hub:
        yield hub


def make_folders(site: Site) -> None:
    """Make homes, group storage, rules and accounts."""
    for name, (uid, _) in ACCOUNTS.items():
        folder(site.top / "home" / name, uid, GROUPS["users"], 0o700)
    for group in ("atlas", "cms"):
        folder(site.top / "sps" / group, 0, GROUPS[group], 0o2770)
    (site.top / "placement_rules").mkdir()
    site.write_rules()
    site.write_accounts()


def folder(path: Path, uid: int, gid: int, mode: int) -> None:
    """Make a folder that belongs to somebody, where root may."""
    path.mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(path, uid, gid)
        path.chmod(mode)
