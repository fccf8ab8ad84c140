"""The door to the hub, against a hub that misbehaves at the wire."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from nbplatform_spawners.hub_api import Door, HubApi, HubError

from .hub_double import TOKEN, FakeServer, HubDouble

NAMES = ["ada", "a/b", "%2F", "a%2Fb", "..%2f..", "a b", "ünïcode ☃", "a?x=1#y", "a+b@c.org", "...x", "{}", "'\"<&>\\"]


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    """Run a hub with a server for each hostile name, named ones among them, and one user without."""
    servers = [FakeServer(name) for name in NAMES] + [FakeServer("ada", "train"), FakeServer("ben", "x y/z")]
    with HubDouble(servers, others=["zoe"]) as double:
        yield double


@pytest.fixture
async def api(hub: HubDouble) -> AsyncIterator[HubApi]:
    """Open the door to it, with pages of three users and a short time."""
    found = HubApi(hub.url, TOKEN, timeout=1.0, page_size=3)
    yield found
    found.close()


async def test_every_page_is_read(api: HubApi, hub: HubDouble) -> None:
    """All users with a server, each once, in the hub's order; only whose servers run unless all are asked for."""
    users = await api.users()
    assert [user["name"] for user in users] == [*NAMES, "ben"]
    assert set(users[0]["servers"]) == {"", "train"}
    assert hub.counts["list"] == 5
    assert [user["name"] for user in await api.users(None)] == ["zoe", *NAMES, "ben"]
    whole = HubApi(hub.url, TOKEN)
    assert len(await whole.users()) == len(users)
    whole.close()


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_stays_one_name_on_the_way(api: HubApi, hub: HubDouble, name: str) -> None:
    """No character of a name leads to another route: the user who is asked for is looked at, stopped and deleted."""
    found = await api.user(name)
    assert found is not None
    assert found["name"] == name
    doors = await api.ask([(name, "")])
    assert doors is not None
    assert [(door.user, door.server) for door in doors] == [(name, "")]
    assert await api.stop(name, "") is True
    assert hub.stopped == [(name, "")]
    await api.delete_user(name)
    assert hub.deleted == [name]
    assert await api.user(name) is None


@pytest.mark.parametrize("name", ["..", ".", "...", "", "\ud800"])
async def test_a_name_that_no_address_can_hold_is_not_asked_about(api: HubApi, hub: HubDouble, name: str) -> None:
    """``/users/ada/servers/..`` would be ``/users/ada`` to a proxy: a stop must never delete a user."""
    for asked in (api.user(name), api.stop(name, ""), api.delete_user(name), api.stop("ada", name or "..")):
        with pytest.raises(HubError, match="no address can hold this name"):
            await asked
    assert hub.paths == []


async def test_named_servers_are_stopped_and_forgotten_on_demand(api: HubApi, hub: HubDouble) -> None:
    """``remove`` goes with named servers alone: the hub refuses it for the default server."""
    assert await api.stop("ben", "x y/z", remove=True) is True
    assert await api.stop("ada", "train") is True
    assert await api.stop("ada", "", remove=True) is True
    assert hub.stopped == [("ben", "x y/z"), ("ada", "train"), ("ada", "")]
    assert hub.removed == [("ben", "x y/z")]


async def test_a_stop_that_goes_on_is_not_done(api: HubApi, hub: HubDouble) -> None:
    """202 is False; what is not there is as good as stopped."""
    hub.stop_delay, hub.slow_after = 30.0, 0.05
    assert await api.stop("ada", "") is False
    assert await api.stop("ada", "") is False
    assert await api.stop("zoe", "") is True
    assert await api.stop("ada", "gone") is True
    assert await api.stop("nobody", "") is True


async def test_what_the_hub_says_about_itself(api: HubApi) -> None:
    """The version, and nobody."""
    await api.meet()
    assert await api.user("nobody") is None


