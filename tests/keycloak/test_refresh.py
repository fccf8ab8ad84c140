"""Sessions looked at again, with a real Keycloak that replaces refresh tokens and refuses those that were replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.components.hub import Hub
from tests.components.keycloak import Keycloak
from tests.components.keycloak_gate import HUB_ASKS, TOKEN, Gate
from tests.components.keycloak_realms import person, posix
from tests.components.need import need
from tests.keycloak.own_realm import DUE, auth_state, due, eventually, is_in, logged, own_realm_site, tokens_of
from tests.keycloak.site import Site, site_hub
from tests.keycloak.tokens import MISSING, id_token_changed, id_token_replaced, seconds_from_now, signed, unsigned

BLOCK = """
class Block(BaseHandler):
    def get(self, name):
        self.authenticator.blocked_users = {name} - {""}

c.JupyterHub.extra_handlers.append(("/block/(.*)", Block))
"""
"""For a hub's configuration: a site's own code blocks somebody, or nobody, while the hub runs."""
SETTINGS = (
    DUE
    + BLOCK
    + """
c.KeycloakAuthenticator.request_timeout = 1
c.KeycloakAuthenticator.keys_age = 3600
async def note_site(authenticator, handler, model):
    model["auth_state"]["site_key"] = "kept"
    return model
c.Authenticator.post_auth_hook = note_site
"""
)
ROLES = """
c.Authenticator.allow_all = False
c.KeycloakAuthenticator.allowed_roles = {"CLIENT_ID:user"}
c.KeycloakAuthenticator.admin_roles = {"jupyter-operators"}
"""
NO_GRACE = SETTINGS + "c.KeycloakAuthenticator.outage_grace = 0\n"
AGAIN = "must log in again"


@pytest.fixture(scope="module")
def site(keycloak: Keycloak) -> Iterator[Site]:
    """A realm where a refresh token can be used once; it tells the hub of no logout, so that a refresh finds out."""
    with own_realm_site(keycloak, revokeRefreshToken=True, refreshTokenMaxReuse=0) as one:
        one.admin.set_client(one.client_id, one.realm, attributes={"backchannel.logout.url": ""})
        yield one


@pytest.fixture(scope="module")
def shared_hub(site: Site) -> Iterator[Hub]:
    """The module's hub."""
    with need(site_hub(site, more=SETTINGS)) as hub:
        yield hub


@pytest.fixture(autouse=True)
def _no_trace(hub: Hub) -> Iterator[None]:
    """Nothing that Keycloak does leads to a traceback in the hub's log."""
    before = len(hub.log_text())
    yield
    assert "Traceback" not in hub.log_text()[before:]


def test_twenty_requests_on_a_due_session_make_one_refresh(hub: Hub, site: Site) -> None:
    """All are served; the refresh token, which holds once, is used once, and so is the one after it."""
    alice = site.log_in("alice")
    for _ in range(2):
        before = auth_state(hub, "alice")["keycloak"]["refresh_token"]
        due(hub)
        site.gate.forget()
        with ThreadPoolExecutor(20) as pool:
            assert all(pool.map(lambda _: is_in(alice), range(20)))
        assert site.gate.count(TOKEN) == 1
        assert auth_state(hub, "alice")["keycloak"]["refresh_token"] != before


def test_a_refresh_keeps_what_it_does_not_know(hub: Hub, site: Site) -> None:
    """Keys of a site's own hook, the sessions that were noted, and the identity."""
    alice = site.log_in("alice")
    before = auth_state(hub, "alice")
    due(hub)
    assert is_in(alice)
    after = auth_state(hub, "alice")
    assert after["site_key"] == "kept"
    assert after["identity"] == before["identity"]
    assert after["keycloak"]["sessions"] == before["keycloak"]["sessions"]
    assert before["keycloak"]["sessions"][before["keycloak"]["sid"]]


ENDS: dict[str, Callable[[Site], object]] = {
    "logged out by an administrator": lambda site: site.admin.logout("bob", site.realm),
    "disabled": lambda site: site.admin.set_user("bob", site.realm, enabled=False),
    "removed": lambda site: site.admin.ask("DELETE", f"/{site.realm}/users/{site.admin.user_id('bob', site.realm)}"),
    "session too old": lambda site: site.admin.set_realm(site.realm, ssoSessionMaxLifespan=1),
}


@pytest.fixture
def bob(site: Site) -> Iterator[None]:
    """``bob`` and the realm are put back."""
    yield
    site.admin.set_realm(site.realm, ssoSessionMaxLifespan=36000)
    found = site.admin.ask("GET", f"/{site.realm}/users", username="bob", exact="true")
    for user in found:
        site.admin.ask("DELETE", f"/{site.realm}/users/{user['id']}")
    site.admin.make_user(person("bob", attributes=posix(62102), realm=site.realm), site.realm)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.usefixtures("bob")
