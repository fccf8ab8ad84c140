"""The door to servers, which are under their users' control, against every way in which one may answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from nbplatform_spawners.culler.activity import Activity
from nbplatform_spawners.culler.server_api import ServerApi, Unanswered
from nbplatform_spawners.hub_api import Door

from .hub_double import SERVER_MODES, TOKEN, FakeServer, HubDouble

HOSTILE = ["a/b", "..", "%2F", "ünïcode ☃", "a b", "a?x=1#y"]
ROUND = timedelta(seconds=5)
"""What a busy machine may take between the double's start and its answer."""


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    """Run a server of each mode, named as the mode, and some with hostile names."""
    servers = [FakeServer("ada", mode, idle=600.0, mode=mode) for mode in SERVER_MODES]
    with HubDouble([*servers, *(FakeServer(name, name, idle=600.0) for name in HOSTILE)]) as double:
        yield double


@pytest.fixture
async def api() -> AsyncIterator[ServerApi]:
    """Open the door, with a short time."""
    found = ServerApi(timeout=2.0)
    yield found
    found.close()


def door_to(hub: HubDouble, user: str, name: str = "") -> Door:
    """Return how a server is asked."""
    server = hub.server(user, name)
    assert server is not None
    return Door(user, name, hub.origin + server.base, server.token)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@pytest.mark.parametrize("mode", ["quick", "slow", "jupyter", "jupyter without terminals"])
async def test_a_server_says_when_it_was_used(api: ServerApi, hub: HubDouble, mode: str) -> None:
    """By our extension; where that is absent by Jupyter's own API, which may lack terminals."""
    server = hub.server("ada", mode)
    assert server is not None
    server.busy, server.busy_for = 2, 7200.0
    found = await api.ask(door_to(hub, "ada", mode), now)
    assert isinstance(found, Activity)
    assert found.by == ("jupyter" if mode.startswith("jupyter") else "server")
    assert found.last is not None
    assert abs(hub.begun - timedelta(seconds=600) - found.last) < ROUND
    assert found.busy == 2
    assert found.busy_since is not None
    assert abs(hub.begun - timedelta(seconds=7200) - found.busy_since) < ROUND
    assert hub.counts["activity"] == 1
    assert hub.counts["status"] == (1 if mode.startswith("jupyter") else 0)


@pytest.mark.parametrize("mode", ["quick", "jupyter"])
@pytest.mark.parametrize("skew", [-86400.0, 86400.0, 3600.0])
async def test_a_server_whose_clock_is_wrong(api: ServerApi, hub: HubDouble, mode: str, skew: float) -> None:
    """Times are moved to the culler's clock: a clock that is a day ahead does not make anybody look busy for a day."""
    server = hub.server("ada", mode)
    assert server is not None
    server.skew = skew
    found = await api.ask(door_to(hub, "ada", mode), now)
    assert isinstance(found, Activity)
    assert found.last is not None
    assert abs(hub.begun - timedelta(seconds=600) - found.last) < ROUND


MISBEHAVIOURS = {
    "error": "it answers with status 500",
    "garbage": "its answer cannot be used: it is no JSON",
    "no HTTP": "the connection ended without a whole answer of at most 262144 bytes",
    "huge": "the connection ended without a whole answer of at most 262144 bytes",
    "endless": "the connection ended without a whole answer of at most 262144 bytes",
    "resets": "the connection ended without a whole answer of at most 262144 bytes",
    "redirects": "it answers with status 302",
    "never": "no whole answer within 2 seconds",
    "drips": "no whole answer within 2 seconds",
    "refuses": "it refuses the token",
    "something else": "it answers with status 404",
    "wrong types": "its answer cannot be used: kernels: no object",
    "long head": "the head of its answer is longer than 16384 bytes",
    "odd date": "it answers with status 404",
}


def test_every_mode_of_a_server_is_tried() -> None:
    """A new way to misbehave needs its sentence."""
    assert set(SERVER_MODES) == {*MISBEHAVIOURS, "quick", "slow", "jupyter", "jupyter without terminals"}


