"""Run as a program by a user: measures Dask clusters, one line asked, one JSON answer.

``ours first``, ``peer scale 8``...: the side, what is measured, and its argument.  The peer is plain dask-jobqueue,
whose scheduler sits in this process and speaks in the clear.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


class User:
    """What a user would do in a notebook.

    Args:
        address: of this machine, where the nodes reach a scheduler in this process.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def first(self, side: str) -> dict[str, float]:
        """Return the seconds from nothing to one worker that a client sees."""
        begin = time.perf_counter()
        cluster = self.cluster(side, 1)
        with cluster.get_client() as client:
            client.wait_for_workers(1, timeout=120)
            took = time.perf_counter() - begin
        cluster.close()
        return {"took": took}

    def scale(self, side: str, count: str) -> dict[str, float]:
        """Return the seconds until so many workers are up, and those that scaling down and closing take."""
        cluster = self.cluster(side, 0)
        with cluster.get_client() as client:
            begin = time.perf_counter()
            cluster.scale(int(count))
            client.wait_for_workers(int(count), timeout=300)
            took = time.perf_counter() - begin
        begin = time.perf_counter()
        cluster.scale(0)
        while cluster.scheduler_info["workers"]:
            time.sleep(0.01)
        cluster.close()
        return {"took": took, "close": time.perf_counter() - begin}

    def restless(self, side: str, count: str) -> dict[str, float]:
        """Return how many workers are there after so many calls of ``scale`` in a row, the last one for three."""
        cluster = self.cluster(side, 0)
        begin = time.perf_counter()
        for number in range(int(count)):
            cluster.scale(number % 7)
        cluster.scale(3)
        with cluster.get_client() as client:
            client.wait_for_workers(3, timeout=120)
            while len(cluster.scheduler_info["workers"]) != 3:
                time.sleep(0.1)
        took = time.perf_counter() - begin
        cluster.close()
        return {"took": took}

    def cluster(self, side: str, workers: int) -> Any:
        """Return a new cluster of one side."""
        if side == "ours":
            from nbplatform_spawners.slurm_dask import SlurmCluster

            return SlurmCluster(n_workers=workers, cores=1, memory="500MB", queue="htc")
        from dask_jobqueue import SLURMCluster

        options = {"host": self._address, "dashboard_address": ":0"}
        return SLURMCluster(
            n_workers=workers, cores=1, memory="500MB", queue="htc", scheduler_options=options, log_directory="logs"
        )


def main() -> None:
    """Answer until there are no more lines."""
    user = User(sys.argv[1])
    for line in sys.stdin:
        side, what, *words = line.split()
        answer = getattr(user, what)(side, *words)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
