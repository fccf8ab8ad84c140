"""Logout in both directions with a real Keycloak: the hub's ends the session there, and Keycloak's the one here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.components.hub import Hub
from tests.components.keycloak import Keycloak
from tests.components.keycloak_gate import DISCOVERY
from tests.components.need import need
from tests.components.session import Answer
from tests.components.visitor import REDIRECTS, Page, Visitor
from tests.keycloak.own_realm import (
    DUE,
    NOTES,
    SHORT_MEMORY,
    auth_state,
    eventually,
    is_in,
    logged,
    open_server,
    own_realm_site,
    server_status,
    tokens_of,
)
from tests.keycloak.site import Site, site_hub
from tests.keycloak.tokens import MISSING, Plain, seconds_from_now, signed, unsigned, with_claims

SETTINGS = DUE + SHORT_MEMORY + "c.KeycloakAuthenticator.request_timeout = 1\n"
BACKCHANNEL = "/hub/keycloak/backchannel_logout"
EVENT = {"http://schemas.openid.net/event/backchannel-logout": {}}


@pytest.fixture(scope="module")
def site(keycloak: Keycloak) -> Iterator[Site]:
    """A realm whose sessions this module may end."""
    with own_realm_site(keycloak) as one:
        yield one


@pytest.fixture(scope="module")
def shared_hub(site: Site) -> Iterator[Hub]:
    """The module's hub."""
    with need(site_hub(site, more=SETTINGS)) as hub:
        yield hub


def sid_of(hub: Hub, user: str) -> str:
    """The Keycloak session of a user's last login."""
    return str(auth_state(hub, user)["keycloak"]["sid"])


def lives(site: Site, user: str, sid: str) -> bool:
    """Whether Keycloak has a session."""
    return any(session["id"] == sid for session in site.admin.sessions(user, site.realm))


def asks_for_a_password(visitor: Visitor) -> bool:
    """Whether a new login needs one; else Keycloak still knows the visitor."""
    page = visitor.begin()
    return any("password" in form.fields for form in Page(page).forms)


def copy_of(visitor: Visitor) -> Visitor:
    """Another browser with all cookies of this one."""
    other = Visitor(visitor.url)
    other.jar.update(visitor.jar)
    return other


# The hub's logout


def test_a_logout_at_the_hub_ends_the_session_at_keycloak(hub: Hub, site: Site) -> None:
    """Who logs in again is asked for the password; nothing that Keycloak could be asked with is left."""
    alice = site.log_in("alice")
    sid, before = sid_of(hub, "alice"), copy_of(alice)
    page = alice.go("GET", "/hub/logout")
    assert (page.status, urlsplit(page.url).path) == (200, "/hub/keycloak/logged_out")
    assert "Successfully logged out" in Page(page).text
    assert not lives(site, "alice", sid)
    assert not is_in(alice)
    assert not is_in(before), "a copy of the cookie still works"
    assert tokens_of(hub, "alice") == set()
    assert sid not in auth_state(hub, "alice")["keycloak"]["sessions"]
    assert asks_for_a_password(alice)


