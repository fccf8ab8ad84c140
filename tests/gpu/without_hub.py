"""Servers on real Docker hosts without a hub: the parts that the spawner is made of, in the spawner's order.

    async with servers(RULES.format(...), view, certificates) as platform:
        server = await platform.start("alice", "gpu")
        print(await server.run("id"))

Rules decide, admission places on what the hosts told, the renderer writes the body, the host's door carries it out.
What is missing is the hub: its database, its proxy and its users' requests.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from nbplatform_spawners.hosts.admit import Demand, Holding, LiveHost, LivePool, admit
from nbplatform_spawners.hosts.docker_errors import HostError
from nbplatform_spawners.hosts.docker_host import DockerHost
from nbplatform_spawners.hosts.docker_start import Names, Order, create
from nbplatform_spawners.hosts.docker_tls import Certificates
from nbplatform_spawners.hosts.fleet import Fleet
from nbplatform_spawners.hosts.leases import Known, Lease, unknown_holdings
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.plan import SpawnPlan, make_plan
from nbplatform_spawners.render.docker import DockerView, container_config
from nbplatform_spawners.rules.decision import Decision
from nbplatform_spawners.rules.engine import decide
from nbplatform_spawners.rules.parse import parse_rules

HUB_ID = "gpu-tests"
UIDS = {"alice": 61001, "bob": 61002, "carol": 61003}
GROUPS = {"users": 61000, "ml": 61200}
COMMAND = ("sleep", "600")
INTERVAL = 0.5
PATIENCE = 20.0

NODES = """
for node in /dev/nvidia*; do
  [ -c "$node" ] || continue
  if said=$( (exec 3<"$node") 2>&1 ); then said=opened; fi
  echo "$node=${said##*: }"
done
"""
MAKE_AND_OPEN = """
for minor in %s; do
  node=/tmp/node-$minor
  mknod "$node" c 195 "$minor" || exit 1
  if said=$( (exec 3<"$node") 2>&1 ); then said=opened; fi
  echo "$minor=${said##*: }"
done
"""
DENIED = "Operation not permitted"
NO_DRIVER = "No such device or address"
"""What opening a granted stand-in says: the control group lets it through, and no driver is behind it."""


def identity(name: str) -> Identity:
    """Return one of three made-up people."""
    return Identity(name, UIDS[name], GROUPS["users"], GROUPS, primary_group="users", home=f"/home/{name}")


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        door: its host's.
        lease: its container, and what it holds.
        plan: what it was given.
    """

    door: DockerHost
    lease: Lease
    plan: SpawnPlan

    async def run(self, *command: str, stdin: str = "") -> str:
        """Run a command inside as the server's own user, and return what it writes."""
        status, output = await self.door.execute(self.lease.id, command, stdin.encode())
        assert status == 0, output
        return output

    async def run_privileged(self, *command: str) -> str:
        """Run a command inside as root with every capability: what only the control group then forbids."""
        made = await self.door.call("exec_create", self.lease.id, list(command), user="0:0", privileged=True)
        output: bytes = await self.door.call("exec_start", made["Id"])
        return output.decode(errors="replace")

    async def nodes(self) -> dict[str, str]:
        """Return the GPU nodes in its ``/dev``, each with what opening it says; ``opened`` for success."""
        return pairs(await self.run("sh", "-c", NODES))

    async def made_nodes(self, minors: Sequence[int]) -> dict[int, str]:
        """Return what root is told who makes the nodes of these minor numbers inside, and opens them."""
        said = await self.run_privileged("sh", "-c", MAKE_AND_OPEN % " ".join(map(str, minors)))
        return {int(minor): answer for minor, answer in pairs(said).items()}

    async def environment(self) -> dict[str, str]:
        """Return the environment in which its own program was started, as Docker was told."""
        inspected = await self.door.call("inspect_container", self.lease.id)
        return pairs("\n".join(inspected["Config"]["Env"]))

    async def process_environment(self) -> dict[str, str]:
        """Return the environment of its first process: a CDI specification may have changed it."""
        return pairs((await self.run("cat", "/proc/1/environ")).replace("\0", "\n"))


