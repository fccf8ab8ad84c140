"""Benchmark of a cell: how long an empty one takes through the hub's proxy and the server's WebSocket.

The client speaks the protocol that JupyterLab speaks.  Ours and the stock hub's take turns in rounds of 30 cells, one
after the other as "run all" does.  The kernel keeps no history of them: it would write each to the user's disk, and a
cell that follows at once would wait for that, which is the disk's figure and no part of the way.
"""

from __future__ import annotations

import itertools
import json
import secrets
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import websocket

from tests.components.servers import Door, ServerTrouble

from .hub_sides import LIMIT, USER, Side, two_sides
from .pairs import Pairs, by_turns
from .runner import CannotRun, Figure, benchmark, tell

ROUNDS, CELLS = 10, 30
PROTOCOL = "v1.kernel.websocket.jupyter.org"
_PASS = {"code": "pass", "silent": False, "store_history": False, "allow_stdin": False}


@benchmark(
    "cell",
    unit="ms",
    about="a 'pass' cell through the proxy and the server's kernel WebSocket: nbplatform-local and a stock hub,"
    " median of 300 cells each",
)
def cell() -> Figure:
    """Measure cells in one kernel on each side; the median."""
    with two_sides(lab=False) as (ours, peer):
        ours.start()
        peer.start()
        return measure_cells(ours, peer, rounds=ROUNDS, cells=CELLS).median()


def measure_cells(ours: Side, peer: Side, *, rounds: int, cells: int) -> Pairs:
    """Return the milliseconds that each cell took.

    Args:
        ours: our side; its server is ready.
        peer: the other.
        rounds: how many rounds count; one before them does not.
        cells: how many cells a round has.
    """
    with ExitStack() as stack:
        one, other = (stack.enter_context(_channel(side)) for side in (ours, peer))
        return by_turns(
            lambda: _cells(one, cells),
            lambda: _cells(other, cells),
            rounds=rounds,
            warm_up=1,
            told=lambda words: tell(f"cell: round {words} (ms)"),
        )


@contextmanager
def _channel(side: Side) -> Iterator[websocket.WebSocket]:
    """The WebSocket of a new kernel, which is ended afterwards."""
    door = Door(side.hub, USER, "", None, None)
    kernel = door.ask("POST", "api/kernels", {"name": "python3"})["id"]
    address = f"{door.url}{door.path}api/kernels/{kernel}/channels?session_id={secrets.token_hex(8)}"
    try:
        channel = websocket.create_connection(
            address.replace("http", "ws", 1),
            header=[f"Authorization: token {door.token}"],
            subprotocols=[PROTOCOL],
            timeout=LIMIT,
            http_no_proxy=["127.0.0.1"],
        )
        with closing(channel):
            yield channel
    finally:
        with suppress(ServerTrouble):  # it may have ended by itself
            door.ask("DELETE", f"api/kernels/{kernel}")


def _cells(channel: websocket.WebSocket, count: int) -> Sequence[float]:
    return [_one_cell(channel) for _ in range(count)]


def _one_cell(channel: websocket.WebSocket) -> float:
    """Run one cell until the client knows all of it: the reply has come, and the kernel is idle."""
    cell_id = secrets.token_hex(8)
    header = {"msg_id": cell_id, "msg_type": "execute_request", "username": "", "session": cell_id, "version": "5.3"}
    missing = {"execute_reply", "idle"}
    begin = time.perf_counter()
    channel.send_binary(packed("shell", header, {}, {}, _PASS))
    while missing:
        message = channel.recv()
        if isinstance(message, str):
            raise CannotRun(f"the server does not speak {PROTOCOL}")
        _, answer, parent, _, content = unpacked(message)
        if parent.get("msg_id") == cell_id:
            missing -= {answer["msg_type"], content.get("execution_state")}
    return (time.perf_counter() - begin) * 1e3


def packed(channel: str, *parts: dict[str, Any]) -> bytes:
    """Return a message: how many offsets there are, the offsets, the channel; header, parent, metadata, content."""
    texts = [channel.encode(), *(json.dumps(part).encode() for part in parts)]
    offsets = [8 * (len(texts) + 2)]
    for text in texts:
        offsets.append(offsets[-1] + len(text))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(texts)


def unpacked(message: bytes) -> list[Any]:
    """Return channel, header, parent, metadata and content of a message; its buffers are left out."""
    (count,) = struct.unpack_from("<Q", message)
    offsets = struct.unpack_from(f"<{count}Q", message, 8)
    texts = [message[begin:end] for begin, end in itertools.pairwise(offsets[:6])]
    return [texts[0].decode(), *map(json.loads, texts[1:])]
