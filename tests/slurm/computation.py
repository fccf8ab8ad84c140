"""Run as a program by a user: a computation with a known result on a cluster of three workers; prints one JSON object.

It is what a notebook's cell does, in a process of its own.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from nbplatform_spawners.slurm_dask import SlurmCluster

NUMBERS = 1000
RESULT = sum(number * number for number in range(NUMBERS))
WORKERS = 3


def square(number: int) -> tuple[int, int, str]:
    """Return the square, as whom it was computed, and where."""
    return number * number, os.getuid(), socket.gethostname()


def main() -> None:
    """Print result, uids, host names and whether everything spoke TLS."""
    with SlurmCluster(n_workers=WORKERS, cores=1, memory="500 MiB") as cluster, cluster.get_client() as client:
        client.wait_for_workers(WORKERS, timeout=60)
        found = client.gather(client.map(square, range(NUMBERS), batch_size=50))
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        said = {
            "result": sum(value for value, _, _ in found),
            "uids": sorted({uid for _, uid, _ in found}),
            "hosts": sorted({host for _, _, host in found}),
            "tls": all(address.startswith("tls://") for address in [*workers, client.scheduler.address]),
            "workers": len(workers),
        }
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
