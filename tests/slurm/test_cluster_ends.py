"""How a cluster ends, and what a user is told when it cannot begin: nothing is left in Slurm or on the storage."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.components.slurm import Slurm
from tests.slurm.kernel import SITE, run_kernel, site_file, start_kernel

UP = """
cluster = SlurmCluster(n_workers=2, **SMALL)
client = cluster.get_client()
client.wait_for_workers(2, timeout=90)
tell(cluster.runtime.scheduler_entry.job_id)
"""
ERROR = """
begun = time.monotonic()
try:
    SlurmCluster({arguments})
except SlurmDaskError as error:
    tell([type(error).__name__, str(error)])
"""


def folders(slurm: Slurm, user: str = "alice") -> list[str]:
    """Return the folders of clusters that a user still has."""
    root = slurm.home / user / ".nbplatform" / "dask"
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


@pytest.fixture(autouse=True)
def no_folders(slurm: Slurm) -> None:
    """What a kernel that was killed has left is not there for the next test."""
    shutil.rmtree(slurm.home / "alice" / ".nbplatform", ignore_errors=True)


def wait_for_node_job(slurm: Slurm, job: str) -> str:
    """Return the node that a job runs on."""
    return slurm.command("squeue", "--noheader", "--format=%N", f"--jobs={job}").strip()


def test_closing_ends_all_jobs_and_removes_the_folder(slurm: Slurm) -> None:
    """After ``close()`` there is nothing to find; the client of the cluster ends with it, without complaint."""
    assert run_kernel(slurm, UP + "cluster.close(); tell([cluster.status.name, client.status])")[1] == [
        "closed",
        "closed",
    ]
    slurm.wait_for_jobs(0, "alice", limit=5)
    assert folders(slurm) == []


def test_a_script_that_ends_without_closing_leaves_nothing(slurm: Slurm) -> None:
    """The end of the process closes what is open."""
    run_kernel(slurm, UP)
    slurm.wait_for_jobs(0, "alice", limit=10)
    assert folders(slurm) == []


def test_a_kernel_that_is_killed_ends_its_jobs_after_the_grace(slurm: Slurm, tmp_path: Path) -> None:
    """Nobody can say goodbye then: the scheduler misses its owner, and the workers end with it."""
    kernel = start_kernel(slurm, UP + "time.sleep(600)", tmp_path / "log")
    kernel.wait_for(1)
    assert slurm.job_count("alice") == 3
    kernel.kept.kill9()
    slurm.wait_for_jobs(0, "alice", limit=30)


def test_a_child_of_the_kernel_cancels_nothing(slurm: Slurm) -> None:
    """A forked child has a copy of the cluster, and ends as every program does; the cluster goes on."""
    told = run_kernel(
        slurm,
        UP
        + """
pid = os.fork()
if not pid:
    cluster.close()
    sys.exit(0)
os.waitpid(pid, 0)
tell(client.submit(sum, [1, 2]).result(timeout=60))
cluster.close()
""",
    )
    assert told[1] == 3
    slurm.wait_for_jobs(0, "alice", limit=10)


@pytest.mark.parametrize("way", ["cancelled", "killed", "node lost"])
def test_a_dead_scheduler_closes_the_cluster_with_one_sentence(slurm: Slurm, tmp_path: Path, way: str) -> None:
    """The user reads what happened, calls end at once, and the workers' jobs are gone."""
    code = (
        UP
        + """
until(lambda: cluster.status.name == "closed", 100)
tell(cluster.ended)
begun = time.monotonic()
try: cluster.scale(3)
except SlurmDaskError as error: tell(str(error))
cluster.close()
tell(len(cluster.workers))
"""
    )
    kernel = start_kernel(slurm, code, tmp_path / "log")
    (job,) = kernel.wait_for(1)
    if way == "cancelled":
        slurm.command("scancel", job)
    elif way == "killed":
        slurm.command("scancel", "--full", "--signal=KILL", job)
    else:
        slurm.lose_node(wait_for_node_job(slurm, job))
    _, ended, refused, workers = kernel.wait_for(4)
    assert f"job {job} is gone" in ended
    assert refused == ended
    assert workers == 0
    assert "Traceback" not in kernel.log.read_text()
    slurm.wait_for_jobs(0, "alice")
    assert folders(slurm) == []


