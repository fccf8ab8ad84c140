"""All hosts of a hub: what each told last, and how containers end; on daemons made up, and on a real one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from nbplatform_spawners.hosts.containers import HUB_LABEL, Container
from nbplatform_spawners.hosts.docker_host import DockerHost
from nbplatform_spawners.hosts.docker_tls import find_certificates
from nbplatform_spawners.hosts.fleet import Fleet
from nbplatform_spawners.hosts.leases import Lease, lease_of
from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.images import load
from tests.components.need import need

from .wire import Fault, WireDaemon

HUB = "hub-1"
NEVER = 3600.0
LIMIT = 1.0
IMAGE = "base:1"


@pytest.fixture
def daemon() -> Iterator[WireDaemon]:
    """A host."""
    with WireDaemon() as one:
        one.state.images[IMAGE] = {}
        yield one


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """A fleet that looks at its hosts once, and then when it is told to."""
    made = Fleet(connect, NEVER, logging.getLogger("fleet"))
    yield made
    made.close()


def connect(name: str, url: str) -> DockerHost:
    """The door of a wire daemon."""
    return DockerHost(name, url, hub_id=HUB, limit=LIMIT)


def make(daemon: WireDaemon, name: str = "hub-1-ada", hub: str = HUB, state: str = "running") -> str:
    """Put a container on a host; return its id."""
    labels = {HUB_LABEL: hub, "nbplatform.user": "ada", "nbplatform.gpus": '["GPU-1"]'}
    with daemon.lock:
        key = str(daemon.state.create({"Image": IMAGE, "Labels": labels}, name)["Id"])
        daemon.state.containers[key].state = state
    return key


def lease(daemon: WireDaemon, key: str, name: str = "hub-1-ada") -> Lease:
    """What has to end."""
    return Lease("wn1", daemon.url, key, name, "ada", "", ("GPU-1",), 10)


async def knows(fleet: Fleet, daemon: WireDaemon) -> None:
    """Let a fleet know a host and ask it once."""
    fleet.know({"wn1": daemon.url})
    await fleet.asked(["wn1"], 5)


def ids(fleet: Fleet) -> set[str]:
    """Ids of all containers that the fleet has been told of."""
    return {one.id for one in fleet.containers()}


# What is known of a host


async def test_a_host_is_asked_when_it_gets_known_and_tells_of_this_hubs_containers(
    fleet: Fleet, daemon: WireDaemon
) -> None:
    """Foreign ones are none of its business."""
    mine, _ = make(daemon), make(daemon, "other", hub="hub-2")
    await knows(fleet, daemon)
    assert fleet.answers("wn1")
    assert ids(fleet) == {mine}


OUT_OF_REACH: dict[str, Callable[[WireDaemon], None]] = {
    "down": lambda daemon: daemon.down(),
    "hung": lambda daemon: daemon.always(Fault.HANG),
    "500": lambda daemon: daemon.always(Fault.ERROR),
    "breaks connections": lambda daemon: daemon.always(Fault.DROP),
    "no Docker": lambda daemon: daemon.always(Fault.GARBAGE),
}


@pytest.mark.parametrize("away", OUT_OF_REACH.values(), ids=OUT_OF_REACH)
async def test_what_a_host_told_before_still_counts_when_it_cannot_be_asked(
    fleet: Fleet, daemon: WireDaemon, away: Callable[[WireDaemon], None]
) -> None:
    """Unknown is not gone; when it is back, its word counts again."""
    key = make(daemon)
    await knows(fleet, daemon)
    away(daemon)
    await fleet["wn1"].refresh()
    assert not fleet.answers("wn1")
    assert fleet["wn1"].trouble
    assert ids(fleet) == {key}
    daemon.heal()
    daemon.up()
    daemon.state.remove(key, force=True)
    await fleet["wn1"].refresh()
    assert fleet.answers("wn1")
    assert ids(fleet) == set()


async def test_a_host_that_nobody_has_asked_does_not_answer(fleet: Fleet) -> None:
    """Nothing is started where nobody knows what is there."""
    assert not fleet.answers("wn1")
    assert "wn1" not in fleet


async def test_who_asks_at_the_same_time_shares_the_answer(fleet: Fleet, daemon: WireDaemon) -> None:
    """A hundred starts are no hundred requests."""
    await knows(fleet, daemon)
    daemon.requests.clear()
    await asyncio.gather(*[fleet["wn1"].refresh() for _ in range(20)])
    assert [endpoint for endpoint, _ in daemon.requests] == ["list"]


async def test_a_cancelled_refresh_does_not_cancel_the_others(fleet: Fleet, daemon: WireDaemon) -> None:
    """One user's DELETE must not fail another user's start."""
    await knows(fleet, daemon)
    daemon.fail("list", Fault.FREEZE)
    first, second = (asyncio.ensure_future(fleet["wn1"].refresh()) for _ in range(2))
    await until(lambda: daemon.frozen > 0)
    first.cancel()
    daemon.heal()
    await second
    assert fleet.answers("wn1")


@pytest.mark.parametrize("gone", [False, True], ids=["made", "ended"])
async def test_what_changed_while_a_host_was_listing_holds(fleet: Fleet, daemon: WireDaemon, gone: bool) -> None:
    """A list that was begun before a container was made does not know it: that must not free its GPU."""
    key = make(daemon) if gone else "new"
    await knows(fleet, daemon)
    daemon.fail("list", Fault.LATE)
    daemon.late = 0.1
    daemon.requests.clear()
    look = asyncio.ensure_future(fleet["wn1"].refresh())
    await until(lambda: ("list", "") in daemon.requests)
    fleet["wn1"].note(key, None if gone else Container("wn1", key, "n", "ada", "", "created"))
    await look
    assert (key in ids(fleet)) is not gone
    await fleet["wn1"].refresh()
    assert (key in ids(fleet)) is gone, "the next list is the host's own word"


async def test_a_hung_host_does_not_delay_another(fleet: Fleet, daemon: WireDaemon) -> None:
    """Each is asked in a task of its own."""
    with WireDaemon() as hung:
        hung.always(Fault.HANG)
        fleet.know({"hung": hung.url, "wn1": daemon.url})
        await fleet.asked(["wn1"], 5)
        assert fleet.answers("wn1")
        assert not fleet["hung"].asked


async def test_waiting_for_hosts_that_were_never_asked_has_an_end(fleet: Fleet, daemon: WireDaemon) -> None:
    """A start goes elsewhere then."""
    daemon.always(Fault.HANG)
    fleet.know({"wn1": daemon.url})
    await fleet.asked(["wn1", "nobody-knows-it"], 0.01)
    assert not fleet["wn1"].asked


async def test_who_waits_for_a_host_goes_on_when_it_answers(fleet: Fleet, daemon: WireDaemon) -> None:
    """A server whose host is down while the hub starts stays pending until then."""
    daemon.down()
    await knows(fleet, daemon)
    waiting = asyncio.ensure_future(fleet.until_answers("wn1"))
    await fleet["wn1"].refresh()
    assert not waiting.done()
    daemon.up()
    await fleet["wn1"].refresh()
    await asyncio.wait_for(waiting, 5)


async def test_who_waits_for_a_host_goes_on_when_it_has_moved(fleet: Fleet, daemon: WireDaemon) -> None:
    """The rules give it another address, where it answers."""
    with WireDaemon() as before:
        before.down()
        await knows(fleet, before)
        waiting = asyncio.ensure_future(fleet.until_answers("wn1"))
        await asyncio.sleep(0)
        fleet.know({"wn1": daemon.url})
        await asyncio.wait_for(waiting, 5)


async def test_a_host_that_moves_is_asked_at_its_new_address(fleet: Fleet, daemon: WireDaemon) -> None:
    """What it told before counts until it has told anew."""
    old = make(daemon)
    await knows(fleet, daemon)
    with WireDaemon() as moved:
        moved.always(Fault.ERROR)
        fleet.know({"wn1": moved.url})
        await fleet.asked(["wn1"], 5)
        assert ids(fleet) == {old}
        fleet.know({"wn1": daemon.url}, anew=False)
        assert fleet["wn1"].door.url == moved.url, "an old record does not move it back"
        moved.heal()
        await fleet["wn1"].refresh()
        assert ids(fleet) == set()


async def test_a_fleet_looks_again_and_again_and_says_when_a_host_goes_and_comes(
    daemon: WireDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    """Once each time; listeners hear of hosts that answer, and one that fails does not end the watch."""
    heard: list[str] = []

    async def listener(name: str) -> None:
        heard.append(name)
        if len(heard) == 1:
            raise OSError("no space left")

    fleet = Fleet(connect, 0.01, logging.getLogger("fleet"))
    fleet.listeners.append(listener)
    try:
        fleet.know({"wn1": daemon.url})
        await until(lambda: len(heard) > 2)
        daemon.down()
        await until(lambda: not fleet.answers("wn1"))
        count = len(heard)
        for _ in range(3):
            await fleet["wn1"].until_told()
        assert len(heard) == count
        daemon.up()
        await until(lambda: len(heard) > count)
    finally:
        fleet.close()
    told = [record.message for record in caplog.records]
    assert sum("does not answer" in line for line in told) == 1
    assert sum("answers again" in line for line in told) == 1


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.002)


# How containers end


async def test_a_container_that_ends_is_stopped_then_removed(fleet: Fleet, daemon: WireDaemon) -> None:
    """The server may put its house in order first; without a grace it is removed at once."""
    key = make(daemon)
    await knows(fleet, daemon)
    assert await fleet.end(lease(daemon, key), 5)
    asked = [endpoint for endpoint, about in daemon.requests if about == key]
    assert asked == ["stop", "remove"]
    assert (daemon.containers, ids(fleet), fleet.leaving) == ((), set(), {})


async def test_a_container_that_is_gone_has_ended(fleet: Fleet, daemon: WireDaemon) -> None:
    """Somebody was quicker."""
    await knows(fleet, daemon)
    assert await fleet.end(lease(daemon, "f00d"), 5)
    assert fleet.leaving == {}


NOT_NOW: dict[str, Callable[[WireDaemon], None]] = {
    **{name: away for name, away in OUT_OF_REACH.items() if name != "no Docker"},
    "stop fails": lambda daemon: daemon.fail("stop", Fault.ERROR),
    "stop is never answered": lambda daemon: daemon.fail("stop", Fault.HANG),
    "stopped, not removed": lambda daemon: daemon.fail("remove", Fault.ERROR),
}


@pytest.mark.parametrize("asked", [False, True], ids=["host looked at before", "host looked at since"])
@pytest.mark.parametrize("away", NOT_NOW.values(), ids=NOT_NOW)
async def test_a_container_that_cannot_be_ended_now_is_noted_and_ends_later(
    fleet: Fleet, daemon: WireDaemon, away: Callable[[WireDaemon], None], asked: bool
) -> None:
    """Ending never raises; until the host says that it is gone, it holds what it held."""
    key = make(daemon)
    await knows(fleet, daemon)
    away(daemon)
    if asked:
        await fleet["wn1"].refresh()
    assert not await fleet.end(lease(daemon, key), 1)
    assert list(fleet.leaving.values()) == [lease(daemon, key)]
    assert ids(fleet) == {key}
    daemon.heal()
    daemon.up()
    await fleet["wn1"].refresh()
    await fleet.end_leaving("wn1", 1)
    assert (daemon.containers, fleet.leaving, ids(fleet)) == ((), {}, set())


async def test_a_removal_that_was_done_and_not_answered_is_noticed(fleet: Fleet, daemon: WireDaemon) -> None:
    """The second try finds nothing; that is as good."""
    key = make(daemon)
    await knows(fleet, daemon)
    daemon.fail("remove", Fault.ERROR_AFTER)
    assert not await fleet.end(lease(daemon, key), 0)
    await fleet.end_leaving("wn1", 0)
    assert fleet.leaving == {}


async def test_a_host_that_nobody_knew_is_asked_where_the_lease_says(fleet: Fleet, daemon: WireDaemon) -> None:
    """The rules no longer name it."""
    key = make(daemon)
    assert await fleet.end(lease(daemon, key), 0)
    assert daemon.containers == ()


async def test_a_creation_without_an_answer_ends_by_its_name(fleet: Fleet, daemon: WireDaemon) -> None:
    """Only this hub's container of that name: not another one, not a foreign one."""
    mine, other = make(daemon), make(daemon, "hub-1-ben")
    await knows(fleet, daemon)
    assert await fleet.end(lease(daemon, ""), 0)
    assert mine not in daemon.state.containers
    assert ids(fleet) == {other}
    foreign = make(daemon, hub="hub-2")
    assert await fleet.end(lease(daemon, ""), 0)
    assert set(daemon.state.containers) == {other, foreign}


