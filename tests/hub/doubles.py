"""Misbehaving spawners, by name."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from dataclasses import replace

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


class AsItsProfile(LocalSpawner):
    """Behaves as the profile asked for is called; any other profile is served well.

    ``fetched``: an image of 50 MiB comes first, in a hundred parts;
    ``pondered``: takes its time to find out who somebody is; ``late``: its server waits before it listens;
    ``silent``: its server never listens; ``dies``: its server ends at once and says why.
    """

    async def find_identity(self) -> Identity:
        """Wait if need be, then answer."""
        if self.user_options.get("profile") == "pondered":
            await asyncio.sleep(2)
        return await super().find_identity()

    async def apply_plan(self, plan: SpawnPlan) -> str:
        """Start what the profile says."""
        scripts = {
            "late": 'sleep 6; exec "$@"',
            "silent": "sleep 600",
            "dies": "echo '<b>the disk is full</b>' >&2; exit 1",
        }
        if plan.profile == "fetched":
            for part in range(101):
                self._steps.pulling("site/lab:1", part * 2**19, 100 * 2**19)
                await asyncio.sleep(0.02)
        if plan.profile in scripts:
            plan = replace(plan, command=("sh", "-c", scripts[plan.profile], "sh", *plan.command))
        return await super().apply_plan(plan)


class CannotBeAsked(LocalSpawner):
    """Where its server is cannot be said after a restart of the hub."""

    async def get_url(self) -> str:
        """Wait for ever."""
        await asyncio.sleep(3600)
        return await super().get_url()


BRIEFLY = """
import http.server, os, time, urllib.parse
port = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port
server = http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
server.timeout = 1
end = time.monotonic() + 4
while time.monotonic() < end:
    server.handle_request()
server.server_close()
time.sleep(600)
"""


class ServesBriefly(LocalSpawner):
    """Its server answers (that it knows no page) for some seconds, then closes its port and lives on."""

    def _cmd_default(self) -> list[str]:
        return [sys.executable, "-c", BRIEFLY]


class TakesAnothersPort(LocalSpawner):
    """Somebody else listens on its port before its server does."""

    async def apply_plan(self, plan: SpawnPlan) -> str:
        """Listen as the hub's own user, then start."""
        with socket.socket() as thief:
            thief.bind(("127.0.0.1", self.port))
            thief.listen()
            return await super().apply_plan(plan)


class KillsTheHub(LocalSpawner):
    """The hub ends by kill -9 when its server runs and is not recorded yet."""

    def commit_state(self) -> None:
        """End this process."""
        os.kill(os.getpid(), signal.SIGKILL)
