"""A cluster in a notebook, where there are no widgets: a real kernel on a real Slurm."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tests.components.slurm import Slurm
from tests.slurm.kernel import environment

PROGRAM = Path(__file__).with_name("notebook.py")
CELLS = [
    "from nbplatform_spawners.slurm_dask import SlurmCluster\n"
    "cluster = SlurmCluster(n_workers=1, cores=1, memory='300 MiB')\n"
    "cluster",
    "import time\n"
    "cluster.scale(3)\n"
    "limit = time.monotonic() + 60\n"
    "while len(cluster.scheduler_info['workers']) < 3 and time.monotonic() < limit:\n"
    "    time.sleep(0.2)\n"
    "time.sleep(4)",
    "cluster.close()",
]


def test_a_cluster_in_a_cell_changes_with_its_jobs(slurm: Slurm) -> None:
    """What the first cell shows is shown anew when workers come, while another cell runs, and when the cluster ends."""
    ran = slurm.run_as(
        "alice", [sys.executable, str(PROGRAM)], stdin=json.dumps(CELLS), env=environment(slurm), timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    first, scaled, closed = json.loads(ran.stdout)
    assert [one["kind"] for one in first if "SlurmCluster" in one["text"]] == ["display_data"]
    updates = [one["text"] for one in scaled if one["kind"] == "update_display_data"]
    assert updates
    assert re.search(r"Workers:?\s*</strong>:?\s*3\b", updates[-1]), updates[-1]
    assert {one["kind"] for one in closed} == {"update_display_data"}, closed
    slurm.wait_for_jobs(0, "alice", limit=10)