def test_an_interrupt_while_the_queue_is_full_leaves_nothing(slurm: Slurm, tmp_path: Path) -> None:
    """Ctrl-C in a cell whose cluster waits cancels what was submitted; the user has seen why it waited."""
    code = """
class Shown:
    def show(self, text): tell({"shown": text})
    def end(self): pass
import nbplatform_spawners.slurm_dask.waiting as waiting
waiting.choose_progress = Shown
signal.signal(signal.SIGINT, signal.default_int_handler)  # as a kernel has it; whoever keeps the test ignores it
tell({"ready": os.getpid()})
try:
    SlurmCluster(n_workers=2, queue="tiny", **SMALL)
except KeyboardInterrupt:
    tell({"interrupted": True})
"""
    with slurm.filled("tiny") as other:
        kernel = start_kernel(slurm, code, tmp_path / "log")
        end = time.monotonic() + 60
        while not any("queue 'tiny' is full" in str(told) for told in kernel.told()):
            assert time.monotonic() < end, kernel.log.read_text()
            time.sleep(0.2)
        pid = kernel.told()[0]["ready"]
        assert slurm.run_as("alice", ["kill", "-INT", str(pid)]).returncode == 0
        while {"interrupted": True} not in kernel.told():
            assert time.monotonic() < end, kernel.log.read_text()
            time.sleep(0.1)
        slurm.wait_for_jobs(0, "alice", limit=10)
        assert any(line.split()[0] == other for line in slurm.squeue("bob"))
    assert folders(slurm) == []
    assert "Traceback" not in kernel.log.read_text()


def test_a_cancelled_start_leaves_nothing(slurm: Slurm) -> None:
    """The asynchronous way of the same: a task that is cancelled while it waits."""
    with slurm.filled("tiny"):
        told = run_kernel(
            slurm,
            """
async def main():
    cluster = SlurmCluster(n_workers=2, queue="tiny", asynchronous=True, **SMALL)
    async def start(): await cluster
    task = asyncio.create_task(start())
    while len(cluster.runtime.ledger.entries) < 3 or not all(e.job_id for e in cluster.runtime.ledger.entries.values()):
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    task.cancel()
    try: await task
    except asyncio.CancelledError: tell([cluster.status.name, len(cluster.runtime.ledger.entries)])
asyncio.run(main())
""",
        )
        assert told == [["closed", 0]]
        slurm.wait_for_jobs(0, "alice", limit=10)


REFUSED = {
    "unknown queue": ('queue="nowhere"', "SlurmRefused", ["'nowhere'", "queue="]),
    "more than a node has": (
        'n_workers=1, job_extra_directives=["--mem=900G"]',
        "SlurmRefused",
        ["no node"],
    ),
    "workers over the limit": ("n_workers=41", "ClusterRefused", ["41 workers", "40 workers"]),
    "memory over the limit": ('memory="5 GiB"', "ClusterRefused", ["5", "4"]),
    "wall time over the limit": ('walltime="03:00:00"', "ClusterRefused", ["3 hours", "2 hours"]),
    "an argument that is none": ("n_worker=1", "ClusterRefused", ["n_worker", "did you mean n_workers="]),
    "one of dask-jobqueue that is ours": ('interface="ib0"', "ClusterRefused", ["interface="]),
    "a python that fails": ('python="/bin/false"', "ClusterFailed", ["its program failed"]),
}


