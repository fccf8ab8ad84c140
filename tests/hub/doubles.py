"""Misbehaving spawners, by name."""

from __future__ import annotations

import asyncio
import socket
import sys

from nbplatform_spawners.identity import Identity
from nbplatform_spawners.plan import SpawnPlan
from nbplatform_spawners.spawners.local import LocalSpawner


class SlowToDecide(LocalSpawner):
    """Takes its time to find out who somebody is."""

    async def find_identity(self) -> Identity:
        """Wait, then answer."""
        await asyncio.sleep(1.5)
        return await super().find_identity()


class DiesAtStart(LocalSpawner):
    """Its server ends at once and says why."""

    def _cmd_default(self) -> list[str]:
        return [sys.executable, "-c", "import sys; sys.exit('the disk is full')"]


class NeverAnswers(LocalSpawner):
    """Its server runs but never listens."""

    def _cmd_default(self) -> list[str]:
        return ["sleep", "600"]


class TakesAnothersPort(LocalSpawner):
    """Somebody else listens on its port before its server does."""

    async def apply_plan(self, plan: SpawnPlan) -> str:
        """Listen as the hub's own user, then start."""
        with socket.socket() as thief:
            thief.bind(("127.0.0.1", self.port))
            thief.listen()
            return await super().apply_plan(plan)
