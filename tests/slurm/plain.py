"""A scheduler and workers over TLS as a cluster's jobs start them, without Slurm: on this machine alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from distributed.security import Security

from nbplatform_spawners.slurm_dask import node
from nbplatform_spawners.slurm_dask.certificates import make_certificate
from tests.components.keeper import Keeper, Kept

CLUSTER = "0123456789ab"
LIMIT = 60.0
"""Seconds until what is waited for must be there."""


@dataclass
class PlainCluster:
    """One cluster and its folder.

    Attributes:
        keeper: ends all processes.
        folder: the cluster's folder.
        started: the programs that were started, the scheduler first.
    """

    keeper: Keeper
    folder: Path
    started: list[Kept] = field(default_factory=list)

    @property
    def security(self) -> Security:
        """Of whoever has the cluster's certificate."""
        cert, key = str(self.folder / "tls.pem"), str(self.folder / "tls.key")
        return Security(require_encryption=True, tls_ca_file=cert, tls_client_cert=cert, tls_client_key=key)

    @property
    def scheduler_file(self) -> dict[str, Any]:
        """What the scheduler says about itself, once it is there."""

        def read() -> Any:
            try:
                return json.loads((self.folder / "scheduler.json").read_text())
            except (OSError, ValueError):
                return None

        return dict(wait(read, "the scheduler's file"))

    @property
    def address(self) -> str:
        """Where the scheduler is."""
        return str(self.scheduler_file["address"])

    def options(self, host: str | None = None) -> list[str]:
        """Options of both programs."""
        tls = ["--tls-ca-file", "tls.pem", "--tls-cert", "tls.pem", "--tls-key", "tls.key"]
        places = [str(self.folder / one) if one.startswith("tls.") else one for one in tls]
        where = host or f"tls://{self.node_address()}"
        return ["--host", where, "--dashboard-address", ":0", *places, "--preload", str(self.folder / "node.py")]

    def node_address(self) -> str:
        """The address as the job script asks for it."""
        command = [sys.executable, str(self.folder / "node.py"), "address"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def start(self, program: str, *options: str, **env: str) -> Kept:
        """Start ``scheduler`` or ``worker`` with options of its own."""
        number = len(self.started)
        argv = [sys.executable, "-m", f"distributed.cli.dask_{program}", *options]
        log = self.keeper.folder / f"{self.folder.name}-{program}-{number}.log"
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder.parent), **env}
        self.started.append(self.keeper.start(argv, log=log, env=environment))
        return self.started[-1]

    def start_scheduler(self, *more: str, host: str | None = None, **env: str) -> Kept:
        """Start the scheduler."""
        file = ["--scheduler-file", str(self.folder / "scheduler.json")]
        return self.start("scheduler", *self.options(host), "--port", "0", *file, *more, **env)

    def start_worker(self, *more: str, **env: str) -> Kept:
        """Start a worker with its nanny, on one thread."""
        scratch = ["--local-directory", str(self.folder.parent / "scratch"), "--nthreads", "1"]
        options = [*self.options(), "--death-timeout", "60", "--memory-limit", "0", *scratch, *more]
        return self.start("worker", self.address, *options, **env)


def make_cluster(keeper: Keeper, where: Path, **expected: object) -> PlainCluster:
    """Make the folder of a cluster, with nothing started.

    Args:
        keeper: ends what will be started.
        where: folder that will hold the cluster's.
        expected: what ``expected.json`` says otherwise.
    """
    folder = where / CLUSTER
    folder.mkdir(mode=0o700)
    pair = make_certificate(CLUSTER, datetime.now(UTC), 3600)
    for name, content in (("tls.pem", pair.cert), ("tls.key", pair.key)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
    shutil.copy(node.__file__, folder / "node.py")
    says = {"versions": node.versions(), "network": "127.0.0.0/8", "owner_grace": 30, "idle": 1800, "cluster": CLUSTER}
    (folder / "expected.json").write_text(json.dumps({**says, **expected}))
    return PlainCluster(keeper, folder)


def wait(what: Callable[[], Any], name: str, limit: float = LIMIT) -> Any:
    """Ask again and again until there is something true, and return it."""
    end = time.monotonic() + limit
    while not (found := what()):
        assert time.monotonic() < end, f"waited in vain for {name}"
        time.sleep(0.05)
    return found


def family(one: Kept) -> list[psutil.Process]:
    """A program's process and all below it."""
    parent = psutil.Process(one.pid)
    return [parent, *parent.children(recursive=True)]


def listening(one: Kept) -> set[tuple[str, int]]:
    """Where a program and all below it listen."""
    found = set()
    for process in family(one):
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.add((str(connection.laddr[0]), int(connection.laddr[1])))
    return found
