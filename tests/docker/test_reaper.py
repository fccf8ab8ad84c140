"""What ends containers that must end: orphans, and those whose stop failed; a hub's own code over daemons made up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from jupyterhub import orm
from tornado.web import HTTPError

from nbplatform_spawners.hosts.containers import Container
from nbplatform_spawners.hosts.docker_host import DockerHost
from nbplatform_spawners.hosts.fleet import Fleet
from nbplatform_spawners.hosts.leases import Known
from nbplatform_spawners.spawners.docker_reaper import Reaper

from .inner_hub import HUB_ID, InnerHub, make_database, notebook
from .ledger_world import World
from .wire import Fault, WireDaemon, WireState

GRACE = 300.0
OWNER = ("ada", "")


class Place:
    """A hub and its hosts: wn1 with two GPUs, wn2 with one, wn3 with none.

    Args:
        world: the hosts.
        hub: the hub.
    """

    def __init__(self, world: World, hub: InnerHub) -> None:
        self.world = world
        self.hub = hub

    @property
    def wn1(self) -> WireDaemon:
        """The first host."""
        return self.world.daemons["wn1"]

    async def time_passes(self) -> None:
        """All hosts are looked at, and what follows happens."""
        await self.hub.look()
        await self.hub.settle()

    async def hub_is_killed(self, **settings: Any) -> None:
        """The next hub begins, with other settings of the Docker backend."""
        self.hub = self.world.hub = await self.hub.killed()
        if settings:
            self.hub = self.world.hub = InnerHub(self.hub.db, self.hub.rules, {"DockerFleetSpawner": settings})
        await self.hub.begin()

    def owners(self) -> list[tuple[str, str]]:
        """Whose containers are there, in whatever state."""
        found = self.world.found(("created", "running", "paused", "exited", "dead"))
        return sorted(owner for owner, _, _ in found.values())

    def notes(self, user: str) -> Any:
        """What the database keeps of containers that must end."""
        (row,) = self.hub.db.query(orm.Spawner).join(orm.User).filter(orm.User.name == user, orm.Spawner.name == "")
        return (row.state or {}).get("leaving")


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Everything works.  A server that has a GPU is on wn1 as long as wn2 is drained."""
    async with notebook() as port:
        world = World(port)
        world.drained = {"wn2"}
        hub = world.hub = InnerHub(make_database(), world.rules)
        await hub.begin()
        made = Place(world, hub)
        yield made
        for name in world.daemons:
            world.mend(name)
        await made.time_passes()
        assert not list(world.check())
        await made.hub.killed()
        made.hub.db.close()
        world.close()


# Orphans


def orphan(key: str = "c1", state: str = "running") -> Container:
    """A container of this hub."""
    return Container("wn1", key, f"hub-{key}", "ada", "", state)


def reaper(there: dict[str, Container], known: Callable[[], Known]) -> Reaper:
    """A reaper that has been told of these containers."""
    fleet = Fleet(lambda name, url: DockerHost(name, url, hub_id="t"), 3600, logging.getLogger("t"))
    made = Reaper(fleet, lambda _: known(), GRACE, 1, logging.getLogger("t"))

    class Told:
        containers = there

    fleet._hosts["wn1"] = Told()  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("state", ["created", "running", "paused", "exited", "dead"])
def test_an_orphan_is_left_alone_until_the_grace_is_over(state: str) -> None:
    """It may be a start's that is not yet recorded."""
    one = orphan(state=state)
    mine = reaper({"c1": one}, lambda: Known({}))
    assert mine.overdue("wn1", 1000) == []
    assert mine.overdue("wn1", 1000 + GRACE - 1) == []
    assert mine.overdue("wn1", 1000 + GRACE) == [one]


def test_an_orphan_that_finds_its_owner_begins_anew_when_it_is_lost_again() -> None:
    """The time during which it was known does not count."""
    books: dict[tuple[str, str], str] = {}
    mine = reaper({"c1": orphan()}, lambda: Known(books))
    assert mine.overdue("wn1", 0) == []
    books["ada", ""] = "c1"
    assert mine.overdue("wn1", GRACE) == []
    books.clear()
    assert mine.overdue("wn1", GRACE + 1) == []
    assert mine.overdue("wn1", 2 * GRACE) == []
    assert len(mine.overdue("wn1", 2 * GRACE + 1)) == 1