async def test_a_creation_that_was_never_made_has_ended(fleet: Fleet, daemon: WireDaemon) -> None:
    """The host's list says so; while there is no list, nobody knows."""
    await knows(fleet, daemon)
    daemon.fail("list", Fault.ERROR)
    assert not await fleet.end(lease(daemon, ""), 0)
    await fleet.end_leaving("wn1", 0)
    assert fleet.leaving == {}


async def test_a_new_start_takes_the_name_of_a_creation_without_an_answer(fleet: Fleet, daemon: WireDaemon) -> None:
    """What was noted of the name must not end the new start's container."""
    await knows(fleet, daemon)
    daemon.fail("list", Fault.ERROR)
    assert not await fleet.end(lease(daemon, ""), 0)
    fleet.take_name("wn1", "hub-1-ada")
    key = make(daemon)
    await fleet.end_leaving("wn1", 0)
    assert set(daemon.state.containers) == {key}


async def test_a_new_start_takes_the_name_while_it_is_being_looked_for(fleet: Fleet, daemon: WireDaemon) -> None:
    """The list was begun before, and tells of the new container."""
    await knows(fleet, daemon)
    daemon.fail("list", Fault.FREEZE)
    ending = asyncio.ensure_future(fleet.end(lease(daemon, ""), 0))
    await until(lambda: daemon.frozen > 0)
    fleet.take_name("wn1", "hub-1-ada")
    key = make(daemon)
    fleet["wn1"].note(key, Container("wn1", key, "hub-1-ada", "ada", "", "created"))
    daemon.heal()
    await ending
    assert set(daemon.state.containers) == {key}
    assert ids(fleet) == {key}


