"""Waiting for a server: short looks, an end at once, no request without a limit.  The servers here are doubles."""

# The event loop of a test has nothing else to do:
# ruff: noqa: ASYNC110

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from jupyterhub.utils import wait_for_http_server

from nbplatform_spawners.spawners import ready
from nbplatform_spawners.spawners.base import NbplatformSpawner
from nbplatform_spawners.spawners.ready import wait_until_ready
from tests.components.ports import free_ports

INTERVAL = 0.02
CHANGED = "the hub's own waiting no longer makes pauses of seconds: remove the waiting of the spawner (ready_interval)"


class Ended(Exception):
    """What a backend's look raises here when the server has ended."""


class Double:
    """A server at the wire: it counts the requests that reach it and answers each with the next status of its list.

    Args:
        statuses: what it answers, the last one again and again; None: it takes the request and stays silent.
    """

    def __init__(self, *statuses: int | None) -> None:
        self._statuses: Iterator[int | None] = itertools.chain(statuses, itertools.repeat(statuses[-1]))
        self.asked = 0
        self.lost = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        status = next(self._statuses)
        if status is None:
            await reader.read()  # until the other side hangs up
            self.lost += 1
        else:
            location = "Location: http://127.0.0.1:9/\r\n" if status == 302 else ""
            writer.write(f"HTTP/1.1 {status} Status\r\n{location}Content-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(double: Double) -> AsyncIterator[str]:
    """The double's address."""
    server = await asyncio.start_server(double.answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/user/ada/api"


class Look:
    """A backend's look that counts.

    Args:
        ends_at: the look at which the server is found to have ended.
        may_ask_from: the look from which on the server may be asked.
    """

    def __init__(self, ends_at: int | None = None, may_ask_from: int = 1) -> None:
        self.count = 0
        self._ends_at = ends_at
        self._may_ask_from = may_ask_from

    async def __call__(self) -> bool:
        """Look once."""
        self.count += 1
        if self.count == self._ends_at:
            raise Ended
        return self.count >= self._may_ask_from


# id, what the server answers
READY = [
    ("at the first look", (200,)),
    ("a refusal is an answer", (403,)),
    ("not found is an answer", (404,)),
    ("a redirect is an answer, and is not followed", (302,)),
    ("after errors of a server that just begins", (503, 502, 500, 200)),
]


@pytest.mark.parametrize(("_", "statuses"), READY, ids=[row[0] for row in READY])
async def test_a_server_is_ready_when_it_answers_below_500(_: str, statuses: tuple[int, ...]) -> None:
    """As the hub understands it; each error is asked again, and nothing is asked afterwards."""
    double = Double(*statuses)
    async with listening(double) as url:
        await wait_until_ready(url, INTERVAL, Look())
    assert double.asked == len(statuses)


async def test_a_server_that_does_not_listen_yet_is_waited_for() -> None:
    """A refused connection is asked again."""
    port = free_ports().public
    double, look = Double(200), Look()
    waiting = asyncio.ensure_future(wait_until_ready(f"http://127.0.0.1:{port}/api", INTERVAL, look))
    while look.count < 3:
        await asyncio.sleep(0.01)
    assert not waiting.done()
    async with await asyncio.start_server(double.answer, "127.0.0.1", port):
        await waiting
    assert double.asked == 1


async def test_nothing_is_asked_before_the_backend_allows_it() -> None:
    """Whoever listens in the server's place is not asked."""
    double, look = Double(200), Look(ends_at=5, may_ask_from=99)
    async with listening(double) as url:
        with pytest.raises(Ended):
            await wait_until_ready(url, INTERVAL, look)
    assert double.asked == 0


async def test_a_server_is_asked_as_soon_as_the_backend_allows_it() -> None:
    """The backend allows it at its third look, and has the last word when the answer has come."""
    double, look = Double(200), Look(may_ask_from=3)
    async with listening(double) as url:
        await wait_until_ready(url, INTERVAL, look)
    assert (look.count, double.asked) == (4, 1)


async def test_an_answer_from_a_server_that_ended_meanwhile_does_not_count() -> None:
    """Whoever took the port in the moment between is not taken for the server."""
    double = Double(200)
    async with listening(double) as url:
        with pytest.raises(Ended):
            await wait_until_ready(url, 60, Look(ends_at=2))
    assert double.asked == 1


async def test_the_end_of_a_server_ends_the_waiting_also_during_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that hangs for an hour holds nothing up, and its connection is closed."""
    monkeypatch.setattr(ready, "REQUEST_LIMIT", 3600.0)
    double = Double(None)
    async with listening(double) as url:
        with pytest.raises(Ended):
            await wait_until_ready(url, INTERVAL, Look(ends_at=6))
        while double.lost < 1:
            await asyncio.sleep(0.01)
    assert double.asked == 1


async def test_a_request_is_given_up_and_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the first request and stays silent is asked once more."""
    monkeypatch.setattr(ready, "REQUEST_LIMIT", 0.1)
    double = Double(None, 200)
    async with listening(double) as url:
        await wait_until_ready(url, INTERVAL, Look())
    assert double.asked == 2


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    """A DELETE during the start cancels: the request goes, too."""
    double = Double(None)
    async with listening(double) as url:
        waiting = asyncio.ensure_future(wait_until_ready(url, INTERVAL, Look()))
        while not double.asked:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        while double.lost < 1:
            await asyncio.sleep(0.01)
    assert [task for task in asyncio.all_tasks() if "_answers" in repr(task)] == []


async def test_many_silent_servers_do_not_hold_up_one_that_answers() -> None:
    """Each wait has connections of its own: thirty that hang are no queue before the next."""
    silent, quick = Double(None), Double(200)
    async with listening(silent) as slow_url, listening(quick) as url:
        hanging = [asyncio.ensure_future(wait_until_ready(slow_url, INTERVAL, Look())) for _ in range(30)]
        while silent.asked < 30:
            await asyncio.sleep(0.01)
        await wait_until_ready(url, INTERVAL, Look())
        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    assert quick.asked == 1


@pytest.mark.parametrize("interval", [1e-9, ready.LEAST])
@pytest.mark.parametrize("double", [lambda: Double(503), lambda: Double(None)], ids=["errors", "silence"])
async def test_no_interval_makes_a_busy_loop(interval: float, double: Callable[[], Double]) -> None:
    """However short the interval is set, looks have a pause between them."""
    look = Look(ends_at=20)
    async with listening(double()) as url:
        begin = time.monotonic()
        with pytest.raises(Ended):
            await wait_until_ready(url, interval, look)
        spent = time.monotonic() - begin
    assert look.count <= spent / ready.LEAST + 2


async def test_an_interval_of_zero_leaves_the_waiting_to_the_hub() -> None:
    """Nothing is looked at and nothing is asked."""
    double, look = Double(200), Look(ends_at=1)
    async with listening(double) as url:
        await wait_until_ready(url, 0, look)
    assert (look.count, double.asked) == (0, 0)


async def test_the_hubs_own_waiting_makes_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tripwire: when this fails, the hub sees a server as soon as it is ready, and needs no help any more."""
    pauses: list[float] = []

    def shortest(low: float, high: float) -> float:
        """Note how long a pause may be, and make the shortest."""
        pauses.append(high)
        return low

    double = Double(*[503] * 7, 200)
    monkeypatch.setattr(random, "uniform", shortest)
    async with listening(double) as url:
        await wait_for_http_server(url, timeout=60)
    assert double.asked == 8
    grown = [pause for pause in pauses if pause <= 60]  # the first one chooses the end of all waiting
    assert grown == sorted(grown), CHANGED
    assert grown[-1] > 10 * NbplatformSpawner.ready_interval.default_value, CHANGED
