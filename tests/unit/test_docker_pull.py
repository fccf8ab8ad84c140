"""Fetching images: shared, beside all other calls, with progress, and with a reason when it fails."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from nbplatform_spawners.hosts import docker_pull
from nbplatform_spawners.hosts.docker_client import Endpoint
from nbplatform_spawners.hosts.docker_errors import HostUnreachable, PullFailed
from nbplatform_spawners.hosts.docker_host import DockerHost
from nbplatform_spawners.hosts.docker_pull import LayerSum, Pulls
from tests.docker.wire import Fault, WireDaemon

IMAGE = "registry:5000/base:1"


def layer(name: str, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    """Return an event of a pull."""
    return {"id": name, "status": status, "progressDetail": {"current": current, "total": total} if total else {}}


EVENTS = [
    layer("a", "Pulling fs layer"),
    layer("a", "Downloading", 10, 100),
    layer("b", "Downloading", 50, 50),
    layer("a", "Downloading", 90, 100),
    layer("a", "Download complete"),
    layer("a", "Extracting", 1, 400),
    layer("a", "Pull complete"),
]


@pytest.fixture
def daemon() -> Iterator[WireDaemon]:
    """A daemon with a registry that has one image."""
    with WireDaemon() as one:
        one.state.registry[IMAGE] = {}
        one.state.pull_events = EVENTS
        yield one


@pytest.fixture
async def host(daemon: WireDaemon) -> AsyncIterator[DockerHost]:
    """Its host."""
    one = DockerHost("gpu01", daemon.url, hub_id="t1", limit=5.0)
    yield one
    one.close()


@pytest.fixture
def gate(daemon: WireDaemon) -> Iterator[threading.Event]:
    """What a pull waits for before each word; open at the end of the test."""
    event = threading.Event()
    daemon.pull_step = lambda: (event.wait(20), None)[1]
    yield event
    event.set()


async def until(condition: Callable[[], bool]) -> None:
    """Return when something has become true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads tell no event loop
            await asyncio.sleep(0.005)


def ignore(_done: int, _total: int) -> None:
    """Listen to nothing."""


def test_layers_add_up_to_bytes_done_and_bytes_in_all() -> None:
    """Unpacking counts as done; a layer counts from when its size is known."""
    layers = LayerSum()
    assert [layers.take(event) for event in EVENTS] == [
        (0, 0), (10, 100), (60, 150), (140, 150), (150, 150), (150, 150), (150, 150),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"status": "Downloading"},
        {"id": 5, "status": "Downloading", "progressDetail": {"current": 1, "total": 2}},
        {"id": "a", "status": "Downloading", "progressDetail": None},
        {"id": "a", "status": "Downloading", "progressDetail": {"current": "1", "total": 2}},
        {"id": "a", "status": "Downloading", "progressDetail": {"current": 1, "total": 0}},
        {"id": "a", "status": "Pull complete", "progressDetail": {}},
    ],
)
def test_events_that_tell_no_size_change_nothing(event: dict[str, Any]) -> None:
    """A daemon may tell whatever it likes."""
    assert LayerSum().take(event) == (0, 0)


async def test_an_image_is_there_after_it_was_fetched(daemon: WireDaemon, host: DockerHost) -> None:
    """Each waiting user hears how far it is."""
    heard: list[tuple[int, int]] = []
    await host.pull(IMAGE, lambda done, total: heard.append((done, total)))
    assert await host.has_image(IMAGE) is not None
    assert heard[0] == (10, 100)


async def test_what_is_told_is_bounded_in_number(daemon: WireDaemon, host: DockerHost) -> None:
    """A pull tells thousands of times; a page need not be drawn so often."""
    daemon.state.pull_events = [layer("a", "Downloading", number, 5000) for number in range(1, 5000)]
    heard: list[tuple[int, int]] = []
    await host.pull(IMAGE, lambda done, total: heard.append((done, total)))
    assert 1 <= len(heard) < 500