async def test_doors_come_for_the_servers_that_run(api: HubApi, hub: HubDouble) -> None:
    """More than a hundred are asked for in parts; the token of a door is never shown."""
    hub.server("ada").extend_asked = "2026-11-24T08:12:00+01:00"  # type: ignore[union-attr]
    many = [("ada", ""), *((f"nobody{number}", "") for number in range(250)), ("ben", "x y/z")]
    ada, ben = await api.ask(many) or []
    assert hub.counts["ask"] == 3
    assert (ada.user, ada.server, ada.url) == ("ada", "", f"{hub.origin}/user/ada/")
    assert (ben.user, ben.server, ben.url) == ("ben", "x y/z", f"{hub.origin}/user/ben/x%20y%2Fz/")
    assert ada.extend_asked is not None
    assert ada.extend_asked.isoformat() == "2026-11-24T07:12:00+00:00"
    assert ben.extend_asked is None
    assert ada.token
    assert ada.token not in repr(ada)
    assert await api.ask([]) == []


async def test_a_hub_without_our_handlers_is_not_an_error(api: HubApi, hub: HubDouble) -> None:
    """A plain JupyterHub answers 404: servers are not asked, and nobody is told."""
    hub.with_ask = False
    assert await api.ask([("ada", "")]) is None
    assert await api.tell({"epoch": None, "notices": [], "stops": []}) is None


async def test_the_board_reaches_the_hub(api: HubApi, hub: HubDouble) -> None:
    """What is told arrives as it is, whatever characters it holds."""
    board = {"epoch": "epoch-1", "notices": [{"user": "ünï/☃", "why": "\ud800"}], "stops": []}
    assert await api.tell(board) == {"epoch": "epoch-1", "known": True}
    assert hub.boards == [board]


async def test_a_user_seen_on_two_pages_is_one(api: HubApi, hub: HubDouble) -> None:
    """The list shifts while it is read: somebody is seen twice, and none of the answers is thrown away."""
    hub.mode = "shifts"
    names = [user["name"] for user in await api.users(None)]
    assert len(names) == len(set(names))
    assert set(names) == {*NAMES, "ben", "zoe"}


async def test_a_hub_that_does_not_page_gives_its_whole_list(api: HubApi, hub: HubDouble) -> None:
    """As hubs did before pages, and as a proxy may that drops the header."""
    hub.mode = "list alone"
    assert len(await api.users()) == len(NAMES) + 2


MISBEHAVIOURS = {
    "dies in page 2": "the connection ended without a whole answer",
    "error": "with status 500",
    "refuses": "with status 403",
    "unavailable": "with status 503",
    "hangs": "no whole answer within 1 seconds",
    "endless": "the connection ended without a whole answer",
    "garbage": "it is no JSON",
    "no HTTP": "the connection ended without a whole answer",
    "huge": "the connection ended without a whole answer",
    "resets": "the connection ended without a whole answer",
    "elsewhere": "it goes on at another address, 'http://localhost:",
    "loops": "the hub's list of users does not end",
    "redirects": "with status 302",
    "wrong types": "it is no page of users",
    "somebody else": "it is no page of users",
}