def test_who_is_ended_at_keycloak_logs_in_again(hub: Hub, site: Site, end: Callable[[Site], object]) -> None:
    """Keycloak says no once; then the tokens are gone, and it is not asked again."""
    hub.api("DELETE", "users/bob")
    bob = site.log_in("bob")
    end(site)
    time.sleep(1.1)  # until a session that may last one second has ended
    due(hub)
    log = logged(hub, lambda: is_in(bob))
    assert not is_in(bob)
    assert f"user=bob {AGAIN}: Keycloak ended the session: invalid_grant" in log
    assert tokens_of(hub, "bob") == set()
    site.gate.forget()
    assert not is_in(bob)
    assert site.gate.count(HUB_ASKS) == 0


OUTAGES: dict[str, Callable[[Gate], object]] = {
    "killed": Gate.down,
    "hung": lambda gate: gate.hold(TOKEN),
    "broken connection": lambda gate: gate.drop(TOKEN),
    "502": lambda gate: gate.answer(TOKEN, 502, "<h1>Bad gateway</h1>"),
    "503": lambda gate: gate.answer(TOKEN, 503, {"error": "temporarily_unavailable"}),
    "maintenance page": lambda gate: gate.answer(TOKEN, 200, "<h1>Maintenance</h1>"),
    "client refused": lambda gate: gate.answer(TOKEN, 401, {"error": "invalid_client"}),
}


@pytest.mark.parametrize("break_it", OUTAGES.values(), ids=OUTAGES)
def test_while_keycloak_cannot_be_asked_sessions_are_kept_for_a_while(
    hub: Hub, site: Site, break_it: Callable[[Gate], object]
) -> None:
    """Told once, not at each request; nobody but the first waits; afterwards the same session goes on."""
    alice, carol = site.log_in("alice"), site.log_in("carol")
    due(hub)
    site.gate.forget()
    break_it(site.gate)
    log = logged(hub, lambda: [is_in(alice), is_in(carol), is_in(alice)])
    assert is_in(alice)
    assert is_in(carol)
    assert log.count("sessions are kept for 3600 seconds, Keycloak cannot be asked") == 1
    assert AGAIN not in log
    assert site.gate.count(TOKEN) <= 1
    site.gate.clear()
    due(hub)
    assert is_in(alice)
    assert is_in(carol)


@pytest.mark.parametrize("kind", ["killed", "hung", "502"])
def test_after_the_grace_a_login_is_needed_until_keycloak_is_back(hub: Hub, site: Site, kind: str) -> None:
    """The session is kept from then on, too: nothing of it was thrown away."""
    alice = site.log_in("alice")
    try:
        hub.restart(site.config + site.placed(NO_GRACE))
        OUTAGES[kind](site.gate)
        log = logged(hub, lambda: [is_in(alice), is_in(alice)])
        assert not is_in(alice)
        assert log.count(f"user=alice {AGAIN}: Keycloak has not confirmed the session for too long") == 1
        site.gate.clear()
        due(hub)
        eventually(lambda: is_in(alice))  # a question that hung is answered now
    finally:
        hub.restart(site.config + site.placed(SETTINGS))


def test_an_answer_that_comes_late_is_not_lost(hub: Hub, site: Site) -> None:
    """Keycloak hangs and then replaces the refresh token after all: the page was served long before."""
    alice = site.log_in("alice")
    before = auth_state(hub, "alice")["keycloak"]["refresh_token"]
    due(hub)
    held = site.gate.hold(TOKEN)
    assert is_in(alice)
    site.gate.forget()
    due(hub)
    assert is_in(alice)
    assert site.gate.count(TOKEN) == 0, "the same refresh token was sent twice"
    held.release()
    eventually(lambda: auth_state(hub, "alice")["keycloak"]["refresh_token"] != before)
    due(hub)
    assert is_in(alice)
    assert site.gate.count(TOKEN) == 1


def test_the_end_of_an_outage_is_told(hub: Hub, site: Site) -> None:
    """Once, with what it was."""
    alice = site.log_in("alice")
    due(hub)
    held = site.gate.hold(TOKEN)
    begin = len(hub.log_text())
    assert is_in(alice)
    held.release()
    eventually(lambda: "Keycloak can be asked again" in hub.log_text()[begin:])
    assert hub.log_text()[begin:].count("it could not: no answer within 1 seconds") == 1


def forged(site: Site, **changes: Any) -> Callable[[Any], Any]:
    """An id_token with other claims, signed with the realm's own key."""
    return id_token_changed(site.keycloak.site_keys.signing, **changes)


