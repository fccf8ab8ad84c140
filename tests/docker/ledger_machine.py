"""What can happen to a hub and its hosts, as rules of a state machine, and what must always be.

What is driven is the real code: JupyterHub's own users and spawns, the platform's spawner, fleet, reaper and ledger,
docker-py.  Only the Docker daemons are made up (see :mod:`tests.docker.wire`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tornado.web import HTTPError

from .inner_hub import InnerHub, make_database, notebook
from .ledger_world import GPUS, Owner, World
from .wire import Fault

HOSTS = st.sampled_from(list(GPUS))
OWNED = [(user, server) for user in ("ada", "ben", "eve") for server in ("", "two")]
OWNERS = st.sampled_from(OWNED)
LONG = 3600.0
PICKS = st.integers(0, 59)
"""Which of those that there are; drawn from the same numbers whatever there is, since threads are not all alike."""
PROFILES = st.sampled_from(["gpu", "gpu", "gpu", "pair", "cpu"])
NEXT = st.lists(st.tuples(OWNERS, PROFILES), max_size=3, unique_by=lambda wish: wish[0])
"""Who is waiting already: what was freed wrongly is asked for at once."""
BREAKS = st.sampled_from([None, Fault.FREEZE, Fault.HANG, Fault.ERROR, Fault.DROP])
FAULTS = st.sampled_from([fault for fault in Fault if fault is not Fault.FREEZE])
STEPS = st.sampled_from(["create", "create", "create", "put", "start", "inspect", "list", "remove", "network"])
ENDING = st.tuples(st.sampled_from(["stop", "remove"]), FAULTS)
MEANWHILE = st.sampled_from(
    ["cancel", "thaw, cancel", "kill", "thaw, kill", "thaw, kill", "another", "look", "break", "stay frozen", "drain"]
)


class Ledger(RuleBasedStateMachine):
    """Users, administrators, faults and time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.alive: dict[Owner, tuple[str, str]] = {}
        self.run(self.begin())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something in the hub's event loop."""
        return self.runner.run(work)

    async def begin(self) -> None:
        """A new hub on new hosts."""
        self.world = World(await self.stack.enter_async_context(notebook()))
        long = {"DockerFleetSpawner": {"orphan_grace": LONG}}
        self.hub = self.world.hub = InnerHub(make_database(), self.world.rules, long)
        await self.hub.begin()

    # Users

    @rule(wishes=st.lists(st.tuples(OWNERS, PROFILES), min_size=1, max_size=4, unique_by=lambda wish: wish[0]))
    def start_together(self, wishes: list[tuple[Owner, str]]) -> None:
        """Several users start servers at the same moment."""
        self.run(self.starts(wishes))

    @rule(pick=PICKS, profile=PROFILES, step=STEPS, meanwhile=MEANWHILE, wishes=NEXT)
    def start_meanwhile(
        self, pick: int, profile: str, step: str, meanwhile: str, wishes: list[tuple[Owner, str]]
    ) -> None:
        """A start is held up at one of its requests, and something happens meanwhile."""
        possible = [owner for owner in OWNED if self.may_start(owner)]
        if possible:
            other = wishes[0][0] if wishes else OWNED[0]
            self.run(self.held_up(possible[pick % len(possible)], other, profile, step, meanwhile))
            self.run(self.starts(wishes))

    @rule(owner=OWNERS, profile=PROFILES, host=HOSTS, faults=st.lists(st.tuples(STEPS, FAULTS), min_size=1, max_size=3))
    def start_with_faults(self, owner: Owner, profile: str, host: str, faults: list[tuple[str, Fault]]) -> None:
        """A host fails at some requests of a start."""
        for step, fault in faults:
            self.world.daemons[host].fail(step, fault)
        self.run(self.starts([(owner, profile)]))

    async def starts(self, wishes: list[tuple[Owner, str]]) -> None:
        """Begin all, then wait for all."""
        begun = [(owner, self.hub.start(*owner, profile)) for owner, profile in wishes if self.may_start(owner)]
        for owner, task in begun:
            await self.started(owner, task)
        await self.hub.settle()
        assert not (wrong := list(self.world.check())), wrong

    def may_start(self, owner: Owner) -> bool:
        """Whether the hub would let a user start this server."""
        return not self.hub.spawner(*owner).active

    async def started(self, owner: Owner, task: asyncio.Task[Any]) -> None:
        """Wait for a start; it may fail in the ways that users are told of."""
        try:
            await task
        except (HTTPError, asyncio.CancelledError):
            return
        self.alive[owner] = self.hub.recorded()[owner]

    async def held_up(self, owner: Owner, other: Owner, profile: str, step: str, meanwhile: str) -> None:
        """Freeze the next request of a kind, start, wait for it."""
        sound = [daemon for name, daemon in self.world.daemons.items() if name not in self.world.broken]
        for daemon in sound:
            daemon.fail(step, Fault.FREEZE)
        task = self.hub.start(*owner, profile)
        while not any(daemon.frozen for daemon in sound):
            if (await asyncio.wait({task}, timeout=0.002))[0]:
                break
        others = await self.meanwhile(meanwhile, owner, other, task)
        if meanwhile != "stay frozen":
            self.thaw()
        if meanwhile not in ("kill", "thaw, kill", "cancel", "thaw, cancel"):
            for who, begun in {owner: task, **others}.items():
                await self.started(who, begun)
        self.thaw()
        self.world.rules_moved = False
        await self.hub.settle()

    async def meanwhile(
        self, what: str, owner: Owner, other: Owner, task: asyncio.Task[Any]
    ) -> dict[Owner, asyncio.Task[Any]]:
        """Do something while a start is held up; return the starts that were begun."""
        match what:
            case "cancel":
                await self.hub.interrupt(task, *owner)
            case "thaw, cancel":
                self.thaw()
                await self.hub.interrupt(task, *owner)
            case "kill":
                await self.kill_hub()
            case "thaw, kill":
                self.thaw()
                await self.kill_hub()
            case "another" if other != owner and self.may_start(other):
                return {other: self.hub.start(*other, "gpu")}
            case "look":
                await self.hub.look()
                await asyncio.sleep(0.02)
            case "break":
                self.world.break_("wn1", Fault.ERROR)
            case "drain":
                self.world.rules_moved = True
                self.world.drained ^= {"wn1"}
                self.hub.write_rules(self.world.rules)
        return {}

    def thaw(self) -> None:
        """Let what was held up go on; hosts that are broken stay so."""
        for name in GPUS:
            if name not in self.world.broken:
                self.world.mend(name)

    @rule(pick=PICKS, faults=st.lists(ENDING, max_size=2), wishes=NEXT)
    def stop(self, pick: int, faults: list[tuple[str, Fault]], wishes: list[tuple[Owner, str]]) -> None:
        """A user stops a server; that never raises, also where its host fails."""
        ready = [owner for owner in OWNED if self.hub.spawner(*owner).ready]
        if ready:
            owner = ready[pick % len(ready)]
            self.alive.pop(owner, None)
            for step, fault in faults:
                self.world.daemons[self.hub.recorded()[owner][0]].fail(step, fault)
            self.run(self.hub.stop(*owner))
            assert not self.hub.spawner(*owner).active
            self.run(self.starts(wishes))

    # What happens to hosts and their containers

    @rule(host=HOSTS, how=BREAKS)
    def break_or_mend_host(self, host: str, how: Fault | None) -> None:
        """A host can no longer be asked; or it can again, and has lost nothing."""
        if host in self.world.broken:
            self.world.mend(host)
        else:
            self.world.break_(host, how)

    @rule(pick=PICKS, removed=st.booleans())
    def lose_container(self, pick: int, removed: bool) -> None:
        """A server ends by itself, or somebody removes its container."""
        if self.alive:
            host, key = self.alive.pop(sorted(self.alive)[pick % len(self.alive)])
            state = self.world.daemons[host].state
            if removed:
                state.remove(key, force=True)
            else:
                state.stop(key)

    # The hub

    @rule(hosts=st.lists(HOSTS, max_size=2, unique=True), polled=st.booleans(), long=st.booleans())
    def look(self, hosts: list[str], polled: bool, long: bool) -> None:
        """Some seconds pass: hosts are looked at, all of them for an empty list; servers may be polled.

        After a long time, orphans are no longer left alone.
        """
        self.run(self.time_passes(*hosts, long=long))
        if polled:
            self.run(self.poll_all())

    async def time_passes(self, *hosts: str, long: bool = False) -> None:
        """Look, and let what follows from it happen."""
        self.hub.leave_orphans_alone(0 if long else LONG)
        await self.hub.look(*hosts)
        await self.hub.settle()
        self.hub.leave_orphans_alone(LONG)

    async def poll_all(self) -> None:
        """Poll all servers as the hub does; only who positively ended has ended."""
        for owner in list(self.hub.active()):
            host, _ = self.hub.recorded()[owner]
            status = await self.hub.poll(*owner)
            assert status is None or owner not in self.alive, f"{owner} runs, poll says {status}"
            assert status is None or host not in self.world.broken, f"{host} cannot be asked, poll says {status}"

    async def kill_hub(self) -> None:
        """Kill it, and start the next."""
        self.hub = self.world.hub = await self.hub.killed()
        known = set(self.hub.recorded().values())
        self.world.unknowable |= {key[1] for key in self.world.found() if key not in known}
        await self.hub.begin()

    @rule(drained=st.sets(HOSTS, max_size=2), removed=st.sampled_from(["wn1", "wn2", None]), killed=st.booleans())
    def administrate(self, drained: set[str], removed: str | None, killed: bool) -> None:
        """The rules take hosts out of service, and name one no longer; the hub may be killed and come back."""
        self.world.drained, self.world.removed = set(drained), {removed} if removed else set()
        self.hub.write_rules(self.world.rules)
        if killed:
            self.run(self.kill_hub())

    # What must always be

    @invariant()
    def nothing_is_wrong(self) -> None:
        """No GPU twice, no quota exceeded, no foreign container touched, no running server lost."""
        assert not (wrong := list(self.world.check())), wrong
        for owner, (host, key) in self.alive.items():
            one = self.world.container(host, key)
            assert one, f"{owner} on {host} was removed, nobody asked for it"
            assert one.state == "running", f"{owner} on {host} was ended, nobody asked for it"
            assert self.hub.recorded().get(owner) == (host, key), f"the hub has lost {owner} on {host}"

    def teardown(self) -> None:
        """When all hosts answer again and some time has passed, nothing is left over."""
        try:
            self.run(self.settle())
        finally:
            self.run(self.end())
            self.runner.close()

    async def settle(self) -> None:
        """All is well again."""
        for host in GPUS:
            self.world.mend(host)
        self.world.drained, self.world.removed = set(), set()
        self.hub.be_patient()
        self.hub.write_rules(self.world.rules)
        self.hub.fleet.know_rules(self.hub.book)
        for _ in range(3):
            await self.time_passes(long=True)
            await self.poll_all()
        states = ("created", "running", "paused", "exited", "dead")
        there = self.world.found(states)
        assert sorted(there) == sorted(self.hub.recorded().values()), (there, self.hub.recorded())
        assert set(self.alive) <= set(self.hub.recorded())
        held = Counter((held.user, held.gpus) for held in self.hub.spawner("probe").holdings())
        assert held == Counter((owner[0], gpus) for owner, gpus, _ in there.values())
        assert not self.hub.fleet.leaving
        await self.all_gpus_can_be_granted({gpu for _, gpus, _ in there.values() for gpu in gpus})
        assert not (wrong := list(self.world.check())), wrong

    async def all_gpus_can_be_granted(self, taken: set[str]) -> None:
        """Every GPU that nobody holds is granted to who asks for it."""
        free = {gpu for gpus in GPUS.values() for gpu in gpus} - taken
        for number in range(len(free)):
            await self.hub.start("probe", f"n{number}", "gpu")
        granted = {gpu for owner, gpus, _ in self.world.found().values() if owner[0] == "probe" for gpu in gpus}
        assert granted == free
        with pytest.raises(HTTPError, match=r"(\d) of \1 GPUs of pool gpu are taken"):
            await self.hub.start("probe", "more", "gpu")

    async def end(self) -> None:
        """Leave nothing behind."""
        self.world.complaints.clear()
        await self.hub.killed()
        self.hub.db.close()
        self.world.close()
        await self.stack.aclose()
