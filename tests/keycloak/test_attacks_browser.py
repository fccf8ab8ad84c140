"""What a browser, or whoever guides it, can do to a login: states, codes, places to go afterwards."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from tornado.web import create_signed_value

from tests.components.hub import Hub
from tests.components.keycloak_gate import TOKEN
from tests.components.visitor import CALLBACK, Page, Visitor
from tests.keycloak.refused import logged_in, refused_arrival
from tests.keycloak.site import Site

COOKIE = "nbplatform-login-"


def query_of(address: str) -> dict[str, str]:
    """The query of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def callback_with(site: Site, **query: str) -> str:
    """The hub's callback with a query."""
    return f"{site.url}{CALLBACK}?{urlencode(query)}"


def begun(site: Site) -> tuple[Visitor, str]:
    """A browser that has begun a login at the hub, and the state of it."""
    visitor = site.visitor()
    address = visitor.target(visitor.get("/hub/oauth_login", redirects=False))
    return visitor, query_of(address)["state"]


STATES = {
    "one character changed": lambda state: state[:-1] + ("0" if state[-1] != "0" else "1"),
    "one character less": lambda state: state[:-1],
    "upper case": str.upper,
    "empty": lambda state: "",
    "a path": lambda state: "../" + state,
    "made up": lambda state: "0" * 32,
    "very long": lambda state: state * 50,
    "a line break in it": lambda state: state[:9] + "\n" + state[9:],
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES.keys())
def test_a_tampered_state_is_refused(hub: Hub, site: Site, change: object) -> None:
    """Before Keycloak is asked for anything."""
    assert callable(change)
    visitor = site.known_visitor("alice")
    query = query_of(visitor.authorise("alice"))
    site.gate.forget()
    refused_arrival(hub, visitor, callback_with(site, **{**query, "state": change(query["state"]) or "0"}), "state")
    assert site.gate.count(TOKEN) == 0


@pytest.mark.parametrize("states", [0, 2])
def test_a_state_stands_there_once(hub: Hub, site: Site, states: int) -> None:
    """Which of two holds is nobody's guess."""
    visitor = site.known_visitor("alice")
    query = query_of(visitor.authorise("alice"))
    address = callback_with(site, code=query["code"]) + f"&state={query['state']}" * states
    refused_arrival(hub, visitor, address, "state")


def test_a_callback_from_another_browser_is_refused(hub: Hub, site: Site) -> None:
    """Else a victim who follows a link would work in the attacker's account, and put their data there."""
    callback = site.known_visitor("bob").authorise("bob")
    refused_arrival(hub, site.visitor(), callback, "state")
    victim, _ = begun(site)
    refused_arrival(hub, victim, callback, "state")


def test_a_callback_holds_once(hub: Hub, site: Site) -> None:
    """The second time it is refused, in the same browser, too; the session of the first stays."""
    visitor = site.known_visitor("alice")
    callback = visitor.authorise("alice")
    cookies = [cookie for cookie in visitor.jar if cookie.name.startswith(COOKIE)]
    assert visitor.arrive(callback).status < 400
    site.gate.forget()
    again = visitor.arrive(callback)
    assert (again.status, "Reason: state" in Page(again).text) == (400, True)
    assert visitor.get("/hub/home", redirects=False).status == 200
    thief = site.visitor()  # who has copied the cookie as well
    for cookie in cookies:
        thief.jar.set_cookie(cookie)
    refused_arrival(hub, thief, callback, "state")
    assert site.gate.count(TOKEN) == 0


def test_a_login_that_took_too_long_is_refused(hub: Hub, site: Site) -> None:
    """A cookie of yesterday, signed by this very hub, holds no more."""
    visitor = site.known_visitor("alice")
    callback = visitor.authorise("alice")
    (cookie,) = [cookie for cookie in visitor.jar if cookie.name.startswith(COOKIE)]
    secret = bytes.fromhex((hub.folder / "cookie_secret").read_text().strip())
    begun_at = time.time() - 1000
    text = f'{{"id": "{query_of(callback)["state"]}", "nonce": "n", "verifier": "v", "next": "", "begun": {begun_at}}}'
    cookie.value = create_signed_value(secret, cookie.name, text).decode()
    visitor.jar.set_cookie(cookie)
    refused_arrival(hub, visitor, callback, "state")