def pairs(text: str) -> dict[str, str]:
    """Return lines of ``name=value`` as a mapping."""
    return dict(line.split("=", 1) for line in text.splitlines())


class Servers:
    """The hosts of some rules, and what is started on them.

    Args:
        rules: text of the only rule file.
        view: what hosts and site give.
        certificates: for the hosts; None for Unix sockets.
    """

    def __init__(self, rules: str, view: DockerView, certificates: Certificates | None) -> None:
        self.book = parse_rules({"site.yaml": rules.encode()})
        self.view = view
        self.names = Names()
        self.recorded: dict[tuple[str, str], str] = {}
        connect = partial(DockerHost, certificates=certificates, hub_id=HUB_ID, limit=60.0)
        self.fleet = Fleet(connect, INTERVAL, logging.getLogger("gpu-tests"))
        self.urls: Mapping[str, str] = {host.name: host.url for pool in self.book.pools.values() for host in pool.hosts}

    async def start(self, user: str, profile: str, command: Sequence[str] = COMMAND) -> Server:
        """Start a server; of one that cannot be started nothing is left.

        Raises:
            Refusal: the rules or admission say no.
            HostError: the host refuses, or cannot be asked.
        """
        plan = self.admitted(user, profile, command)
        host = plan.placement.host
        door = self.fleet[host].door
        name = f"{HUB_ID}-{user}"
        gpus, memory = plan.placement.gpus, plan.memory or 0
        lease = Lease(host, door.url, "", name, user, "", gpus, memory)
        order = Order(plan, partial(container_config, view=self.view), name, HUB_ID, "never", lambda *_: None)
        try:
            found = await create(door, order)
            await self.names.give(door, found, plan.identity)
            await door.start(found)
        except HostError:
            await self.fleet.end(lease, 0)
            raise
        await self.fleet[host].refresh()
        return Server(door, Lease(host, door.url, found, name, user, "", gpus, memory), plan)

    def admitted(self, user: str, profile: str, command: Sequence[str] = COMMAND) -> SpawnPlan:
        """Return the plan of a server that may be started now.

        Raises:
            Refusal: the rules or admission say no.
        """
        decision = decide(self.book, identity(user), profile=profile, now=datetime.now(UTC))
        if decision.refusal:
            raise decision.refusal
        demand = Demand(user, "", profile, decision.value("memory"), decision.gpus, decision.gpu_model, decision.quota)
        placement = admit(demand, self._pools(decision), self.holdings())
        return make_plan(decision, identity(user), placement, server="", command=tuple(command), env={})

    def _pools(self, decision: Decision) -> tuple[LivePool, ...]:
        named = (self.book.pools[name] for name in decision.value("pool"))
        return tuple(
            LivePool(
                pool.name,
                tuple(
                    LiveHost(host.name, host.memory, host.gpus, answers=self.fleet.answers(host.name))
                    for host in pool.hosts
                ),
            )
            for pool in named
        )

    def holdings(self) -> tuple[Holding, ...]:
        """Return what containers hold, by what their hosts told last."""
        return unknown_holdings(self.fleet.containers(), self.fleet.leaving.values(), Known({}), ())

    async def end(self, server: Server) -> bool:
        """End a server; whether its host says that it is gone."""
        return await self.fleet.end(server.lease, 1)


@asynccontextmanager
async def servers(rules: str, view: DockerView, certificates: Certificates | None = None) -> AsyncIterator[Servers]:
    """Hosts that have answered once; every container of :data:`HUB_ID` on them ends with the block."""
    platform = Servers(rules, view, certificates)
    try:
        platform.fleet.know(platform.urls)
        await platform.fleet.asked(platform.urls, PATIENCE)
        yield platform
    finally:
        for name in platform.urls:
            with suppress(HostError):  # of a host that a failed test left dead
                door = platform.fleet[name].door
                for one in await door.containers():
                    await door.remove(one.id)
        platform.fleet.close()
