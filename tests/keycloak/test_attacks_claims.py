"""What a token says of an account, wrong or odd, signed by the realm's own key: nobody becomes somebody else by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.components.hub import Hub
from tests.components.keycloak import Keycloak
from tests.components.keycloak_gate import TOKEN
from tests.components.need import need
from tests.keycloak.refused import logged_in, refused_login, refused_with_token
from tests.keycloak.site import GROUPS, Site, keycloak_site, site_hub
from tests.keycloak.tokens import MISSING, Plain, id_token_changed

EVERYTHING = """
c.KeycloakAuthenticator.identity_sources = {
    "groups": ["claims", "directory"], "home": ["claims", "directory"], "shell": ["claims", "directory"]
}
c.KeycloakAuthenticator.group_gids = {"atlas": 61100, "cms": 61101, "../etc": 61102, "a/b": 61103}
c.KeycloakAuthenticator.home_claim = "home"
c.KeycloakAuthenticator.shell_claim = "posix.shell"
"""


@pytest.fixture(scope="module")
def claims_hub(keycloak: Keycloak) -> Iterator[tuple[Site, Hub]]:
    """A hub that believes the token wherever it can."""
    with keycloak_site(keycloak) as site, need(site_hub(site, more=EVERYTHING)) as hub:
        yield site, hub


@pytest.fixture
def believing(claims_hub: tuple[Site, Hub]) -> Iterator[tuple[Site, Hub]]:
    """That hub; the gate is put back."""
    yield claims_hub
    claims_hub[0].put_back()


def identity(hub: Hub, name: str) -> Plain:
    """Who somebody is to the hub."""
    found: Plain = hub.api("GET", f"users/{name}").json["auth_state"]["identity"]
    return found


NUMBERS = {
    "zero": 0,
    "zero as text": "0",
    "negative": -62101,
    "negative as text": "-62101",
    "text with more": "62101x",
    "text with a sign": "+62101",
    "text with a zero before": "062101",
    "text with a blank": " 62101",
    "digits of another script": "٦٢١٠١",
    "empty text": "",
    "hexadecimal": "0xf295",
    "a list": [62101],
    "an object": {"uid": 62101},
    "true": True,
    "with a fraction": 62101.5,
    "as a fraction": 62101.0,
    "not a number": float("nan"),
    "more than a kernel knows, which is root to it": 2**32,
    "the kernel's word for nobody": 2**32 - 1,
    "very long": 10**400,
}


UIDS = [("uid_number", name) for name in NUMBERS]
GIDS = [("gid_number", name) for name in ("zero", "negative", "text with more", "a list", "very long")]


@pytest.mark.parametrize(("claim", "name"), [*UIDS, *GIDS])
def test_a_number_that_is_no_uid_is_refused(hub: Hub, site: Site, keycloak: Keycloak, claim: str, name: str) -> None:
    """Never ignored, never rounded, never another number; nor for the gid."""
    value = NUMBERS[name]
    change = id_token_changed(keycloak.site_keys.signing, **{claim: value})
    page = refused_with_token(hub, site, change, "alice", "claims")
    assert claim in page.text


@pytest.mark.parametrize("value", [62101, "62101"])
def test_a_number_and_its_plain_digits_are_the_same(hub: Hub, site: Site, keycloak: Keycloak, value: object) -> None:
    """Some mappers write text."""
    site.gate.change(TOKEN, id_token_changed(keycloak.site_keys.signing, uid_number=value))
    logged_in(site, "alice")
    assert identity(hub, "alice")["uid"] == 62101


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uid_number": 62102}, "other-person"),
        ({"uid_number": MISSING}, "claims"),
        ({"uid_number": None}, "claims"),
        ({"gid_number": 61100}, "other-person"),
        ({"uid_number": 999}, "other-person"),
        ({"sub": "00000000-0000-0000-0000-000000000000"}, "other-person"),
        ({"sub": MISSING}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": 5}, "claims"),
        ({"preferred_username": MISSING}, "claims"),
        ({"preferred_username": ["alice"]}, "claims"),
        ({"preferred_username": ""}, "claims"),
        ({"preferred_username": "alice\n"}, "claims"),
        ({"preferred_username": "root"}, "account"),
        ({"preferred_username": "../alice"}, "account"),
        ({"preferred_username": "a" * 2000}, "claims"),
        ({"valid_until": "2020-01-01T00:00:00Z"}, "account"),
        ({"valid_until": 1577836800}, "account"),
        ({"valid_until": "2099-12-31"}, "claims"),
        ({"valid_until": "soon"}, "claims"),
        ({"valid_until": ["2099-12-31T00:00:00Z"]}, "claims"),
        ({"valid_until": True}, "claims"),
        ({"valid_until": 10**30}, "claims"),
        ({"gids": 61100}, "claims"),
        ({"gids": ["61100x"]}, "claims"),
        ({"gids": [0]}, "claims"),
        ({"gids": [[61100]]}, "claims"),
        ({"groups": "atlas"}, "claims"),
        ({"groups": [5]}, "claims"),
        ({"groups": ["a\x00b"]}, "claims"),
        ({"realm_access": {"roles": "admin"}}, "claims"),
        ({"resource_access": []}, "claims"),
        ({"identity_provider": "edugain-saml"}, "claims"),
        ({"identity_provider": 5}, "claims"),
        ({"identity_provider": "edugain-saml", "identity_provider_subject": "x"}, "not-linked"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_claim_that_does_not_fit_is_refused(
    hub: Hub, site: Site, keycloak: Keycloak, changes: dict[str, Any], reason: str
) -> None:
    """Each claim has a type, and what two sources say must agree."""
    logged_in(site, "alice")
    before = identity(hub, "alice")
    refused_with_token(hub, site, id_token_changed(keycloak.site_keys.signing, **changes), "alice", reason)
    assert identity(hub, "alice") == before


@pytest.mark.parametrize(
    "name",
    [
        "ALICE",
        "Alice",
        "\uff41lice",
        "al\u0131ce",
        "al\u0130ce",
        "alice\u0307",
        "alice\u200b",
        "\u0430lice",
        "alice ",
        " alice",
        "ali\u00adce",
    ],
    ids=ascii,
)
def test_a_name_that_looks_like_anothers_is_not_theirs(hub: Hub, site: Site, keycloak: Keycloak, name: str) -> None:
    """By case, width, script or what cannot be seen: the person of Keycloak is another, and stays so."""
    logged_in(site, "alice")
    before = hub.api("GET", "users/alice").json["auth_state"]
    change = id_token_changed(keycloak.site_keys.signing, preferred_username=name, uid_number=62101)
    site.gate.change(TOKEN, change)
    visitor = site.visitor()
    answer = visitor.arrive(visitor.authorise("bob"))
    assert answer.status == 403
    assert hub.api("GET", "users/alice").json["auth_state"] == before
    names = {user["name"] for user in hub.api("GET", "users").json}
    assert names <= {"alice", "bob", "carol"}


def test_a_name_in_another_case_is_the_same_account_for_the_same_person(
    hub: Hub, site: Site, keycloak: Keycloak
) -> None:
    """JupyterHub lower-cases; so nobody has two accounts."""
    logged_in(site, "alice")
    site.gate.change(TOKEN, id_token_changed(keycloak.site_keys.signing, preferred_username="Alice"))
    logged_in(site, "alice")
    assert identity(hub, "alice")["uid"] == 62101


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        (["atlas"], {"atlas": 61100}),
        (["/atlas"], {"atlas": 61100}),
        (["/proj/atlas"], {}),
        (["../etc"], {}),
        (["a/b"], {}),
        (["ATLAS"], {}),
        (["nobody-knows"], {}),
        (["atlas", "atlas"], {"atlas": 61100}),
    ],
    ids=str,
)
def test_groups_of_claims_are_names_of_the_sites_table(
    believing: tuple[Site, Hub], keycloak: Keycloak, groups: list[str], named: dict[str, int]
) -> None:
    """A name with slashes is no group: rules and mounts never see it, whatever gid the table has for it."""
    site, hub = believing
    site.gate.change(TOKEN, id_token_changed(keycloak.site_keys.signing, groups=groups, gids=MISSING))
    logged_in(site, "alice")
    found = identity(hub, "alice")["groups"]
    assert {name: gid for name, gid in found.items() if name != "users"} == named
    assert not any("/" in name or "." in name for name in found)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"home": "/home/../etc"}, "account"),
        ({"home": "relative"}, "account"),
        ({"home": "/home/a\nb"}, "claims"),
        ({"home": ["/home/alice"]}, "claims"),
        ({"posix": {"shell": "sh"}}, "account"),
        ({"posix": {"shell": 5}}, "claims"),
        ({"uid_number": 62199}, "other-person"),
        ({"gid_number": 999}, "other-person"),
        ({"gids": [5]}, "account"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_believed_must_be_safe_as_well(
    believing: tuple[Site, Hub], keycloak: Keycloak, changes: dict[str, Any], reason: str
) -> None:
    """Paths are paths, numbers lie in the site's range, and the directory's uid is looked at all the same."""
    site, hub = believing
    site.gate.change(TOKEN, id_token_changed(keycloak.site_keys.signing, **changes))
    refused_login(hub, site, "alice", reason)


def test_what_is_believed_arrives(believing: tuple[Site, Hub], keycloak: Keycloak) -> None:
    """Nested claims, too: the refusals above are for what stood in them."""
    site, hub = believing
    changes = {"home": "/pbs/home/alice", "posix": {"shell": "/bin/zsh"}, "groups": ["cms"], "gids": [61200]}
    site.gate.change(TOKEN, id_token_changed(keycloak.site_keys.signing, **changes))
    logged_in(site, "alice")
    found = identity(hub, "alice")
    assert (found["home"], found["shell"]) == ("/pbs/home/alice", "/bin/zsh")
    assert found["groups"] == {"users": GROUPS["users"], "cms": 61101}
    assert found["unnamed_gids"] == [61200]
