"""The reaper against hubs whose two answers differ, that take its role away, or are odd about one user."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any

import pytest

from nbplatform_spawners.hub_api import HubApi
from nbplatform_spawners.slurm_dask.models import JobState
from nbplatform_spawners.slurm_dask.reaper import Reaper, Tellers, Whose
from nbplatform_spawners.slurm_dask.tag import Tag
from tests.culler.hub_double import TOKEN, FakeServer, HubDouble

HUB = "hub-of-the-tests"
LOG = logging.getLogger("tests.unit.slurm_reaper")
PEOPLE = ("ada", "ben", "carol", "dora")
"""Carol and dora have no server."""


class Jobs:
    """A door to a Slurm where each of these people has one running job, called like its user.

    Attributes:
        cancelled: the jobs that were told to end.
    """

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    async def jobs(self, ids: Collection[str] | None = None) -> dict[str, JobState]:
        """List them."""
        tags = {user: Tag(HUB, user, "", "r1", "0a1b2c3d4e5f").text() for user in PEOPLE}
        return {user: JobState(user, "dask-worker", user, "RUNNING", tag=tag) for user, tag in tags.items()}

    async def cancel(self, ids: Collection[str]) -> None:
        """Note it."""
        self.cancelled += ids


class Changing(HubDouble):
    """A hub whose list says something else than it says of each user alone.

    Attributes:
        left_out: users whom the list lacks.
        bare: users whose servers the list lacks.
        scopes_after: what the service may do after the list was asked for; None for no change.
    """

    left_out: frozenset[str] = frozenset()
    bare: frozenset[str] = frozenset()
    scopes_after: tuple[str, ...] | None = None

    def _page(self, request: Any) -> bytes:
        page = json.loads(super()._page(request))
        page["items"] = [one for one in page["items"] if one["name"] not in self.left_out]
        for one in page["items"]:
            if one["name"] in self.bare:
                del one["servers"]
        if self.scopes_after is not None:
            self.scopes = self.scopes_after
        return json.dumps(page).encode()


@pytest.fixture
def double() -> Iterator[Changing]:
    """A hub at the wire: ada and ben have a server."""
    servers = [FakeServer(user, state={"run": "r1"}) for user in ("ada", "ben")]
    with Changing(servers, others=["carol", "dora"]) as made:
        yield made


@pytest.fixture
def door() -> Jobs:
    """A Slurm with a job of each."""
    return Jobs()


@pytest.fixture
async def reaper(double: HubDouble, door: Jobs) -> AsyncIterator[Reaper]:
    """A reaper between the two."""
    hub = HubApi(double.url, TOKEN, timeout=5)
    yield Reaper(door, hub, Whose(HUB, 60.0), Tellers(LOG))  # type: ignore[arg-type]
    hub.close()


async def test_a_server_that_the_list_leaves_out_is_asked_about_alone(
    reaper: Reaper, double: Changing, door: Jobs
) -> None:
    """The list is old by now, or short: who runs by their own model keeps their jobs."""
    double.left_out = frozenset({"ada"})
    assert await reaper.make_pass()
    assert sorted(door.cancelled) == ["carol", "dora"]


async def test_a_role_that_is_lost_during_the_look_ends_nothing(
    reaper: Reaper, double: Changing, door: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the list and the single users: the hub answers such a service as if nobody were there."""
    double.scopes_after = ("list:users", "admin:server_state")
    assert not await reaper.make_pass()
    assert door.cancelled == []
    assert "the service's role lacks read:servers" in caplog.text


ODD: dict[str, object] = {
    "no servers": {"name": "carol"},
    "servers of another type": {"name": "carol", "servers": [1]},
    "somebody else": {"name": "ada", "servers": {}},
    "no object": [],
}


@pytest.mark.parametrize("model", ODD.values(), ids=ODD)
async def test_one_odd_user_keeps_their_jobs_and_holds_up_nobody(
    reaper: Reaper, double: Changing, door: Jobs, model: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is unknown is told of once; when the hub speaks of them again their job ends."""
    before, double._models["carol"] = double._models["carol"], json.dumps(model).encode()
    for _ in range(3):
        assert await reaper.make_pass()
    assert set(door.cancelled) == {"dora"}
    assert caplog.text.count("the jobs of 'carol' are left alone: the hub") == 1
    assert "no look for jobs" not in caplog.text
    assert reaper._metrics.registry.get_sample_value("nbplatform_slurm_unknown_users") == 1
    double._models["carol"] = before
    assert await reaper.make_pass()
    assert set(door.cancelled) == {"carol", "dora"}
    assert reaper._metrics.registry.get_sample_value("nbplatform_slurm_unknown_users") == 0


async def test_a_user_who_is_odd_in_the_list_keeps_their_jobs(
    reaper: Reaper, double: Changing, door: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    """Both answers must say that a server is gone: ben's was started anew, and the list does not say so."""
    double.people["ben"][""].state = {"run": "r2"}
    double.changed("ben")
    double.bare = frozenset({"ben"})
    assert await reaper.make_pass()
    assert sorted(door.cancelled) == ["carol", "dora"]
    assert "the jobs of 'ben' are left alone: the hub does not say which servers" in caplog.text


async def test_a_list_in_which_nobody_can_be_read_ends_nothing(
    reaper: Reaper, double: Changing, door: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer as a whole is odd: the hub leaves the servers out for who may not read them."""
    double.bare = frozenset({"ada", "ben"})
    assert not await reaper.make_pass()
    assert door.cancelled == []
    assert "nothing is ended: the hub: the hub does not say which servers" in caplog.text
