"""What every refused login has in common: a page with words and a label, one line in the log, no session, no secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from nbplatform_spawners.oidc.refusals import LOGIN_REFUSALS
from tests.components.hub import Answer, Hub
from tests.components.keycloak_gate import TOKEN
from tests.components.visitor import Page, Visitor
from tests.keycloak.site import Site
from tests.keycloak.tokens import Plain

LINE = r"login refused user=(\S+) from=(\S+) reason=(\S+): (.*)"


def refused_login(hub: Hub, site: Site, username: str, reason: str) -> Page:
    """Come from Keycloak, and be refused by the hub with ``reason``; returns the hub's page."""
    visitor = site.known_visitor(username)
    return refused_arrival(hub, visitor, visitor.authorise(username), reason)


def refused_arrival(hub: Hub, visitor: Visitor, callback: str, reason: str) -> Page:
    """Come to the hub's callback, and be refused with ``reason``; returns the hub's page."""
    before = len(hub.log_text())
    answer = visitor.arrive(callback)
    page = Page(answer)
    log = hub.log_text()[before:]
    assert f"Reason: {reason}" in page.text, f"{answer.status}: {page.text}\n{log}"
    assert answer.status == LOGIN_REFUSALS[reason].status
    told = [found[3] for found in re.finditer(LINE, log)]
    assert told == [reason], log
    assert "Traceback" not in log
    no_session(visitor)
    no_secret(callback, answer, log)
    return page


def no_session(visitor: Visitor) -> None:
    """The visitor is nobody to the hub."""
    answer = visitor.get("/hub/home", redirects=False)
    assert (answer.status, urlsplit(answer.headers["Location"]).path) == (302, "/hub/login")


def no_secret(callback: str, answer: Answer, log: str) -> None:
    """Neither page nor log hold the code or a token."""
    for code in parse_qs(urlsplit(callback).query).get("code", ()):
        assert code not in answer.text
        assert code not in log
    for text in (answer.text, log):
        assert not re.search(r"eyJ[\w-]{10,}", text), text


def refused_with_token(hub: Hub, site: Site, change: Callable[[Plain], Plain], username: str, reason: str) -> Page:
    """Log in while the token endpoint's answer is changed; see ``Gate.change``."""
    site.gate.change(TOKEN, change)
    return refused_login(hub, site, username, reason)


def stock_lets_in(site: Site, change: Callable[[Plain], Plain], username: str) -> bool:
    """Log in at the stock hub while the token endpoint's answer is changed; tells whether it lets the visitor in."""
    site.gate.change(TOKEN, change)
    visitor = site.known_visitor(username)
    visitor.arrive(visitor.authorise(username))
    return visitor.get("/hub/home", redirects=False).status == 200


def logged_in(site: Site, username: str) -> Visitor:
    """Log in, or fail with the page's words."""
    visitor = site.known_visitor(username)
    answer = visitor.arrive(visitor.authorise(username))
    if answer.status >= 400 or visitor.get("/hub/home", redirects=False).status != 200:
        pytest.fail(f"{username} is refused: {Page(answer).text}")
    return visitor