def test_each_orphan_has_a_grace_of_its_own() -> None:
    """Also when the one before it is gone."""
    there = {"c1": orphan()}
    mine = reaper(there, lambda: Known({}))
    mine.overdue("wn1", 0)
    there["c2"] = orphan("c2")
    assert mine.overdue("wn1", GRACE - 1) == []
    assert [one.id for one in mine.overdue("wn1", GRACE)] == ["c1"]
    del there["c1"]
    assert [one.id for one in mine.overdue("wn1", 2 * GRACE - 1)] == ["c2"]


async def killed_while_creating(place: Place, **settings: Any) -> None:
    """A hub is killed after a host has made a container, and before it knows."""
    place.wn1.fail("create", Fault.FREEZE)
    place.hub.start(*OWNER, "gpu")
    while not place.wn1.frozen:  # noqa: ASYNC110 - it freezes in another thread
        await asyncio.sleep(0.002)
    place.world.mend("wn1")
    await place.hub_is_killed(**settings)


async def test_a_container_of_a_hub_that_was_killed_in_the_middle_of_a_start_is_ended(place: Place) -> None:
    """No server knows it; its GPU can be granted then."""
    await killed_while_creating(place, orphan_grace=GRACE)
    await place.time_passes()
    assert place.owners() == [OWNER]
    assert not list(place.hub.active())
    held = [one.gpus for one in place.hub.spawner("ben").holdings()]
    assert held == [("GPU-1a",)], "it holds its GPU until it is gone"
    await place.hub_is_killed(orphan_grace=0.0)
    await place.time_passes()
    assert place.owners() == []
    await place.hub.start("ben", "", "pair")


async def test_the_same_server_replaces_its_orphan(place: Place) -> None:
    """Nobody waits for the grace: it has the same name, and was never started."""
    await killed_while_creating(place, orphan_grace=GRACE)
    await place.time_passes()
    await place.hub.start(*OWNER, "gpu")
    assert place.owners() == [OWNER]
    assert set(place.world.found()) == set(place.hub.recorded().values())


async def test_servers_starts_and_stops_are_no_orphans_even_without_a_grace(place: Place) -> None:
    """Looks happen at every moment of a start and of a stop."""
    for step in ("create", "put", "start", "inspect"):
        place.wn1.fail(step, Fault.FREEZE)
        task = place.hub.start("ben", "", "gpu")
        while not place.wn1.frozen:  # noqa: ASYNC110 - it freezes in another thread
            await asyncio.sleep(0.002)
        await place.hub.look()
        place.world.mend("wn1")
        await task
        await place.time_passes()
        assert place.owners() == [("ben", "")], step
        await place.hub.stop("ben", "")
        assert place.owners() == []


async def test_foreign_containers_are_never_touched(place: Place) -> None:
    """Those of other hubs and of people, whatever they are called, whatever they hold."""
    labels = {"nbplatform.hub": f"{HUB_ID}-2", "nbplatform.user": "ada", "nbplatform.gpus": '["GPU-1a"]'}
    for number, found in enumerate([labels, {**labels, "nbplatform.hub": ""}, {}]):
        WireState.create(place.wn1.state, {"Image": "base:1", "Labels": found}, f"{HUB_ID}-ada-{number}")
    before = set(place.wn1.state.containers)
    await place.time_passes()
    assert set(place.wn1.state.containers) == before


async def test_a_server_does_not_replace_a_foreign_container_of_its_name(place: Place) -> None:
    """The user is told; the container stays."""
    WireState.create(place.wn1.state, {"Image": "base:1", "Labels": {}}, f"{HUB_ID}-ada")
    before = set(place.wn1.state.containers)
    with pytest.raises(HTTPError, match="in use"):
        await place.hub.start(*OWNER, "gpu")
    await place.time_passes()
    assert set(place.wn1.state.containers) == before
    assert place.hub.spawner("ben").holdings() == ()


