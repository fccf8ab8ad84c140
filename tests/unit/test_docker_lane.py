"""Threads of one host: bounded in number, and no caller waits longer than its limit."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from nbplatform_spawners.hosts.docker_lane import Lane, LaneClosed


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hanging jobs wait for; open at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def left() -> list[str]:
    """Names of threads that have ended."""
    return []


@pytest.fixture
def lane(left: list[str]) -> Iterator[Lane]:
    """A lane of two threads."""
    one = Lane("test", 2, lambda: left.append(threading.current_thread().name))
    yield one
    one.close()


def running() -> int:
    """How many threads of the lane there are."""
    return sum(thread.name == "test" for thread in threading.enumerate())


async def until(condition: Callable[[], bool]) -> None:
    """Return when something has become true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads tell no event loop
            await asyncio.sleep(0.005)


async def test_jobs_return_and_raise_what_they_do(lane: Lane) -> None:
    """A job's own error is its caller's."""
    assert await lane.run(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0, 5)


async def test_no_more_threads_run_than_the_lane_has(lane: Lane, gate: threading.Event) -> None:
    """A third job waits for its turn."""
    tasks = [asyncio.ensure_future(lane.run(gate.wait, 10)) for _ in range(5)]
    await until(lambda: running() == 2)
    await asyncio.sleep(0.02)
    assert running() == 2
    gate.set()
    assert await asyncio.gather(*tasks) == [True] * 5


async def test_one_thread_serves_jobs_that_come_one_after_another(lane: Lane) -> None:
    """Its connection is used again."""
    names = set()
    for _ in range(10):
        names.add(await lane.run(threading.get_ident, 5))
        await until(lambda: lane._idle == 1)  # an answer may be here before its thread waits again
    assert len(names) == 1


async def test_a_job_in_the_queue_of_a_lane_that_hangs_ends_in_time_and_never_begins(
    lane: Lane, gate: threading.Event
) -> None:
    """What nobody waits for any more must not be done later."""
    begun: list[int] = []
    hanging = [asyncio.ensure_future(lane.run(gate.wait, 10)) for _ in range(2)]
    await until(lambda: running() == 2)
    with pytest.raises(TimeoutError):
        await lane.run(lambda: begun.append(1), 0.02)
    gate.set()
    await asyncio.gather(*hanging)
    assert await lane.run(lambda: 1, 5) == 1
    assert not begun


async def test_threads_that_hang_beyond_their_limit_are_replaced(
    lane: Lane, gate: threading.Event, left: list[str]
) -> None:
    """A name server that never answers holds a thread for minutes; the host is asked on."""
    for _ in range(4):
        with pytest.raises(TimeoutError):
            await lane.run(gate.wait, 0.02)
    assert await lane.run(lambda: "answer", 5) == "answer"
    gate.set()
    await until(lambda: len(left) == 4)
    assert running() == 1


async def test_lost_threads_do_not_grow_without_bound(lane: Lane, gate: threading.Event) -> None:
    """Four times as many as the lane has may hang; then its callers only wait."""
    for _ in range(12):
        with pytest.raises(TimeoutError):
            await lane.run(gate.wait, 0.02)
    assert running() == 10
    gate.set()
    assert await lane.run(lambda: 1, 5) == 1


async def test_a_caller_that_leaves_takes_its_waiting_job_along(lane: Lane, gate: threading.Event) -> None:
    """Cancelling works as for any other task."""
    begun: list[int] = []
    hanging = [asyncio.ensure_future(lane.run(gate.wait, 10)) for _ in range(2)]
    await until(lambda: running() == 2)
    waiting = asyncio.ensure_future(lane.run(lambda: begun.append(1), 10))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await asyncio.gather(*hanging)
    assert await lane.run(lambda: 1, 5) == 1
    assert not begun


async def test_a_closed_lane_does_nothing_more_and_its_threads_end(
    lane: Lane, gate: threading.Event, left: list[str]
) -> None:
    """Jobs in the queue are told; what runs is left to end."""
    hanging = [asyncio.ensure_future(lane.run(gate.wait, 10)) for _ in range(2)]
    await until(lambda: running() == 2)
    queued = asyncio.ensure_future(lane.run(lambda: 1, 10))
    await asyncio.sleep(0)
    lane.close()
    with pytest.raises(LaneClosed):
        await queued
    with pytest.raises(LaneClosed):
        await lane.run(lambda: 1, 5)
    gate.set()
    assert await asyncio.gather(*hanging) == [True, True]
    await until(lambda: len(left) == 2)


async def test_many_jobs_at_once_are_all_done(lane: Lane) -> None:
    """None is lost between threads that begin and threads that end."""
    done = await asyncio.gather(*(lane.run(lambda number=number: number, 30) for number in range(500)))
    assert done == list(range(500))
