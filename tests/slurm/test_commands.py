"""The door of Slurm's own commands, against a real Slurm, and against commands that misbehave."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from nbplatform_spawners.slurm_dask.commands import CommandSlurm
from nbplatform_spawners.slurm_dask.errors import SlurmRefused, SlurmUnavailable
from nbplatform_spawners.slurm_dask.lost import LOOKS
from nbplatform_spawners.slurm_dask.tag import read_tag
from tests.components.slurm import USERS, Slurm

from .doors import NAME, PLANTED, TAG, holds, job_script, until, until_named, until_state

HUNG = 1.5
"""Seconds that a call may take where Slurm does not answer."""


@pytest.fixture
async def door(slurm: Slurm) -> AsyncIterator[CommandSlurm]:
    """Open alice's door, from an environment that holds what no job may have."""
    found = CommandSlurm(environ=server_environment(slurm))
    yield found
    await found.close()


def server_environment(slurm: Slurm, user: str = "alice", **more: str) -> dict[str, str]:
    """Return the environment of a user's notebook server."""
    own = {"HOME": str(slurm.home / user), "USER": user, "JUPYTERHUB_API_TOKEN": PLANTED, "SLURM_JWT": PLANTED}
    return {**slurm.environment(user), **own, **more}


async def test_a_job_is_submitted_seen_and_cancelled(door: CommandSlurm, slurm: Slurm) -> None:
    """What Slurm says of a job comes back as it was given, with aware times; a cancelled job has ended."""
    job = await door.submit(job_script(), name=NAME)
    await until_state(door, job, "RUNNING")
    state = (await door.jobs([job]))[job]
    assert (state.id, state.name, state.user, state.partition) == (job, NAME, "alice", "htc")
    assert read_tag(state.tag) == read_tag(TAG) is not None
    assert state.started is not None
    assert abs(state.started.timestamp() - time.time()) < 60
    there = {one: found for one, found in (await door.jobs()).items() if not found.ended}
    assert there == await door.jobs([job, "999999"])
    await door.cancel([job])
    await until_state(door, job, "CANCELLED")
    assert (await door.jobs())[job].ended
    assert slurm.job_count() == 0


async def test_a_job_has_nothing_of_the_servers_environment(door: CommandSlurm, slurm: Slurm) -> None:
    """The server's token is not in the job's environment, in what Slurm shows of it, nor in the controller's files."""
    output = slurm.home / "alice" / "environment"
    job = await door.submit(job_script(NAME, f"env > {output}; sleep 600"), name=NAME)
    await until_state(door, job, "RUNNING")

    async def written() -> bool:
        return output.exists() and "SLURM_JOB_ID" in output.read_text()

    await until(written)
    environment = dict(line.split("=", 1) for line in output.read_text().splitlines() if "=" in line)
    assert environment["PATH"].startswith("/usr/local/sbin:")
    assert not [name for name in environment if name.startswith(("JUPYTER", "SBATCH", "SLURM_JWT", "SLURM_TIME"))]
    assert PLANTED not in output.read_text()
    assert PLANTED not in slurm.command("scontrol", "show", "job", job) + "".join(slurm.squeue())
    assert PLANTED not in slurm.command("scontrol", "write", "batch_script", job, "-")
    assert TAG in slurm.command("scontrol", "show", "job", job)
    state = slurm.jwt_key.parent
    assert holds(state, NAME), "the state of the controller is looked at where it is not"
    assert holds(state, PLANTED) == []


async def test_a_users_variables_do_not_change_what_a_script_says(slurm: Slurm) -> None:
    """``SBATCH_…`` and ``SLURM_…`` of the server change nothing: the script that is shown is what runs."""
    others = {
        "SBATCH_PARTITION": "closed",
        "SBATCH_JOB_NAME": "other",
        "SLURM_CPUS_PER_TASK": "7",
        "SQUEUE_STATES": "F",
    }
    door = CommandSlurm(environ=server_environment(slurm, **others))
    job = await door.submit(job_script(), name=NAME)
    state = (await door.jobs([job]))[job]
    assert (state.name, state.partition) == (NAME, "htc")
    await door.close()