def test_keycloak_is_told_which_session_and_where_to_go_then(hub: Hub, site: Site) -> None:
    """id_token_hint, client, a registered address and a state; nothing of it stands in the hub's log."""
    alice = site.log_in("alice")
    hint = auth_state(hub, "alice")["keycloak"]["id_token"]
    answer = alice.go("GET", "/hub/logout", stop=urlsplit(site.issuer).path + "/protocol/openid-connect/logout")
    asked = {key: values[0] for key, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
    assert asked.pop("state")
    assert asked == {
        "id_token_hint": hint,
        "client_id": site.client_id,
        "post_logout_redirect_uri": f"{site.url}/hub/keycloak/logged_out",
    }
    assert hint not in hub.log_text()


NEXT = [
    ("/hub/token", "/hub/token"),
    ("https://evil.example.org/", ""),
    ("//evil.example.org/", ""),
    ("///evil.example.org/", ""),
    ("/\\evil.example.org/", "/%5Cevil.example.org/"),
    ("javascript:alert(1)", ""),
    ("hub/home", ""),
]


@pytest.mark.parametrize(("wanted", "place"), NEXT)
def test_the_browser_goes_where_it_was_asked_to_within_the_hub(hub: Hub, site: Site, wanted: str, place: str) -> None:
    """Never anywhere else, and only in the browser that logged out."""
    alice = site.log_in("alice")
    query = requests.models.PreparedRequest._encode_params({"next": wanted})
    back = alice.go("GET", f"/hub/logout?{query}", stop="/hub/keycloak/logged_out").headers["Location"]
    other = site.visitor().get(back.removeprefix(site.url), redirects=False)
    answer = alice.get(back.removeprefix(site.url), redirects=False)
    assert other.status == 200
    assert answer.headers.get("Location", "") == place
    assert alice.get(back.removeprefix(site.url), redirects=False).status == 200, "the state holds once"


OUTAGES: dict[str, Callable[[Site], object]] = {
    "killed": lambda site: site.gate.down(),
    "hung": lambda site: site.gate.hold(DISCOVERY),
    "502": lambda site: site.gate.answer(DISCOVERY, 502),
}


@pytest.mark.parametrize("break_it", OUTAGES.values(), ids=OUTAGES)
def test_a_logout_succeeds_without_keycloak_and_says_so(
    hub: Hub, site: Site, break_it: Callable[[Site], object]
) -> None:
    """The session here has ended all the same."""
    alice = site.log_in("alice")
    before = copy_of(alice)
    break_it(site)
    page = alice.get("/hub/logout", redirects=False)
    assert page.status == 200
    assert "Keycloak does not answer: your session there may go on" in Page(page).text
    assert not is_in(before)
    assert tokens_of(hub, "alice") == set()
    assert "a logout left the session at Keycloak as it is" in hub.log_text()


def test_a_logout_without_a_login_is_no_mistake(hub: Hub, site: Site) -> None:
    """It leads to the login page."""
    assert hub.visit().get("/hub/logout").status == 200


def test_a_logout_ends_the_tokens_for_servers_and_leaves_them_running(hub: Hub, site: Site) -> None:
    """The user's own API tokens are no part of a session."""
    alice = site.log_in("alice")
    open_server(hub, site, alice, "alice")
    own = hub.api("POST", "users/alice/tokens").json["token"]
    before = copy_of(alice)
    alice.go("GET", "/hub/logout")
    eventually(lambda: server_status(before, "alice") in REDIRECTS)
    assert hub.api("GET", "users/alice").json["servers"][""]["ready"]
    assert hub.api("GET", "user", token=own).status == 200


# Keycloak's logout


def test_a_logout_at_keycloak_ends_the_session_here_and_its_tokens(hub: Hub, site: Site) -> None:
    """The hub at once, a server once it asks the hub again; the server runs on."""
    alice = site.log_in("alice")
    open_server(hub, site, alice, "alice")
    log = logged(hub, lambda: site.admin.logout("alice", site.realm))
    assert "user=alice was logged out at Keycloak" in log
    assert not is_in(alice)
    eventually(lambda: server_status(alice, "alice") in REDIRECTS)
    assert tokens_of(hub, "alice") == set()
    assert auth_state(hub, "alice")["keycloak"]["sessions"] == {}
    assert hub.api("GET", "users/alice").json["servers"][""]["ready"]


def test_only_the_session_that_ended_loses_its_tokens(hub: Hub, site: Site) -> None:
    """Another browser works on at its server, and gets back into the hub without a password."""
    first = site.log_in("alice")
    sid = sid_of(hub, "alice")
    open_server(hub, site, first, "alice")
    second = site.log_in("alice")
    second.go("GET", NOTES.format("alice"))
    site.admin.end_session(sid, site.realm)
    assert not is_in(first)
    eventually(lambda: server_status(first, "alice") in REDIRECTS)
    assert asks_for_a_password(first)
    assert server_status(second, "alice") == 200
    assert tokens_of(hub, "alice") == {"id_token", "refresh_token"}
    second.begin()
    assert is_in(second)


def test_a_restart_of_the_hub_forgets_no_session(hub: Hub, site: Site) -> None:
    """Whose session it is stands in the database, also for a user of whom nothing was heard since."""
    alice, bob = site.log_in("alice"), site.log_in("bob")
    hub.restart()
    log = logged(hub, lambda: site.admin.logout("bob", site.realm))
    assert "user=bob was logged out at Keycloak" in log
    assert not is_in(bob)
    assert is_in(alice)


def test_a_browser_that_was_closed_and_opened_again_is_logged_out_as_well(hub: Hub, site: Site) -> None:
    """It has forgotten the id of its session, and kept the login: it gets another id that nobody noted."""
    alice = site.log_in("alice")
    alice.jar.clear("127.0.0.1", "/", "jupyterhub-session-id")
    assert is_in(alice)
    open_server(hub, site, alice, "alice")
    site.admin.logout("alice", site.realm)
    assert not is_in(alice)
    eventually(lambda: server_status(alice, "alice") in REDIRECTS)


def test_servers_stop_where_the_site_wants_it(own_site: Site) -> None:
    """At a logout in Keycloak; the one who tells is not kept waiting for it."""
    more = "c.KeycloakAuthenticator.stop_servers_on_logout = True\n"
    with need(site_hub(own_site, more=SETTINGS + more)) as hub:
        alice = own_site.log_in("alice")
        open_server(hub, own_site, alice, "alice")
        own_site.admin.end_session(sid_of(hub, "alice"))
        eventually(lambda: hub.api("GET", "users/alice").json["servers"] == {})
        alice.log_in("alice")
        open_server(hub, own_site, alice, "alice")
        alice.go("GET", "/hub/logout")
        eventually(lambda: hub.api("GET", "users/alice").json["servers"] == {})


# Logout tokens that are made up


def tell(site: Site, token: str, **more: Any) -> Answer:
    """Send a logout token as Keycloak does."""
    with requests.Session() as session:
        session.trust_env = False
        address = site.url + BACKCHANNEL
        return Answer.of(session.post(address, data={"logout_token": token}, timeout=30, **more))


def good(site: Site, hub: Hub, user: str = "alice") -> Plain:
    """What a right logout token says about a user's last session."""
    part = auth_state(hub, user)["keycloak"]
    return {
        "iss": site.issuer,
        "aud": site.client_id,
        "sub": part["sub"],
        "sid": part["sid"],
        "iat": seconds_from_now(0),
        "exp": seconds_from_now(120),
        "jti": f"made-up-{time.monotonic_ns()}",
        "events": EVENT,
    }


def as_keycloak(site: Site, payload: Plain, **header: Any) -> str:
    """Signed with the realm's real key."""
    return signed(payload, site.keycloak.site_keys.signing, **{"typ": "logout+jwt", **header})


@pytest.mark.parametrize("claims", [{}, {"sub": MISSING}, {"sid": MISSING}], ids=["both", "sid alone", "sub alone"])
def test_a_right_logout_token_ends_the_session(hub: Hub, site: Site, claims: Plain) -> None:
    """Session, person or both; so that the forged ones below fail for their own fault alone."""
    alice = site.log_in("alice")
    answer = tell(site, as_keycloak(site, with_claims(good(site, hub), **claims)))
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert not is_in(alice)


def test_a_session_that_is_not_known_has_ended_already(hub: Hub, site: Site) -> None:
    """Neither its id nor its person: nothing is left to do, and nobody else is touched."""
    alice = site.log_in("alice")
    token = as_keycloak(site, {**good(site, hub), "sid": "unknown", "sub": "unknown"})
    assert tell(site, token).status == 200
    assert is_in(alice)


FORGED: dict[str, tuple[Callable[[Site, Plain], str], str]] = {
    "for another client": (lambda site, claims: as_keycloak(site, {**claims, "aud": "other"}), "not for this hub"),
    "of another issuer": (lambda site, claims: as_keycloak(site, {**claims, "iss": "https://x"}), "comes from"),
    "with a nonce": (lambda site, claims: as_keycloak(site, {**claims, "nonce": "n"}), "has a nonce"),
    "without events": (lambda site, claims: as_keycloak(site, with_claims(claims, events=MISSING)), "no logout token"),
    "another event": (lambda site, claims: as_keycloak(site, {**claims, "events": {"x": {}}}), "no logout token"),
    "ended": (lambda site, claims: as_keycloak(site, {**claims, "exp": seconds_from_now(-60)}), "ended"),
    "too old": (lambda site, claims: as_keycloak(site, {**claims, "iat": seconds_from_now(-900)}), "older than"),
    "from the future": (lambda site, claims: as_keycloak(site, {**claims, "iat": seconds_from_now(90)}), "begins in"),
    "nobody": (lambda site, claims: as_keycloak(site, with_claims(claims, sid=MISSING, sub=MISSING)), "neither"),
    "sid is a list": (lambda site, claims: as_keycloak(site, {**claims, "sid": [claims["sid"]]}), "neither"),
    "without jti": (lambda site, claims: as_keycloak(site, with_claims(claims, jti=MISSING)), "no jti"),
    "another type": (lambda site, claims: as_keycloak(site, claims, typ="at+jwt"), "of the type"),
    "wrong key": (lambda site, claims: signed(claims, site.keycloak.edugain_keys.signing), "not signed by"),
    "wrong key, right kid": (
        lambda site, claims: signed(
            claims, site.keycloak.edugain_keys.signing, kid=site.keycloak.site_keys.signing.kid
        ),
        "not signed by",
    ),
    "alg none": (lambda site, claims: unsigned(claims, kid=site.keycloak.site_keys.signing.kid), "is not accepted"),
    "alg HS256": (lambda site, claims: unsigned(claims, "HS256", kid="x"), "is not accepted"),
    "no token": (lambda site, claims: "logout", "no token"),
    "empty": (lambda site, claims: "", "logout_token"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_logout_token_ends_nothing(hub: Hub, site: Site, case: str) -> None:
    """Status 400 and a JSON error, as the specification says; one line in the log, without the token."""
    make, says = FORGED[case]
    alice = site.log_in("alice")
    token = make(site, good(site, hub))
    answers: list[Answer] = []
    log = logged(hub, lambda: answers.append(tell(site, token)))
    assert answers[0].status == 400
    assert answers[0].json["error"] == "invalid_request"
    assert says in answers[0].json["error_description"]
    assert answers[0].headers["Cache-Control"] == "no-store"
    assert log.count("back-channel logout refused from=127.0.0.1 reason=") == 1
    assert "eyJ" not in log
    assert is_in(alice)


def test_an_id_token_is_no_logout_token(hub: Hub, site: Site) -> None:
    """Although the same key has signed it for the same client."""
    alice = site.log_in("alice")
    assert tell(site, auth_state(hub, "alice")["keycloak"]["id_token"]).status == 400
    assert is_in(alice)


def test_a_logout_token_is_obeyed_once(hub: Hub, site: Site) -> None:
    """Who kept one cannot log the same person out again and again."""
    alice = site.log_in("alice")
    token = as_keycloak(site, with_claims(good(site, hub), sid=MISSING))
    assert tell(site, token).status == 200
    assert not is_in(alice)
    alice.log_in("alice")
    answer = tell(site, token)
    assert (answer.status, answer.json["error_description"]) == (400, "the logout token was used before")
    assert is_in(alice)


def test_no_logout_token_is_taken_while_keys_are_unknown(own_site: Site) -> None:
    """A hub that has not reached Keycloak yet cannot know who signed."""
    own_site.gate.down()
    with need(site_hub(own_site)) as hub:
        token = signed({"iss": own_site.issuer}, own_site.keycloak.site_keys.signing)
        answer = tell(own_site, token)
        assert (answer.status, answer.json["error"]) == (400, "invalid_request")
        assert "reason=unavailable" in hub.log_text()


OTHER_REQUESTS: dict[str, dict[str, Any]] = {
    "GET": {"method": "GET"},
    "PUT": {"method": "PUT", "data": {"logout_token": "x"}},
    "JSON": {"method": "POST", "json": {"logout_token": "x"}},
    "no body": {"method": "POST"},
    "two tokens": {"method": "POST", "data": [("logout_token", "x"), ("logout_token", "y")]},
    "many fields": {"method": "POST", "data": [(f"x{number}", "y") for number in range(1000)]},
    "huge": {"method": "POST", "data": {"logout_token": "x" * 5_000_000}},
    "huge, in pieces": {
        "method": "POST",
        "data": iter([b"logout_token=", *[b"x" * 65536] * 80]),
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    },
}


@pytest.mark.parametrize("case", OTHER_REQUESTS)
def test_any_other_request_is_refused_before_it_costs_anything(hub: Hub, site: Site, case: str) -> None:
    """No page, no trace, no memory for a body that no logout token needs; the hub serves on."""
    alice = site.log_in("alice")
    begin = len(hub.log_text())
    with requests.Session() as session:
        session.trust_env = False
        try:
            status = session.request(url=hub.hub_url + BACKCHANNEL, timeout=30, **OTHER_REQUESTS[case]).status_code
        except requests.ConnectionError:
            assert "huge" in case  # the hub hangs up while the sender still sends
            status = 400
    assert status == (405 if case in ("GET", "PUT") else 400)
    assert is_in(alice)
    assert "Traceback" not in hub.log_text()[begin:]