async def test_a_name_that_was_taken_meanwhile_is_not_looked_for_again(fleet: Fleet, daemon: WireDaemon) -> None:
    """Several containers of a host end one after the other; the world goes on in between."""
    first = make(daemon, "hub-1-ben")
    await knows(fleet, daemon)
    daemon.down()
    await fleet["wn1"].refresh()
    await fleet.end(lease(daemon, first, "hub-1-ben"), 0)
    await fleet.end(lease(daemon, ""), 0)
    daemon.up()
    await fleet["wn1"].refresh()
    daemon.fail("remove", Fault.FREEZE)
    ending = asyncio.ensure_future(fleet.end_leaving("wn1", 0))
    await until(lambda: daemon.frozen > 0)
    fleet.take_name("wn1", "hub-1-ada")
    key = make(daemon)
    daemon.heal()
    await ending
    assert set(daemon.state.containers) == {key}


async def test_taking_a_name_forgets_no_container_that_is_known(fleet: Fleet, daemon: WireDaemon) -> None:
    """It holds its GPU until its host says that it is gone."""
    key = make(daemon)
    await knows(fleet, daemon)
    daemon.fail("remove", Fault.ERROR)
    await fleet.end(lease(daemon, key), 0)
    fleet.take_name("wn1", "hub-1-ada")
    assert list(fleet.leaving.values()) == [lease(daemon, key)]