async def test_many_jobs_are_cancelled_at_once(door: CommandSlurm, slurm: Slurm) -> None:
    """One call ends waiting and running ones; those that are gone, or never were, are no error."""
    jobs = [await door.submit(job_script(f"{NAME}{at}", "sleep 600", "--hold"), name=f"{NAME}{at}") for at in range(12)]
    running = await door.submit(job_script(), name=NAME)
    await until_state(door, running, "RUNNING")
    await door.cancel([*jobs, running, "999999"])
    await until_state(door, running, "CANCELLED")
    assert slurm.job_count() == 0
    await door.cancel([*jobs, running])
    await door.cancel([jobs[0]])
    await door.cancel(["999999"])
    await door.cancel([])


async def test_nobody_elses_job_is_seen_or_cancelled(door: CommandSlurm, slurm: Slurm) -> None:
    """A user has their own jobs; an operator sees everybody's."""
    bobs = CommandSlurm(environ=server_environment(slurm, "bob"))
    job = await bobs.submit(job_script(), name=NAME)
    assert job not in await door.jobs()
    assert await door.jobs([job]) == {}
    with pytest.raises(SlurmRefused, match="denied"):
        await door.cancel([job])
    operator = CommandSlurm(all_users=True, environ=slurm.environment("reaper"))
    assert (await operator.jobs())[job].user == "bob"
    await operator.cancel([job])
    await until_state(operator, job, "CANCELLED")
    await operator.close()
    await bobs.close()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--partition=nowhere", "nowhere"),
        ("--account=no-such-account", "no-such-account"),
        ("--time=400:00:00 --partition=main", "400:00:00"),
        ("--mem=900G", "900G"),
        ("--cpus-per-task=500", "500"),
        ("--gres=gpu:7 --partition=gpu", "gpu:7"),
    ],
)
async def test_a_refusal_says_what_was_asked(door: CommandSlurm, slurm: Slurm, option: str, told: str) -> None:
    """What Slurm refuses is one sentence with the value; no job is left."""
    with pytest.raises(SlurmRefused) as error:
        await door.submit(job_script(NAME, "true", option), name=NAME)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert slurm.job_count() == 0


async def test_partitions_come_by_name(door: CommandSlurm) -> None:
    """Each once, without the mark of the default one."""
    found = await door.partitions()
    assert sorted(found) == sorted({"main", "htc", "gpu", "tiny", "closed"})


