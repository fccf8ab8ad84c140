"""People of other organisations, through a Keycloak that brokers a federation's proxy, to the hub and its directory.

The mappers are those of ``docs/how-to/edugain.md``, read from the page.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.components.hub import Hub, run_cell, start_server
from tests.components.keycloak import Keycloak
from tests.components.keycloak_admin import Admin
from tests.components.keycloak_realms import (
    ENVIRONMENT,
    Plain,
    edugain_realm,
    filled,
    oidc_provider,
    person,
    posix,
    site_realm,
)
from tests.components.need import need
from tests.components.visitor import Page
from tests.house.pages import code_blocks
from tests.keycloak.own_realm import DUE, auth_state, due, eventually, is_in
from tests.keycloak.refused import refused_arrival
from tests.keycloak.site import Site, folder, keycloak_site, site_hub

PAGE = "docs/how-to/edugain.md"
COMPOSED, OF_ITS_OWN = (json.loads(block.text) for block in code_blocks(PAGE) if block.language == "json")
SAML, OIDC, PLAIN = "edugain-saml", "edugain-oidc", "edugain-plain"
UNI_A, UNI_B = "https://idp.uni-a.example/entity", "https://idp.uni-b.example/entity"
PEOPLE = {
    "anna": (UNI_A, "an1@uni-a.example"),
    "alice": (UNI_B, "al1@uni-b.example"),
    "mixed": (UNI_B, "mi1@uni-b.example"),
    "twin1": (UNI_A, "same"),
    "twin2": (UNI_B, "same"),
    "homeless": ("", "nobody-knows"),
    "visitor1": (UNI_A, "v1@uni-a.example"),
    "visitor2": (UNI_B, "v2@uni-b.example"),
    "visitor3": (UNI_B, "v3@uni-b.example"),
}
"""Name at the proxy to home organisation and identifier there."""
WHO = "import os; print(os.getuid())"


@dataclass(frozen=True)
class Realms:
    """The realm of the site, and the one that stands for the federation's proxy."""

    site: str
    proxy: str


def subject(name: str) -> str:
    """Who somebody of the proxy is to the hub."""
    return "!".join(PEOPLE[name])


def proxy_realm(names: Realms, keycloak: Keycloak) -> Plain:
    """A proxy that passes on organisation and identifier, by SAML and OpenID Connect."""
    realm = edugain_realm(names.proxy, keycloak.edugain_keys, [names.site])
    profile = {
        "attributes": [
            {"name": one, "permissions": {"view": ["admin", "user"], "edit": ["admin"]}}
            for one in ("username", "email", "firstName", "lastName", "home_organisation", "pairwise_id")
        ]
    }
    (component,) = realm["components"]["org.keycloak.userprofile.UserProfileProvider"]
    component["config"]["kc.user.profile.config"] = [json.dumps(profile)]
    realm["users"] = [proxy_user(name, names) for name in PEOPLE]
    by_saml = next(client for client in realm["clients"] if client["protocol"] == "saml")
    by_saml["protocolMappers"].append(
        {
            "name": "pairwise-id",
            "protocol": "saml",
            "protocolMapper": "saml-user-attribute-mapper",
            "config": {
                "user.attribute": "pairwise_id",
                "attribute.name": "urn:oasis:names:tc:SAML:attribute:pairwise-id",
                "attribute.nameformat": "URI Reference",
                "friendly.name": "pairwise-id",
            },
        }
    )
    by_oidc = next(client for client in realm["clients"] if client["protocol"] == "openid-connect")
    by_oidc["redirectUris"].append(f"http://127.0.0.1/realms/{names.site}/broker/{PLAIN}/endpoint")
    by_oidc["protocolMappers"].append(
        {
            "name": "sub",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-usermodel-attribute-mapper",
            "config": {
                "user.attribute": "pairwise_id",
                "claim.name": "sub",
                "jsonType.label": "String",
                **{f"{token}.token.claim": "true" for token in ("id", "access", "userinfo")},
            },
        }
    )
    return realm


