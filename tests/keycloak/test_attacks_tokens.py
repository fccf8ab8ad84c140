"""Forged and odd tokens as from Keycloak, through the hub's own callback: each is refused with its own label."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.components.hub import Hub
from tests.components.keycloak import Keycloak
from tests.components.keycloak_admin import Admin
from tests.components.keycloak_gate import CERTS, TOKEN
from tests.components.keycloak_realms import RealmKey, RealmKeys, filled, site_realm
from tests.components.need import need
from tests.keycloak.forgeries import FORGERIES, Forgery, Real
from tests.keycloak.refused import logged_in, refused_login, refused_with_token
from tests.keycloak.site import Site, keycloak_site, site_hub
from tests.keycloak.tokens import Plain, id_token_changed, seconds_from_now, signed

SHORT_AGE = "c.KeycloakAuthenticator.keys_age = 1\n"
ENVIRONMENT = {"NBPLATFORM_PUBLIC_URL": "http://127.0.0.1", "NBPLATFORM_CLIENT_SECRET": "unused"}


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
def test_a_token_that_is_not_right_logs_nobody_in(hub: Hub, site: Site, keycloak: Keycloak, forgery: Forgery) -> None:
    """One page, one label, one line in the log; the token itself is in neither."""

    def change(answer: Plain) -> Plain:
        return {**answer, "id_token": forgery.make(Real(answer, keycloak.site_keys, keycloak.edugain_keys))}

    refused_with_token(hub, site, change, "alice", forgery.reason)


def test_an_answer_without_an_id_token_logs_nobody_in(hub: Hub, site: Site) -> None:
    """As a server of plain OAuth answers, which says nothing about who somebody is."""

    def change(answer: Plain) -> Plain:
        return {key: value for key, value in answer.items() if key != "id_token"}

    refused_with_token(hub, site, change, "alice", "malformed")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"exp": seconds_from_now},
        {"iat": lambda _: seconds_from_now(10)},
        {"exp": lambda _: seconds_from_now(-10)},
        {"nbf": lambda _: seconds_from_now(10)},
        {"aud": lambda client: [client]},
        {"aud": lambda client: [client, "grafana"]},
        {"azp": lambda client: client},
    ],
    ids=["as it was", "ends now", "early", "late", "not before", "a list", "for two", "issued to us"],
)
def test_a_token_that_is_right_logs_in(hub: Hub, site: Site, keycloak: Keycloak, changes: dict[str, Any]) -> None:
    """Signed anew by the tests, with clocks that differ by less than the leeway: the signing is not what is refused."""
    site.gate.change(TOKEN, id_token_changed(keycloak.site_keys.signing, **changes))
    logged_in(site, "alice")


def test_a_token_of_a_key_that_still_is_in_the_key_set_logs_in(hub: Hub, site: Site, keycloak: Keycloak) -> None:
    """Keycloak rotates by adding a key before it takes the old one away."""
    site.gate.change(TOKEN, id_token_changed(keycloak.site_keys.older))
    logged_in(site, "alice")


def test_made_up_key_ids_do_not_make_the_hub_ask_each_time(hub: Hub, site: Site) -> None:
    """Logout tokens come from anybody, who could else have the hub ask Keycloak as often as they like."""
    logged_in(site, "alice")
    site.gate.forget()
    strange = RealmKey.made("strange")
    for number in range(4):
        form = {"logout_token": signed({"iss": site.issuer}, strange, kid=str(number))}
        assert site.visitor().go("POST", "/hub/keycloak/backchannel_logout", form).status == 400
    assert site.gate.count(CERTS) <= 1


@pytest.fixture
def rotating(keycloak: Keycloak) -> Iterator[tuple[Site, Hub, RealmKeys]]:
    """A realm of its own, whose keys a test may take away, and a hub that keeps keys for a second."""
    name = "rotating"
    keys = RealmKeys(RealmKey.made(name), RealmKey.made(name))
    admin = Admin(keycloak)
    admin.reset_realm(filled(site_realm(name, keys, keycloak.realm("edugain")), ENVIRONMENT))
    try:
        with keycloak_site(keycloak, realm=name) as site, need(site_hub(site, more=SHORT_AGE)) as hub:
            yield site, hub, keys
    finally:
        admin.remove_realm(name)
        admin.close()


def test_a_key_that_was_rotated_away_signs_no_more(rotating: tuple[Site, Hub, RealmKeys]) -> None:
    """A new key is found at once, and with it the old one's end."""
    site, hub, keys = rotating
    logged_in(site, "alice")
    new = RealmKey.made("new")
    site.admin.add_key(new.provider("new", 300), site.realm)
    site.admin.remove_key("signing", site.realm)
    logged_in(site, "bob")
    site.gate.change(TOKEN, id_token_changed(keys.signing))
    refused_login(hub, site, "carol", "signature")
    site.gate.clear()
    logged_in(site, "carol")


def test_a_key_that_was_taken_away_ends_with_the_hub_s_copy(rotating: tuple[Site, Hub, RealmKeys]) -> None:
    """After ``keys_age``, although no token of another key has come meanwhile and the hub knows the old one well."""
    site, hub, keys = rotating
    logged_in(site, "alice")
    site.admin.remove_key("signing", site.realm)
    time.sleep(1.1)  # until the copy is too old
    site.gate.forget()
    site.gate.change(TOKEN, id_token_changed(keys.signing))
    refused_login(hub, site, "carol", "signature")
    assert site.gate.count(CERTS) == 1
