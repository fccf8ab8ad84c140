"""Keycloak away, hung, broken or set up wrongly while somebody logs in: a page with words, and a hub that goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.components.hub import Answer, Hub
from tests.components.keycloak import Keycloak
from tests.components.keycloak_gate import CERTS, DISCOVERY, TOKEN, Fault, Gate
from tests.components.keycloak_realms import CLIENT_SECRET, RealmKey
from tests.components.need import need
from tests.components.visitor import Page
from tests.keycloak.refused import logged_in, no_session, refused_arrival, refused_login
from tests.keycloak.site import Site, keycloak_site, site_hub
from tests.keycloak.tokens import id_token_replaced, signed

IMPATIENT = "c.KeycloakAuthenticator.request_timeout = 2\n"

Break = Callable[[Gate, str], object]


@pytest.fixture(scope="module")
def impatient(keycloak: Keycloak) -> Iterator[tuple[Site, Hub]]:
    """A hub that waits for Keycloak for two seconds."""
    with keycloak_site(keycloak) as site, need(site_hub(site, more=IMPATIENT)) as hub:
        yield site, hub


@pytest.fixture
def hub(impatient: tuple[Site, Hub]) -> Iterator[Hub]:
    """That hub; the gate is put back."""
    yield impatient[1]
    impatient[0].put_back()


@pytest.fixture
def site(impatient: tuple[Site, Hub]) -> Site:
    """Its site."""
    return impatient[0]


BREAKS: dict[str, Break] = {
    "killed": lambda gate, _: gate.down(),
    "connection dropped": lambda gate, pattern: gate.drop(pattern),
    "cut in the middle": lambda gate, pattern: gate.cut(pattern),
    "hung": lambda gate, pattern: gate.hold(pattern),
    "500 as a page": lambda gate, pattern: gate.answer(pattern, 500, "<h1>Internal Server Error</h1>"),
    "502 of a proxy": lambda gate, pattern: gate.answer(pattern, 502, "<h1>Bad Gateway</h1>"),
    "503 as JSON": lambda gate, pattern: gate.answer(pattern, 503, {"error": "temporarily_unavailable"}),
    "404": lambda gate, pattern: gate.answer(pattern, 404, {"error": "Realm does not exist"}),
    "429": lambda gate, pattern: gate.answer(pattern, 429, {"error": "slow down"}),
    "a page in place of JSON": lambda gate, pattern: gate.answer(pattern, 200, "<h1>Maintenance</h1>"),
    "a list in place of an object": lambda gate, pattern: gate.answer(pattern, 200, [1]),
    "nothing": lambda gate, pattern: gate.answer(pattern, 200, ""),
    "deep JSON": lambda gate, pattern: gate.answer(pattern, 200, "[" * 100_000),
    "very much": lambda gate, pattern: gate.answer(pattern, 200, {"x": "y" * 3_000_000}),
}

SOME = ("killed", "cut in the middle", "hung", "502 of a proxy", "a page in place of JSON")


@pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS.keys())
def test_a_token_endpoint_in_trouble_is_said_and_passes(hub: Hub, site: Site, how: Break) -> None:
    """The same label whatever is broken, no stack trace, and the next login works by itself."""
    visitor = site.known_visitor("alice")
    callback = visitor.authorise("alice")
    how(site.gate, TOKEN)
    page = refused_arrival(hub, visitor, callback, "unavailable")
    assert "try again" in page.text
    site.gate.clear()
    logged_in(site, "alice")


def test_an_answer_of_an_empty_object_is_no_login(hub: Hub, site: Site) -> None:
    """Nobody is logged in by an answer that says nothing."""
    site.gate.answer(TOKEN, 200, {})
    refused_login(hub, site, "alice", "malformed")


def test_discovery_and_keys_in_trouble_are_said_and_pass(own_site: Site) -> None:
    """A hub that has never reached Keycloak: each request says so, until it answers; then nothing needs a restart."""
    own_site.gate.answer(DISCOVERY, 500)
    with need(site_hub(own_site, more=IMPATIENT)) as hub:
        for how in (BREAKS[name] for name in SOME):
            for page in pages_until_asked(own_site, DISCOVERY, how, lambda: own_site.visitor().begin()):
                assert (page.status, "Reason: unavailable" in Page(page).text) == (503, True)
        own_site.gate.clear()
        wait_for_login_page(own_site)
        for how in (BREAKS[name] for name in SOME[1:]):  # killed, the token endpoint would be away as well
            for page in pages_until_asked(own_site, CERTS, how, lambda: arrived(own_site)):
                assert (page.status, "Reason: unavailable" in Page(page).text) == (503, True)
        own_site.gate.clear()
        wait_for_login(own_site, "alice")
        bob = own_site.known_visitor("bob")
        callback = bob.authorise("bob")  # not later: browsers are sent only where Keycloak has just answered
        own_site.gate.drop(CERTS)
        own_site.gate.drop(DISCOVERY)
        assert bob.arrive(callback).status < 400
        assert bob.get("/hub/home", redirects=False).status == 200
        assert "Traceback" not in hub.log_text()


def pages_until_asked(site: Site, pattern: str, how: Break, ask: Callable[[], Answer]) -> Iterator[Answer]:
    """Break one endpoint and ask the hub until it asks there; it remembers a failure for a moment."""
    site.gate.clear()
    fault = how(site.gate, pattern)
    yield ask()
    while isinstance(fault, Fault) and not fault.came.is_set():
        yield ask()


def arrived(site: Site) -> Answer:
    """Come to the hub's callback from Keycloak."""
    visitor = site.known_visitor("alice")
    return visitor.arrive(visitor.authorise("alice"))


