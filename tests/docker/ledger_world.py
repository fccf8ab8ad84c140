"""A small fleet of wire daemons for the ledger's model test: what is really on the hosts, and what may never be."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from nbplatform_spawners.hosts.containers import HUB_LABEL, containers_of

from .inner_hub import HUB_ID, InnerHub
from .wire import Fault, WireContainer, WireDaemon, WireState

GPUS = {"wn1": ("GPU-1a", "GPU-1b"), "wn2": ("GPU-2a",), "wn3": ()}
"""Hosts and their GPUs; the last one is the pool ``cpu``."""
IMAGE = "base:1"
QUOTA = {"servers": 2, "gpus": 2}
MAY_RUN = ("created", "running", "paused", "restarting")
Owner = tuple[str, str]
Found = dict[tuple[str, str], tuple[Owner, tuple[str, ...], str]]
"""(host, id) to owner, GPUs and state."""


class WatchedState(WireState):
    """A daemon's state that tells the world of each container that is made or started.

    Args:
        world: is told.
        host: whose state it is.
    """

    def __init__(self, world: World, host: str) -> None:
        super().__init__()
        self.world = world
        self.host = host

    def create(self, config: dict[str, Any], name: str) -> dict[str, Any]:
        """Make a container."""
        answer = super().create(config, name)
        self.world.created(self.host, self.containers[answer["Id"]])
        return answer

    def _new_id(self, name: str) -> str:
        return super()._new_id(f"{self.host}/{name}")  # unlike on one host alone

    def start(self, key: str) -> None:
        """Start one."""
        super().start(key)
        self.world.started(self.host, self.find(key))


class World:
    """The hosts.

    Args:
        port: where every server is answered for.

    Attributes:
        daemons: by name.
        broken: hosts that cannot be asked now.
        drained, removed: what the rules say of hosts.
        hub: that lives now.
        complaints: what has happened that may never happen.
        late: containers that came into being when nobody waited for them any more: they never run.
        unknowable: containers of which no hub could have known: it was killed while they were made.
        rules_moved: the rules changed while a start was under way, so that it may go by the old ones.
    """

    def __init__(self, port: int) -> None:
        self.daemons = {name: WireDaemon() for name in GPUS}
        self.port = port
        self.broken: set[str] = set()
        self.drained: set[str] = set()
        self.removed: set[str] = set()
        self.hub: InnerHub | None = None
        self.complaints: list[str] = []
        self.late: set[str] = set()
        self.unknowable: set[str] = set()
        self.rules_moved = False
        self._lock = threading.Lock()
        self.foreign = {name: self._furnish(name) for name in self.daemons}

    def _furnish(self, name: str) -> set[str]:
        """Give a host its image, and the containers of others."""
        state = self.daemons[name].state = WatchedState(self, name)
        state.images[IMAGE] = {}
        state.publish = lambda _: self.port
        others = {"somebody": {}, "of-another-hub": {HUB_LABEL: "other", "nbplatform.user": "ada"}}
        for other, labels in others.items():
            WireState.create(state, {"Image": IMAGE, "Labels": labels}, f"{other}-{name}")
        return set(state.containers)

    def close(self) -> None:
        """End all hosts."""
        for daemon in self.daemons.values():
            daemon.close()

    @property
    def rules(self) -> str:
        """The rules as they should be now."""
        entries = []
        for name, daemon in self.daemons.items():
            more = f", gpus: [{', '.join(GPUS[name])}]" if GPUS[name] else ""
            more += ", drain: true" if name in self.drained else ""
            kept = name not in self.removed
            entries.append(f'{{name: {name}, url: "{daemon.url}", memory: 8G, cpus: 4{more}}}' if kept else "")
        gpu_hosts = ", ".join(filter(None, entries[:-1]))
        return f"""\
pools:
  gpu: {{hosts: [{gpu_hosts}]}}
  cpu: {{hosts: [{entries[-1]}]}}
profiles:
  gpu: {{title: One, pool: gpu, gpus: 1, image: "{IMAGE}", allow: true}}
  pair: {{title: Two, pool: gpu, gpus: 2, image: "{IMAGE}", allow: true}}
  cpu: {{title: None, pool: [cpu, gpu], image: "{IMAGE}", allow: true}}
defaults: {{memory: 256M, cpu: 1, quota: {{servers: {QUOTA["servers"]}, gpus: {QUOTA["gpus"]}}}}}
rules:
  - {{name: probe, match: {{users: [probe]}}, quota: {{servers: 99, gpus: 99}}}}