@pytest.mark.parametrize(("mode", "said"), MISBEHAVIOURS.items(), ids=MISBEHAVIOURS)
async def test_a_list_that_is_not_whole_is_no_list(
    api: HubApi, hub: HubDouble, mode: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the hub does: one sentence, no half of a list, no step elsewhere, no token in an error or the log."""
    caplog.set_level(logging.DEBUG)
    hub.mode = mode
    with pytest.raises(HubError) as caught:
        await asyncio.wait_for(api.users(), 20)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600
    assert hub.lured == []
    assert TOKEN not in told(caught.value) + caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def told(error: BaseException) -> str:
    """Return everything that an error, its causes and their traces show."""
    text = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    for inner in (error.__cause__, error.__context__):
        text += told(inner) if inner is not None else ""
    return text


Call = Callable[[HubApi], Coroutine[Any, Any, Any]]
CALLS: dict[str, Call] = {
    "meet": lambda api: api.meet(),
    "user": lambda api: api.user("ada"),
    "stop": lambda api: api.stop("ada", ""),
    "delete_user": lambda api: api.delete_user("ada"),
    "ask": lambda api: api.ask([("ada", "")]),
    "tell": lambda api: api.tell({"epoch": None}),
}


@pytest.mark.parametrize("mode", ["error", "refuses", "hangs", "no HTTP", "redirects", "resets"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_every_call_fails_with_one_sentence(
    api: HubApi, hub: HubDouble, call: Call, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No call takes another answer for a good one, and none shows the token, even if the hub says it."""
    caplog.set_level(logging.DEBUG)
    hub.mode = mode
    with pytest.raises(HubError) as caught:
        await call(api)
    assert caught.value.status == {"error": 500, "refuses": 403, "redirects": 302}.get(mode)
    assert TOKEN not in told(caught.value) + caplog.text
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert hub.lured == []


@pytest.mark.parametrize("mode", ["garbage", "wrong types", "list alone", "somebody else"])
@pytest.mark.parametrize("call", [CALLS["user"], CALLS["ask"]], ids=["user", "ask"])
async def test_an_answer_of_another_form_is_none(api: HubApi, hub: HubDouble, call: Call, mode: str) -> None:
    """The model of somebody else is not that of the user who was asked for."""
    hub.mode = mode
    with pytest.raises(HubError):
        await call(api)


async def test_a_hub_that_is_not_there() -> None:
    """Nobody listens: one sentence, and no status."""
    with HubDouble() as gone:
        url = gone.url
    api = HubApi(url, TOKEN, timeout=1.0)
    with pytest.raises(HubError, match="the hub does not answer GET /health: Connection refused") as caught:
        await api.meet()
    assert caught.value.status is None
    api.close()


async def test_a_name_that_does_not_resolve() -> None:
    """As of a hub that was renamed."""
    api = HubApi("http://hub.invalid/hub/api", TOKEN, timeout=5.0)
    with pytest.raises(HubError, match="the hub does not answer GET /health: "):
        await api.meet()
    api.close()


WRONG = {
    "no scheme": ("127.0.0.1:8081/hub/api", TOKEN),
    "another scheme": ("file:///etc/passwd", TOKEN),
    "a password in it": ("http://ada:planted-token@hub/hub/api", TOKEN),
    "no token": ("http://hub/hub/api", ""),
    "a token of two lines": ("http://hub/hub/api", "planted-token\r\nX: y"),
    "a token that is no ASCII": ("http://hub/hub/api", "planted-token-ü"),
}


@pytest.mark.parametrize(("url", "token"), WRONG.values(), ids=WRONG)
def test_a_bad_address_or_token_is_said_at_once(url: str, token: str) -> None:
    """Before anything is asked, and without what might be a secret."""
    with pytest.raises(ValueError, match="must be") as caught:
        HubApi(url, token)
    assert "planted" not in str(caught.value)


async def test_no_more_questions_are_under_way_than_allowed(hub: HubDouble) -> None:
    """The others wait, and that is not counted as the hub's time: 9 stops of 1 s by 3 take longer than one may."""
    hub.stop_delay = 1.0
    api = HubApi(hub.url, TOKEN, timeout=2.5, concurrency=3)
    done = await asyncio.gather(*(api.stop(name, "") for name in NAMES[:9]))
    assert done == [True] * 9
    assert hub.most_stops == 3
    api.close()


def test_the_door_to_the_hub_shows_no_token() -> None:
    """Nor does that to a server."""
    assert TOKEN not in repr(HubApi("http://hub/hub/api", TOKEN))
    assert TOKEN not in repr(Door("ada", "", "http://h/user/ada/", TOKEN))
