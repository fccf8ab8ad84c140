"""What an administrator sets for logins through Keycloak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from oauthenticator.oauth2 import OAuthenticator
from traitlets import Bool, Dict, Enum, Float, Set, Unicode, default

from ..accounts.merge import parse_sources
from ..names import bounded
from ..oidc.claims import ClaimNames, template_problem
from .mixin import IdentityMixin

_CLAIMS = """.  Dots lead into nested claims.  Empty: this site has no such claim.

        .. versionadded:: 0.1
        """


def _claim(what: str, name: str, example: str) -> Unicode[str, str | bytes]:
    """Return the trait that names one claim."""
    shown = f"``{name}``" if name else "none"
    text = f"""The claim with {what}.  Default: {shown}.
        Example: ``c.KeycloakAuthenticator.{example}``{_CLAIMS}"""
    return Unicode(name, help=text).tag(config=True)


class KeycloakSettings(IdentityMixin, OAuthenticator):  # type: ignore[misc]
    """The traits of ``KeycloakAuthenticator``, beside those of ``IdentityMixin`` and ``OAuthenticator``."""

    issuer = Unicode(
        "",
        help="""The realm's address, as it stands in tokens; all other addresses are found there.  Default: none, it
        must be set.  Example: ``c.KeycloakAuthenticator.issuer = "https://login.example.org/realms/site"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    username_claim = _claim(
        "the user's name, for logins that no identity provider brokered", "preferred_username", 'username_claim = "uid"'
    )
    uid_claim = _claim("the uid: a whole number", "uid_number", 'uid_claim = "posix.uid"')
    gid_claim = _claim("the gid of the primary group", "gid_number", 'gid_claim = "posix.gid"')
    gids_claim = _claim("the list of gids of supplementary groups", "gids", 'gids_claim = "posix.gids"')
    groups_claim = _claim("the list of names of groups", "groups", 'groups_claim = "posix.groups"')
    home_claim = _claim("the path of HOME", "", 'home_claim = "posix.home"')
    shell_claim = _claim("the path of the login shell", "", 'shell_claim = "posix.shell"')
    valid_until_claim = _claim(
        "the end of the account: a time with date and offset, or seconds since 1970",
        "valid_until",
        'valid_until_claim = "account_expires"',
    )
    provider_claim = _claim(
        "the alias of the identity provider that Keycloak brokered; a login without it is a local one",
        "identity_provider",
        'provider_claim = "idp"',
    )
    subject_claim = _claim(
        "who a brokered user is at that identity provider, for ever: never an e-mail address",
        "identity_provider_subject",
        'subject_claim = "idp_subject"',
    )
    home_organisation_claim = _claim(
        "the entity ID of a brokered user's home organisation, where many come through one identity provider",
        "",
        'home_organisation_claim = "home_organisation"',
    )

    subject_template = Unicode(
        "{subject}",
        help="""How the subject by which a brokered user is found is composed, of ``{subject}``,
        ``{home_organisation}`` and ``{provider}``.  Default: ``{subject}``; with an
        organisation in front, as a federation proxy needs it.  Example:
        ``c.KeycloakAuthenticator.subject_template = "{home_organisation}!{subject}"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    identity_sources = Dict(
        help="""Which source wins for which part of the identity: ``claims`` of the token or the account
        ``directory``, in order; the first that says something decides.  When both know a uid (or a gid) and differ,
        the user is refused.  Of two ends of an account the earlier holds.  A local login without the uid claim is
        refused while ``claims`` stands for the uid.  Default: uid and gid from the claims, then the directory; groups
        from the directory; home and shell from the directory, then the claims.  What is set here replaces single
        entries.  Example: ``c.KeycloakAuthenticator.identity_sources = {"groups": ["claims"]}``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    group_gids = Dict(
        help="""The gids of groups that come by name from a claim; a name that is not here is left out.
        Default: none.  Example: ``c.KeycloakAuthenticator.group_gids = {"atlas": 61100}``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    hub_groups_from = Enum(
        ["groups", "roles"],
        "groups",
        help="""What becomes the user's groups in the hub when ``Authenticator.manage_groups`` is on: the names of
        ``groups_claim``, or the roles of realm (``NAME``) and clients (``CLIENT:NAME``).  Default: ``groups``.
        Example: ``c.KeycloakAuthenticator.hub_groups_from = "roles"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    allowed_roles = Set(
        Unicode(),
        help="""Roles whose bearers may log in: realm roles as ``NAME``, client roles as
        ``CLIENT:NAME``.  Default: none.  Example:
        ``c.KeycloakAuthenticator.allowed_roles = {"notebooks", "jupyterhub:user"}``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True, allow_config=True)

    admin_roles = Set(
        Unicode(),
        help="""Roles whose bearers may log in and administer the hub; who loses them loses that at the next refresh.
        Default: none.  Example: ``c.KeycloakAuthenticator.admin_roles = {"jupyterhub:admin"}``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True, allow_config=True)

    guest_pool = Unicode(
        "",
        help="""Path of the settings of a pool of local accounts for guests: brokered users whom nobody has linked.
        Default: none, they are refused.  Example:
        ``c.KeycloakAuthenticator.guest_pool = "/etc/jupyterhub/guests.yaml"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    leeway = Float(
        30.0,
        min=0,
        max=300,
        help="""Seconds by which the clocks of hub and Keycloak may differ.  Default: 30.
        Example: ``c.KeycloakAuthenticator.leeway = 10``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    request_timeout = Float(
        5.0,
        min=0.1,
        help="""Seconds within which Keycloak must answer one question.  Default: 5.
        Example: ``c.KeycloakAuthenticator.request_timeout = 2``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    keys_age = Float(
        300.0,
        min=1,
        help="""Seconds for which the realm's keys are kept; a key that was taken out of use is accepted no longer.
        New keys are found at once.  Default: 300.  Example: ``c.KeycloakAuthenticator.keys_age = 60``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    outage_grace = Float(
        3600.0,
        min=0,
        help="""Seconds for which a login session stays good while Keycloak cannot be asked; counted from its last
        answer about that user.  Default: 3600.  Example: ``c.KeycloakAuthenticator.outage_grace = 28800``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    stop_servers_on_logout = Bool(
        False,
        help="""Whether a user's servers stop when their session ends by a logout, in the hub or in Keycloak.
        Default: false, they run on.  Example: ``c.KeycloakAuthenticator.stop_servers_on_logout = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    @default("directory_grace")
    def _directory_grace_default(self) -> float:
        return 3600.0

    @default("login_service")
    def _login_service_default(self) -> str:
        return "Keycloak"

    @default("scope")
    def _scope_default(self) -> list[str]:
        return ["openid", "profile"]

    @default("refresh_pre_spawn")
    def _refresh_pre_spawn_default(self) -> bool:
        return True

    @property
    def claim_names(self) -> ClaimNames:
        """Where tokens say what."""
        fields = ClaimNames.__dataclass_fields__
        return ClaimNames(
            **{name: getattr(self, name if name == "subject_template" else f"{name}_claim") for name in fields}
        )

    def setting_problems(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        parts = urlsplit(self.issuer)
        found = []
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            found.append(f"issuer is {bounded(self.issuer)}; it must be a realm's address, https://HOST/realms/REALM")
        found += [f"{name} is not set" for name in ("client_id", "client_secret") if not getattr(self, name)]
        problem = template_problem(self.subject_template)
        if problem:
            found.append(f"subject_template is {bounded(self.subject_template)}; {problem}")
        if "{home_organisation}" in self.subject_template and not self.home_organisation_claim:
            found.append("subject_template names {home_organisation}, but home_organisation_claim is not set")
        try:
            parse_sources(self.identity_sources)
        except ValueError as error:
            found += [f"identity_sources: {line}" for line in str(error).splitlines()]
        found += _bad_gids(self.group_gids)
        if not self.enable_auth_state:
            found.append("enable_auth_state is off; identities and the refresh token are kept there, encrypted")
        return [f"c.KeycloakAuthenticator.{line}" for line in found]


def _bad_gids(gids: Mapping[Any, Any]) -> list[str]:
    return [
        f"group_gids has {bounded(name)}: {bounded(gid)}; a gid is a whole number above 0"
        for name, gid in gids.items()
        if not isinstance(name, str) or isinstance(gid, bool) or not isinstance(gid, int) or gid <= 0
    ]
