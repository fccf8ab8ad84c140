"""A real machine, a folder with storage of two users, and servers that are gone after each test."""

# The event loop of a test has nothing else to do:
# ruff: noqa: ASYNC110, ASYNC240

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.local_machine import LocalMachine, probe_machine
from nbplatform_spawners.hosts.local_process import LocalProcess, launch, log_tail, status, stop
from nbplatform_spawners.mounts import Mount
from nbplatform_spawners.plan import SpawnPlan
from tests.local.plans import ALICE, server_plan

SERVER_ID = f"nbp-test-{os.getpid()}"
OTHER_UID, OTHER_GID = 61002, 61500


class Workshop:
    """Starts servers of alice on storage below one folder.

    Attributes:
        machine: what this machine can do.
        folder: holds ``home/alice``, ``home/other``, ``sps/atlas`` and ``cvmfs``, with the owners they have at a site.
        home: the mount of alice's HOME.
    """

    def __init__(self, machine: LocalMachine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        self.home = Mount(str(folder / "home/alice"), "/home/alice")
        self.started: list[LocalProcess] = []
        self._numbers = count()

    def storage(self, path: str, uid: int, gid: int, mode: int) -> Path:
        """Make a folder of storage."""
        made = self.folder / path
        made.mkdir(parents=True)
        made.chmod(mode)
        os.chown(made, uid, gid)
        return made

    def script(self, text: str, *mounts: Mount, **more: object) -> SpawnPlan:
        """Return the plan of a server that is a shell script, with HOME mounted."""
        return server_plan(("/bin/sh", "-c", text), [self.home, *mounts], **more)

    def directory(self) -> Path:
        """Return a fresh private folder."""
        made = self.folder / f"run-{next(self._numbers)}"
        made.mkdir(mode=0o700)
        return made

    async def start(self, plan: SpawnPlan) -> LocalProcess:
        """Start a server; it is stopped when the test ends."""
        process = await launch(plan, self.machine, self.directory(), SERVER_ID)
        self.started.append(process)
        return process

    async def run(self, plan: SpawnPlan) -> tuple[int, str]:
        """Run a server to its end; return its exit status and all it printed."""
        process = await self.start(plan)
        return await ended(process), log_tail(Path(process.directory), 100_000)


async def ended(process: LocalProcess) -> int:
    """Wait for a server to end; return its exit status."""
    while (code := status(process)) is None:
        await asyncio.sleep(0.02)
    return code


async def until_listed(folder: Path, name: str) -> None:
    """Wait until a folder lists a name; the test's own time limit ends a wait in vain."""
    while not (folder.is_dir() and name in os.listdir(folder)):
        await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def root_machine() -> LocalMachine:
    """This machine, where the tests run as root and bubblewrap works."""
    if os.geteuid() != 0:
        pytest.skip("needs root: servers get other accounts' numbers")
    machine = probe_machine()
    if machine.problem is not None:
        pytest.skip(machine.problem)
    return machine


@pytest.fixture
async def workshop(root_machine: LocalMachine) -> AsyncIterator[Workshop]:
    """A place to start servers as root."""
    folder = Path(tempfile.mkdtemp(prefix="nbp-local-"))
    folder.chmod(0o755)
    made = Workshop(root_machine, folder)
    made.storage("home/alice", ALICE.uid, ALICE.gid, 0o700)
    made.storage("home/other", OTHER_UID, OTHER_GID, 0o755)
    made.storage("sps/atlas", 0, 61100, 0o2770)
    made.storage("sps/cms", 0, OTHER_GID, 0o2775)
    made.storage("cvmfs", 0, 0, 0o755)
    yield made
    for process in made.started:
        await stop(process, 0)
    shutil.rmtree(folder)


@pytest.fixture
def shared_folder(root_machine: LocalMachine) -> Iterator[Path]:
    """A folder whose later mounts reach other mount namespaces, as ``/cvmfs`` of a site."""
    folder = Path(tempfile.mkdtemp(prefix="nbp-shared-"))
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "--make-rshared", folder], check=True)
    yield folder
    subprocess.run(["umount", "--recursive", folder], check=True)
    folder.rmdir()
