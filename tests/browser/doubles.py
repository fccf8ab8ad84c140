"""Backends with many hosts, some of which misbehave, by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.hosts.admit import Holding, LiveHost, LivePool
from nbplatform_spawners.rules.decision import Decision
from nbplatform_spawners.spawners.ledger import Reservations
from nbplatform_spawners.spawners.local import LocalSpawner

G = 1024**3
HOSTS = tuple(LiveHost(f"cpu{number:02}", 32 * G) for number in range(1, 13))
SILENT = tuple(replace(host, answers=False) for host in HOSTS)
POOLS = {
    "silent": (LivePool("cpu", SILENT),),
    "half-silent": (LivePool("cpu", (*HOSTS[:6], *SILENT[6:])),),
    "kubernetes": (LivePool("cluster"),),
}


class LoggedReservations(Reservations):
    """Writes down each time that somebody asks what all servers hold."""

    def __iter__(self) -> Iterator[Holding]:
        logging.getLogger("nbplatform.double").warning("asked for all holdings")
        return iter(super().__iter__())


class TwelveHosts(LocalSpawner):
    """A site with twelve hosts, where the profile's name says how they are today."""

    reservations = LoggedReservations()

    async def live_pools(self, decision: Decision) -> tuple[LivePool, ...]:
        """Return the hosts; those of ``slow`` take a minute to answer, for ``broken`` nobody answers at all."""
        self.log.warning("asked for the hosts of %s", decision.profile)
        if decision.profile == "slow":
            await asyncio.sleep(60)
        if decision.profile == "broken":
            raise Refusal("unreachable", "the cluster does not answer; try again later")
        return POOLS.get(decision.profile or "", (LivePool("cpu", HOSTS),))
