"""Run as a program by an ordinary user: starts one server as JSON on standard input says, prints what became of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from nbplatform_spawners.errors import NbplatformError
from nbplatform_spawners.hosts.local_machine import LocalMachine, probe_machine
from nbplatform_spawners.hosts.local_process import launch, log_tail, status, stop
from nbplatform_spawners.mounts import Mount
from nbplatform_spawners.render.local import ungranted_groups
from tests.local.plans import server_plan


async def run(wanted: dict[str, Any], machine: LocalMachine) -> dict[str, Any]:
    """Start the server; wait for it to end, or stop it once it made the file ``ready`` in its HOME's storage."""
    plan = server_plan(wanted["command"], [Mount(**mount) for mount in wanted["mounts"]])
    said: dict[str, Any] = {"ungranted": ungranted_groups(plan, machine)}
    directory = Path(wanted["directory"])
    try:
        process = await launch(plan, machine, directory, "alice")
    except NbplatformError as error:
        return {**said, "error": str(error)}
    ready = Path(wanted["ready"]) if wanted["ready"] else None
    while status(process) is None and not (ready and ready.exists()):  # noqa: ASYNC110 - nothing else runs
        await asyncio.sleep(0.02)
    stopped = await stop(process, wanted["grace"])
    return {**said, "status": status(process), "stopped": stopped, "output": log_tail(directory, 100_000)}


def main() -> None:
    """Print one JSON object."""
    wanted = json.load(sys.stdin)
    machine = probe_machine(bwrap=wanted["bwrap"])
    about = {"mode": machine.mode, "notes": machine.notes, "problem": machine.problem, "uid": os.getuid()}
    json.dump({**about, **asyncio.run(run(wanted, machine))}, sys.stdout)


if __name__ == "__main__":
    main()
