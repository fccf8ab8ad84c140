"""The reaper: jobs of servers that are gone end, and nobody's else; who does not answer ends nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.event_file import EventFile
from nbplatform_spawners.hub_api import HubApi
from nbplatform_spawners.slurm_dask.commands import CommandSlurm
from nbplatform_spawners.slurm_dask.models import JobState
from nbplatform_spawners.slurm_dask.reaper import Reaper, Tellers, Whose
from nbplatform_spawners.slurm_dask.rest import RestSlurm
from nbplatform_spawners.slurm_dask.service_key import Key, KeyTokens
from nbplatform_spawners.slurm_dask.slurm import Slurm as Door
from nbplatform_spawners.slurm_dask.tag import Tag
from nbplatform_spawners.slurm_dask.token_api import SlurmToken
from tests.components.slurm import Slurm
from tests.culler.hub_double import TOKEN, FakeServer, HubDouble

HUB = "hub-of-the-tests"
LIMIT = 60.0
LOG = logging.getLogger("tests.slurm.reaper")


def tag(user: str, run: str = "r1", server: str = "", hub: str = HUB) -> str:
    """Return the tag of a job."""
    return Tag(hub, user, server, run, "0a1b2c3d4e5f").text()


def submit(slurm: Slurm, user: str, comment: str) -> str:
    """Submit a job that would run for long, as its user does, and return its number."""
    words = ["sbatch", "--parsable", "--mem=50", f"--comment={comment}", "--output=/dev/null", "--wrap=sleep 600"]
    made = slurm.run_as(user, words)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip().partition(";")[0]


def here(slurm: Slurm) -> set[str]:
    """Return the numbers of the jobs that have not ended."""
    return {line.split()[0] for line in slurm.squeue() if "COMPLETING" not in line}


def server(user: str, run: str | None = "r1", name: str = "", **more: Any) -> FakeServer:
    """Return a server of the hub's."""
    return FakeServer(user, name, state={} if run is None else {"run": run}, **more)


class Listed:
    """A door to Slurm that does something right after the jobs were listed, and counts what is ended.

    Args:
        door: the real one.
        then: what is done.
    """

    def __init__(self, door: Door, then: Callable[[], object] = lambda: None) -> None:
        self._door, self._then = door, then
        self.cancelled: list[str] = []

    async def submit(self, script: str, *, name: str) -> str:
        """As the real one."""
        return await self._door.submit(script, name=name)

    async def jobs(self, ids: Collection[str] | None = None) -> dict[str, JobState]:
        """List, then do it."""
        found = await self._door.jobs(ids)
        await asyncio.to_thread(self._then)
        return found

    async def cancel(self, ids: Collection[str]) -> None:
        """As the real one."""
        self.cancelled += ids
        await self._door.cancel(ids)

    async def partitions(self) -> list[str]:
        """As the real one."""
        return await self._door.partitions()

    async def close(self) -> None:
        """As the real one."""
        await self._door.close()


@asynccontextmanager
async def reaper(
    slurm: Slurm,
    url: str,
    *,
    way: str = "commands",
    audit: Path | None = None,
    then: Callable[[], object] | None = None,
) -> AsyncIterator[tuple[Reaper, Listed]]:
    """A reaper of a hub, by the real Slurm."""
    door: Door
    if way == "commands":
        door = CommandSlurm(timeout=5, all_users=True, environ=slurm.environment("reaper"))
    else:
        tokens = KeyTokens(Key(str(slurm.jwt_key), 600), "reaper")
        door = RestSlurm(slurm.rest_url, tokens, timeout=5, all_users=True)
    listed = Listed(door, then or (lambda: None))
    hub = HubApi(url, TOKEN, timeout=5)
    file = EventFile(audit) if audit else None
    try:
        yield Reaper(listed, hub, Whose(HUB, 60.0), Tellers(LOG, audit=file)), listed
    finally:
        hub.close()
        await listed.close()


async def ended(slurm: Slurm, gone: Collection[str]) -> None:
    """Wait until these jobs are over, and their nodes are done with them: until then Slurm lists them as alive."""
    async with asyncio.timeout(LIMIT):
        while {line.split()[0] for line in slurm.squeue()} & set(gone):  # noqa: ASYNC110 - Slurm tells nobody
            await asyncio.sleep(0.2)


@pytest.fixture
def double() -> Iterator[HubDouble]:
    """A hub at the wire: alice has a server and another one, bob has one."""
    made = HubDouble([server("alice"), server("alice", "r2", "train"), server("bob", "b1")], others=["carol"])
    with made:
        yield made