BAD_ANSWERS: dict[str, tuple[Callable[[Site], Callable[[Any], Any]], str]] = {
    "another person": (lambda site: forged(site, sub="somebody-else"), "the token of somebody else"),
    "another issuer": (lambda site: forged(site, iss="https://other.example.org"), "the token comes from"),
    "another audience": (lambda site: forged(site, aud="other", azp="other"), "the token is for"),
    "ended": (lambda site: forged(site, exp=seconds_from_now(-600)), "the token ended"),
    "no signature": (lambda site: id_token_replaced(unsigned), "is not accepted"),
    "another realm's key": (
        lambda site: id_token_replaced(lambda claims: signed(claims, site.keycloak.edugain_keys.signing)),
        "not signed by",
    ),
    "no id_token": (lambda site: lambda answer: {**answer, "id_token": None}, "sent no token"),
    "uid 0": (lambda site: forged(site, uid_number=0), "uid"),
    "uid of somebody else": (lambda site: forged(site, uid_number=62102), "uid"),
    "no uid": (lambda site: forged(site, uid_number=MISSING), "the claim uid_number is missing"),
    "another name": (lambda site: forged(site, preferred_username="bob"), "calls them 'bob' now"),
    "an account that ended": (lambda site: forged(site, valid_until="2020-01-01T00:00:00Z"), "it ended on"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_refresh_is_verified_as_a_login_is(hub: Hub, site: Site, case: str) -> None:
    """What is wrong with the new id_token ends the session, with the reason in the log; no token is written there."""
    change, says = BAD_ANSWERS[case]
    alice = site.log_in("alice")
    due(hub)
    site.gate.change(TOKEN, change(site))
    log = logged(hub, lambda: is_in(alice))
    assert not is_in(alice)
    line = next(line for line in log.splitlines() if f"user=alice {AGAIN}" in line)
    assert says in line
    assert "eyJ" not in log
    assert tokens_of(hub, "alice") == set()


def test_what_the_token_and_the_directory_say_now_is_the_identity_from_then_on(hub: Hub, site: Site) -> None:
    """Groups of the directory, and a uid on which both agree."""
    alice = site.log_in("alice")
    site.write_accounts({"alice": None}, more="  alice: {uid: 62190, group: users, groups: [cms]}")
    site.gate.change(TOKEN, forged(site, uid_number=62190))
    due(hub)
    assert is_in(alice)
    identity = auth_state(hub, "alice")["identity"]
    assert (identity["uid"], set(identity["groups"])) == (62190, {"users", "cms"})


def test_an_account_that_the_directory_ended_loses_its_session(hub: Hub, site: Site) -> None:
    """At the next refresh, whatever Keycloak says."""
    alice = site.log_in("alice")
    site.write_accounts({"alice": 'valid_until: "2021-01-01T00:00:00Z"'})
    due(hub)
    assert f"user=alice {AGAIN}: account 'alice': it ended on 2021" in logged(hub, lambda: is_in(alice))
    assert not is_in(alice)


def test_who_lost_the_role_is_out_and_who_gained_one_is_an_administrator(hub: Hub, site: Site) -> None:
    """Allow rules are looked at again."""
    try:
        hub.restart(site.config + site.placed(SETTINGS + ROLES))
        site.admin.give_role("alice", "user", site.client_id, site.realm)
        alice = site.log_in("alice")
        assert not hub.api("GET", "users/alice").json["admin"]
        site.admin.give_role("alice", "jupyter-operators", realm=site.realm)
        due(hub)
        assert is_in(alice)
        assert hub.api("GET", "users/alice").json["admin"]
        site.gate.change(TOKEN, forged(site, realm_access=MISSING, resource_access=MISSING))
        due(hub)
        assert f"user=alice {AGAIN}: account 'alice': you may not use this service" in logged(hub, lambda: is_in(alice))
        assert not is_in(alice)
    finally:
        site.gate.clear()
        hub.restart(site.config + site.placed(SETTINGS))


def test_who_becomes_blocked_is_out_at_the_next_refresh(hub: Hub, site: Site) -> None:
    """Not before: until then Keycloak is not asked either.  Others stay in."""
    alice, carol = site.log_in("alice"), site.log_in("carol")
    assert is_in(alice)
    site.gate.forget()
    try:
        assert hub.visit().get("/hub/block/alice").status == 200
        assert is_in(alice)
        assert site.gate.count(TOKEN) == 0
        due(hub)
        assert f"user=alice {AGAIN}: account 'alice': you may not use this service" in logged(hub, lambda: is_in(alice))
        assert not is_in(alice)
        assert tokens_of(hub, "alice") == set()
        assert is_in(carol)
    finally:
        hub.visit().get("/hub/block/")
    alice.log_in("alice")
    assert is_in(alice)


def test_a_user_without_tokens_logs_in_without_an_error(hub: Hub, site: Site) -> None:
    """One whom the API made, and one whose state nobody can decrypt any more."""
    hub.api("POST", "users/carol")
    token = hub.api("POST", "users/carol/tokens").json["token"]
    assert hub.api("GET", "user", token=token).status == 200
    alice = site.log_in("alice")
    old = hub._env["JUPYTERHUB_CRYPT_KEY"]
    hub._env["JUPYTERHUB_CRYPT_KEY"] = "ab" * 32
    hub.restart()
    assert not is_in(alice)
    alice.log_in("alice")
    assert is_in(alice)
    hub._env["JUPYTERHUB_CRYPT_KEY"] = old
    hub.restart()
