"""The door to the hub against a real JupyterHub, with the service's scopes alone: pages, hostile names, stops."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

import pytest

from nbplatform_spawners.hub_api import HubApi, HubError
from tests.components.hub import Hub, running_hub
from tests.components.need import need

NAMES = ["ada", "a b", "%2f", "ünï ☃", "a?x=1#y", "a+b@c.org", "a%20b", "'\"<&>"]
TOKEN = secrets.token_hex(16)
SERVER = """
import http.server, os, urllib.parse
address = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer((address.hostname, address.port), Handler).serve_forever()
"""
CONFIG = """
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = [{python!r}, {server!r}]
c.Spawner.args = []
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.JupyterHub.services = [dict(name="culler", api_token={token!r})]
c.JupyterHub.load_roles = [
    dict(name="culler", services=["culler"], scopes=[
        "list:users", "read:servers", "admin:server_state", "delete:servers", "access:servers",
    ]),
]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Run a hub with a tiny server for each name, and a named one."""
    folder = tmp_path_factory.mktemp("servers")
    server = folder / "server.py"
    server.write_text(SERVER, encoding="utf-8")
    config = CONFIG.format(python=sys.executable, server=str(server), home=str(folder), token=TOKEN)
    with need(running_hub(config)) as found:
        for name in NAMES:
            path = f"users/{quote(name, safe='')}"
            assert found.api("POST", path).status in (201, 409), name
            assert found.api("POST", f"{path}/server").status in (201, 202), name
        assert found.api("POST", "users/ada/servers/train").status in (201, 202)
        assert found.api("POST", "users/zoe").status == 201
        yield found


@pytest.fixture
async def api(hub: Hub) -> AsyncIterator[HubApi]:
    """Open the door to it, with small pages."""
    found = HubApi(f"{hub.hub_url}/hub/api", TOKEN, page_size=3)
    yield found
    found.close()


async def test_a_real_hub_is_listed_page_by_page(api: HubApi) -> None:
    """Its addresses of further pages are those that the door follows; names, servers and their state come."""
    users = {user["name"]: user for user in await api.users()}
    assert set(users) == set(NAMES)
    assert set(users["ada"]["servers"]) == {"", "train"}
    assert users["ada"]["servers"][""]["ready"] is True
    assert users["ada"]["servers"][""]["state"]["pid"] > 0
    assert {user["name"] for user in await api.users(None)} == {*NAMES, "zoe"}
    await api.meet()


@pytest.mark.parametrize("name", NAMES)
async def test_a_real_hub_stops_the_server_of_any_name(api: HubApi, name: str) -> None:
    """The right one, and it is gone from the user's model afterwards."""
    before = {user["name"] for user in await api.users()}
    assert await api.stop(name, "") is True
    user = await api.user(name)
    assert user is not None
    assert "" not in user["servers"]
    gone = before - {user["name"] for user in await api.users()}
    assert gone == ({name} if not user["servers"] else set())


async def test_a_real_hub_forgets_a_named_server(api: HubApi) -> None:
    """With ``remove`` it is in no list any more; a second time there is none."""
    assert await api.stop("ada", "train", remove=True) is True
    user = await api.user("ada")
    assert user is not None
    assert user["servers"] == {}
    assert await api.stop("ada", "train", remove=True) is True


async def test_a_real_hub_without_our_handlers_or_the_scope_says_so(api: HubApi) -> None:
    """It has no board; and it refuses what the service has no scope for."""
    assert await api.ask([("ada", "")]) is None
    assert await api.tell({"epoch": None, "notices": [], "stops": []}) is None
    assert await api.user("nobody") is None
    with pytest.raises(HubError, match="with status 403") as caught:
        await api.delete_user("ada")
    assert caught.value.status == 403
