"""Misbehaving spawners, by name."""

from __future__ import annotations

import asyncio
import os
import signal
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
