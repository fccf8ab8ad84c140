"""Asking the account directory, and what is remembered of its answers while it cannot be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from jupyterhub import orm

from ..accounts.directory import UnknownAccount
from ..errors import DirectoryUnavailable, Refusal
from ..identity import Account, Identity, identity_from_dict
from ..names import bounded
from .asking import Asker
from .auth_state import State, change_auth_state
from .settings import IdentitySettings

UNAVAILABLE = "the accounts of this site cannot be looked up now; try again in a few minutes"


class AccountLookup(IdentitySettings):
    """What ``IdentityMixin`` asks the account directory.

    ``auth_state["identity"]`` holds ``Identity.to_dict()``, ``auth_state["identity_as_of"]`` when the directory said
    so and ``auth_state["valid_until"]`` when the account ends, as ISO 8601 texts.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._asker = Asker()

    # To override

    def look_up(self, name: str) -> Account:
        """Return the account of ``name``; blocks.

        Called in a thread at login, before each spawn, at refresh and in each account check.  Call ``super()``.

        Raises:
            Refusal, DirectoryUnavailable: see ``AccountDirectory.lookup``.
        """
        account = self.directory.lookup(name)
        if account.identity.name != name:
            shown = bounded(account.identity.name)
            raise Refusal("account", f"account {bounded(name)}: the directory answered with another one, {shown}")
        return account

    async def account_of(self, name: str, state: Mapping[str, Any]) -> Account:
        """Return the account of the hub's user ``name``, not yet checked.

        Args:
            name: of the user.
            state: their ``auth_state``; of this login, or as stored; empty where there is none.

        Raises:
            Refusal, DirectoryUnavailable: see ``AccountDirectory.lookup``.
        """
        return await self._asker.ask(partial(self.look_up, name), self.directory_timeout)

    def still_holding(self, account: Account, state: Mapping[str, Any]) -> Account:
        """Return what is remembered of an account, as far as ``state``, which is newer, does not speak against it.

        Called while the directory cannot be asked.

        Raises:
            Refusal: it does.
        """
        return account

    # Asking

    async def lookup_account(self, name: str) -> Account:
        """Return the account of ``name`` as it is now, checked: valid today, and its numbers in the allowed range.

        Called by spawners for a user whose identity is not stored.

        Raises:
            Refusal: ``account``, with the reason; also when the directory cannot be asked.
        """
        return await self._ask_for_spawn(name, {})

    async def _ask_for_spawn(self, name: str, state: Mapping[str, Any]) -> Account:
        try:
            return await self._ask(name, state, state)
        except DirectoryUnavailable as error:
            self.log.error("account directory %s cannot be asked about %s: %s", self.accounts, bounded(name), error)
            raise Refusal("account", UNAVAILABLE) from None

    async def _ask(self, name: str, state: Mapping[str, Any], stored: Mapping[str, Any]) -> Account:
        """Return the checked account, or for ``directory_grace`` what is stored of it while nothing can be asked.

        Args:
            name: of the user.
            state: their ``auth_state``, of this login or as stored.
            stored: as stored.

        Raises:
            Refusal: positively refused.
            DirectoryUnavailable: it cannot be asked, and nothing is stored that still holds.
        """
        now = datetime.now(UTC)
        try:
            account = await self.account_of(name, state)
            if account.as_of is None:
                account = replace(account, as_of=now)
        except DirectoryUnavailable as error:
            account = self.still_holding(self._remembered(name, stored, now, error), state)
        self._check(account, now)
        return account

    def _check(self, account: Account, now: datetime) -> None:
        refusal = account.refusal(now)
        if refusal is not None:
            raise refusal
        account.identity.check(self.allowed_ids)

    def _remembered(self, name: str, stored: Mapping[str, Any], now: datetime, error: DirectoryUnavailable) -> Account:
        """Return what is stored of an account, if that still holds; else raise ``error``."""
        try:
            as_of = datetime.fromisoformat(stored["identity_as_of"])
            until = stored.get("valid_until")
            identity = identity_from_dict(stored["identity"])
            account = Account(identity, datetime.fromisoformat(until) if until else None, as_of)
        except (KeyError, TypeError, ValueError, Refusal):
            raise error from None
        age = now - as_of
        if not timedelta(0) <= age <= timedelta(seconds=self.directory_grace) or identity.name != name:
            raise error
        minutes = int(age.total_seconds() // 60)
        self.log.warning("user=%s is known from %d minutes ago; now: %s", name, minutes, error)
        return account

    async def standing(self, user: Any) -> Account | Refusal | None:
        """Return the account of a hub user as it is now, or why it is positively refused.

        None where the directory does not know the name and that proves nothing.  Called at refresh and by
        ``AccountCheck``.

        Raises:
            DirectoryUnavailable: the directory cannot be asked.
        """
        try:
            return await self._ask(user.name, await user.get_auth_state() or {}, {})
        except UnknownAccount as refusal:
            return refusal if self.directory.absence_is_proof else None
        except Refusal as refusal:
            return refusal

    # Storing

    async def stored_state(self, name: str) -> dict[str, Any]:
        """Return what the hub has stored of a user; empty when it knows none of this name."""
        found = orm.User.find(self.parent.db, name) if self.parent is not None else None
        return {} if found is None else await self.parent.users[found].get_auth_state() or {}

    async def _store(self, user: Any, account: Account) -> None:
        if not self.enable_auth_state:
            return

        def change(state: State) -> State:
            return {**state, **to_store(replace(account, identity=_keep_provider(account.identity, state)))}

        await change_auth_state(user, change)


def to_store(account: Account) -> dict[str, Any]:
    """Return what ``auth_state`` keeps of an account."""
    return {
        "identity": account.identity.to_dict(),
        "identity_as_of": account.as_of.isoformat(timespec="seconds") if account.as_of else None,
        "valid_until": account.valid_until.isoformat() if account.valid_until else None,
    }


def _keep_provider(fresh: Identity, state: Mapping[str, Any]) -> Identity:
    """Return ``fresh`` with the identity provider of the last login, which most directories do not know."""
    stored = state.get("identity")
    return replace(fresh, provider=stored.get("provider") if isinstance(stored, Mapping) else None)
