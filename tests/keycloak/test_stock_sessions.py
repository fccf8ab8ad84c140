"""How oauthenticator's own generic class treats sessions: it falls into the traps that ours is tested for.

One stock hub that asks Keycloak's userinfo at each refresh, so that it could learn of an end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.components.hub import Hub, start_server, stop_server
from tests.components.keycloak import Keycloak
from tests.components.keycloak_gate import TOKEN, USERINFO
from tests.components.need import need
from tests.components.visitor import Visitor
from tests.keycloak.own_realm import HOME, auth_state, eventually, is_in, logged, own_realm_site
from tests.keycloak.site import Site, site_hub

FROM_ID_TOKEN = "userdata_from_id_token = True"
FROM_USERINFO = 'userdata_url = "ISSUER/protocol/openid-connect/userinfo"'
MORE = f"""
from jupyterhub.handlers import BaseHandler

class Due(BaseHandler):
    def get(self):
        for user in self.users.values():
            user._auth_refreshed = None

c.JupyterHub.extra_handlers = [("/due", Due)]
c.Spawner.cmd = [{sys.executable!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.SimpleLocalProcessSpawner.home_dir_template = "TOP/stock/{{username}}"
"""


@pytest.fixture(scope="module")
def stock(keycloak: Keycloak) -> Iterator[tuple[Site, Hub]]:
    """The stock hub, and a realm whose sessions may be ended."""
    with own_realm_site(keycloak) as site:
        config = site.stock_config.replace(FROM_ID_TOKEN, site.placed(FROM_USERINFO))
        with need(site_hub(site, config, more=MORE)) as hub:
            yield site, hub


@pytest.fixture
def site(stock: tuple[Site, Hub]) -> Iterator[Site]:
    """Its site; the gate is put back."""
    stock[0].put_back()
    yield stock[0]
    stock[0].put_back()


@pytest.fixture
def hub(stock: tuple[Site, Hub]) -> Hub:
    """The hub itself."""
    return stock[1]


def due(hub: Hub) -> None:
    """Make every session due for a refresh."""
    assert hub.visit().get("/hub/due").status == 200


def test_stock_refuses_the_back_channel_logout(site: Site, hub: Hub) -> None:
    """Keycloak's own POST gets 403, as a form's token is missing; the session here lives on."""
    bob = site.log_in("bob", next_path=HOME)
    begin = len(hub.log_text())
    site.admin.logout("bob", site.realm)
    eventually(lambda: "403 POST /hub/keycloak/backchannel_logout" in hub.log_text()[begin:])
    assert is_in(bob)


def test_stock_logs_out_at_the_hub_alone(site: Site, hub: Hub) -> None:
    """The session at Keycloak lives, the next login asks for no password, and the database keeps the tokens."""
    alice = site.log_in("alice", next_path=HOME)
    alice.get("/hub/logout")
    assert not is_in(alice)
    assert auth_state(hub, "alice")["refresh_token"]
    assert site.admin.sessions("alice", site.realm)
    assert urlsplit(alice.authorise("", "")).path == "/hub/oauth_callback", "Keycloak showed its form"


def test_stock_logs_out_everybody_while_keycloak_is_down(site: Site, hub: Hub) -> None:
    """Whose session is due loses it, and the log gets a traceback each time."""
    alice = site.log_in("alice", next_path=HOME)
    due(hub)
    site.gate.down()
    lines = logged(hub, lambda: _assert_out(alice))
    assert "Traceback" in lines
    assert "ConnectionRefusedError" in lines


def _assert_out(visitor: Visitor) -> None:
    assert not is_in(visitor)


def test_stock_logs_out_whose_token_ends_while_keycloak_is_down(site: Site, hub: Hub) -> None:
    """A refresh that gets no answer counts as one that was refused."""
    alice = site.log_in("alice", next_path=HOME)
    due(hub)
    site.gate.answer(USERINFO, 401, {"error": "invalid_token"})
    site.gate.answer(TOKEN, 503, {"error": "down"})
    assert not is_in(alice)


def test_stock_logs_the_code_of_a_callback_that_failed(site: Site, hub: Hub) -> None:
    """Whoever reads the log can take part in a login: the code, not used yet, stands there."""
    callback = site.visitor().authorise("alice")
    code = parse_qs(urlsplit(callback).query)["code"][0]
    lines = logged(hub, lambda: site.visitor().arrive(callback))
    assert f"code={code}" in lines


def test_stock_spawns_for_who_was_logged_out_by_an_administrator(site: Site, hub: Hub) -> None:
    """Nothing is asked before a spawn: with their API token the person gets a server, though the session has ended."""
    bob = site.log_in("bob", next_path=HOME)
    token = hub.api("POST", "users/bob/tokens").json["token"]
    site.admin.logout("bob", site.realm)
    due(hub)
    try:
        assert start_server(hub, "bob", token=token)[-1].get("ready"), hub.log_text()[-2000:]
    finally:
        stop_server(hub, "bob")
    assert not is_in(bob), "the hub would know, had it asked"