def wait_for_login_page(site: Site) -> None:
    """Ask until Keycloak's page comes; a failure is remembered for a moment."""
    wait_until(lambda: site.visitor().begin().status == 200, "the hub does not find Keycloak again")


def wait_for_login(site: Site, username: str) -> None:
    """Log in until it works."""

    def works() -> bool:
        visitor = site.known_visitor(username)
        return visitor.arrive(visitor.authorise(username)).status < 400

    wait_until(works, "the hub does not find Keycloak's keys again")


def wait_until(holds: Callable[[], bool], why_not: str) -> None:
    """Ask again and again for as long as a busy machine may need."""
    limit = time.monotonic() + 60
    while not holds():
        if time.monotonic() > limit:
            pytest.fail(why_not)
        time.sleep(0.1)


def test_a_realm_that_calls_itself_otherwise_is_not_used(own_site: Site) -> None:
    """A wrong address in the configuration, or somebody in between: nobody is sent there."""
    names: list[object] = ["https://elsewhere.example/realms/site", None, 5, own_site.issuer + "/"]
    told = iter((names[0], *names))  # the hub asks once by itself
    own_site.gate.change(DISCOVERY, lambda document: {**document, "issuer": next(told)})
    with need(site_hub(own_site)) as hub:
        hub.wait_for_log("is not usable")
        for _ in names:
            visitor = own_site.visitor()
            assert "Reason: issuer" in Page(visitor.begin()).text
            assert not [hop for hop in visitor.hops if own_site.gate.url in hop]
        own_site.gate.clear()
        logged_in(own_site, "alice")


def test_a_key_that_is_not_known_while_keys_cannot_be_asked_is_an_outage(hub: Hub, site: Site) -> None:
    """It may be a new key of Keycloak's: that is not the same as a forged token."""
    logged_in(site, "alice")
    strange = RealmKey.made("new")
    site.gate.change(TOKEN, id_token_replaced(lambda said: signed(said, strange)))
    site.gate.drop(CERTS)
    refused_login(hub, site, "alice", "unavailable")
    site.gate.clear()
    logged_in(site, "alice")


def test_a_hub_whose_secret_is_wrong_says_so(hub: Hub, site: Site) -> None:
    """It is the administrator's to mend, and the page does not tell the user to try again."""
    site.admin.set_client(site.client_id, secret="another")
    try:
        page = refused_login(hub, site, "alice", "client")
        assert CLIENT_SECRET not in page.text
    finally:
        site.admin.set_client(site.client_id, secret=CLIENT_SECRET)
    assert CLIENT_SECRET not in hub.log_text()
    logged_in(site, "alice")


def test_a_hung_keycloak_holds_up_nobody_else(hub: Hub, site: Site) -> None:
    """Twenty logins wait, and who is logged in goes on; each of the twenty gets a page."""
    at_work = logged_in(site, "bob")
    visitors = [site.known_visitor("alice") for _ in range(20)]
    callbacks = [visitor.authorise("alice") for visitor in visitors]
    held = site.gate.hold(TOKEN)
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(visitor.arrive, address) for visitor, address in zip(visitors, callbacks, strict=True)]
        held.wait()
        assert at_work.get("/hub/home").status == 200
        assert hub.api("GET", "users/bob").status == 200
        assert {answer.result().status for answer in waiting} == {503}
    site.gate.clear()
    logged_in(site, "alice")


def test_the_process_of_keycloak_stands_still(hub: Hub, site: Site, keycloak: Keycloak) -> None:
    """The kernel still takes connections for it, and nobody answers."""
    visitor = site.known_visitor("alice")
    callback = visitor.authorise("alice")
    with keycloak.hung():
        refused_arrival(hub, visitor, callback, "unavailable")
    logged_in(site, "alice")


def test_a_visitor_who_goes_away_leaves_nothing(hub: Hub, site: Site) -> None:
    """A login that is begun and never finished is no session, and no user."""
    visitor = site.visitor()
    assert visitor.begin().status == 200
    no_session(visitor)