@pytest.mark.parametrize("way", ["commands", "rest"])
async def test_jobs_without_a_server_end_and_all_others_stay(
    slurm: Slurm, double: HubDouble, tmp_path: Path, way: str
) -> None:
    """Server gone, started anew, user deleted; another hub's, a forged tag, no tag and a hub-less one stay."""
    gone = {
        "no such server": submit(slurm, "alice", tag("alice", server="old")),
        "started anew": submit(slurm, "alice", tag("alice", "r0")),
        "no server at all": submit(slurm, "carol", tag("carol")),
    }
    stays = {
        "its server runs": submit(slurm, "alice", tag("alice")),
        "her other server runs": submit(slurm, "alice", tag("alice", "r2", "train")),
        "another hub's": submit(slurm, "alice", tag("alice", "r0", "old", hub="other")),
        "forged in another's name": submit(slurm, "bob", tag("carol")),
        "bob's own": submit(slurm, "bob", tag("bob", "b1")),
        "no hub's": submit(slurm, "bob", tag("bob", "", hub="")),
        "no tag": submit(slurm, "bob", "nbplatform/1 hub=hub-of-the-tests user=bob"),
        "no comment": submit(slurm, "bob", ""),
    }
    audit = tmp_path / "audit.jsonl"
    async with reaper(slurm, double.url, way=way, audit=audit) as (one, door):
        assert await one.make_pass()
        assert set(door.cancelled) == set(gone.values())
        await ended(slurm, gone.values())
        assert set(stays.values()) <= here(slurm)
        assert await one.make_pass()
        assert len(door.cancelled) == len(gone)  # once each
    events = [json.loads(line) for line in audit.read_text().splitlines()]
    assert {one["nbplatform"]["job"] for one in events} == set(gone.values())
    assert {(one["event"]["action"], one["event"]["outcome"]) for one in events} == {("job_end", "success")}


async def test_a_deleted_users_jobs_end(slurm: Slurm, double: HubDouble) -> None:
    """The hub says that there is no such user: neither in its list nor by name."""
    job = submit(slurm, "carol", tag("carol"))
    del double.people["carol"], double._models["carol"]
    double._pages.clear()
    async with reaper(slurm, double.url) as (one, _):
        assert await one.make_pass()
    await ended(slurm, [job])


