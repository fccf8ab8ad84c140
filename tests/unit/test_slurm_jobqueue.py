"""Job scripts from dask-jobqueue and what a cluster asks for: one importer, nothing of its side effects."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dask.config
import pytest

from nbplatform_spawners.slurm_dask.display import dashboard_link, status_lines, status_rows
from nbplatform_spawners.slurm_dask.errors import ClusterFailed, ClusterRefused, SlurmRefused, SlurmUnavailable
from nbplatform_spawners.slurm_dask.jobqueue import (
    Place,
    WorkerJob,
    choose_python,
    scheduler_script,
    user_config,
    worker_script,
)
from nbplatform_spawners.slurm_dask.ledger import Entry, Ledger
from nbplatform_spawners.slurm_dask.models import Defaults, GroupDefaults, JobState, Site
from nbplatform_spawners.slurm_dask.request import held_clusters, make_request
from nbplatform_spawners.slurm_dask.script import directives, properties
from nbplatform_spawners.slurm_dask.tag import Tag

MIB = 1024**2
TAG = Tag("hub", "alice", "", "r1", "0123456789ab")
PLACE = Place("/home/alice/d/0123456789ab", "/home/alice/d/0123456789ab/log", TAG.text(), "/sw/bin/python")
JOB = WorkerJob("htc", "atlas", 2, 4096 * MIB, 0, 1, 7200, "/sw/bin/python", ("module load gcc",), ("--qos=short",))
SITE = Site(shared=("/home", "/sw"), defaults=Defaults(queue="htc"), groups=(GroupDefaults("cms", account="cms"),))


@pytest.mark.parametrize("main", [True, False], ids=["on the main thread", "off the main thread"])
def test_importing_dask_jobqueue_leaves_the_interrupt_alone(main: bool) -> None:
    """Its own import replaces SIGINT's handler by one that exits, and fails in a thread: here it does neither."""
    call = "work()" if main else "t = threading.Thread(target=work); t.start(); t.join()"
    code = f"""
import signal, threading
before = signal.getsignal(signal.SIGINT), signal.signal
done = []
def work():
    from nbplatform_spawners.slurm_dask.jobqueue import user_config
    user_config()
    import dask_jobqueue.runner
    done.append(True)
{call}
assert done and (signal.getsignal(signal.SIGINT), signal.signal) == before
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_workers_script_asks_slurm_for_what_was_asked() -> None:
    """dask-jobqueue writes the script; each of its lines is one that both ways to Slurm understand."""
    script = worker_script(JOB, PLACE, "3", "dask-worker-0123456789ab-3")
    assert dict(directives(script)) == {
        "job-name": "dask-worker-0123456789ab-3",
        "partition": "htc",
        "account": "atlas",
        "ntasks": "1",
        "cpus-per-task": "2",
        "mem": "4G",
        "time": "02:00:00",
        "qos": "short",
        "output": "/home/alice/d/0123456789ab/log/dask-worker-0123456789ab-3.log",
        "comment": TAG.text(),
        "no-requeue": None,
    }
    assert properties(script, {"PATH": "/bin"})["memory_per_node"] == 4096
    command = script.splitlines()[-1]
    for words in (
        "/sw/bin/python -m distributed.cli.dask_worker --scheduler-file /home/alice/d/0123456789ab/scheduler.json",
        "--name 3 --nthreads 2",
        '--host "tls://$address" --dashboard-address "$address:0"',
        "--tls-key /home/alice/d/0123456789ab/tls.key",
        "--preload /home/alice/d/0123456789ab/node.py",
    ):
        assert words in command
    assert "module load gcc" in script.splitlines()


def test_gpus_and_a_dependency_are_lines_of_the_script() -> None:
    """``gpus=`` asks for generic resources; workers can be made to stand behind the scheduler's job."""
    found = dict(directives(worker_script(replace(JOB, gpus=2), PLACE, "0", "w", dependency="17")))
    assert found["gres"] == "gpu:2"
    assert found["dependency"] == "after:17"


def test_the_schedulers_script_takes_of_the_users_directives_what_slurm_demands() -> None:
    """A QOS holds for both; what a worker's node must be says nothing of the scheduler's."""
    job = replace(JOB, directives=("--qos=short", "--constraint=bigmem", "--exclusive"))
    found = dict(directives(scheduler_script(job, PLACE, "s", 1, 500 * MIB)))
    assert found["qos"] == "short"
    assert found["mem"] == "500M"
    assert "constraint" not in found
    assert "exclusive" not in found


def test_what_the_user_says_does_not_override_the_tag() -> None:
    """The last line counts in Slurm: the tag by which jobs are ended is behind the user's own lines."""
    script = worker_script(replace(JOB, directives=('--comment="mine"', "--requeue")), PLACE, "0", "w")
    assert dict(directives(script))["comment"] == TAG.text()
    assert directives(script)[-1] == ("no-requeue", None)


