"""A cluster as its user knows it: made with one line, scaled, looked at and closed, on a real Slurm."""

from __future__ import annotations

import os

import pytest

from tests.components.slurm import USERS, Slurm
from tests.slurm.kernel import run_kernel


def test_a_computation_on_three_workers_gives_the_known_result_as_the_user(slurm: Slurm) -> None:
    """Scheduler and workers are jobs of the user's own, and speak TLS with certificates that only they can read."""
    (uids, result, addresses), jobs, modes, left = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=3, **SMALL) as cluster, cluster.get_client() as client:
    client.wait_for_workers(3, timeout=90)
    uids = sorted(set(client.run(os.getuid).values()))
    result = client.submit(sum, client.map(lambda x: x * x, range(1000))).result()
    tell([uids, result, [client.scheduler.address, *client.run(lambda dask_worker: dask_worker.address)]])
    tell(sorted(entry.name for entry in cluster.runtime.ledger.entries.values()))
    folder = str(cluster.runtime.path)
    tell([oct(os.stat(folder).st_mode & 0o777), oct(os.stat(folder + "/tls.key").st_mode & 0o777)])
tell([os.path.exists(folder), cluster.status.name])
""",
    )
    assert uids == [USERS["alice"].uid]
    assert result == sum(number * number for number in range(1000))
    assert all(address.startswith("tls://10.233.") for address in addresses)
    assert len(jobs) == 4
    assert sum(name.startswith("dask-scheduler-") for name in jobs) == 1
    assert modes == ["0o700", "0o600"]
    assert left == [False, "closed"]
    slurm.wait_for_jobs(0, "alice")


def test_the_async_way_gives_the_same_cluster(slurm: Slurm) -> None:
    """``async with`` and ``await`` work as with every Dask cluster."""
    told = run_kernel(
        slurm,
        """
async def main():
    async with SlurmCluster(n_workers=1, asynchronous=True, **SMALL) as cluster:
        async with Client(cluster, asynchronous=True) as client:
            tell(await client.submit(sum, range(10)))
            cluster.scale(2)
            await client.wait_for_workers(2, timeout=90)
    tell(cluster.status.name)
asyncio.run(main())
""",
    )
    assert told == [45, "closed"]
    slurm.wait_for_jobs(0, "alice")


def test_scaling_up_and_down_ends_the_jobs_and_keeps_what_they_held(slurm: Slurm) -> None:
    """A worker that goes hands over what it holds: nothing is computed a second time."""
    (before, after), count, names = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=1, **SMALL) as cluster, cluster.get_client() as client:
    cluster.scale(4)
    client.wait_for_workers(4, timeout=90)
    held = client.map(lambda x: (x, os.urandom(8).hex()), range(20), pure=False)
    before = client.gather(held)
    cluster.scale(1)
    until(lambda: len(cluster.scheduler_info["workers"]) == 1)
    tell([before, client.gather(held)])
    until(lambda: len(cluster.runtime.ledger.entries) == 2)
    tell(len(cluster.workers))
    cluster.scale(2)
    client.wait_for_workers(2, timeout=90)
    tell(sorted(cluster.workers))
""",
    )
    assert before == after
    assert count == 1
    assert names[-1] >= 4, "a name is used once: the scheduler may still know the old worker"
    slurm.wait_for_jobs(0, "alice")


def test_a_hundred_calls_of_scale_lose_and_leak_nothing(slurm: Slurm) -> None:
    """What counts is the last call; the jobs of all others are gone."""
    (jobs,) = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=0, **SMALL) as cluster, cluster.get_client() as client:
    for number in range(100):
        cluster.scale(number * 7 % 5)
    cluster.scale(2)
    client.wait_for_workers(2, timeout=90)
    slurm = cluster.runtime.ledger.slurm
    def mine():
        jobs = cluster.sync(slurm.jobs)
        return sorted(job.name for job in jobs.values() if not job.ended and job.state != "COMPLETING")
    until(lambda: len(mine()) == 3)
    time.sleep(1)
    tell([mine(), sorted(entry.name for entry in cluster.runtime.ledger.entries.values())])