@pytest.mark.parametrize(("mode", "why"), MISBEHAVIOURS.items(), ids=MISBEHAVIOURS)
async def test_a_server_that_misbehaves_is_unanswered(
    api: ServerApi, hub: HubDouble, mode: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One short sentence; nothing is raised, nothing is followed, and no trace fills the log."""
    caplog.set_level(logging.DEBUG)
    door = door_to(hub, "ada", mode)
    found = await asyncio.wait_for(api.ask(door, now), 20)
    assert found == Unanswered(why)
    assert hub.lured == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert door.token not in caplog.text


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_server_with_any_name_is_asked_at_its_own_address(api: ServerApi, hub: HubDouble, name: str) -> None:
    """The hub's own address is taken as it is."""
    found = await api.ask(door_to(hub, name, name), now)
    assert isinstance(found, Activity)


async def test_a_server_gets_its_own_token_and_no_other(api: ServerApi, hub: HubDouble) -> None:
    """Whatever a server answers, it is sent what is good for it alone."""
    doors = [door_to(hub, "ada", mode) for mode in SERVER_MODES if mode not in ("never", "drips")]
    for door in doors:
        await api.ask(door, now)
        await api.notify(door, {"reason": "idle"})
        await api.is_there(door)
    assert hub.server_tokens == {f"token {door.token}" for door in doors}
    assert f"token {TOKEN}" not in hub.server_tokens
    assert hub.lured == []


async def test_a_server_that_is_gone_is_unanswered(api: ServerApi) -> None:
    """Nobody listens at its address; an address that is none; a name that does not resolve."""
    with HubDouble([FakeServer("ada")]) as hub:
        door = door_to(hub, "ada")
    assert await api.ask(door, now) == Unanswered("Connection refused")
    assert await api.notify(door, None) is False
    assert await api.is_there(door) is False
    for url in ("http://127.0.0.1:99999/user/ada/", "http://[::1/", "gopher://x/", "http://nowhere.invalid/"):
        found = await api.ask(Door("ada", "", url, "t"), now)
        assert isinstance(found, Unanswered)
        assert 0 < len(found.why) <= 250


async def test_a_slow_server_delays_no_other(hub: HubDouble) -> None:
    """Servers are asked at once, each within its own time."""
    api = ServerApi(timeout=1.0, concurrency=len(SERVER_MODES))
    found = await asyncio.gather(*(api.ask(door_to(hub, "ada", mode), now) for mode in SERVER_MODES))
    answered = {mode for mode, one in zip(SERVER_MODES, found, strict=True) if isinstance(one, Activity)}
    assert answered == {"quick", "slow", "jupyter", "jupyter without terminals"}
    api.close()


async def test_waiting_for_a_turn_is_not_the_servers_time(hub: HubDouble) -> None:
    """Asked one after the other, the last of several slow servers has its whole time."""
    api = ServerApi(timeout=1.0, concurrency=1)
    found = await asyncio.gather(*(api.ask(door_to(hub, "ada", "slow"), now) for _ in range(5)))
    assert [type(one) for one in found] == [Activity] * 5
    api.close()


async def test_a_notice_is_put_up_and_taken_away(api: ServerApi, hub: HubDouble) -> None:
    """The server says that it took it; where there is no extension of ours nobody did."""
    server, door = hub.server("ada", "quick"), door_to(hub, "ada", "quick")
    assert server is not None
    assert await api.notify(door, {"reason": "idle", "why": "ünï ☃"}) is True
    assert server.notice == {"reason": "idle", "why": "ünï ☃"}
    assert await api.notify(door, None) is True
    assert server.notice is None
    for mode in ("jupyter", "error", "redirects", "refuses", "garbage", "never"):  # garbage comes with 200
        taken = await api.notify(door_to(hub, "ada", mode), {"reason": "idle"})
        assert taken is (mode == "garbage"), mode


@pytest.mark.parametrize("mode", ["quick", "refuses", "error", "redirects"])
async def test_whether_a_server_is_there_is_asked_without_a_token(api: ServerApi, hub: HubDouble, mode: str) -> None:
    """After a stop another server may have the address: it must not get the token of the one before."""
    assert await api.is_there(door_to(hub, "ada", mode)) is True
    another = Door("ada", "", f"{hub.origin}/user/somebody-else/", "token-of-ada")
    assert await api.is_there(another) is False
    assert hub.server_tokens == set()


def test_why_a_server_did_not_answer_shows_no_token() -> None:
    """Nor does the door to it."""
    assert "planted" not in repr(ServerApi()) + repr(Unanswered("x")) + repr(Door("a", "", "http://h/", "planted"))
