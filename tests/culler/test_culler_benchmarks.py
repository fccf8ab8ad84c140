"""The benchmarks of the culler, for real but small: how long anything takes, no test asks."""

from __future__ import annotations

import pytest

from benchmarks.culler_passes import OLD, OPTIONS, YOUNG, one_pass, used_servers
from benchmarks.culler_sides import TimedHub, running
from benchmarks.culler_stops import cull_once
from benchmarks.culler_verdicts import NOON, PROFILES, decided, example_book, models
from benchmarks.runner import CannotRun
from nbplatform_spawners.culler.limits import LimitsFinder, Options
from nbplatform_spawners.culler.models import running_servers

SERVERS = 12
PAGES = 60
"""Servers that fill more than one page of the hub's list."""


@pytest.mark.parametrize("side", ["ours", "peer"])
def test_each_side_stops_every_idle_server(side: str) -> None:
    """The time counts until the last stop has ended; only ours looks at servers, so only ours has gaps."""
    found = cull_once(side, servers=SERVERS, stop=0.05)
    assert found.took > 0.05
    assert len(found.gaps) == (SERVERS if side == "ours" else 0)
    assert all(gap > 0 for gap in found.gaps)


@pytest.mark.parametrize("side", ["ours", "peer"])
def test_a_pass_with_nothing_to_do_is_measured_until_it_rests(side: str) -> None:
    """Every page is read, no server is asked or stopped; the quiet after it does not count."""
    with TimedHub(used_servers(PAGES, YOUNG)) as hub, running(side, hub, OPTIONS[side]) as process:
        wall, cpu = process.rest()
    assert wall > 0
    assert cpu >= 0
    assert (hub.counts["list"], hub.counts["activity"], hub.counts["stop"]) == (2, 0, 0)


def test_old_servers_of_which_nothing_is_known_are_all_asked() -> None:
    """What ``pass_asking`` measures asks each of them, and stops none."""
    cost = one_pass("ours", servers=SERVERS, age=OLD)
    assert cost.wall > 0


def test_a_culler_that_ends_by_itself_cannot_be_measured() -> None:
    """The reason is its own last words."""
    with (
        pytest.raises(CannotRun, match=r"ended with status 1: .*timeout must be at least 0"),
        TimedHub(used_servers(1, YOUNG)) as hub,
        running("ours", hub, ["--timeout=-1"]) as process,
    ):
        process.wait_for(lambda: not process.alive())


def test_the_servers_that_are_decided_are_of_different_people_who_may_have_them() -> None:
    """Each profile of the site is among them, the rules decide each, and there is some of every verdict."""
    book, users = example_book(), list(models(400))
    assert users == list(models(400)) != list(models(400, seed=2))
    found = LimitsFinder(book, Options(), NOON)
    servers = [server for user in users for server in running_servers(user)]
    assert {server.state["profile"] for server in servers} == set(PROFILES)
    assert len({server.state["identity"]["uid"] for server in servers}) == 400
    standing = [found.standing(server) for server in servers]
    assert {(one.source, one.off) for one in standing} == {("rules", None)}
    kinds = decided(book, users)
    assert set(kinds) == {"keep", "warn", "stop"}
    assert sum(kinds.values()) == 400
