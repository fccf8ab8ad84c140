"""Refreshes that are hard to hit with a real Keycloak: requests that go away, changes in the middle.

The hub's user is a double with the hub's own encryption; Keycloak is a double that answers when it is told to.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.crypto import CryptKeeper, encrypt

from nbplatform_spawners.auth.auth_state import change_auth_state, read_auth_state
from nbplatform_spawners.auth.keycloak_login import put
from nbplatform_spawners.auth.keycloak_refresh import Refresher


@pytest.fixture(autouse=True)
def _key() -> Iterator[None]:
    """The hub's key for what it encrypts."""
    CryptKeeper.clear_instance()
    CryptKeeper.instance(keys=[secrets.token_bytes(32)])
    yield
    CryptKeeper.clear_instance()


class HubUser:
    """A user as the hub has it: encrypted state, and a database that is told of changes."""

    def __init__(self, name: str = "ada") -> None:
        self.name = name
        self.admin = False
        self.encrypted_auth_state: bytes | None = None
        self.commits = 0
        self.db = SimpleNamespace(commit=self._commit)

    def _commit(self) -> None:
        self.commits += 1

    async def get_auth_state(self) -> dict[str, Any] | None:
        """What is stored."""
        return await read_auth_state(self.encrypted_auth_state) or None

    async def store(self, state: dict[str, Any]) -> None:
        """Store something else, as the hub does at a login."""
        self.encrypted_auth_state = await encrypt(state)


class SlowKeycloak:
    """Answers a refresh grant when ``go`` is set, each time with another refresh token."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()

    async def tokens(self, *, patience: float, grant_type: str, refresh_token: str) -> dict[str, Any]:
        """Answer when it is time."""
        self.asked.append(refresh_token)
        self.was_asked.set()
        await self.go.wait()
        return {"refresh_token": f"{refresh_token}+", "id_token": "i"}

    async def id_token(self, token: object, nonce: str | None) -> dict[str, Any]:
        """Say who it is."""
        return {"sub": "s"}


class Site:
    """As much of an authenticator as a refresh needs; all are allowed, and every account is good."""

    log = logging.getLogger("test")
    request_timeout = 5.0
    outage_grace = 3600.0
    manage_groups = False

    def __init__(self, provider: SlowKeycloak) -> None:
        self.provider = provider

    async def build_auth_model(self, payload: Any, tokens: Any, before: Any) -> dict[str, Any]:
        """The same person as before."""
        return {"name": "ada", "admin": None, "auth_state": put(before, id_token="new")}

    async def check_permitted(self, model: Any) -> None:
        """They are."""

    async def standing(self, user: Any) -> None:
        """No directory says anything."""


def login(refresh_token: str) -> dict[str, Any]:
    """What a login with this refresh token leaves."""
    now = datetime.now(UTC).isoformat()
    return {"keycloak": {"sub": "s", "sid": "a", "refresh_token": refresh_token, "refreshed_at": now}}


async def started(refresher: Refresher, user: HubUser, keycloak: SlowKeycloak) -> asyncio.Task[bool]:
    """A request that waits for Keycloak."""
    task = asyncio.create_task(refresher.refresh(user))  # type: ignore[arg-type]
    await keycloak.was_asked.wait()
    return task


async def made(refresh_token: str = "r") -> tuple[Refresher, HubUser, SlowKeycloak]:
    """A user who has logged in, and who asks about them."""
    keycloak, user = SlowKeycloak(), HubUser()
    await user.store(login(refresh_token))
    return Refresher(Site(keycloak)), user, keycloak  # type: ignore[arg-type]


async def test_a_request_that_goes_away_does_not_lose_the_new_refresh_token() -> None:
    """The others who wait get their answer, and what Keycloak gave is stored."""
    refresher, user, keycloak = await made()
    first = await started(refresher, user, keycloak)
    second = asyncio.create_task(refresher.refresh(user))  # type: ignore[arg-type]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    keycloak.go.set()
    assert await second
    assert keycloak.asked == ["r"]
    assert await user.get_auth_state() == {
        "keycloak": {**login("")["keycloak"], "refresh_token": "r+", "id_token": "new"}
        | {"refreshed_at": (await user.get_auth_state() or {})["keycloak"]["refreshed_at"]}
    }


async def test_nobody_needs_to_wait_for_it_to_be_stored() -> None:
    """Also when every request has gone."""
    refresher, user, keycloak = await made()
    only = await started(refresher, user, keycloak)
    only.cancel()
    keycloak.go.set()
    await asyncio.gather(*refresher._tasks.values())
    assert (await user.get_auth_state() or {})["keycloak"]["refresh_token"] == "r+"


async def test_a_login_in_the_middle_wins() -> None:
    """What the older session gets afterwards is thrown away."""
    refresher, user, keycloak = await made()
    task = await started(refresher, user, keycloak)
    await user.store(login("newer"))
    keycloak.go.set()
    assert await task
    assert (await user.get_auth_state() or {})["keycloak"]["refresh_token"] == "newer"


async def test_a_logout_in_the_middle_wins() -> None:
    """Tokens that were thrown away do not come back."""
    refresher, user, keycloak = await made()
    task = await started(refresher, user, keycloak)
    await user.store({"keycloak": {"sub": "s"}})
    keycloak.go.set()
    assert not await task
    assert await user.get_auth_state() == {"keycloak": {"sub": "s"}}


def with_key(key: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """A state with one more key."""
    return {**state, key: 1}


async def test_changes_of_one_state_at_once_are_all_kept() -> None:
    """Reading and writing take turns of the loop; nobody overwrites what came in between."""
    user = HubUser()
    await user.store({"kept": True})
    await asyncio.gather(*(change_auth_state(user, partial(with_key, f"k{number}")) for number in range(20)))
    assert await user.get_auth_state() == {"kept": True, **{f"k{number}": 1 for number in range(20)}}


async def test_what_does_not_change_is_not_written() -> None:
    """Neither when the change says so, nor when it gives back the same."""
    user = HubUser()
    await user.store({"a": 1})
    before = user.encrypted_auth_state
    assert await change_auth_state(user, lambda state: None) is None
    assert await change_auth_state(user, lambda state: {**state}) == {"a": 1}
    assert (user.encrypted_auth_state, user.commits) == (before, 0)


async def test_a_state_that_no_key_decrypts_is_an_empty_one() -> None:
    """The user logs in again; the hub does not stumble."""
    user = HubUser()
    await user.store({"a": 1})
    CryptKeeper.instance().keys = [secrets.token_bytes(32)]
    assert await read_auth_state(user.encrypted_auth_state) == {}
    assert await change_auth_state(user, lambda state: {**state, "b": 2}) == {"b": 2}