def proxy_user(name: str, names: Realms) -> Plain:
    """A person of the proxy; ``alice`` has the user name and the e-mail address of somebody of the site."""
    home, identifier = PEOPLE[name]
    attributes = {"pairwise_id": identifier, **({"home_organisation": home} if home else {})}
    email = f"{name}@{names.site}.example"
    return {**person(name, f"{name}-home-pw", realm=names.proxy, attributes=attributes), "email": email}


def broker_realm(names: Realms, keycloak: Keycloak) -> Plain:
    """The site's realm with the mappers of the page; a third identity provider has the organisation as a claim."""
    federation = keycloak.realm(names.proxy)
    realm = site_realm(names.site, keycloak.site_keys, federation)
    plain = {**oidc_provider(federation), "alias": PLAIN}
    realm["identityProviders"].append(plain)
    others = [mapper for mapper in COMPOSED["identityProviderMappers"] if mapper["identityProviderAlias"] == OIDC]
    others = [*others, *OF_ITS_OWN["identityProviderMappers"]]
    realm["identityProviderMappers"] = [
        *COMPOSED["identityProviderMappers"],
        *(json.loads(json.dumps({**mapper, "identityProviderAlias": PLAIN})) for mapper in others),
    ]
    for mapper in realm["identityProviderMappers"]:
        if mapper["identityProviderAlias"] == PLAIN and mapper["config"].get("target") == "BROKER_USERNAME":
            mapper["config"]["template"] = "${CLAIM.sub}"
    return realm


@pytest.fixture(scope="module")
def realms(keycloak: Keycloak) -> Iterator[Realms]:
    """The two realms of this module."""
    word = secrets.token_hex(4)
    names = Realms(f"site-{word}", f"proxy-{word}")
    admin = Admin(keycloak)
    admin.make_realm(filled(proxy_realm(names, keycloak), ENVIRONMENT))
    admin.make_realm(filled(broker_realm(names, keycloak), ENVIRONMENT))
    try:
        yield names
    finally:
        admin.remove_realm(names.site)
        admin.remove_realm(names.proxy)
        admin.close()


@pytest.fixture(scope="module")
def site(keycloak: Keycloak, realms: Realms) -> Iterator[Site]:
    """The module's site, in the realm of this module."""
    with keycloak_site(keycloak, realm=realms.site) as one:
        yield one