""",
    )
    assert jobs[0] == jobs[1]
    assert len(jobs[0]) == 3
    slurm.wait_for_jobs(0, "alice")


def test_an_adaptive_cluster_grows_under_load_and_shrinks_without(slurm: Slurm) -> None:
    """``adapt`` asks for workers when there is work, within the site's limits, and lets go of them afterwards."""
    result, most, least = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=0, **SMALL) as cluster, cluster.get_client() as client:
    cluster.adapt(minimum=0, maximum=3, interval="200ms", wait_count=3, target_duration="100ms")
    tell(sum(client.gather(client.map(lambda x: time.sleep(0.3) or x, range(24)))))
    tell(cluster._next_name)
    until(lambda: not cluster.workers)
    tell(len(cluster.scheduler_info["workers"]))
""",
    )
    assert result == sum(range(24))
    assert 1 <= most <= 3
    assert least == 0
    slurm.wait_for_jobs(0, "alice")


def test_several_processes_in_one_job_count_as_so_many_workers(slurm: Slurm) -> None:
    """With ``processes=2`` four workers are two jobs, as in dask-jobqueue; the site's limit counts workers."""
    workers, jobs, refused, left = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=4, cores=2, memory="900 MiB", processes=2) as cluster, cluster.get_client() as client:
    client.wait_for_workers(4, timeout=90)
    tell(sorted(worker["name"] for worker in cluster.scheduler_info["workers"].values()))
    tell(len(cluster.workers))
    try: cluster.scale(jobs=21)
    except SlurmDaskError as error: tell(str(error))
    cluster.scale(2)
    until(lambda: len(cluster.scheduler_info["workers"]) == 2)
    tell(sorted(worker["name"] for worker in cluster.scheduler_info["workers"].values()))
""",
    )
    assert workers == ["0-0", "0-1", "1-0", "1-1"]
    assert jobs == 2
    assert "you asked for 42 workers, and this site allows 40 workers: ask for less with jobs=" in refused
    assert left == ["0-0", "0-1"]
    slurm.wait_for_jobs(0, "alice")


def test_workers_with_a_gpu_see_theirs_and_no_other(slurm: Slurm) -> None:
    """``gpus=1`` gives each worker one GPU of the node that has them."""
    (seen,) = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=2, gpus=1, queue="gpu", **SMALL) as cluster, cluster.get_client() as client:
    client.wait_for_workers(2, timeout=90)
    seen = client.run(lambda: [os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("SLURMD_NODENAME")])
    tell(sorted(seen.values()))
""",
    )
    assert [node for _, node in seen] == ["n3", "n3"]
    assert [device for device, _ in seen] == ["0", "1"]


def test_the_shown_script_is_the_one_that_is_submitted(slurm: Slurm) -> None:
    """``job_script()`` and ``scheduler_script()`` are what Slurm got, to the letter."""
    ((worker, got), (scheduler, got_scheduler)) = run_kernel(
        slurm,
        """
import subprocess
def script_of(name):
    [job] = [entry.job_id for entry in cluster.runtime.ledger.entries.values() if entry.name == name]
    return subprocess.run(["scontrol", "write", "batch_script", job, "-"], capture_output=True, text=True).stdout
with SlurmCluster(**SMALL) as cluster:
    shown = cluster.job_script()
    cluster.scale(1)
    names = cluster.runtime.scripts
    entries = cluster.runtime.ledger.entries
    until(lambda: names.worker_name(0) in entries and entries[names.worker_name(0)].job_id)
    tell([[shown, script_of(names.worker_name(0))], [cluster.scheduler_script(), script_of(names.scheduler_name())]])
""",
    )[0]
    assert got.strip() == worker.strip()
    assert got_scheduler.strip() == scheduler.strip()


def test_no_secret_is_in_script_queue_arguments_or_environment_of_jobs(slurm: Slurm) -> None:
    """The server's token and the cluster's key stay where they are: paths are all that a job is given."""
    scripts, arguments, variables, key = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=1, **SMALL) as cluster, cluster.get_client() as client:
    client.wait_for_workers(1, timeout=90)
    tell([cluster.job_script(), cluster.scheduler_script()])
    read = lambda: [open("/proc/self/cmdline").read(), open("/proc/%d/cmdline" % os.getppid()).read()]
    tell([client.run_on_scheduler(read), client.run(read)])
    tell([dict(client.run_on_scheduler(lambda: dict(os.environ))), list(client.run(lambda: dict(os.environ)).values())])
    tell(open(f"{cluster.runtime.path}/tls.key").read())