@pytest.mark.parametrize(
    "mode",
    [
        *("error", "refuses", "unavailable", "dies in page 2", "garbage", "no HTTP", "wrong types", "elsewhere"),
        *("loops", "resets", "redirects", "hangs", "somebody else"),
    ],
)
async def test_a_hub_that_does_not_answer_as_it_should_ends_nothing(
    slurm: Slurm, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it says instead; when it is well again the job ends."""
    people = [server(f"user{number}", f"x{number}") for number in range(120)]
    with HubDouble(people) as double:
        job = submit(slurm, "alice", tag("alice"))
        double.mode = mode
        async with reaper(slurm, double.url) as (one, door):
            assert not await one.make_pass()
            assert not await one.make_pass()
            assert door.cancelled == []
            assert caplog.text.count("no look for jobs without a server, nothing is ended: the hub: ") == 1
            assert TOKEN not in caplog.text
            assert job in here(slurm)
            double.mode = ""
            assert await one.make_pass()
        await ended(slurm, [job])


async def test_a_hub_that_is_gone_ends_nothing(slurm: Slurm) -> None:
    """Nobody listens at its address."""
    with HubDouble([]) as double:
        url = double.url
    job = submit(slurm, "alice", tag("alice"))
    async with reaper(slurm, url) as (one, door):
        assert not await one.make_pass()
        assert door.cancelled == []
    assert job in here(slurm)


@pytest.mark.parametrize("lacks", ["list:users", "read:servers", "admin:server_state"])
async def test_a_service_that_may_not_read_everything_ends_nothing(
    slurm: Slurm, double: HubDouble, lacks: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its list would be short, and every server in it without its run."""
    double.scopes = tuple(scope for scope in double.scopes if scope != lacks)
    job = submit(slurm, "carol", tag("carol"))
    async with reaper(slurm, double.url) as (one, door):
        assert not await one.make_pass()
        assert door.cancelled == []
    assert f"the service's role lacks {lacks}" in caplog.text
    assert job in here(slurm)


@pytest.mark.parametrize("trouble", ["pending", "without a run"])
async def test_a_server_of_which_too_little_is_known_is_not_gone(slurm: Slurm, double: HubDouble, trouble: str) -> None:
    """One that is being started or looked for, and one whose start the hub does not name."""
    one_of_hers = double.people["alice"][""]
    one_of_hers.state = {"run": "r9"} if trouble == "pending" else {}
    one_of_hers.pending = "check" if trouble == "pending" else None
    double.changed("alice")
    job = submit(slurm, "alice", tag("alice"))
    async with reaper(slurm, double.url) as (one, door):
        assert await one.make_pass()
        assert door.cancelled == []
    assert job in here(slurm)


async def test_what_begins_between_the_two_listings_is_safe(slurm: Slurm, double: HubDouble) -> None:
    """A server and its job that came after Slurm was asked, and one that the hub's list did not have yet."""
    submit(slurm, "alice", tag("alice", "r0"))
    new: list[str] = []

    def begin() -> None:
        if not new:
            new.append(submit(slurm, "carol", tag("carol", "c1")))

    async with reaper(slurm, double.url, then=begin) as (one, door):
        assert await one.make_pass()
        assert len(door.cancelled) == 1
        assert new[0] not in door.cancelled
        double.people["carol"][""] = server("carol", "c1")
        double.changed("carol")
        assert await one.make_pass()
        assert new[0] not in door.cancelled
    assert new[0] in here(slurm)


@pytest.mark.parametrize("way", ["commands", "rest"])
@pytest.mark.parametrize("trouble", ["stopped", "hung"])
async def test_a_slurm_that_does_not_answer_is_said_once_and_asked_again(
    slurm: Slurm, double: HubDouble, way: str, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The look is given up; when Slurm is back the job ends."""
    job = submit(slurm, "carol", tag("carol"))
    async with reaper(slurm, double.url, way=way) as (one, _):
        slurm.stop_controller() if trouble == "stopped" else slurm.hang_controller()
        try:
            assert not await one.make_pass()
        finally:
            slurm.start_controller() if trouble == "stopped" else slurm.continue_controller()
        assert caplog.text.count("no look for jobs without a server, nothing is ended: Slurm: ") == 1
        async with asyncio.timeout(LIMIT):
            while not await one.make_pass():  # noqa: ASYNC110 - Slurm tells nobody
                await asyncio.sleep(0.5)
    await ended(slurm, [job])


class Numbered(KeyTokens):
    """Tokens in a number's name, as the key's owner could make them and the service does not."""

    def __init__(self, slurm: Slurm, number: str) -> None:
        self._made = SlurmToken(number, slurm.mint(number), datetime.now(UTC) + timedelta(minutes=10))

    async def token(self) -> SlurmToken:
        """Return it."""
        return self._made


@pytest.mark.parametrize("number", ["0", "62002"])
async def test_no_token_is_made_for_a_number(slurm: Slurm, number: str) -> None:
    """Slurm takes it for a uid: root's, who ends anybody's job, or bob's, who ends his own."""
    bobs = submit(slurm, "bob", tag("bob"))
    with pytest.raises(ValueError, match="no token is made for a user called"):
        await KeyTokens(Key(str(slurm.jwt_key), 600), number).token()
    door = RestSlurm(slurm.rest_url, Numbered(slurm, number), timeout=5, all_users=True)
    try:
        await door.cancel([bobs])
    finally:
        await door.close()
    await ended(slurm, [bobs])


async def test_an_account_that_may_not_end_others_jobs_says_so(
    slurm: Slurm, double: HubDouble, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no operator of Slurm's: an error line names the users whose jobs stay."""
    job = submit(slurm, "alice", tag("alice", "r0"))
    door = CommandSlurm(timeout=5, all_users=True, environ=slurm.environment("bob"))
    hub = HubApi(double.url, TOKEN, timeout=5)
    try:
        await Reaper(door, hub, Whose(HUB, 60.0), Tellers(LOG)).make_pass()
    finally:
        hub.close()
        await door.close()
    assert job in here(slurm)
    assert "the jobs of 'alice' may not be ended: " in caplog.text


async def test_the_command_shows_what_it_would_end(slurm: Slurm, double: HubDouble) -> None:
    """``--dry-run`` prints a table and ends nothing; ``--once`` ends it."""
    job = submit(slurm, "carol", tag("carol"))
    program = [sys.executable, "-m", "nbplatform_spawners.slurm_dask", f"--hub-id={HUB}"]
    environment = {**slurm.environment("reaper"), "JUPYTERHUB_API_TOKEN": TOKEN, "JUPYTERHUB_API_URL": double.url}
    for flag, told in (("--dry-run", "its server is gone"), ("--once", f"ended job {job} of user=carol")):
        process = await asyncio.create_subprocess_exec(
            *program, flag, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0, said
        assert told in said
        assert job in said
        assert flag == "--once" or job in here(slurm)
    await ended(slurm, [job])