@pytest.mark.parametrize("value", ["", "x", "2|1:0|10:1|4:name|0:|00", "é"])
def test_a_cookie_that_the_hub_did_not_sign_is_refused(hub: Hub, site: Site, value: str) -> None:
    """Whatever stands in it."""
    visitor = site.known_visitor("alice")
    callback = visitor.authorise("alice")
    (cookie,) = [cookie for cookie in visitor.jar if cookie.name.startswith(COOKIE)]
    cookie.value = quote(value)
    visitor.jar.set_cookie(cookie)
    refused_arrival(hub, visitor, callback, "state")


def test_a_code_that_was_used_is_refused(hub: Hub, site: Site) -> None:
    """With a new state of the same browser it is Keycloak that says no; the page tells what to do."""
    visitor = site.known_visitor("alice")
    used = query_of(visitor.authorise("alice"))
    visitor.arrive(callback_with(site, **used))
    other, state = begun(site)
    page = refused_arrival(hub, other, callback_with(site, **{**used, "state": state}), "code")
    assert "log in again" in page.text


def test_a_code_of_another_login_is_refused(hub: Hub, site: Site) -> None:
    """PKCE: a code holds for the browser that began the login, also when it was never used."""
    stolen = query_of(site.known_visitor("alice").authorise("alice"))
    thief, state = begun(site)
    refused_arrival(hub, thief, callback_with(site, **{**stolen, "state": state}), "code")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "code"),
        ({"code": ""}, "code"),
        ({"code": "x"}, "code"),
        ({"code": "x" * 3000}, "code"),
        ({"code": "a\nb"}, "code"),
        ({"error": "access_denied"}, "denied"),
        ({"error": "access_denied", "code": "x"}, "denied"),
        ({"error": "<script>alert(1)</script>", "error_description": "<b>" * 100}, "denied"),
        ({"error": "x", "error_description": "two\nlines [I 2026-01-01 JupyterHub] User logged in: root"}, "denied"),
        ({"error": "temporarily_unavailable"}, "unavailable"),
        ({"error": "temporarily_unavailable", "error_description": "authentication_expired"}, "code"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_comes_back_in_place_of_a_code(hub: Hub, site: Site, query: dict[str, str], reason: str) -> None:
    """Each answer has its label; what the address says is never markup, and never a line of the log."""
    visitor, state = begun(site)
    before = len(hub.log_text())
    callback = callback_with(site, state=state, **query)
    answer = visitor.get(callback)
    assert f"Reason: {reason}" in Page(answer).text
    assert "<script>alert" not in answer.text
    log = hub.log_text()[before:]
    assert len(re.findall(f"reason={reason}: ", log)) == 1
    assert not re.search(r"(?m)^lines", log)
    assert max(map(len, log.splitlines())) < 1000


PLACES = [
    "https://evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "\thttps://evil.example",
    " //evil.example",
    "https:evil.example",
    "https:///evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "//evil.example/hub/home",
    "HUB.evil.example/hub/home",
    "HUB@evil.example/hub/home",
    "/hub/../..//evil.example",
    "/hub/%2e%2e/%2f%2fevil.example",
    "/hub/home\r\nLocation: https://evil.example",
    "/hub/home\x00",
]


@pytest.mark.parametrize("place", PLACES, ids=ascii)
@pytest.mark.parametrize("where", ["at the beginning", "at the callback"])
def test_nobody_is_sent_out_of_the_hub_after_a_login(hub: Hub, site: Site, place: str, where: str) -> None:
    """``next`` is taken where it leads into this hub, and forgotten otherwise."""
    place = place.replace("HUB", site.url)
    visitor = site.known_visitor("alice")
    if where == "at the beginning":
        callback = visitor.authorise("alice", next_path=place)
    else:
        callback = f"{visitor.authorise('alice')}&next={quote(place, safe='')}"
    answer = visitor.get(callback, redirects=False)
    assert answer.status == 302
    goal = urlsplit(visitor.target(answer))
    assert (goal.netloc, goal.scheme) == (urlsplit(site.url).netloc, "http")
    assert re.match(rf"({site.url})?/(?![/\\])", answer.headers["Location"])
    assert "evil" not in (goal.hostname or "")
    assert answer.headers["Location"].isprintable()


def test_a_login_cookie_is_for_the_hub_alone(hub: Hub, site: Site) -> None:
    """Scripts do not read it, other sites do not have it sent, servers of users never see it."""
    answer = site.visitor().get("/hub/oauth_login", redirects=False)
    (cookie,) = [part for part in answer.headers["Set-Cookie"].split(", nb") if COOKIE.removeprefix("nb") in part]
    lower = cookie.lower()
    assert "httponly" in lower
    assert "samesite=lax" in lower
    assert "path=/hub/" in lower
    assert "expires=" in lower


def test_logins_that_are_begun_and_left_do_not_pile_up(hub: Hub, site: Site) -> None:
    """A browser's cookies must not grow until the hub refuses its requests; the newest login still works."""
    visitor = site.known_visitor("alice")
    for _ in range(20):
        visitor.get("/hub/oauth_login", redirects=False)
    assert len([cookie for cookie in visitor.jar if cookie.name.startswith(COOKIE)]) <= 8
    assert visitor.arrive(visitor.authorise("alice")).status < 400


def test_each_login_has_secrets_of_its_own(hub: Hub, site: Site) -> None:
    """State, nonce and PKCE challenge are never used twice; the request for a code says S256."""
    queries = [query_of(Visitor.target(site.visitor().get("/hub/oauth_login", redirects=False))) for _ in range(5)]
    for name in ("state", "nonce", "code_challenge"):
        assert len({query[name] for query in queries}) == 5
    assert {(query["response_type"], query["code_challenge_method"]) for query in queries} == {("code", "S256")}
    assert all("secret" not in query for query in queries)


def test_a_failed_login_leaves_no_user_behind(hub: Hub, site: Site) -> None:
    """Somebody who is refused is not written into the hub's database."""
    with site.admin.user("stray", uid_number=62150, gid_number=61000):
        visitor = site.visitor()
        refused_arrival(hub, visitor, visitor.authorise("stray"), "account")
    assert "stray" not in {user["name"] for user in hub.api("GET", "users").json}


def test_a_second_person_in_the_same_browser_is_not_the_first(hub: Hub, site: Site) -> None:
    """Who logs in anew is who they are now."""
    visitor = logged_in(site, "alice")
    visitor.jar.clear(domain="127.0.0.1", path="/realms/site/")
    visitor.log_in("bob")
    assert "bob" in Page(visitor.get("/hub/home")).text
    assert visitor.get("/hub/api/user", redirects=False).status in (200, 403)


def test_logins_that_are_begun_never_fill_the_header(hub: Hub, site: Site) -> None:
    """Links can make a browser begin many, with a place to go afterwards that is as long as an address may be."""
    visitor = site.log_in("alice")
    for _ in range(12):
        assert visitor.get(f"/hub/oauth_login?next=/hub/{'x' * 2600}", redirects=False).status == 302
    assert len(visitor.cookies("/hub/home")) < 12_000
    assert visitor.get("/hub/home", redirects=False).status == 200
    assert visitor.log_in("alice", next_path=f"/hub/home?{'x' * 2600}").status == 200


@pytest.mark.parametrize("state", ["", "é", "0" * 32, "a&state=b"])
def test_the_page_after_a_logout_takes_any_state(hub: Hub, site: Site, state: str) -> None:
    """Whoever calls it."""
    assert site.visitor().get(f"/hub/keycloak/logged_out?state={quote(state)}").status == 200
    assert "Traceback" not in hub.log_text()


def test_who_is_refused_may_come_as_somebody_else(hub: Hub, site: Site) -> None:
    """The session at Keycloak ends first, or the same person would come back at once."""
    visitor = site.visitor()
    page = visitor.arrive(visitor.authorise("nouid"))
    again, other = (link for link in Page(page).links if link.endswith(("oauth_login", "leave_keycloak=1")))
    assert "Reason: claims" in Page(visitor.go("GET", again)).text
    asked = visitor.go("GET", other)
    assert "log out" in Page(asked).text.lower()
    visitor.submit(asked, {"confirmLogout": "Logout"})
    visitor.log_in("alice")