@pytest.mark.parametrize(
    ("wanted", "executable", "worker_python", "expected"),
    [
        (None, "/sw/env/bin/python", None, "/sw/env/bin/python"),
        (None, "/sw/env/bin/python", "/opt/python", "/sw/env/bin/python"),
        (None, "/opt/conda/bin/python", "/opt/python", "/opt/python"),
        ("/x/python", "/sw/env/bin/python", "/opt/python", "/x/python"),
        (None, "/sweet/bin/python", "/opt/python", "/opt/python"),
        (None, "/sw/../usr/bin/python", "/opt/python", "/opt/python"),
    ],
    ids=["shared", "shared before the site's", "the site's", "the user's", "a longer name", "a way out"],
)
def test_the_nodes_run_a_python_that_they_have(
    wanted: str | None, executable: str, worker_python: str | None, expected: str
) -> None:
    """The kernel's own where the nodes share it, else the site's; the user's word stands above both."""
    assert choose_python(wanted, executable, ("/home", "/sw"), worker_python) == expected


def test_without_a_python_for_the_nodes_nothing_is_begun() -> None:
    """One sentence with the path and what to do."""
    with pytest.raises(ClusterRefused, match=r"/usr/bin/python.*python="):
        choose_python(None, "/usr/bin/python", ("/home",), None)


def test_the_shipped_defaults_of_dask_jobqueue_are_nobodys_wish() -> None:
    """Its 30 minutes of wall time do not stand before the site's; what the user sets does."""
    assert "walltime" not in user_config()
    with dask.config.set({"jobqueue.slurm.walltime": "00:10:00", "jobqueue.slurm.job-script-prologue": ["a"]}):
        assert user_config()["walltime"] == "00:10:00"
        assert user_config()["job_script_prologue"] == ["a"]


def test_a_request_puts_argument_before_configuration_before_group_before_site() -> None:
    """The order in which each value is decided."""
    config = {"queue": "long", "worker_extra_args": ["--lifetime", "1h"], "python": "/sw/other"}
    request = make_request({"queue": "short", "cores": 4}, config, SITE, ["cms"], "/sw/bin/python")
    assert (request.wish.queue, request.wish.account, request.wish.cores) == ("short", "cms", 4)
    assert request.job.python == "/sw/other"
    assert request.job.extra_args == ("--lifetime", "1h")
    assert make_request({}, config, SITE, [], "/sw/bin/python").wish.queue == "long"
    assert make_request({}, {}, SITE, [], "/sw/bin/python").wish.queue == "htc"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"job_extra_directive": []}, "did you mean job_extra_directives="),
        ({"security": True}, "certificate of its own"),
        ({"processes": 3, "cores": 2}, "processes='3' is no whole number from 1 to the 2 cores of a job"),
        ({"processes": 2, "cores": 1}, "from 1 to the 1 core of a job"),
        ({"processes": 0}, "processes='0'"),
        ({"processes": 10**5000}, "processes=a number of thousands of digits"),
        ({"worker_extra_args": "--a"}, "list of texts"),
        ({"job_script_prologue": ["a\nb"]}, "one line each"),
    ],
    ids=["misspelt", "ours", "too many processes", "two on one core", "no process", "digits", "no list", "two lines"],
)
def test_an_argument_that_cannot_be_is_named(arguments: dict[str, Any], words: str) -> None:
    """Bad input is one sentence, before anything is made."""
    with pytest.raises(ClusterRefused, match=words):
        make_request(arguments, {}, SITE, [], "/sw/bin/python")


def test_held_clusters_are_ones_own_that_have_not_ended() -> None:
    """Jobs of one cluster count once; ended ones, other people's and other jobs do not."""

    def job(number: str, state: str, cluster: str, user: str = "alice") -> JobState:
        tag = replace(TAG, cluster=cluster, user=user).text() if cluster else "mine"
        return JobState(number, "n", user, state, tag=tag)

    jobs = [
        job("1", "RUNNING", "a"),
        job("2", "PENDING", "a"),
        job("3", "PENDING", "b"),
        job("4", "CANCELLED", "c"),
        job("5", "COMPLETING", "d"),
        job("6", "RUNNING", "e", "bob"),
        job("7", "RUNNING", ""),
    ]
    assert held_clusters({each.id: each for each in jobs}, "alice") == 2


@pytest.mark.parametrize(
    ("environment", "port", "expected"),
    [
        ({"JUPYTERHUB_SERVICE_PREFIX": "/user/a/"}, 1, "/user/a/nbplatform/dask/0123/status"),
        ({}, 8787, "https://10.0.0.1:8787/status"),
        ({}, None, ""),
    ],
    ids=["behind a hub", "without one", "not known yet"],
)
def test_the_dashboard_is_behind_the_notebook_server(
    environment: dict[str, str], port: int | None, expected: str
) -> None:
    """The user's browser reaches no node: the link goes through the server."""
    assert dashboard_link(environment, "0123", "tls://10.0.0.1:4711", port) == expected