@pytest.mark.parametrize(("arguments", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(
    slurm: Slurm, arguments: str, kind: str, words: list[str]
) -> None:
    """The sentence has the value and what to do; no job and no folder is left."""
    ((found, sentence),) = run_kernel(slurm, ERROR.format(arguments=arguments))
    assert found == kind, sentence
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence
    slurm.wait_for_jobs(0, "alice", limit=10)
    assert folders(slurm) == []


def test_a_python_that_the_nodes_cannot_have_is_refused_before_anything_is_submitted(slurm: Slurm) -> None:
    """The kernel's own is used where the nodes share it, else the site's; without either there is nothing to try."""
    site = site_file(slurm, SITE.replace(', "{prefix}"', ""), "not-shared.yaml")
    env = {"NBPLATFORM_SLURM_SITE": str(site)}
    ((kind, sentence),) = run_kernel(slurm, ERROR.format(arguments=""), env=env)
    assert kind == "ClusterRefused"
    assert "not on storage that the nodes share" in sentence
    assert "python=" in sentence


def test_nodes_with_other_versions_are_named_before_the_first_task(slurm: Slurm) -> None:
    """Both sides are compared when the scheduler's job begins; its jobs are cancelled."""
    ((kind, sentence),) = run_kernel(
        slurm,
        """
import nbplatform_spawners.slurm_dask.here as here
found = here.versions()
here.versions = lambda: {**found, "distributed": "2020.1.0"}
"""
        + ERROR.format(arguments="n_workers=1, **SMALL"),
    )
    assert kind == "ClusterFailed"
    assert "distributed 2020.1.0" in sentence
    slurm.wait_for_jobs(0, "alice", limit=10)
    assert folders(slurm) == []


@pytest.mark.parametrize("fault", ["stopped", "hung"])
def test_a_slurm_that_is_down_is_said_so_within_its_time(slurm: Slurm, fault: str) -> None:
    """A start without Slurm ends with one sentence, and nothing appears once it is back."""
    slurm.stop_controller() if fault == "stopped" else slurm.hang_controller()
    ((kind, sentence),) = run_kernel(slurm, ERROR.format(arguments="n_workers=1, **SMALL"))
    slurm.start_controller() if fault == "stopped" else slurm.continue_controller()
    assert kind == "SlurmUnavailable", sentence
    assert folders(slurm) == []
    time.sleep(2)  # what a hung controller took in the meantime would show
    slurm.wait_for_jobs(0, "alice", limit=30)


def test_a_user_holds_so_many_clusters_and_no_more(slurm: Slurm) -> None:
    """One's own tagged jobs in Slurm count, from whatever kernel they are."""
    site = site_file(slurm, SITE.replace("clusters: 4", "clusters: 1"), "one-cluster.yaml")
    env = {"NBPLATFORM_SLURM_SITE": str(site)}
    code = "with SlurmCluster(**SMALL):\n    pass\nwith SlurmCluster(**SMALL):" + _indented(ERROR.format(arguments=""))
    (told,) = run_kernel(slurm, code, env=env)
    assert told[0] == "ClusterRefused"
    assert "1 Dask cluster" in told[1]
    slurm.wait_for_jobs(0, "alice", limit=10)


def test_a_cancel_that_fails_names_the_jobs_that_may_be_left(slurm: Slurm, tmp_path: Path) -> None:
    """``close()`` does not claim what it does not know: Slurm hung, the sentence names each job."""
    code = (
        UP
        + """
jobs = sorted(entry.job_id for entry in cluster.runtime.ledger.entries.values())
tell(jobs)
until(lambda: os.path.exists(os.path.expanduser("~/go")))
try: cluster.close()
except SlurmDaskError as error: tell(str(error))
tell(cluster.status.name)
"""
    )
    kernel = start_kernel(slurm, code, tmp_path / "log")
    jobs = kernel.wait_for(2)[1]
    slurm.hang_controller()
    (slurm.home / "alice" / "go").touch()
    _, _, sentence, status = kernel.wait_for(4)
    (slurm.home / "alice" / "go").unlink()
    slurm.continue_controller()
    assert all(job in sentence for job in jobs), sentence
    assert "scancel" in sentence
    assert status == "closed"
    slurm.wait_for_jobs(0, "alice", limit=30)


def _indented(code: str) -> str:
    return "".join(f"\n    {line}" for line in code.splitlines())
