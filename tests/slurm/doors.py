"""What the tests of both doors to Slurm share: scripts of jobs, and time for what happens by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from nbplatform_spawners.slurm_dask.slurm import Slurm as Door
from nbplatform_spawners.slurm_dask.tag import Tag
from tests.components.slurm import Slurm

PLANTED = "planted-token-of-the-server-0123456789"
"""What a notebook server's environment holds, and no job may."""
TAG = Tag("hub-1", "alice", "a b", "run-1", "0123456789ab").text()
NAME = "dask-worker-0123456789ab-1"
LIMIT = 20.0
"""Seconds for what happens by itself."""


def job_script(name: str = NAME, command: str = "sleep 600", *options: str) -> str:
    """Return a script as those of clusters are."""
    usual = (f"--job-name={name}", f"--comment='{TAG}'", "--output=/dev/null", "--mem=50M")
    return "\n".join(("#!/bin/bash", *(f"#SBATCH {option}" for option in (*usual, *options)), command)) + "\n"


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + LIMIT
    while not await found():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.1)


async def until_state(door: Door, job: str, state: str) -> None:
    """Wait until a job is in a state."""

    async def there() -> bool:
        found = (await door.jobs([job])).get(job)
        return found is not None and found.state == state

    await until(there)


async def until_named(slurm: Slurm, name: str, state: str) -> None:
    """Wait until Slurm has one job of a name, in a state."""

    async def there() -> bool:
        lines = await asyncio.to_thread(slurm.squeue, "", "all")
        return [line.split()[2] for line in lines if line.split()[1] == name] == [state]

    await until(there)


def holds(folder: Path, text: str) -> list[str]:
    """Return the files below a folder that hold a text."""
    wanted = text.encode()
    return [str(path) for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]
