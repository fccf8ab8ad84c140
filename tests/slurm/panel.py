"""A JupyterLab of a user of Slurm's, whose side panel for Dask starts clusters."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

import nbplatform_spawners
from tests.components.browser import wait_for_port
from tests.components.keeper import Kept
from tests.components.ports import free_ports
from tests.components.slurm import Slurm
from tests.slurm.kernel import environment
from tests.slurm.plain import PlainCluster, wait

CONFIG = Path(nbplatform_spawners.__file__).parent / "singleuser" / "config"
PREFIX = "/user/alice/"
TOKEN = "only-for-tests"
TASKS = 40


@dataclass
class Lab:
    """Alice's JupyterLab, on the login node.

    Attributes:
        slurm: the cluster of machines.
        server: its process.
        url: without a path.
    """

    slurm: Slurm
    server: Kept
    url: str

    @property
    def page(self) -> str:
        """Path that opens it, logged in."""
        return f"{PREFIX}lab?reset&token={TOKEN}"

    def cluster(self) -> PlainCluster:
        """Wait for the folder of the one Dask cluster that there is; what is in it leads to its scheduler."""
        root = self.slurm.home / "alice" / ".nbplatform" / "dask"
        found = wait(lambda: [one for one in root.glob("*") if (one / "scheduler.json").exists()], "a cluster")
        return PlainCluster(self.slurm.lan.keeper, found[0])

    def compute(self) -> int:
        """Have the workers do something that the dashboard shows; return the result."""
        cluster = self.cluster()
        with Client(cluster.address, security=cluster.security) as client:
            client.wait_for_workers(1, timeout=60)
            slept = client.map(time.sleep, [0.1] * TASKS, pure=False)
            numbers = client.map(abs, range(-TASKS, 0))
            client.gather(slept)
            return int(sum(client.gather(numbers)))


@contextmanager
def running_lab(slurm: Slurm, folder: Path) -> Iterator[Lab]:
    """A JupyterLab at an address such as a hub gives it; it ends with the block.

    Args:
        slurm: where its clusters run.
        folder: holds its log.
    """
    port = free_ports().public
    more = {"JUPYTERHUB_SERVICE_PREFIX": PREFIX, "JUPYTER_CONFIG_PATH": str(CONFIG), "JUPYTER_TOKEN": TOKEN}
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", f"--ServerApp.base_url={PREFIX}"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    server = slurm.start_as("alice", command, log=folder / "lab.log", env=environment(slurm, more))
    wait_for_port(server, port)
    try:
        yield Lab(slurm, server, f"http://127.0.0.1:{port}")
    finally:
        server.kill9()