CALLS: dict[str, Callable[[CommandSlurm], Awaitable[object]]] = {
    "submit": lambda door: door.submit(job_script(), name=NAME),
    "jobs": lambda door: door.jobs(),
    "cancel": lambda door: door.cancel(["1"]),
    "partitions": lambda door: door.partitions(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("how", ["hung", "stopped"])
async def test_a_slurm_that_does_not_answer_is_said_in_time(slurm: Slurm, how: str, call: str) -> None:
    """Each call ends as unavailable within its limit, and leaves no process."""
    door = CommandSlurm(HUNG, environ=server_environment(slurm))
    (slurm.hang_controller if how == "hung" else slurm.stop_controller)()
    async with asyncio.timeout(HUNG + 10):
        with pytest.raises(SlurmUnavailable, match=r"took more than 1.5 s|try again"):
            await CALLS[call](door)
    assert await asyncio.to_thread(processes_with, str(slurm.programs / "alice")) == []
    await door.close()


async def test_a_job_that_a_hung_slurm_takes_later_is_taken_back(slurm: Slurm) -> None:
    """The submission was sent and never answered: the controller that goes on makes the job, which is cancelled."""
    name = f"{NAME}-late"
    door = CommandSlurm(HUNG, environ=server_environment(slurm))
    slurm.hang_controller()
    with pytest.raises(SlurmUnavailable):
        await door.submit(job_script(name), name=name)
    slurm.continue_controller()
    await until_named(slurm, name, "CANCELLED")
    await door.close()
    assert slurm.job_count() == 0


def processes_with(word: str) -> list[str]:
    """Return the command lines of running processes that hold a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


def misbehaving(folder: Path, name: str, body: str, slurm: Slurm) -> dict[str, str]:
    """Return alice's environment in which one command is a double that misbehaves."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    found = server_environment(slurm)
    return {**found, "PATH": f"{folder}:{found['PATH']}"}


async def test_a_submission_that_is_cancelled_leaves_no_job(slurm: Slurm, tmp_path: Path) -> None:
    """``SlowToSay``: the job is in the queue and sbatch has not said so yet when the user gives up."""
    name = f"{NAME}-cut"
    real = shlex.quote(str(slurm.programs / "alice" / "sbatch"))
    environ = misbehaving(tmp_path / "bin", "sbatch", f'{real} "$@" > /dev/null\nexec sleep 600', slurm)
    door = CommandSlurm(60, environ=environ)
    submitting = asyncio.create_task(door.submit(job_script(name), name=name))
    await until_named(slurm, name, "RUNNING")
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    await until_named(slurm, name, "CANCELLED")
    await door.close()


async def test_a_job_that_is_submitted_again_is_kept(slurm: Slurm, tmp_path: Path) -> None:
    """The first submission timed out, the second went well under the same name: only the first one's job is ended."""
    name = f"{NAME}-again"
    real = shlex.quote(str(slurm.programs / "alice" / "sbatch"))
    once = tmp_path / "once"
    body = f'[ -e {once} ] && exec {real} "$@"\n: > {once}\n{real} "$@" > /dev/null\nexec sleep 600'
    door = CommandSlurm(3, environ=misbehaving(tmp_path / "bin", "sbatch", body, slurm))
    with pytest.raises(SlurmUnavailable):
        await door.submit(job_script(name), name=name)
    kept = await door.submit(job_script(name), name=name)
    await until_state(door, str(int(kept) - 1), "CANCELLED")
    await asyncio.sleep(sum(LOOKS))
    assert not (await door.jobs([kept]))[kept].ended
    await door.cancel([kept])
    await door.close()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo Submitted batch job 17", "no job's number"),
        ("exec yes 12345", "wrote more than"),
        ("exit 7", "exit status 7"),
        ("echo 'sbatch: error: eyJhbGciOiJIUzI1NiJ9.eyJzdW4iOiJ4In0.c2ln is bad' >&2; exit 1", "(a token)"),
        ("echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2; exit 1", "try again"),
        ("trap '' TERM INT HUP; sleep 600 & wait; sleep 600", "took more than"),
    ],
)
async def test_a_command_that_misbehaves_is_an_error_in_words(tmp_path: Path, body: str, told: str) -> None:
    """Whatever it writes or does not write, the call ends in time, in one sentence without a token."""
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    door = CommandSlurm(1.0, environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    with pytest.raises((SlurmUnavailable, SlurmRefused)) as error:
        await door.submit(job_script(), name=NAME)
    assert told in str(error.value)
    assert "eyJ" not in str(error.value)
    assert processes_with(str(program)) == []
    await asyncio.wait_for(door.close(), 10)


async def test_the_children_of_a_command_end_with_it(tmp_path: Path) -> None:
    """A command that takes too long is killed with all that it started."""
    program, noted = tmp_path / "squeue", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {noted}\nwait\n")
    program.chmod(0o755)
    door = CommandSlurm(0.5, environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    with pytest.raises(SlurmUnavailable):
        await door.jobs()
    child = int(noted.read_text())

    async def gone() -> bool:
        return not await asyncio.to_thread(runs, child)

    await until(gone)
    await door.close()


async def test_a_machine_without_slurm_says_so() -> None:
    """Nothing of Slurm installed is one sentence that names the command, and nobody looks for a job afterwards."""
    door = CommandSlurm(1.0, environ={"PATH": "/nonexistent"})
    with pytest.raises(SlurmUnavailable, match="sbatch is not installed"):
        await door.submit(job_script(), name=NAME)
    await door.close()


def runs(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("bad", ["1 2", "--user=bob", "", "1_2", "-1", "0", "\u0661"])
async def test_an_id_is_a_number(bad: str) -> None:
    """Nothing else gets into a command line."""
    with pytest.raises(ValueError, match="whole number"):
        await CommandSlurm().cancel(["1", bad])


def test_the_users_exist() -> None:
    """The table of the component names those that these tests use."""
    assert {"alice", "bob", "reaper"} <= set(USERS)
