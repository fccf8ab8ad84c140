"""The door of slurmrestd, against a real one, with tokens made with the cluster's key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from nbplatform_spawners.slurm_dask.errors import CannotCarry, SlurmRefused, SlurmUnavailable
from nbplatform_spawners.slurm_dask.rest import ONE_BY_ONE, RestSlurm
from nbplatform_spawners.slurm_dask.service_key import Key, KeyTokens
from nbplatform_spawners.slurm_dask.tag import read_tag
from nbplatform_spawners.slurm_dask.token_api import SlurmToken
from tests.components.slurm import Slurm

from .doors import NAME, PLANTED, TAG, job_script, until, until_named, until_state

HUNG = 1.5
"""Seconds that a call may take where Slurm does not answer."""


class Given:
    """Tokens that a test lays out; the last one is given again and again."""

    def __init__(self, *texts: str, user: str = "alice") -> None:
        self.texts = list(texts)
        self.user = user
        self.given: list[str] = []
        self.dropped: list[str] = []

    async def token(self) -> SlurmToken:
        """Return the first that was not dropped."""
        left = [text for text in self.texts if text not in self.dropped] or self.texts[-1:]
        self.given.append(left[0])
        return SlurmToken(self.user, left[0], datetime.now(UTC) + timedelta(minutes=10))

    def drop(self, token: SlurmToken) -> None:
        """Note it."""
        self.dropped.append(token.text)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def door(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RestSlurm]:
    """Open alice's door, in a process whose environment holds what no job may have."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", PLANTED)
    monkeypatch.setenv("HOME", str(slurm.home / "alice"))
    found = RestSlurm(slurm.rest_url, KeyTokens(Key(str(slurm.jwt_key), 600), "alice"))
    yield found
    await found.close()


async def test_a_job_is_submitted_seen_and_cancelled(door: RestSlurm, slurm: Slurm) -> None:
    """It says what the commands say: names, tag, aware times, and the end."""
    job = await door.submit(job_script(), name=NAME)
    await until_state(door, job, "RUNNING")
    state = (await door.jobs([job]))[job]
    assert (state.id, state.name, state.user, state.partition) == (job, NAME, "alice", "htc")
    assert read_tag(state.tag) == read_tag(TAG) is not None
    assert state.started is not None
    assert (await door.jobs())[job] == state
    assert await door.jobs([job, "999999"]) == {job: state}
    await door.cancel([job])
    await until_state(door, job, "CANCELLED")
    assert slurm.job_count() == 0


async def test_a_job_has_nothing_of_the_servers_environment(door: RestSlurm, slurm: Slurm) -> None:
    """A minimal environment and the user's own HOME to begin in; no token of the hub's, none of Slurm's."""
    output = slurm.home / "alice" / "rest-environment"
    job = await door.submit(job_script(NAME, f"(env; pwd) > {output}; sleep 600"), name=NAME)
    await until_state(door, job, "RUNNING")

    async def written() -> bool:
        return output.exists() and str(slurm.home / "alice") in output.read_text().splitlines()

    await until(written)
    text = output.read_text() + slurm.command("scontrol", "show", "job", job)
    assert PLANTED not in text
    assert "JUPYTERHUB" not in text
    assert "eyJ" not in text


async def test_many_jobs_are_cancelled_in_one_call(door: RestSlurm, slurm: Slurm) -> None:
    """Waiting and running ones, more than are asked about one by one; those that are gone are no error."""
    count = ONE_BY_ONE + 4
    jobs = [await door.submit(job_script(NAME, "sleep 600", "--hold"), name=f"{NAME}{at}") for at in range(count)]
    assert set(await door.jobs(jobs)) == set(jobs)
    await door.cancel([*jobs, "999999"])
    assert slurm.job_count() == 0
    await door.cancel(jobs)
    await door.cancel([])
    assert await door.jobs([]) == {}


async def test_nobody_elses_job_is_seen_or_cancelled(door: RestSlurm, slurm: Slurm) -> None:
    """A user has their own jobs; an operator sees and ends everybody's."""
    key = Key(str(slurm.jwt_key), 600)
    bobs = RestSlurm(slurm.rest_url, KeyTokens(key, "bob"))
    job = await bobs.submit(job_script(), name=NAME)
    assert job not in await door.jobs()
    assert await door.jobs([job]) == {}
    with pytest.raises(SlurmRefused, match="denied"):
        await door.cancel([job])
    operator = RestSlurm(slurm.rest_url, KeyTokens(key, "reaper"), all_users=True)
    assert (await operator.jobs())[job].user == "bob"
    await operator.cancel([job])
    await until_state(operator, job, "CANCELLED")
    for one in (bobs, operator):
        await one.close()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--partition=nowhere", "nowhere"),
        ("--account=no-such-account", "no-such-account"),
        ("--time=400:00:00 --partition=main", "400:00:00"),
        ("--mem=900G", "900G"),
        ("--cpus-per-task=500", "500"),
    ],
)
async def test_a_refusal_says_what_was_asked(door: RestSlurm, slurm: Slurm, option: str, told: str) -> None:
    """What Slurm refuses is one sentence with the value; no job is left."""
    with pytest.raises(SlurmRefused) as error:
        await door.submit(job_script(NAME, "true", option), name=NAME)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert slurm.job_count() == 0


