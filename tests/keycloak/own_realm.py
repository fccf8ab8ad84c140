"""A realm of a test module's own, whose settings it may change, and people whose sessions it may end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.components.hub import Hub, start_server
from tests.components.keycloak import FEDERATION, Keycloak
from tests.components.keycloak_admin import Admin
from tests.components.keycloak_realms import ENVIRONMENT, filled, site_realm
from tests.components.visitor import Visitor
from tests.keycloak.site import Site, keycloak_site

HOME = "/hub/home"
LOGIN = "/hub/login"


@contextmanager
def own_realm_site(keycloak: Keycloak, **settings: Any) -> Iterator[Site]:
    """A site with a realm of its own, which has the people of ``keycloak_realms.people``.

    Args:
        keycloak: where.
        settings: of the realm.
    """
    name = f"site-{secrets.token_hex(4)}"
    admin = Admin(keycloak)
    realm = filled(site_realm(name, keycloak.site_keys, keycloak.realm(FEDERATION)), ENVIRONMENT)
    admin.make_realm({**realm, **settings})
    try:
        with keycloak_site(keycloak, realm=name) as site:
            yield site
    finally:
        admin.remove_realm(name)
        admin.close()


DUE = """
from jupyterhub.handlers import BaseHandler
from nbplatform_spawners.auth.keycloak_refresh import Outage

class Due(BaseHandler):
    def get(self):
        for user in self.users.values():
            user._auth_refreshed = None
        self.authenticator.refresher.outage = Outage(self.log)

c.JupyterHub.extra_handlers = [("/due", Due)]
"""
"""For a hub's configuration: see :func:`due`."""


SHORT_MEMORY = 'c.Spawner.args = ["--HubOAuth.cache_max_age=1"]\n'
"""For a hub's configuration: a server remembers for one second who a token belongs to, not for five minutes."""
NOTES = "/user/{}/files/notes.txt"
"""A page of a user's server."""


def open_server(hub: Hub, site: Site, visitor: Visitor, user: str) -> None:
    """Start a user's server, and visit it once, so that the browser has a token for it."""
    (site.top / "home" / user / "notes.txt").write_text("read me\n")
    assert start_server(hub, user)[-1].get("ready"), hub.log_text()[-2000:]
    visitor.go("GET", NOTES.format(user))
    assert server_status(visitor, user) == 200


def server_status(visitor: Visitor, user: str) -> int:
    """What a page of a user's server answers to who does not follow redirects."""
    return visitor.get(NOTES.format(user), redirects=False).status


def due(hub: Hub) -> None:
    """Make every session due for a refresh, and forget an outage, as after a restart of the hub, but in no time."""
    assert hub.visit().get("/hub/due").status == 200


def is_in(visitor: Visitor) -> bool:
    """Whether the hub knows a visitor; else it sends them to the login."""
    answer = visitor.get(HOME, redirects=False)
    if answer.status == 200:
        return True
    assert (answer.status, answer.headers["Location"].partition("?")[0]) == (302, LOGIN)
    return False


def auth_state(hub: Hub, user: str) -> dict[str, Any]:
    """What the hub keeps of a user's login."""
    state: dict[str, Any] = hub.api("GET", f"users/{user}").json["auth_state"] or {}
    return state


def tokens_of(hub: Hub, user: str) -> set[str]:
    """Which tokens the hub keeps of a user's login."""
    part = auth_state(hub, user)["keycloak"]
    return {key for key in ("id_token", "refresh_token") if part.get(key)}


def logged(hub: Hub, action: Callable[[], object]) -> str:
    """What the hub writes to its log while something is done."""
    before = len(hub.log_text())
    action()
    return hub.log_text()[before:]


def eventually(check: Callable[[], object], limit: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit
    while not check():
        assert time.monotonic() < deadline, "it never did"
        time.sleep(0.1)