# Stops that failed


OUT_OF_REACH = {"down": None, "hung": Fault.HANG, "500": Fault.ERROR}


@pytest.mark.parametrize("killed", [False, True], ids=["hub lives", "hub is killed"])
@pytest.mark.parametrize("how", OUT_OF_REACH.values(), ids=OUT_OF_REACH)
async def test_a_server_that_could_not_be_stopped_ends_when_its_host_is_back(
    place: Place, how: Fault | None, killed: bool
) -> None:
    """Until then it holds its GPU and its owner's quota, also after a restart of the hub; then nothing is left."""
    await place.hub.start(*OWNER, "pair")
    place.world.break_("wn1", how)
    await place.hub.stop(*OWNER)
    assert not list(place.hub.active())
    assert len(place.notes("ada")) == 1
    if killed:
        await place.hub_is_killed()
    place.world.drained = set()
    place.hub.write_rules(place.world.rules)
    with pytest.raises(
        HTTPError, match=r"you hold 2 and ask for 2 more, your quota is 2 GPUs; stop one of: 'default server "
    ):
        await place.hub.start(*OWNER, "pair")

    place.world.mend("wn1")
    await place.time_passes()
    assert place.owners() == []
    assert not place.notes("ada")
    assert place.hub.spawner("ben").holdings() == ()
    await place.hub.start(*OWNER, "pair")


async def test_a_note_of_what_has_ended_does_not_come_back(place: Place) -> None:
    """A hub that starts later finds no trace of it."""
    await place.hub.start(*OWNER, "gpu")
    place.world.break_("wn1", None)
    await place.hub.stop(*OWNER)
    place.world.mend("wn1")
    await place.time_passes()
    await place.hub_is_killed()
    assert place.hub.fleet.leaving == {}


async def test_a_machine_that_was_scrapped_holds_no_quota(place: Place) -> None:
    """The rules no longer name it and it does not answer: what it told last does not count for ever."""
    await place.hub.start(*OWNER, "pair")
    await place.time_passes()
    place.world.break_("wn1", None)
    await place.hub.stop(*OWNER)
    place.world.drained, place.world.removed = set(), {"wn1"}
    place.hub.write_rules(place.world.rules)
    await place.time_passes()
    await place.hub.start(*OWNER, "gpu")
    assert place.hub.recorded()[OWNER][0] == "wn2"


async def test_a_host_that_the_rules_no_longer_name_is_still_looked_after(place: Place) -> None:
    """While it answers, its containers count and end."""
    await place.hub.start(*OWNER, "gpu")
    place.world.removed = {"wn1"}
    place.world.drained = set()
    place.hub.write_rules(place.world.rules)
    place.wn1.fail("stop", Fault.ERROR)
    await place.hub.stop(*OWNER)
    assert place.owners() == [OWNER]
    await place.hub_is_killed()
    await place.time_passes()
    assert place.owners() == []


@pytest.mark.parametrize("step", ["create", "put", "start", "inspect"])
async def test_a_start_that_is_deleted_on_a_host_that_hangs_is_over_when_the_hub_looks(place: Place, step: str) -> None:
    """The hub looks one second after the DELETE: a start that is not over by then stays in its books for ever.

    What it had begun ends by itself when the host goes on.
    """
    await place.hub_is_killed(call_limit=4.0)
    place.wn1.fail(step, Fault.FREEZE)
    task = place.hub.start(*OWNER, "gpu")
    while not place.wn1.frozen:  # noqa: ASYNC110 - it freezes in another thread
        await asyncio.sleep(0.002)
    place.wn1.always(Fault.FREEZE)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=1)
    assert done
    await place.hub.stop(*OWNER)
    assert not list(place.hub.active())
    assert [one.gpus for one in place.hub.spawner("ben").holdings()] == [("GPU-1a",)]

    place.world.mend("wn1")
    await place.hub.settle()
    await place.time_passes()
    assert place.owners() == []
    assert place.hub.spawner("ben").holdings() == ()
    await place.hub.start(*OWNER, "gpu")
