"""Kernels for tests: a process of a user's own that makes clusters, and tells what it saw, one JSON value a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.components.keeper import Kept
from tests.components.slurm import Slurm

ROOT = Path(__file__).parents[2]
LIMIT = 120.0
"""Seconds until a kernel must be done, or have told."""
MARK = "told: "
PRELUDE = """
import asyncio, json, os, signal, sys, threading, time, logging
from dask.distributed import Client, wait
from nbplatform_spawners.slurm_dask import SlurmCluster
from nbplatform_spawners.slurm_dask.errors import SlurmDaskError
def tell(value): print("told: " + json.dumps(value), flush=True)
def until(true, limit=60):
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, "never came"
        time.sleep(0.05)
SMALL = dict(cores=1, memory="500 MiB")
"""
SITE = """\
slurm: {{way: commands, timeout: 8s, network: 10.233.0.0/16}}
scheduler: {{cores: 1, memory: 500M}}
workers: {{shared: ["{home}", "{prefix}"]}}
defaults: {{queue: htc, walltime: 20m}}
limits: {{workers: 40, cores: 4, memory: 4G, gpus: 2, walltime: 2h, clusters: 4}}
owner_grace: 3s
support: help@example.org
"""


def site_file(slurm: Slurm, text: str = SITE, name: str = "slurm.yaml") -> Path:
    """Write a site file that the users can read; return its path."""
    path = slurm.home / name
    path.write_text(text.format(home=slurm.home, prefix=sys.prefix), encoding="utf-8")
    path.chmod(0o644)
    return path


def environment(slurm: Slurm, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a kernel's environment has besides the user's."""
    return {"PYTHONPATH": str(ROOT), "NBPLATFORM_SLURM_SITE": str(site_file(slurm)), **(more or {})}


def run_kernel(slurm: Slurm, code: str, user: str = "alice", env: Mapping[str, str] | None = None) -> list[Any]:
    """Run code as a user until it ends; return what it told.

    Raises:
        AssertionError: it failed; holds what it wrote.
    """
    whole = environment(slurm, env)
    done = slurm.run_as(user, [sys.executable, "-c", PRELUDE + code], env=whole, timeout=LIMIT)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    lines = done.stdout.splitlines()
    return [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]


@dataclass
class Kernel:
    """A kernel that runs while the test goes on.

    Attributes:
        kept: its process.
        log: file with all that it wrote.
    """

    kept: Kept
    log: Path

    def told(self) -> list[Any]:
        """Return what it has told up to now."""
        *lines, _ = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]

    def wait_for(self, count: int) -> list[Any]:
        """Wait until it has told so many values; return them.

        Raises:
            AssertionError: it does not; holds what it wrote.
        """
        end = time.monotonic() + LIMIT
        while len(found := self.told()) < count:
            assert time.monotonic() < end, self.log.read_text(encoding="utf-8", errors="replace")
            time.sleep(0.1)
        return found


def start_kernel(
    slurm: Slurm, code: str, log: Path, user: str = "alice", env: Mapping[str, str] | None = None
) -> Kernel:
    """Start code as a user."""
    argv = [sys.executable, "-c", PRELUDE + code]
    return Kernel(slurm.start_as(user, argv, log=log, env=environment(slurm, env)), log)
