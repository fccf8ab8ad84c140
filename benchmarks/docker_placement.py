"""Benchmark of placement: from a decision to host and GPUs, among hundreds of hosts and thousands of servers.

All of the hub's books are as they are in a hub that has run for a while: what each host told last, what each server's
record says, what is being started.  The hosts' answers are made up: placement asks no host.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from jupyterhub import orm
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from traitlets.config import Config

from nbplatform_spawners.hosts.admit import Holding, admit
from nbplatform_spawners.hosts.containers import Container
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.plan import STATE_VERSION
from nbplatform_spawners.rules.decision import Decision
from nbplatform_spawners.rules.engine import decide
from nbplatform_spawners.spawners import docker_fleet
from nbplatform_spawners.spawners.docker import DockerFleetSpawner
from nbplatform_spawners.spawners.ledger import Records, Reservations, demand_of

from .runner import Figure, benchmark

HOSTS, SERVERS = 200, 2000
SPAWNS = 300
GPU_HOSTS = 0.25  # share of the hosts that have GPUs
GPUS = 8  # of a host that has any
STARTING = 20  # servers that are being started meanwhile
NOON = datetime.fromisoformat("2026-11-23T12:00+01:00")
SIZE = 4 << 30
PROFILES = """\
profiles:
  cpu: {title: "CPU", pool: cpu, image: "site/scipy:1", allow: true}
  gpu: {title: "One GPU", pool: [gpu, cpu], gpus: 1, image: "site/gpu:1", allow: true}
defaults: {memory: 4G, cpu: 2, quota: {servers: 3, gpus: 2}}
"""


@benchmark(
    "placement",
    unit="ms",
    about=f"host and GPUs for one spawn among {HOSTS} hosts and {SERVERS:,} servers: what is live, what everybody holds"
    f" and admission; median of {SPAWNS}, one in four with a GPU",
)
def placement() -> Figure:
    """Measure placements, each with what was placed before it; the median."""
    return measure_placement(hosts=HOSTS, servers=SERVERS, spawns=SPAWNS)


def measure_placement(*, hosts: int, servers: int, spawns: int) -> Figure:
    """Return the milliseconds that a placement takes; there is no peer.

    Args:
        hosts: how many there are.
        servers: how many run on them.
        spawns: how many more are placed.
    """
    with tempfile.TemporaryDirectory(prefix="nbplatform-bench-") as folder:
        write_rules(Path(folder), hosts)
        return asyncio.run(_placements(Path(folder), servers, spawns))


async def _placements(rules: Path, servers: int, spawns: int) -> Figure:
    with running_site(rules, servers) as spawner:
        took = []
        for number in range(-1, spawns):  # the first one makes the hosts known
            decision = decision_for(spawner, f"new{number}", "cpu" if number % 4 else "gpu")
            seconds, placed = await place(spawner, decision)
            spawner.reservations.hold(placed)
            if number >= STARTING:
                spawner.reservations.release(f"new{number - STARTING}", "")
            took.append(seconds * 1e3)
        spawner.fleet.close()
    return Figure(statistics.median(took[1:]))


async def place(spawner: DockerFleetSpawner, decision: Decision) -> tuple[float, Holding]:
    """Place one spawn as a start does; return the seconds it took, and what it holds from now on."""
    demand = demand_of(decision, "")
    begin = time.perf_counter()
    pools = await spawner.live_pools(decision)
    found = admit(demand, pools, spawner.holdings())
    took = time.perf_counter() - begin
    return took, Holding(demand.user, "", found.host, found.gpus, demand.memory, gpu_count=demand.gpus)


def decision_for(spawner: DockerFleetSpawner, user: str, profile: str) -> Decision:
    """Return what the rules give to somebody who has nothing yet."""
    person = Identity(user, 61001, 61000, {"users": 61000}, "users", f"/home/{user}", "/bin/bash", None)
    return decide(spawner.book(), person, profile=profile, now=NOON)


class TellingHost:
    """Stands for a host's door: it tells what runs there, at once.

    Args:
        name: of the host.
        url: where it would be.
        there: its containers.
    """

    def __init__(self, name: str, url: str, there: tuple[Container, ...]) -> None:
        self.name = name
        self.url = url
        self._there = there

    async def info(self) -> SimpleNamespace:
        """Tell which daemon it is."""
        return SimpleNamespace(id=self.name)

    async def containers(self) -> tuple[Container, ...]:
        """Tell what runs."""
        return self._there

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def running_site(rules: Path, servers: int) -> Iterator[DockerFleetSpawner]:
    """A spawner of a hub with many running servers, evenly over all hosts; the first ones on GPU hosts hold a GPU."""

    class OwnSpawner(DockerFleetSpawner):
        """With books of its own: those of the class belong to a hub."""

        records, reservations = Records(), Reservations()
        fleets = {}  # noqa: RUF012 - as in its base

    config = Config()
    config.NbplatformSpawner.rules_directory = str(rules)
    config.DockerFleetSpawner.hub_id = "bench"
    user = SimpleNamespace(name="new", db=empty_database(), settings={})
    there: dict[str, list[Container]] = {}

    def connect(name: str, url: str) -> TellingHost:
        return TellingHost(name, url, tuple(there.get(name, ())))

    with patch.object(docker_fleet, "connector", lambda _settings: connect):
        spawner = OwnSpawner(config=config, user=user)
        places = [host for pool in spawner.book().pools.values() for host in pool.hosts]
        for number in range(servers):
            host, turn = places[number % len(places)], number // len(places)
            gpus = host.gpus[turn : turn + 1] if turn < len(host.gpus) // 2 else ()
            one = Container(host.name, f"{number:064x}", f"bench-{number}", f"u{number}", "", "running", gpus, SIZE)
            there.setdefault(host.name, []).append(one)
            spawner.records.note(one.user, one.server, state_of(one))
            spawner.fleet.recorded[one.owner] = one.id
        yield spawner


def empty_database() -> Session:
    """Return a hub's database without anything in it: who is placed at once is not looked up there."""
    engine = create_engine("sqlite://")
    orm.Base.metadata.create_all(engine)
    return Session(engine)


def state_of(one: Container) -> Mapping[str, Any]:
    """Return what a server's record says of what it holds."""
    return {
        "version": STATE_VERSION,
        "host": one.host,
        "gpus": list(one.gpus),
        "gpu_count": len(one.gpus),
        "memory": one.memory,
    }


def write_rules(folder: Path, hosts: int) -> None:
    """Write rules with a pool of CPU hosts and one of GPU hosts."""
    with_gpus = max(int(hosts * GPU_HOSTS), 1)
    lines = ["pools:", "  cpu:", "    overcommit: 1.5", "    hosts:"]
    for number in range(hosts):
        if number == hosts - with_gpus:
            lines += ["  gpu:", "    hosts:"]
        gpus = [f"GPU-{number:04}-{gpu}" for gpu in range(GPUS)] if number >= hosts - with_gpus else []
        more = f", gpus: [{', '.join(gpus)}], gpu_model: A100, memory_per_gpu: 4G" if gpus else ""
        lines.append(
            f'      - {{name: wn{number:03}, url: "unix:///run/wn{number:03}.sock", memory: 512G, cpus: 64{more}}}'
        )
    (folder / "site.yaml").write_text("\n".join([*lines, PROFILES]))