async def test_a_second_caller_joins_and_hears_where_it_stands(
    daemon: WireDaemon, host: DockerHost, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pull of an image at a time on a host."""
    monkeypatch.setattr(docker_pull, "_INTERVAL", 0.0)
    first: list[tuple[int, int]] = []
    second: list[tuple[int, int]] = []
    steps = threading.Semaphore(3)
    daemon.pull_step = lambda: (steps.acquire(timeout=20), None)[1]
    one = asyncio.ensure_future(host.pull(IMAGE, lambda *now: first.append(now)))
    await until(lambda: first == [(10, 100)])
    two = asyncio.ensure_future(host.pull(IMAGE, lambda *now: second.append(now)))
    await until(lambda: second == [(10, 100)])
    steps.release(20)
    await asyncio.gather(one, two)
    assert first == second == [(10, 100), (60, 150), (140, 150), (150, 150)]
    assert sum(endpoint == "pull" for endpoint, _ in daemon.requests) == 1


async def test_a_fetch_goes_on_without_the_callers_that_left(
    daemon: WireDaemon, host: DockerHost, gate: threading.Event
) -> None:
    """The next user has the image; nobody who stayed is disturbed."""
    impatient, patient = (asyncio.ensure_future(host.pull(IMAGE, ignore)) for _ in range(2))
    await until(lambda: bool(daemon.requests) and daemon.requests[-1][0] == "pull")
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    gate.set()
    await patient
    alone = asyncio.ensure_future(host.pull(IMAGE, ignore))
    await asyncio.sleep(0.01)
    alone.cancel()
    await until(lambda: IMAGE in daemon.state.images)


async def test_other_calls_do_not_wait_for_fetches(daemon: WireDaemon, host: DockerHost, gate: threading.Event) -> None:
    """Ten images are on their way; the host is asked as ever."""
    for number in range(10):
        daemon.state.registry[f"r/i:{number}"] = {}
    pulls = [asyncio.ensure_future(host.pull(f"r/i:{number}", ignore)) for number in range(10)]
    await until(lambda: any(endpoint == "pull" for endpoint, _ in daemon.requests))
    assert await asyncio.gather(*(host.containers() for _ in range(20))) == [()] * 20
    assert not any(task.done() for task in pulls)
    gate.set()
    await asyncio.gather(*pulls)


async def test_a_failed_fetch_can_be_tried_again(daemon: WireDaemon, host: DockerHost) -> None:
    """Nothing of the first attempt is left."""
    daemon.fail("pull", Fault.FULL)
    with pytest.raises(PullFailed):
        await host.pull(IMAGE, ignore)
    await host.pull(IMAGE, ignore)


SAID = {
    "failed to register layer: write /x: no space left on device": "space",
    "pull access denied for x, repository does not exist or may require 'docker login'": "refused",
    "unauthorized: authentication required": "refused",
    "manifest for x:1 not found: manifest unknown": "missing",
    'Get "https://r:5000/v2/": dial tcp: lookup r: no such host': "away",
    'Get "https://r:5000/v2/": dial tcp 10.0.0.1:5000: connect: connection refused': "away",
    'Get "https://r/v2/": tls: failed to verify certificate: x509: unknown authority': "away",
    "something new": "other",
}


@pytest.mark.parametrize(("said", "why"), SAID.items(), ids=SAID)
async def test_a_fetch_that_fails_on_the_way_says_why(
    daemon: WireDaemon, host: DockerHost, said: str, why: str
) -> None:
    """The status was 200 by then; the sentence names host, image and reason."""
    daemon.state.pull_events = [*EVENTS[:3], {"error": said, "errorDetail": {"message": said}}]
    with pytest.raises(PullFailed, match=f"host gpu01 could not fetch the image '{IMAGE}': ") as caught:
        await host.pull(IMAGE, ignore)
    assert (caught.value.why, caught.value.image, caught.value.status) == (why, IMAGE, 0)


FAULTS = {Fault.FULL: "space", Fault.ERROR: "other"}


@pytest.mark.parametrize(("fault", "why"), FAULTS.items())
async def test_a_fetch_that_is_refused_at_once_says_why(
    daemon: WireDaemon, host: DockerHost, fault: Fault, why: str
) -> None:
    """The daemon answers, so the host can be asked: it is the fetch that failed."""
    daemon.fail("pull", fault)
    with pytest.raises(PullFailed) as caught:
        await host.pull(IMAGE, ignore)
    assert (caught.value.why, caught.value.status) == (why, 500)


async def test_an_image_that_the_registry_does_not_have_is_missing(host: DockerHost) -> None:
    """Without a tag, the latest is meant."""
    with pytest.raises(PullFailed, match="the registry does not have it") as caught:
        await host.pull("registry:5000/base", ignore)
    assert (caught.value.why, caught.value.status) == ("missing", 404)


async def test_a_host_that_goes_away_is_unknown_and_not_a_failed_fetch(daemon: WireDaemon, host: DockerHost) -> None:
    """Another host may be tried; this one's disk and registry are not to blame."""
    daemon.always(Fault.DROP, "pull")
    with pytest.raises(HostUnreachable):
        await host.pull(IMAGE, ignore)
    daemon.down()
    with pytest.raises(HostUnreachable, match="refuses the connection"):
        await host.pull(IMAGE, ignore)


async def test_a_fetch_without_any_word_has_failed(daemon: WireDaemon, gate: threading.Event) -> None:
    """Whether nothing was said at all, or nothing more."""
    pulls = Pulls(Endpoint("gpu01", daemon.url, None, {}), limit=60.0, stall=0.2)
    for events in ([], EVENTS):
        daemon.state.pull_events = events
        with pytest.raises(PullFailed, match="nothing came any more") as caught:
            await pulls.pull(IMAGE, ignore)
        assert caught.value.why == "stalled"
    pulls.close()


async def test_a_fetch_has_an_end_however_much_comes(daemon: WireDaemon) -> None:
    """A pull that drips for ever gives its place to others."""
    daemon.state.pull_events = EVENTS * 100
    daemon.pull_step = lambda: (threading.Event().wait(0.02), None)[1]
    pulls = Pulls(Endpoint("gpu01", daemon.url, None, {}), limit=0.3, stall=10.0)
    with pytest.raises(PullFailed, match="it took too long") as caught:
        await pulls.pull(IMAGE, ignore)
    assert caught.value.why == "slow"
    pulls.close()


async def test_closing_ends_fetches_on_their_way(daemon: WireDaemon, host: DockerHost, gate: threading.Event) -> None:
    """Their callers are told; no thread stays."""
    task = asyncio.ensure_future(host.pull(IMAGE, ignore))
    await until(lambda: bool(daemon.requests) and daemon.requests[-1][0] == "pull")
    host.close()
    gate.set()
    with pytest.raises(HostUnreachable, match="is not asked any more"):
        await task