async def test_what_cannot_be_carried_is_not_submitted(door: RestSlurm, slurm: Slurm) -> None:
    """An option without a field there is never left out in silence."""
    with pytest.raises(CannotCarry, match="--core-spec"):
        await door.submit(job_script(NAME, "true", "--core-spec=1"), name=NAME)
    assert slurm.job_count() == 0


async def test_partitions_come_by_name(door: RestSlurm) -> None:
    """Each once."""
    assert sorted(await door.partitions()) == sorted({"main", "htc", "gpu", "tiny", "closed"})


CALLS: dict[str, Callable[[RestSlurm], Awaitable[object]]] = {
    "submit": lambda door: door.submit(job_script(f"{NAME}-renewed"), name=f"{NAME}-renewed"),
    "jobs": lambda door: door.jobs(),
    "one job": lambda door: door.jobs(["1"]),
    "cancel": lambda door: door.cancel(["1"]),
    "partitions": lambda door: door.partitions(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_an_expired_token_is_renewed_once_by_itself(slurm: Slurm, call: str) -> None:
    """The caller sees nothing of it, and nothing is submitted twice."""
    tokens = Given(slurm.mint("alice", -5), slurm.mint("alice"))
    door = RestSlurm(slurm.rest_url, tokens)
    await CALLS[call](door)
    assert tokens.dropped == tokens.texts[:1]
    assert slurm.job_count() == (1 if call == "submit" else 0)
    await door.close()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrong", ["another user", "expired", "garbage"])
async def test_a_token_that_slurm_never_accepts_is_said(slurm: Slurm, call: str, wrong: str) -> None:
    """A name other than the token's own, or tokens that are all bad: refused after one new one, without its text."""
    made = {"another user": slurm.mint("bob"), "expired": slurm.mint("alice", -60), "garbage": "eyJx.eyJ5.ejk"}[wrong]
    tokens = Given(made)
    door = RestSlurm(slurm.rest_url, tokens)
    with pytest.raises(SlurmRefused, match="does not accept the token of the user alice") as error:
        await CALLS[call](door)
    assert made not in str(error.value)
    assert error.value.__context__ is None or made not in repr(error.value.__context__)
    assert slurm.job_count() == 0
    await door.close()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("how", ["controller hung", "controller stopped", "slurmrestd hung", "slurmrestd stopped"])
async def test_a_slurm_that_does_not_answer_is_said_in_time(slurm: Slurm, how: str, call: str) -> None:
    """Each call ends as unavailable within its limit."""
    door = RestSlurm(slurm.rest_url, Given(slurm.mint("alice")), HUNG)
    await door.partitions()
    {
        "controller hung": slurm.hang_controller,
        "controller stopped": slurm.stop_controller,
        "slurmrestd hung": slurm.hang_rest,
        "slurmrestd stopped": slurm.stop_rest,
    }[how]()
    async with asyncio.timeout(HUNG + 10):
        with pytest.raises(SlurmUnavailable):
            await CALLS[call](door)
    await door.close()


async def test_a_job_that_a_hung_slurm_takes_later_is_taken_back(slurm: Slurm) -> None:
    """The submission was sent and never answered: the controller that goes on makes the job, which is cancelled."""
    name = f"{NAME}-rest-late"
    door = RestSlurm(slurm.rest_url, Given(slurm.mint("alice")), HUNG)
    await door.partitions()
    slurm.hang_controller()
    with pytest.raises(SlurmUnavailable):
        await door.submit(job_script(name), name=name)
    slurm.continue_controller()
    await until_named(slurm, name, "CANCELLED")
    await door.close()
    assert slurm.job_count() == 0


async def test_a_submission_that_is_cancelled_leaves_no_job(slurm: Slurm) -> None:
    """The user gives up while the controller does not answer."""
    name = f"{NAME}-rest-cut"
    door = RestSlurm(slurm.rest_url, Given(slurm.mint("alice")))
    await door.partitions()
    slurm.hang_controller()
    submitting = asyncio.create_task(door.submit(job_script(name), name=name))
    await asyncio.sleep(1)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    slurm.continue_controller()
    await until_named(slurm, name, "CANCELLED")
    await door.close()