async def test_an_ending_that_is_cancelled_goes_on_later(fleet: Fleet, daemon: WireDaemon) -> None:
    """The hub gave up waiting."""
    key = make(daemon)
    await knows(fleet, daemon)
    daemon.fail("stop", Fault.FREEZE)
    ending = asyncio.ensure_future(fleet.end(lease(daemon, key), 5))
    await until(lambda: daemon.frozen > 0)
    ending.cancel()
    with suppress(asyncio.CancelledError):
        await ending
    assert list(fleet.leaving.values()) == [lease(daemon, key)]
    daemon.heal()
    await fleet.end_leaving("wn1", 0)
    assert (daemon.containers, fleet.leaving) == ((), {})


# A real one


@pytest.mark.parametrize("engine", ["debian", "modern"])
async def test_a_real_host_is_asked_hung_gone_and_back(engine: str) -> None:
    """Over TLS: a list, a daemon that hangs, one that is stopped, an end that is postponed, and what it says after."""
    with need(docker_fleet({"wn1": Settings(engine)})) as hosts:
        host, certificates = hosts["wn1"], find_certificates(str(hosts.certificates), "wn1")
        image = load(host, "tiny")
        door = DockerHost("wn1", host.url, certificates, hub_id=HUB, limit=3.0)
        fleet = Fleet(lambda *_: door, NEVER, logging.getLogger("fleet"))
        try:
            fleet.know({"wn1": host.url})
            await fleet.asked(["wn1"], 10)
            key = await door.create({"Image": image, "Labels": {HUB_LABEL: HUB}}, "hub-1-ada")
            await door.start(key)
            await fleet["wn1"].refresh()
            (seen,) = fleet.containers()
            assert (seen.id, seen.state) == (key, "running")

            host.freeze()
            await fleet["wn1"].refresh()
            assert not fleet.answers("wn1")
            assert not await fleet.end(replace(lease_of(seen, host.url), url=host.url), 1)
            host.thaw()
            host.stop()
            await fleet["wn1"].refresh()
            assert not fleet.answers("wn1")
            assert ids(fleet) == {key}

            host.start()
            await fleet["wn1"].refresh()
            assert fleet.answers("wn1")
            await fleet.end_leaving("wn1", 1)
            assert (fleet.leaving, fleet.containers()) == ({}, ())
            assert host.client().containers(all=True) == []
        finally:
            fleet.close()
