"""Keycloak's own process killed while people work: logins say so, sessions and starts go on, and it comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from tests.components.hub import Hub, start_server
from tests.components.keycloak import fresh_keycloak
from tests.components.need import need
from tests.components.visitor import Page
from tests.keycloak.own_realm import DUE, due, is_in
from tests.keycloak.site import Site, keycloak_site, site_hub

MORE = DUE + "c.KeycloakAuthenticator.request_timeout = 1\n"


@pytest.fixture
def place() -> Iterator[tuple[Site, Hub]]:
    """A site and a hub on a Keycloak that nobody else uses."""
    with (
        need(fresh_keycloak()) as keycloak,
        suppress(requests.ConnectionError),  # the site's client cannot be removed any more
        keycloak_site(keycloak) as site,
        need(site_hub(site, more=MORE)) as hub,
    ):
        yield site, hub


def test_keycloak_is_killed_at_a_login_at_a_refresh_and_before_a_spawn(place: tuple[Site, Hub]) -> None:
    """Not refused at a gate: the process is gone, with what it had in memory."""
    site, hub = place
    visitor = site.log_in("alice")
    halfway = site.visitor()
    callback = halfway.authorise("bob")
    os.kill(site.keycloak.pid, signal.SIGKILL)
    page = halfway.arrive(callback)
    assert page.status == 503
    assert "Reason: unavailable" in Page(page).text
    due(hub)
    assert is_in(visitor), "who is in stays in"
    token = hub.api("POST", "users/alice/tokens").json["token"]
    assert start_server(hub, "alice", token=token)[-1].get("ready"), "and may start a server"