""",
        env={"JUPYTERHUB_API_TOKEN": "planted-token-123", "JUPYTERHUB_USER": "alice"},
    )
    body = key.splitlines()[1]
    for place in (scripts, arguments, variables):
        assert "planted-token-123" not in str(place)
        assert body not in str(place)


def test_the_logs_are_the_outputs_of_all_jobs(slurm: Slurm) -> None:
    """``get_logs`` has what scheduler and workers wrote, and the state of the jobs."""
    (logs,) = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=1, **SMALL) as cluster, cluster.get_client() as client:
    client.wait_for_workers(1, timeout=90)
    tell(dict(cluster.get_logs()))
""",
    )
    assert sorted(logs) == ["Cluster", "Scheduler", "Worker 0"]
    assert "Scheduler at:" in logs["Scheduler"]
    assert "Registered to:" in logs["Worker 0"]


@pytest.mark.parametrize(
    ("prefix", "link"),
    [("/user/alice/lab/", r"/user/alice/lab/nbplatform/dask/{id}/status"), ("", "https://10.233.")],
    ids=["behind a hub", "without one"],
)
def test_the_picture_of_a_cluster_says_how_its_jobs_are(slurm: Slurm, prefix: str, link: str) -> None:
    """The HTML has the jobs' state, and a dashboard link that the user can follow."""
    about, html = run_kernel(
        slurm,
        """
with SlurmCluster(n_workers=1, **SMALL) as cluster, cluster.get_client() as client:
    client.wait_for_workers(1, timeout=90)
    cluster.sync(cluster.runtime.ledger.look)
    tell([cluster.runtime.id, cluster.dashboard_link])
    tell(cluster._repr_html_())
""",
        env={"JUPYTERHUB_SERVICE_PREFIX": prefix} if prefix else {},
    )
    assert about[1].startswith(link.format(id=about[0]))
    assert "Slurm jobs: 2 running" in html
    assert about[1] in html


def test_two_clusters_side_by_side_and_another_users_leave_each_other_alone(slurm: Slurm) -> None:
    """Closing one cluster ends its own jobs and no other's."""
    with slurm.filled("tiny", "bob") as other:
        told = run_kernel(
            slurm,
            """
with SlurmCluster(n_workers=1, **SMALL) as one:
    with SlurmCluster(n_workers=1, **SMALL) as two:
        Client(two).submit(sum, [1]).result()
    with one.get_client() as client:
        client.wait_for_workers(1, timeout=90)
        tell([one.status.name, two.status.name, client.submit(sum, [1, 2]).result()])
""",
        )
        assert told == [["running", "closed", 3]]
        slurm.wait_for_jobs(0, "alice")
        assert any(line.split()[0] == other for line in slurm.squeue("bob"))


def test_dask_jobqueue_takes_no_signal_and_works_off_the_main_thread(slurm: Slurm) -> None:
    """A cluster made in a thread works, and Ctrl-C does what it did before."""
    same, result = run_kernel(
        slurm,
        """
before = signal.getsignal(signal.SIGINT)
found = []
def work():
    with SlurmCluster(n_workers=1, **SMALL) as cluster, cluster.get_client() as client:
        found.append(client.submit(sum, [1, 2]).result(timeout=90))
thread = threading.Thread(target=work)
thread.start(); thread.join()
tell(signal.getsignal(signal.SIGINT) is before)
tell(found)
""",
    )
    assert same is True
    assert result == [3]


def test_jobs_run_as_their_user_alone(slurm: Slurm) -> None:
    """Another user's folder of clusters cannot be entered."""
    (path,) = run_kernel(slurm, "with SlurmCluster(**SMALL) as c: tell(os.path.dirname(str(c.runtime.path)))\n")
    assert os.stat(path).st_mode & 0o077 == 0 or os.stat(os.path.dirname(path)).st_mode & 0o077 == 0
    assert os.stat(path).st_uid == USERS["alice"].uid
