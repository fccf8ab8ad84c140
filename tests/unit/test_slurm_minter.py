"""How much may be asked of the service for tokens: by one token, by all, and by those that the hub does not know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.hub_api import HubApi, HubError
from nbplatform_spawners.identity import Identity, IdRange
from nbplatform_spawners.slurm_dask.service_bounds import MAX_WAITING, Throttle, TooMany
from nbplatform_spawners.slurm_dask.service_key import Key
from nbplatform_spawners.slurm_dask.service_tokens import Minter, NotNow
from nbplatform_spawners.slurm_dask.token_holder import Allowed, TokenRefused

SERVICE = "nbplatform-slurm"
GOOD = "token-of-adas-server"
SCOPES = ["access:servers!server=ada/", f"access:services!service={SERVICE}"]
IDENTITY = Identity("ada", 62001, 100, {"users": 100}, "users", "/home/ada").to_dict()
SERVER = {"pending": None, "ready": True, "stopped": False, "state": {"identity": IDENTITY}}


class Hub(HubApi):
    """A hub that knows ada's server's token and no other, and answers when it may.

    Attributes:
        asked: the tokens of which it was asked whose they are.
        open: whether it answers questions about other tokens than ada's.
        down: whether it answers at all.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.known = {GOOD}
        self.open = asyncio.Event()
        self.open.set()
        self.down = False

    async def user(self, name: str) -> dict[str, Any] | None:
        """Ada's server runs."""
        return {"name": name, "servers": {"": SERVER}}


class Shown(HubApi):
    """The hub, asked with somebody's token."""

    def __init__(self, hub: Hub, token: str) -> None:
        self._hub, self._shown = hub, token

    async def owner(self) -> dict[str, Any]:
        """Say whose token it is."""
        self._hub.asked.append(self._shown)
        if self._hub.down:
            raise HubError("the hub does not answer GET /user: Connection refused")
        if self._shown not in self._hub.known:
            await self._hub.open.wait()
            raise HubError("the hub answers GET /user with status 403", 403)
        return {"kind": "user", "name": "ada", "session_id": None, "scopes": SCOPES}

    def close(self) -> None:
        """Nothing is open."""


class Seconds:
    """A clock that stands where it is put."""

    now = 1000.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


@pytest.fixture
def clock() -> Seconds:
    """The throttle's clock."""
    return Seconds()


@pytest.fixture
async def hub() -> Hub:
    """A hub that answers."""
    return Hub()


@pytest.fixture
def minter(tmp_path: Path, hub: Hub, clock: Seconds) -> Minter:
    """A minter with a key, which asks that hub."""
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(b"k" * 32)
    allowed = Allowed(SERVICE, IdRange(1000, 69999))
    return Minter(hub, lambda token: Shown(hub, token), allowed, Key(str(path), 600), Throttle(clock))


@contextmanager
def flood(minter: Minter, count: int) -> Iterator[list[asyncio.Task[Any]]]:
    """Have so many requests wait, each with a token of its own that nobody knows."""
    tasks = [asyncio.ensure_future(minter.mint(f"made-up-{number}")) for number in range(count)]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()


async def test_a_token_that_the_hub_does_not_know_is_asked_about_once(minter: Minter, hub: Hub, clock: Seconds) -> None:
    """Shown again at once it is refused without a question; some seconds later the hub is asked again."""
    for _ in range(3):
        with pytest.raises(TokenRefused, match="does not know this token"):
            await minter.mint("made-up")
    assert hub.asked == ["made-up"]
    clock.now += 5
    with pytest.raises(TokenRefused):
        await minter.mint("made-up")
    assert hub.asked == ["made-up"] * 2


async def test_so_many_wait_and_no_more(minter: Minter, hub: Hub) -> None:
    """The hundred and first is told to come again; when the others were answered there is room."""
    hub.open.clear()
    with flood(minter, MAX_WAITING) as tasks:
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks)
        assert len(hub.asked) == 5  # at once
        with pytest.raises(TooMany) as caught:
            await minter.mint("one-more")
        assert caught.value.seconds == 1
        assert "one-more" not in hub.asked
        hub.open.set()
        assert {type(one) for one in await asyncio.gather(*tasks, return_exceptions=True)} == {TokenRefused}
        assert (await minter.mint(GOOD)).token.user == "ada"


async def test_made_up_tokens_do_not_hold_up_servers_that_had_one_before(minter: Minter, hub: Hub) -> None:
    """A flood fills its own line; a token that was good is answered meanwhile, each time by asking the hub."""
    await minter.mint(GOOD)
    hub.open.clear()
    with flood(minter, MAX_WAITING + 50):
        await asyncio.sleep(0.05)
        for _ in range(3):
            made = await asyncio.wait_for(minter.mint(GOOD), 5)
            assert made.token.user == "ada"
    assert hub.asked.count(GOOD) == 4


async def test_a_token_that_was_good_and_was_revoked_is_a_strangers(minter: Minter, hub: Hub, clock: Seconds) -> None:
    """It is refused at its next use, and then waits where made-up ones do."""
    await minter.mint(GOOD)
    hub.known.clear()
    with pytest.raises(TokenRefused):
        await minter.mint(GOOD)
    clock.now += 5
    hub.open.clear()
    with flood(minter, MAX_WAITING):
        await asyncio.sleep(0.05)
        with pytest.raises(TooMany):
            await minter.mint(GOOD)


async def test_a_hub_that_does_not_answer_makes_no_token_unknown(minter: Minter, hub: Hub) -> None:
    """Not now, and no refusal: the token is good as soon as the hub is back."""
    hub.down = True
    with pytest.raises(NotNow, match="nobody can say whose token this is"):
        await minter.mint(GOOD)
    hub.down = False
    made = await minter.mint(GOOD)
    assert made.server == ""
    assert GOOD not in json.dumps(made.token.text)


def test_what_is_remembered_of_good_tokens_is_bounded(clock: Seconds) -> None:
    """The latest ten thousand; one that is used stays."""
    throttle = Throttle(clock)
    throttle.note_good(b"used")
    for number in range(12_000):
        throttle.note_good(number.to_bytes(4))
        if number == 5000:
            throttle.note_good(b"used")
    assert len(throttle._good) == 10_000
    assert throttle.was_good(b"used")
    assert not throttle.was_good((1).to_bytes(4))