def accounts(site: Site, *arguments: str) -> None:
    """Run ``nbplatform accounts`` as an administrator of the site does; it must succeed."""
    command = [sys.executable, "-m", "nbplatform_spawners.cli", "accounts", *arguments]
    done = subprocess.run(command, cwd=site.top, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def link(site: Site, user: str, provider: str, name: str) -> None:
    """Link an account to somebody of the proxy."""
    accounts(site, "link", user, provider, subject(name))


def identity(hub: Hub, user: str) -> dict[str, Any]:
    """The identity that the hub keeps of a user."""
    found: dict[str, Any] = auth_state(hub, user)["identity"]
    return found


def users(hub: Hub) -> set[str]:
    """The names of all users of a hub."""
    return {user["name"] for user in hub.api("GET", "users").json}


def refused(hub: Hub, site: Site, name: str, reason: str, via: str) -> Page:
    """Log in at the proxy, and be refused by the hub with ``reason``; returns the hub's page."""
    visitor = site.visitor()
    return refused_arrival(hub, visitor, visitor.authorise(name, via=via), reason)


# Links


@pytest.mark.parametrize("via", [SAML, OIDC])
def test_who_is_linked_has_the_directorys_account(hub: Hub, site: Site, via: str) -> None:
    """uid, gid and groups are the directory's, the provider is the broker's; no restart lies between link and login."""
    page = refused(hub, site, "anna", "not-linked", via=via)
    assert f"(identity provider '{via}', subject '{subject('anna')}')" in page.text
    link(site, "anna", via, "anna")
    site.log_in("anna", via=via)
    found = identity(hub, "anna")
    assert (found["uid"], found["gid"], found["provider"]) == (62111, 61000, via)
    assert found["groups"] == {"users": 61000, "atlas": 61100}
    start_server(hub, "anna")
    assert run_cell(hub, "anna", WHO).strip() == "62111"


def test_one_link_is_for_one_way_in(hub: Hub, site: Site) -> None:
    """The same identifier through another identity provider is another person, until that is linked, too."""
    link(site, "anna", SAML, "anna")
    refused(hub, site, "anna", "not-linked", via=OIDC)
    link(site, "anna", OIDC, "anna")
    site.log_in("anna", via=OIDC)
    site.log_in("anna", via=SAML)


@pytest.mark.parametrize("via", [SAML, OIDC])
def test_name_and_address_of_somebody_else_give_nothing(hub: Hub, site: Site, via: str) -> None:
    """A home organisation's alice, with alice's e-mail address, is nobody here; linked to bob she is bob."""
    site.log_in("alice")
    assert identity(hub, "alice")["uid"] == 62101
    before = users(hub)
    page = refused(hub, site, "alice", "not-linked", via=via)
    assert subject("alice") in page.text
    assert "alice@" not in page.text
    assert users(hub) == before, "a refused person became a user of the hub"
    link(site, "bob", via, "alice")
    site.log_in("alice", via=via)
    assert (identity(hub, "bob")["uid"], identity(hub, "bob")["provider"]) == (62102, via)
    assert (identity(hub, "alice")["uid"], identity(hub, "alice")["provider"]) == (62101, None)


@pytest.mark.parametrize("via", [SAML, OIDC])
def test_one_identifier_at_two_organisations_is_two_people(hub: Hub, site: Site, via: str) -> None:
    """For Keycloak and for the hub: a link of one lets the other not in."""
    link(site, "anna", via, "twin1")
    site.log_in("twin1", via=via)
    page = refused(hub, site, "twin2", "not-linked", via=via)
    assert f"{UNI_B}!same" in page.text
    link(site, "bob", via, "twin2")
    site.log_in("twin2", via=via)
    subs = {auth_state(hub, user)["keycloak"]["sub"] for user in ("anna", "bob")}
    assert len(subs) == 2


@pytest.mark.parametrize("via", [SAML, OIDC])
def test_who_has_no_organisation_is_nobody(hub: Hub, site: Site, via: str) -> None:
    """The template then yields nothing, and nothing is not taken for somebody."""
    before = users(hub)
    refused(hub, site, "homeless", "claims", via=via)
    assert users(hub) == before


def test_a_uid_in_keycloak_that_is_not_the_linked_accounts_refuses(hub: Hub, site: Site) -> None:
    """Somebody's account in Keycloak has a uid, and a link in the directory says another: neither is believed."""
    with site.admin.user("c-mixed", site.realm, attributes=posix(62150)) as user:
        path = f"/{site.realm}/users/{user}/federated-identity/{SAML}"
        site.admin.ask("POST", path, {"userId": subject("mixed"), "userName": subject("mixed")})
        link(site, "anna", SAML, "mixed")
        page = refused(hub, site, "mixed", "other-person", via=SAML)
        assert "its login says uid 62150, the account directory says 62111" in page.text


def test_who_is_unlinked_is_refused_again(hub: Hub, site: Site) -> None:
    """At the next login."""
    link(site, "anna", SAML, "anna")
    site.log_in("anna", via=SAML)
    accounts(site, "unlink", "anna", SAML, subject("anna"))
    refused(hub, site, "anna", "not-linked", via=SAML)


def test_the_organisation_can_be_a_claim_of_its_own(keycloak: Keycloak, realms: Realms) -> None:
    """The trait composes the subject; without the organisation nobody comes in."""
    (mapper,) = OF_ITS_OWN["protocolMappers"]
    more = "".join(
        f'c.KeycloakAuthenticator.{trait} = "{value}"\n'
        for trait, value in (
            ("home_organisation_claim", "home_organisation"),
            ("subject_template", "{home_organisation}!{subject}"),
        )
    )
    with keycloak_site(keycloak, realm=realms.site) as site:
        path = f"/{site.realm}/clients/{site.admin.client_uuid(site.client_id, site.realm)}/protocol-mappers/models"
        for known in site.admin.ask("GET", path):
            if known["name"] == mapper["name"]:
                site.admin.ask("DELETE", f"{path}/{known['id']}")
        site.admin.ask("POST", path, mapper)
        with need(site_hub(site, more=more + DUE)) as hub:
            link(site, "anna", PLAIN, "twin1")
            site.log_in("twin1", via=PLAIN)
            assert identity(hub, "anna")["uid"] == 62111
            assert f"{UNI_B}!same" in refused(hub, site, "twin2", "not-linked", via=PLAIN).text
            refused(hub, site, "homeless", "claims", via=PLAIN)
            check_second_provider(hub, site)


@contextmanager
def organisation_as_claim(site: Site, alias: str) -> Iterator[None]:
    """While the block runs, an identity provider passes on the organisation as a claim of its own."""
    path = f"/{site.realm}/identity-provider/instances/{alias}/mappers"
    (before,) = (one for one in site.admin.ask("GET", path) if one["config"].get("target") == "BROKER_USERNAME")
    note = {**OF_ITS_OWN["identityProviderMappers"][0], "identityProviderAlias": alias}
    address = f"{path}/{before['id']}"
    site.admin.ask("PUT", address, {**before, "config": {**before["config"], "template": "${CLAIM.sub}"}})
    site.admin.ask("POST", path, note)
    try:
        yield
    finally:
        site.admin.ask("PUT", address, before)
        (made,) = (one for one in site.admin.ask("GET", path) if one["name"] == note["name"])
        site.admin.ask("DELETE", f"{path}/{made['id']}")


def check_second_provider(hub: Hub, site: Site) -> None:
    """Somebody adds a second identity provider to their account in Keycloak, as everybody may: a login through that
    changes nothing of what a session through the first says.

    With the organisation in an attribute of the user, it would say the one's organisation and the other's subject.
    """
    visitor = site.log_in("twin1", via=PLAIN)
    user = auth_state(hub, "anna")["keycloak"]["sub"]
    path = f"/{site.realm}/users/{user}/federated-identity/{OIDC}"
    site.admin.ask("POST", path, {"userId": subject("visitor2"), "userName": subject("visitor2")})
    link(site, "bob", OIDC, "visitor2")
    with organisation_as_claim(site, OIDC):
        site.log_in("visitor2", via=OIDC)
    assert auth_state(hub, "bob")["keycloak"]["sub"] == user
    due(hub)
    assert is_in(visitor)
    claims = auth_state(hub, "anna")["keycloak"]["claims"]
    assert (claims["provider"], claims["subject"]) == (PLAIN, subject("twin1"))
    assert auth_state(hub, "anna")["keycloak"]["refreshed_at"] >= auth_state(hub, "bob")["keycloak"]["refreshed_at"]


# Guests

GUESTS = f"""\
prefix: guest
first_uid: 64001
count: 2
gid: 61200
groups: {{deep-learning: 61200}}
expires_after: 90d
providers: [{SAML}]
"""


def test_guests_get_accounts_until_there_are_none_left(keycloak: Keycloak, realms: Realms) -> None:
    """Each their own, the same again after a restart of the hub; linked people and other providers get none."""
    with keycloak_site(keycloak, realm=realms.site) as site:
        (site.top / "guests.yaml").write_text(GUESTS)
        folder(site.top / "home" / "guest1", 64001, 61200, 0o700)
        accounts(site, "guests", "init", "guests.yaml")
        with need(site_hub(site, more='c.KeycloakAuthenticator.guest_pool = "TOP/guests.yaml"\n')) as hub:
            link(site, "anna", SAML, "anna")
            site.log_in("anna", via=SAML)
            refused(hub, site, "visitor1", "not-linked", via=OIDC)
            site.log_in("visitor1", via=SAML)
            found = identity(hub, "guest1")
            assert (found["uid"], found["gid"], found["provider"]) == (64001, 61200, SAML)
            assert found["groups"] == {"deep-learning": 61200}
            assert found["home"] == "/home/guest1"
            start_server(hub, "guest1")
            assert run_cell(hub, "guest1", WHO).strip() == "64001"
            site.log_in("visitor2", via=SAML)
            assert identity(hub, "guest2")["uid"] == 64002
            refused(hub, site, "visitor3", "guests-full", via=SAML)
            hub.restart()
            site.log_in("visitor1", via=SAML)
            refused(hub, site, "visitor3", "guests-full", via=SAML)
            assert users(hub) == {"anna", "guest1", "guest2"}
            check_expiry(hub, site)


def test_who_is_unlinked_loses_session_and_server_and_uses_up_no_guest_account(
    keycloak: Keycloak, realms: Realms
) -> None:
    """Only a login gives an account to a guest, not a refresh, a spawn or the account check."""
    more = """
c.KeycloakAuthenticator.guest_pool = "TOP/guests.yaml"
c.KeycloakAuthenticator.account_check_interval = 1
c.KeycloakAuthenticator.auth_refresh_age = 1
"""
    with keycloak_site(keycloak, realm=realms.site) as site:
        (site.top / "guests.yaml").write_text(GUESTS)
        accounts(site, "guests", "init", "guests.yaml")
        link(site, "anna", SAML, "anna")
        with need(site_hub(site, more=more)) as hub:
            visitor = site.log_in("anna", via=SAML)
            start_server(hub, "anna")
            accounts(site, "unlink", "anna", SAML, subject("anna"))
            hub.wait_for_log(r"user=anna server='' is stopped: no account of this site is linked to you")
            eventually(lambda: not is_in(visitor))
            assert hub.api("POST", "users/anna/server").status == 403
            assert (site.top / "guests.record").read_bytes().count(b"\n") == 1


def test_who_may_not_use_the_service_uses_up_no_guest_account(keycloak: Keycloak, realms: Realms) -> None:
    """The allow rules are looked at first: the pool is bounded, and what is given out is gone for ever."""
    more = """
c.KeycloakAuthenticator.guest_pool = "TOP/guests.yaml"
c.Authenticator.allow_all = False
c.KeycloakAuthenticator.allowed_roles = {"jupyter-operators"}
"""
    with keycloak_site(keycloak, realm=realms.site) as site:
        (site.top / "guests.yaml").write_text(GUESTS)
        accounts(site, "guests", "init", "guests.yaml")
        with need(site_hub(site, more=more)) as hub:
            refused(hub, site, "visitor1", "not-allowed", via=SAML)
            assert users(hub) == set()
            assert (site.top / "guests.record").read_bytes().count(b"\n") == 1


def check_expiry(hub: Hub, site: Site) -> None:
    """An account that has ended refuses, until it is prolonged; a lost record refuses all guests, and nobody else."""
    accounts(site, "guests", "prolong", "guests.yaml", "guest1", "--until", "2026-01-01T00:00Z")
    page = refused(hub, site, "visitor1", "account", via=SAML)
    assert "'guest1': this guest account ended on 2026-01-01T00:00+00:00" in page.text
    accounts(site, "guests", "prolong", "guests.yaml", "guest1", "--by", "30d")
    site.log_in("visitor1", via=SAML)
    (site.top / "guests.record").rename(site.top / "lost")
    refused(hub, site, "visitor3", "directory", via=SAML)
    site.log_in("anna", via=SAML)
    (site.top / "lost").rename(site.top / "guests.record")
    site.log_in("visitor1", via=SAML)
