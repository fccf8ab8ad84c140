"""Kernels that have nothing of ipykernel: another Python, and another language; our server runs them as stock does."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import websocket

from tests.components.servers import received
from tests.singleuser.servers import LIMIT, Server, running_server

from .environment import Upstream

AGAIN = 3.0  # seconds of silence after which a cell is sent again

pytestmark = pytest.mark.timeout(500)  # the first run makes the environment


@dataclass(frozen=True)
class Kernel:
    """A kernel and what is said to it.

    Attributes:
        name: by which the server knows it.
        variable: a cell that sets ``x`` to 42 and has it as its result.
        shown: a cell whose result is ``x``.
        unset: what its result holds where there is no ``x``.
        endless: a cell that writes ``begun`` and goes on for an hour.
        ended_by: the message that says what became of the interrupted cell, and the state in it.
    """

    name: str
    variable: str
    shown: str
    unset: str
    endless: str = ""
    ended_by: tuple[str, str | None] = ("", None)


KERNELS = [
    Kernel(
        name="async",
        variable="x = 42; x",
        shown="globals().get('x', 'nothing')",
        unset="nothing",
        endless="import asyncio\nprint('begun', flush=True)\nawait asyncio.sleep(3600)",
        ended_by=("error", None),
    ),
    Kernel(
        name="deno",
        variable="globalThis.x = 42",
        shown="String(globalThis.x)",  # a result: what is written to the console may come when the cell has ended
        unset="undefined",
    ),
]
each = pytest.mark.parametrize("kernel", KERNELS, ids=[kernel.name for kernel in KERNELS])


@pytest.fixture(scope="module")
def server(environment: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our server in upstream's environment."""
    command = [str(environment.python), "-P", "-m", "nbplatform_spawners.singleuser"]
    env = {"PYTHONPATH": str(environment.modules), "DENO_NO_UPDATE_CHECK": "1"}
    with running_server(tmp_path_factory.mktemp("home"), command, env) as server:
        yield server
        assert "speed-ups in use: late-gc, lean-import, kernel-nodelay" in server.log()


@pytest.fixture
def started(server: Server, kernel: Kernel) -> Iterator[str]:
    """The id of a new kernel."""
    number = server.ask("POST", "api/kernels", {"name": kernel.name})["id"]
    yield number
    server.ask("DELETE", f"api/kernels/{number}")


@pytest.fixture
def channel(server: Server, started: str) -> Iterator[websocket.WebSocket]:
    """A WebSocket to it."""
    with server.socket(f"api/kernels/{started}/channels?session_id={secrets.token_hex(8)}") as channel:
        yield channel


@each
def test_cells_are_run(kernel: Kernel, channel: websocket.WebSocket) -> None:
    """One sets a variable, the next one has it."""
    assert kernel.unset in result_of(channel, kernel.shown)
    result_of(channel, kernel.variable)
    assert "42" in result_of(channel, kernel.shown)


@each
def test_a_kernel_restarts(kernel: Kernel, server: Server, started: str, channel: websocket.WebSocket) -> None:
    """The same WebSocket goes on with the new one, which knows nothing of the old one."""
    result_of(channel, kernel.variable)
    server.ask("POST", f"api/kernels/{started}/restart")
    assert kernel.unset in result_of(channel, kernel.shown)


@pytest.mark.parametrize("kernel", KERNELS[:1], ids=["async"])  # Deno's ends at one
def test_a_cell_is_interrupted(kernel: Kernel, server: Server, started: str, channel: websocket.WebSocket) -> None:
    """This kernel is told by a message, where ipykernel gets a signal; the next cell is run."""
    result_of(channel, "1")
    channel.send(json.dumps(request_for(kernel.endless)))
    wait_for_message(channel, "stream", None)
    server.ask("POST", f"api/kernels/{started}/interrupt")
    wait_for_message(channel, *kernel.ended_by)
    assert kernel.unset in result_of(channel, kernel.shown)


def result_of(channel: websocket.WebSocket, code: str) -> str:
    """Run a cell until its result is seen.

    A kernel that has just begun may run a cell before the server listens to its output, on a stock server, too.
    """
    limit, sent = time.monotonic() + LIMIT, set()
    channel.settimeout(AGAIN)
    while time.monotonic() < limit:
        request = request_for(code)
        channel.send(json.dumps(request))
        sent.add(request["header"]["msg_id"])
        with contextlib.suppress(websocket.WebSocketTimeoutException):
            while True:
                message = json.loads(channel.recv())
                if message["parent_header"].get("msg_id") not in sent:
                    continue
                if message["msg_type"] == "execute_result":
                    channel.settimeout(LIMIT)
                    return str(message["content"]["data"]["text/plain"])
    pytest.fail(f"the kernel has no result for {code!r}")


def request_for(code: str) -> dict[str, Any]:
    """A cell for which nothing waits."""
    header = {"msg_id": secrets.token_hex(8), "msg_type": "execute_request", "username": "", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": False}
    header["session"] = secrets.token_hex(8)
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}


def wait_for_message(channel: websocket.WebSocket, kind: str, state: str | None) -> None:
    """Take messages until one is of a kind and names a state of execution."""
    while True:
        message = json.loads(received(channel, "the kernel", []))
        if message["msg_type"] == kind and message["content"].get("execution_state") == state:
            return
