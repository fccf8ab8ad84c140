"""What comes in between: a token that changes while the directory is away, a logout while somebody logs in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.components.hub import Hub, start_server
from tests.components.keycloak import Keycloak
from tests.components.keycloak_gate import TOKEN
from tests.components.need import need
from tests.components.visitor import Page
from tests.keycloak.own_realm import DUE, due, eventually, is_in, own_realm_site
from tests.keycloak.refused import refused_with_token
from tests.keycloak.site import Site, site_hub
from tests.keycloak.tokens import id_token_changed

FAILS = """
def fail(authenticator, handler, auth_model):
    if auth_model["name"] == "carol":
        raise RuntimeError("a hook of the site's own is broken")
    return auth_model

c.Authenticator.post_auth_hook = fail
"""


@pytest.fixture(scope="module")
def site(keycloak: Keycloak) -> Iterator[Site]:
    """A site with a realm of its own."""
    with own_realm_site(keycloak) as one:
        yield one


@pytest.fixture(scope="module")
def shared_hub(site: Site) -> Iterator[Hub]:
    """The module's hub."""
    with need(site_hub(site, more=DUE + FAILS)) as hub:
        yield hub


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "another uid": ({"uid_number": 62150}, "other-person"),
    "another gid": ({"gid_number": 61999}, "other-person"),
    "an end that has come": ({"valid_until": "2020-01-01T00:00:00Z"}, "account"),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
def test_what_the_token_says_now_counts_also_while_the_directory_is_away(
    hub: Hub, site: Site, change: dict[str, Any], reason: str
) -> None:
    """What is remembered helps nobody to files that are no longer theirs."""
    visitor = site.log_in("alice")
    (site.top / "accounts.yaml").unlink()
    forged = id_token_changed(site.keycloak.site_keys.signing, **change)
    refused_with_token(hub, site, forged, "alice", reason)
    site.gate.clear()
    assert is_in(visitor), "the session from before is as it was"
    site.gate.change(TOKEN, forged)
    due(hub)
    still_in = is_in(visitor)
    assert still_in == (reason == "other-person")  # told apart where the directory is needed: before the spawn
    if still_in:
        told = start_server(hub, "alice")[-1]
        assert not told.get("ready")
        assert "account" in told["message"].lower()


def test_a_logout_at_keycloak_during_a_login_is_not_lost(hub: Hub, site: Site) -> None:
    """It comes before the hub knows of the session that it ends."""
    visitor = site.visitor()
    callback = visitor.authorise("bob")
    held = site.gate.hold(TOKEN)
    pages = []
    arriving = threading.Thread(target=lambda: pages.append(visitor.arrive(callback)))
    arriving.start()
    held.wait()
    site.admin.logout("bob", site.realm)
    eventually(lambda: "backchannel_logout" in hub.log_text())
    held.release()
    arriving.join()
    assert pages[0].status == 400
    assert "Reason: code" in Page(pages[0]).text
    assert not is_in(visitor)


def test_an_error_of_the_site_s_own_shows_no_code(hub: Hub, site: Site) -> None:
    """The log has the trace, and not the request."""
    visitor = site.visitor()
    callback = visitor.authorise("carol")
    assert visitor.arrive(callback).status == 500
    assert "a hook of the site's own is broken" in hub.log_text()
    code = callback.partition("code=")[2].partition("&")[0]
    assert len(code) > 20
    assert code not in hub.log_text()
