"""The fast server behind a real hub and proxy, started by ``nbplatform-local``: what users do there works as before."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
import requests
import websocket

from tests.components.hub import Hub, run_cell, run_terminal, running_hub, start_server, stop_server
from tests.components.need import need
from tests.components.servers import Door, ServerTrouble, executed, received, typed
from tests.hub.conftest import temporary_site
from tests.hub.site import ACCOUNTS, GROUPS, PASSWORD, Site

from .servers import wait_for
from .sockets import nodelay

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root sees the sockets of a server in its own view")
PLAIN = "\nc.NbplatformSpawner.speedups = []\nc.NbplatformSpawner.ready_interval = 0\n"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A small site; in ada's HOME lie files that would stop a server that imported them, or took them as settings."""
    with temporary_site() as site:
        home = site.top / "home" / "ada"
        for name in ("jsonschema", "random", "jupyter_server"):
            (home / f"{name}.py").write_text("raise SystemExit('a file of the user is imported')\n")
        (home / ".jupyter").mkdir()
        (home / ".jupyter" / "jupyter_server_config.py").write_text("raise SystemExit('the user configures')\n")
        if os.getuid() == 0:
            os.chown(home / ".jupyter", ACCOUNTS["ada"][0], GROUPS["users"])
        yield site


@pytest.fixture(scope="module")
def hub(site: Site) -> Iterator[Hub]:
    """A hub in which ada's server runs."""
    with need(running_hub(site.config)) as hub:
        hub.api("POST", "users/ada")
        assert start_server(hub, "ada")[-1].get("ready"), hub.log_text()
        yield hub


@pytest.fixture
def door(hub: Hub) -> Door:
    """The way to ada's server through the proxy."""
    return Door(hub, "ada", "", None, None)


def server_sockets(hub: Hub) -> dict[int, bool]:
    """Whether the server sends at once, for each of its connections."""
    state = hub.api("GET", "users/ada").json["servers"][""]["state"]
    process = state["process"]
    return nodelay(process["server_pid"] or process["pid"], state["port"])


def new_kernel(door: Door) -> str:
    """Start a kernel and return its id."""
    return str(door.ask("POST", "api/kernels", {"name": "python3"})["id"])


def channel_of(door: Door, kernel: str) -> AbstractContextManager[websocket.WebSocket]:
    """A WebSocket to a kernel."""
    return door.socket(f"api/kernels/{kernel}/channels", session_id=secrets.token_hex(8))


@needs_root
def test_the_servers_socket_of_a_kernel_sends_at_once(hub: Hub, door: Door) -> None:
    """While the WebSocket is open one connection differs, of those that the proxy holds; afterwards none."""
    wait_for(lambda: not any(server_sockets(hub).values()), "the end of other WebSockets")
    with channel_of(door, new_kernel(door)) as channel:
        assert executed(channel, "1 + 1") == "2\n"
        assert list(server_sockets(hub).values()).count(True) == 1
    wait_for(lambda: not any(server_sockets(hub).values()), "the end of the WebSocket")


@needs_root
def test_the_servers_socket_of_a_terminal_sends_at_once(hub: Hub, door: Door) -> None:
    """The same for a terminal."""
    wait_for(lambda: not any(server_sockets(hub).values()), "the end of other WebSockets")
    terminal = door.ask("POST", "api/terminals", {})["name"]
    with door.socket(f"terminals/websocket/{terminal}") as channel:
        assert typed(channel, "echo typed") == "typed\n"
        assert list(server_sockets(hub).values()).count(True) == 1


def test_keeping_a_server_running_needs_the_pages_own_token_against_forgery(hub: Hub) -> None:
    """A page of the server may ask for more time; one of another site, with the person's cookies, may not."""
    visitor = hub.login("ada", PASSWORD)
    assert visitor.get("/user/ada/lab").status == 200
    extend = "/user/ada/api/nbplatform/extend"
    assert visitor.script("POST", extend).status == 409
    with requests.Session() as forged:
        forged.trust_env = False
        headers = {"Cookie": visitor.cookies(extend), "Origin": "https://example.org"}
        # A 503 is the proxy's own: the server has just closed the connection that the proxy was about to use again.
        for sent, refused in ((headers, {403, 404}), ({"Cookie": headers["Cookie"]}, {403})):
            posts = (forged.post(f"{hub.url}{extend}", headers=sent, timeout=60).status_code for _ in range(5))
            assert next(status for status in posts if status != 503) in refused