"""

    def listed(self) -> dict[str, str]:
        """GPU to host of all GPUs that may be granted now."""
        hosts = [name for name in GPUS if name not in self.removed | self.drained]
        return {gpu: name for name in hosts for gpu in GPUS[name]}

    # Breaking and mending

    def break_(self, name: str, how: Fault | None) -> None:
        """Let a host be out of reach: it is down for None, else meets each request with a fault."""
        self.broken.add(name)
        if how is None:
            self.daemons[name].down()
        else:
            self.daemons[name].always(how)

    def mend(self, name: str) -> None:
        """Let a host be as it should be; what was frozen is done now."""
        self.broken.discard(name)
        self.daemons[name].heal()
        self.daemons[name].up()
        limit = time.monotonic() + 5
        while self.daemons[name].frozen and time.monotonic() < limit:
            time.sleep(0.001)

    # What is there

    def created(self, host: str, one: WireContainer) -> None:
        """Judge a container that was made this moment.  Called in a daemon's thread."""
        (found,) = containers_of(host, [{"Id": one.id, "Names": [f"/{one.name}"], "Labels": one.labels}], 8888)
        with self._lock:
            awaited = self.hub.spawner_class.reservations if self.hub else ()
            if not any((held.user, held.host, held.gpus) == (found.user, host, found.gpus) for held in awaited):
                self.late.add(one.id)
            devices = {device.removeprefix("nvidia.com/gpu=") for device in one.gpus}
            shown = dict(entry.split("=", 1) for entry in one.config["Env"])["NVIDIA_VISIBLE_DEVICES"]
            if devices != set(found.gpus) or shown != (",".join(found.gpus) or "void"):
                self.complaints.append(f"{one.name} on {host}: labels {found.gpus}, devices {devices}, shown {shown}")
            listed, judged = self.listed(), not self.rules_moved and one.id not in self.late
            unlisted = host in self.drained | self.removed or any(listed.get(gpu) != host for gpu in found.gpus)
            if judged and unlisted:
                self.complaints.append(f"{one.name} is on {host} with {found.gpus}, the rules list {listed}")

    def started(self, host: str, one: WireContainer) -> None:
        """Judge a container that was started this moment.  Called in a daemon's thread."""
        with self._lock:
            running = Counter(gpu for _, gpus, state in self.found().values() if state != "created" for gpu in gpus)
            for gpu, times in running.items():
                if times > 1:
                    self.complaints.append(
                        f"{gpu} is in {times} running containers after the start of {one.name} on {host}"
                    )

    def found(self, states: tuple[str, ...] = MAY_RUN) -> Found:
        """All containers of the hub, on all hosts."""
        found: Found = {}
        for name, daemon in self.daemons.items():
            for one in tuple(daemon.state.containers.values()):
                if one.labels.get(HUB_LABEL) == HUB_ID and one.state in states:
                    entry = {"Id": one.id, "Labels": one.labels, "State": one.state}
                    (seen,) = containers_of(name, [entry], 8888)
                    found[name, one.id] = seen.owner, seen.gpus, one.state
        return found

    def container(self, host: str, key: str) -> WireContainer | None:
        """A container as its host has it."""
        return self.daemons[host].state.containers.get(key)

    def check(self) -> Iterator[str]:
        """Yield what may not be."""
        yield from self.complaints
        real = {key: what for key, what in self.found().items() if key[1] not in self.late}
        holders: dict[str, list[str]] = defaultdict(list)
        for (host, _), (owner, gpus, state) in real.items():
            for gpu in gpus:
                holders[gpu].append(f"{owner} {state} on {host}")
        yield from (f"{gpu} is held twice: {who}" for gpu, who in holders.items() if len(who) > 1)
        believed_gone = self.removed & self.broken
        counted = [what for key, what in real.items() if key[1] not in self.unknowable and key[0] not in believed_gone]
        for user in {owner[0] for owner, _, _ in counted} - {"probe"}:
            mine = [gpus for owner, gpus, _ in counted if owner[0] == user]
            held = {"servers": len(mine), "gpus": sum(map(len, mine))}
            if any(held[key] > QUOTA[key] for key in QUOTA):
                yield f"{user} has more than the quota: {mine}"
        for name, daemon in self.daemons.items():
            if not self.foreign[name] <= set(daemon.state.containers):
                yield f"a foreign container of {name} is gone"
