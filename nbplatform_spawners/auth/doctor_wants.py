"""Which claims a hub needs, as its settings say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..accounts.merge import CLAIMS
from .doctor_mappers import PROVIDER_NOTE, SUBJECT_NOTE, Wanted, attribute, groups, note, roles
from .doctor_report import Level
from .keycloak import KeycloakAuthenticator

_ROLES = "nobody has a role at the hub, whatever the realm says"


def wanted_claims(authenticator: KeycloakAuthenticator, brokers: Sequence[str]) -> list[Wanted]:
    """Return the claims that a hub reads and acts on.

    Args:
        authenticator: its settings.
        brokers: aliases of the realm's identity providers.
    """
    found = [*_account(authenticator), *_groups(authenticator), *_brokered(authenticator, brokers)]
    return [wanted for wanted in found if wanted.claim] + list(_roles(authenticator))


def _account(one: KeycloakAuthenticator) -> Iterator[Wanted]:
    names, sources = one.claim_names, one.sources
    yield attribute("username", names.username, source="username", level="FAILED", without="local users have no name")
    for field, claim in (("uid", names.uid), ("gid", names.gid)):
        if CLAIMS in sources[field]:
            level = _level(one, required=field == "uid")
            without = "local logins are refused" if field == "uid" else "it comes from the account directory alone"
            yield attribute(field, claim, kind="number", level=level, without=without)
    for field, claim in (("home", names.home), ("shell", names.shell)):
        if CLAIMS in sources[field]:
            yield attribute(field, claim, level="warning", without="the account directory or the default decides")
    yield attribute("valid_until", names.valid_until, level="warning", without="no login ends an account by its date")


def _level(one: KeycloakAuthenticator, *, required: bool) -> Level:
    return "FAILED" if required or not one.accounts else "warning"


def _groups(one: KeycloakAuthenticator) -> Iterator[Wanted]:
    names = one.claim_names
    from_claims = CLAIMS in one.sources["groups"]
    if from_claims:
        level = _level(one, required=not one.group_gids)
        without = "supplementary groups without a name are missing"
        yield attribute("gids", names.gids, kind="number", several=True, level=level, without=without)
    by_name = one.manage_groups and one.hub_groups_from == "groups"
    if by_name or one.allowed_groups or one.admin_groups or (from_claims and one.group_gids):
        yield groups(names.groups, "FAILED", "nobody is in a group")


def _brokered(one: KeycloakAuthenticator, brokers: Sequence[str]) -> Iterator[Wanted]:
    if not brokers:
        return
    names = one.claim_names
    through = f"users of {', '.join(brokers)}"
    yield note("provider", names.provider, PROVIDER_NOTE, f"{through} are taken for local ones of the same name")
    yield note("subject", names.subject, SUBJECT_NOTE, f"{through} are refused")
    if "{home_organisation}" in one.subject_template:
        yield note("home_organisation", names.home_organisation, "home_organisation", f"{through} are refused")


def _roles(one: KeycloakAuthenticator) -> Iterator[Wanted]:
    named = one.allowed_roles | one.admin_roles
    if one.manage_groups and one.hub_groups_from == "roles":
        named = named | {"", f"{one.client_id}:"}
    clients = {role.partition(":")[0] for role in named if ":" in role}
    if any(":" not in role for role in named):
        yield roles(None, _ROLES)
    for client in sorted(clients):
        yield roles(client, _ROLES)