def test_two_kernels_are_two(door: Door) -> None:
    """Each keeps its own variables; the list has both, and a closed one is gone."""
    one, other = new_kernel(door), new_kernel(door)
    with channel_of(door, one) as first, channel_of(door, other) as second:
        executed(first, "x = 'first'")
        executed(second, "x = 'second'")
        assert executed(first, "print(x)") == "first\n"
        assert executed(second, "print(x)") == "second\n"
    assert {one, other} <= {kernel["id"] for kernel in door.ask("GET", "api/kernels")}
    door.ask("DELETE", f"api/kernels/{one}")
    assert one not in {kernel["id"] for kernel in door.ask("GET", "api/kernels")}


def test_a_kernel_restarts_under_an_open_socket(door: Door) -> None:
    """The same WebSocket goes on with the new kernel, which knows nothing of the old one."""
    kernel = new_kernel(door)
    with channel_of(door, kernel) as channel:
        executed(channel, "x = 1; import os; print(os.getpid())")
        door.ask("POST", f"api/kernels/{kernel}/restart")
        assert told_by_the_new(channel, "print('x' in dir())") == "False\n"


def told_by_the_new(channel: websocket.WebSocket, code: str) -> str:
    """Run a cell in a kernel that was restarted.

    Jupyter may answer the restart before its own subscription to the new kernel's output stands again: what the kernel
    says until then reaches nobody, and on a busy machine that was a whole cell.  So the cell is sent again.
    """
    channel.settimeout(20)
    for _ in range(5):
        with contextlib.suppress(ServerTrouble):
            return executed(channel, code)
    pytest.fail("the restarted kernel never answers on the open socket")


def test_a_running_cell_is_interrupted(door: Door) -> None:
    """A cell that sleeps for an hour ends with KeyboardInterrupt, and the kernel goes on."""
    kernel = new_kernel(door)
    with channel_of(door, kernel) as channel:
        ask_for(channel, "import time\nprint('begun', flush=True)\ntime.sleep(3600)")
        while not said(channel, "stream"):
            continue
        door.ask("POST", f"api/kernels/{kernel}/interrupt")
        while not said(channel, "error"):
            continue
        assert executed(channel, "1 + 1") == "2\n"


def ask_for(channel: websocket.WebSocket, code: str) -> None:
    """Send a cell and wait for nothing."""
    header = {"msg_id": secrets.token_hex(8), "msg_type": "execute_request", "username": "", "version": "5.3"}
    header["session"] = secrets.token_hex(8)
    # With stop_on_error the kernel would also drop what comes within a moment after the error.
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    channel.send(json.dumps(message))


def said(channel: websocket.WebSocket, kind: str) -> bool:
    """Take one message, and tell whether it is of a kind."""
    return bool(json.loads(received(channel, "the kernel", []))["msg_type"] == kind)


def test_a_second_visitor_of_a_kernel_sees_its_output(door: Door) -> None:
    """Two pages on one kernel: what one runs, the other is told."""
    kernel = new_kernel(door)
    with channel_of(door, kernel) as mine, channel_of(door, kernel) as theirs:
        executed(mine, "pass")
        executed(theirs, "pass")
        assert executed(mine, "print('for all')") == "for all\n"
        seen: list[str] = []
        while "for all" not in "".join(seen):
            message = json.loads(received(theirs, "the kernel", seen))
            seen.append(message["content"].get("text", ""))


def test_large_output_arrives_whole(hub: Hub) -> None:
    """A socket that does not wait loses nothing: two megabytes arrive as they were written."""
    assert run_cell(hub, "ada", "print('0123456789' * 200_000)") == "0123456789" * 200_000 + "\n"


def test_the_servers_own_log_names_the_speedups(hub: Hub, site: Site) -> None:
    """An administrator sees in the server's log what acts; the user's files and settings did not."""
    logs = [path.read_text(errors="replace") for path in (site.top / "run").rglob("*.log")]
    assert any("speed-ups in use: late-gc, lean-import, kernel-nodelay" in log for log in logs)
    assert run_terminal(hub, "ada", "ls ~/jsonschema.py") == "/home/ada/jsonschema.py\n"


@needs_root
def test_without_speedups_the_server_is_stock(hub: Hub, site: Site) -> None:
    """``speedups = []`` and ``ready_interval = 0``: the sockets wait, the hub does the waiting, all works."""
    stop_server(hub, "ada")
    hub.restart(site.config + PLAIN)
    assert start_server(hub, "ada")[-1].get("ready")
    door = Door(hub, "ada", "", None, None)
    with channel_of(door, new_kernel(door)) as channel:
        assert executed(channel, "import os\nprint([os.environ.get('NBPLATFORM_SPEEDUPS')])") == "['']\n"
        assert not any(server_sockets(hub).values())
    assert run_terminal(hub, "ada", "echo typed") == "typed\n"
