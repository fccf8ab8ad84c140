"""The same traps on oauthenticator's own generic class: it falls into them, so that the tests of ours can fail.

One stock hub, the same Keycloak, the same client, the same forged tokens.  Where stock refuses as well, or fails with a
bare error, that is written here, too: the day it changes, this says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.components.hub import Hub
from tests.components.keycloak import Keycloak
from tests.components.keycloak_gate import CERTS, TOKEN
from tests.components.need import need
from tests.components.visitor import Page
from tests.keycloak.forgeries import FORGERIES, Forgery, Real
from tests.keycloak.refused import stock_lets_in
from tests.keycloak.site import Site, keycloak_site, site_hub
from tests.keycloak.tokens import Plain, id_token_changed, payload_of, seconds_from_now


@pytest.fixture(scope="module")
def stock(keycloak: Keycloak) -> Iterator[tuple[Site, Hub]]:
    """The stock hub."""
    with keycloak_site(keycloak) as site, need(site_hub(site, site.stock_config)) as hub:
        yield site, hub


@pytest.fixture
def stock_site(stock: tuple[Site, Hub]) -> Iterator[Site]:
    """Its site; the gate is put back."""
    site = stock[0]
    yield site
    site.put_back()


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
def test_stock_and_forged_tokens(stock_site: Site, keycloak: Keycloak, forgery: Forgery) -> None:
    """It decodes the id_token without a look at signature, key, issuer or nonce."""

    def change(answer: Plain) -> Plain:
        return {**answer, "id_token": forgery.make(Real(answer, keycloak.site_keys, keycloak.edugain_keys))}

    assert stock_lets_in(stock_site, change, "alice") == forgery.stock


def test_stock_sends_no_nonce_and_never_asks_for_a_key(stock_site: Site) -> None:
    """What it does not send and fetch it cannot check."""
    stock_site.gate.forget()
    stock_site.log_in("alice")
    (begin,) = [request for request in stock_site.gate.seen if "/auth?" in request]
    assert "nonce=" not in begin
    assert stock_site.gate.count(CERTS) == 0


@pytest.mark.parametrize("username", ["nouid", "lapsed"])
def test_stock_lets_in_who_has_no_account(stock_site: Site, username: str) -> None:
    """Without a uid, and with an account that ended in 2020."""
    stock_site.log_in(username)


def test_stock_takes_another_person_of_the_same_name(stock_site: Site) -> None:
    """The hub user is a name; who had it before does not matter."""
    for _ in range(2):
        with stock_site.admin.user("nina"):
            stock_site.log_in("nina")


def test_stock_shows_the_whole_token_when_clocks_differ(stock_site: Site, keycloak: Keycloak) -> None:
    """A page with status 500, and the token in it."""
    change = id_token_changed(keycloak.site_keys.signing, exp=lambda _: seconds_from_now(-90))
    sent: list[str] = []

    def noted(answer: Plain) -> Plain:
        new = change(answer)
        sent.append(new["id_token"])
        return new

    stock_site.gate.change(TOKEN, noted)
    visitor = stock_site.visitor()
    answer = visitor.arrive(visitor.authorise("alice"))
    assert answer.status == 500
    assert payload_of(sent[0])
    assert sent[0] in answer.text


@pytest.mark.parametrize("what", ["code", "down", "client"])
def test_stock_answers_trouble_with_a_bare_500(stock_site: Site, what: str) -> None:
    """A code that does not hold, a Keycloak that is away, a wrong secret: no word of what to do."""
    visitor = stock_site.visitor()
    callback = visitor.authorise("alice")
    if what == "down":
        stock_site.gate.answer(TOKEN, 503, {"error": "down"})
    elif what == "client":
        stock_site.gate.answer(TOKEN, 401, {"error": "unauthorized_client", "error_description": "Invalid client"})
    else:
        callback = re.sub("code=[^&]+", "code=used", callback)
    answer = visitor.arrive(callback)
    assert (answer.status, "Reason:" in Page(answer).text) == (500, False)
