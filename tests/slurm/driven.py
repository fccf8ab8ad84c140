"""Run as a program by a user: a cluster that does what the lines on standard input say; one JSON answer a line.

A line is the name of one of the methods of :class:`Driven` and its argument.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from nbplatform_spawners.errors import NbplatformError
from nbplatform_spawners.slurm_dask import SlurmCluster

TASKS = 60
TOTAL = sum(number * number for number in range(TASKS))
LIMIT = 120  # seconds


def square(number: int, seconds: float) -> int:
    """Return the square after a while."""
    time.sleep(seconds)
    return number * number


class Driven:
    """The cluster, its client and what is being computed."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.cluster = SlurmCluster(**arguments)
        self.client = self.cluster.get_client()
        self.computed: list[Any] = []

    def scale(self, count: str) -> None:
        """Ask for so many workers."""
        self.cluster.scale(int(count))

    def wait(self, count: str) -> int:
        """Wait until so many workers are there, and return how many the cluster knows."""
        self.client.wait_for_workers(int(count), timeout=LIMIT)
        return len(self.cluster.scheduler_info["workers"])

    def begin(self, seconds: str) -> None:
        """Begin to compute with tasks that take that long each."""
        self.computed = self.client.map(square, range(TASKS), seconds=float(seconds), pure=False)

    def end(self) -> int:
        """Return the result of what was begun."""
        return sum(self.client.gather(self.computed))

    def compute(self, seconds: str) -> int:
        """Compute with tasks that take that long each, and return the result."""
        self.begin(seconds)
        return self.end()

    def workers(self) -> list[str]:
        """Return the hosts that workers are on."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return sorted(worker["host"] for worker in workers)

    def scheduler(self) -> str:
        """Return the address that the scheduler listens on."""
        address: str = self.client.scheduler.address
        return address.removeprefix("tls://").rpartition(":")[0]

    def close(self) -> None:
        """Close client and cluster."""
        self.client.close()
        self.cluster.close()


def main() -> None:
    """Do what the lines say until they end."""
    try:
        driven = Driven(json.loads(sys.argv[1]))
        answer({"ready": True})
        for line in sys.stdin:
            verb, *words = line.split()
            try:
                answer({"said": getattr(driven, verb)(*words)})
            except NbplatformError as error:
                answer({"error": str(error)})
    except NbplatformError as error:
        answer({"error": str(error)})


def answer(found: dict[str, Any]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