def test_the_state_of_the_jobs_is_told_with_reasons_and_escaped() -> None:
    """Waiting jobs of one reason are one line; nothing of Slurm's words is HTML."""
    waits = JobState(
        "2", "w", "a", "PENDING", "Resources", partition="<b>", expected=datetime(2026, 1, 1, 12, tzinfo=UTC)
    )
    entries = [
        Entry("s", "", "1", JobState("1", "s", "a", "RUNNING")),
        Entry("w", "", "2", waits),
        Entry("x", "", "3", replace(waits, id="3")),
        Entry("y", "", problem="Slurm cannot be asked now"),
    ]
    lines = status_lines(entries, "", "us", datetime(2026, 1, 1, 11, tzinfo=UTC))
    assert lines[0] == "Slurm jobs: 1 running, 2 waiting, 1 to submit"
    assert lines[1].startswith("2 waiting: the queue '<b>' is full")
    assert "in 60 min" in lines[1]
    assert lines[2] == "Slurm cannot be asked now"
    assert "<b>" not in status_rows(lines)


class Double:
    """A Slurm that answers as it is told; ``Slurm`` at the wire.

    Attributes:
        answers: what submissions meet, in order; taken when there are none left.
        cancels: the ids of each call of ``cancel``.
    """

    def __init__(self, *answers: Exception, cancel: Sequence[Exception] = ()) -> None:
        self.answers, self.cancels, self.submitted = list(answers), [], 0
        self._cancel = iter(cancel)

    async def submit(self, script: str, *, name: str) -> str:
        """Take the job, or raise the next error."""
        if self.answers:
            raise self.answers.pop(0)
        self.submitted += 1
        return str(self.submitted)

    async def jobs(self, ids: Collection[str] | None = None) -> Mapping[str, JobState]:
        """All run."""
        return {each: JobState(each, "n", "a", "RUNNING") for each in ids or ()}

    async def cancel(self, ids: Collection[str]) -> None:
        """Note the call, or raise the next error."""
        self.cancels.append(sorted(ids))
        if (error := next(self._cancel, None)) is not None:
            raise error

    async def partitions(self) -> list[str]:
        """None."""
        return []

    async def close(self) -> None:
        """Nothing is held."""


async def test_jobs_dropped_at_once_are_cancelled_in_one_call() -> None:
    """Ten workers that go are one scancel, not ten."""
    slurm = Double()
    ledger = Ledger(slurm)
    for number in range(10):
        ledger.submit_soon(f"w{number}", "")
        await ledger.taken(f"w{number}")
    for number in range(9):
        ledger.drop(f"w{number}")
    await _until(lambda: slurm.cancels)
    await ledger.close()
    assert [len(ids) for ids in slurm.cancels] == [9, 1]


async def test_a_job_dropped_while_it_is_submitted_is_cancelled_afterwards() -> None:
    """What Slurm takes after nobody wants it any longer is not forgotten."""
    slurm = Double()
    ledger = Ledger(slurm)
    ledger.submit_soon("w", "")
    ledger.drop("w")
    await ledger.close()
    assert slurm.submitted == sum(len(ids) for ids in slurm.cancels)


async def test_a_submission_is_tried_again_while_slurm_is_down() -> None:
    """The worker is not lost, and the user sees why it is late."""
    slurm = Double(SlurmUnavailable("Slurm is down"))
    ledger = Ledger(slurm)
    entry = ledger.submit_soon("w", "")
    await ledger.taken("w")
    assert entry.problem == "Slurm is down"
    await _until(lambda: entry.job_id)
    assert entry.problem == ""
    await ledger.close()
    assert slurm.cancels == [["1"]]


async def test_a_refused_submission_is_an_error_and_no_job() -> None:
    """There is nothing to cancel then."""
    slurm = Double(SlurmRefused("no"))
    ledger = Ledger(slurm)
    with pytest.raises(SlurmRefused, match="no"):
        await ledger.submit("s", "")
    await ledger.close()
    assert slurm.cancels == []


async def test_a_cancel_that_fails_at_the_end_names_the_jobs() -> None:
    """Nothing is claimed that is not known."""
    ledger = Ledger(Double(cancel=[SlurmUnavailable("Slurm is down")]))
    await ledger.submit("s", "")
    with pytest.raises(ClusterFailed, match=r"Slurm is down.*scancel 1`"):
        await ledger.close()


async def _until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - whatever it is
            await asyncio.sleep(0.01)
