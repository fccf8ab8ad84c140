"""Accounts that have ended lose their running servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tornado.ioloop import PeriodicCallback

from ..accounts.directory import NotNow
from ..errors import DirectoryUnavailable, Refusal
from ..events import Cause, stop_event
from ..identity import Account
from ..names import bounded
from ..spawners.audit import audit
from ..spawners.idle_board import HUB_BOARD, MOST_TEXT, Stop
from ..spawners.status import time_of

if TYPE_CHECKING:
    from .mixin import IdentityMixin

AT_ONCE = 4
"""Questions of one round under way at once: logins and spawns ask the same directory."""
GIVE_UP = 3
"""Questions in a row without an answer after which a round asks no more."""
_ENDS = "ends"
"""Key in a server's state, see ``plan.STATE_KEYS``."""
_ATTRIBUTE = "_nbplatform_ends"
"""The same of a spawner that is not ours: in the hub's memory alone, so a restart of the hub begins the grace anew."""


@dataclass(frozen=True)
class Ending:
    """A server that is stopped since its owner's account has ended.  Not hashable: it holds a mapping.

    Attributes:
        spawner: of the server.
        state: the server's, from before the stop, which clears it.
        why: one sentence for the owner.
    """

    spawner: Any
    state: dict[str, Any]
    why: str


class AccountCheck:
    """Asks about every user with a running server, round after round, and stops the servers of accounts that ended.

    Only a positive answer stops a server: see ``IdentityMixin.standing``.  A server that is being started, stopped or
    looked for is left to the next round.  With ``account_end_grace`` the first such answer is noted in the server's
    state, with the time of the stop; the stop follows when that has come and the answer is still the same.

    Args:
        authenticator: whose directory is asked, and whose ``account_check_interval`` and ``account_end_grace`` hold.
    """

    def __init__(self, authenticator: IdentityMixin) -> None:
        self.authenticator = authenticator
        self.log = authenticator.log
        self._timer: PeriodicCallback | None = None
        self._silent = 0
        self._stops: set[asyncio.Future[None]] = set()

    def start(self) -> None:
        """Begin the rounds, the first after one interval.  Called once, in the hub's loop.

        The timer lets no two rounds overlap; a stop that takes its time does not hold up the next round.
        """
        interval = self.authenticator.account_check_interval
        if interval:
            self._timer = PeriodicCallback(self.check, interval * 1000)
            self._timer.start()

    async def check(self) -> None:
        """Do one round.  An error about one user is logged and stops no other user's check."""
        hub = self.authenticator.parent
        if hub.http_server is None:
            return  # it is still starting: neither its users nor its proxy may be asked
        users = [user for user in hub.users.values() if ready_servers(user)]
        self._silent = 0
        free = asyncio.Semaphore(AT_ONCE)
        results = await asyncio.gather(*(self._check_user(user, free) for user in users), return_exceptions=True)
        silences = [result for result in results if isinstance(result, DirectoryUnavailable)]
        if silences:
            self.log.warning(
                "account check: no answer about %d of %d users, their servers run on: %s",
                *(len(silences), len(users), silences[0]),
            )
        for user, result in zip(users, results, strict=True):
            if isinstance(result, Exception) and result not in silences:
                self.log.error("account check of user=%s failed: %s", user.name, bounded(repr(result), 300))
        self.log.debug("account check: asked about %d users", len(users))

    async def _check_user(self, user: Any, free: asyncio.Semaphore) -> None:
        async with free:
            answer = await self._ask(user)
        now = datetime.now(UTC)
        for name in ready_servers(user):
            spawner = user.spawners[name]
            if isinstance(answer, Account):
                self._take_back(spawner)
            elif isinstance(answer, Refusal) and not isinstance(answer, NotNow) and self._is_due(spawner, answer, now):
                self._begin_stop(user, name, answer)

    def _is_due(self, spawner: Any, refusal: Refusal, now: datetime) -> bool:
        """Tell whether a server is to be stopped now; at the first look with a grace, note when it will be."""
        grace = self.authenticator.account_end_grace
        if not grace:
            return True
        at = time_of((noted_end(spawner) or {}).get("at"))
        if at is None:
            at = now + timedelta(seconds=grace)
            note_end(spawner, {"at": at.isoformat(timespec="seconds"), "why": refusal.message[:MOST_TEXT]})
            shown = at.isoformat(timespec="seconds")
            self.log.warning("%s will be stopped at %s: %s", spawner._log_name, shown, refusal.message)
        return at <= now

    def _take_back(self, spawner: Any) -> None:
        if noted_end(spawner) is not None:
            note_end(spawner, None)
            self.log.info("%s is not stopped: its owner's account is good again", spawner._log_name)

    async def _ask(self, user: Any) -> object:
        if self._silent >= GIVE_UP:
            raise DirectoryUnavailable("it did not answer about others either")
        try:
            answer = await self.authenticator.standing(user)
        except DirectoryUnavailable:
            self._silent += 1
            raise
        self._silent = 0
        return answer

    def _begin_stop(self, user: Any, name: str, refusal: Refusal) -> None:
        self.log.warning("user=%s server=%s is stopped: %s", user.name, bounded(name), refusal.message)
        spawner = user.spawners[name]
        ending = Ending(spawner, spawner.get_state(), refusal.message)
        spawner._stop_pending = True  # at once, as the hub's handlers do: nobody else begins a stop or a start
        spawner._stop_future = stop = asyncio.ensure_future(self._stop(user, spawner))
        self._stops.add(stop)
        stop.add_done_callback(partial(self._stop_ended, user.name, name, ending))

    async def _stop(self, user: Any, spawner: Any) -> None:
        """Stop a server as the hub's handlers do: the route first, then the server."""
        try:
            try:
                await self.authenticator.parent.proxy.delete_user(user, spawner.name)
            finally:  # a proxy that cannot be told must not keep the server alive; the hub removes stale routes later
                await user.stop(spawner.name)
        finally:
            spawner._stop_future = None
            spawner._stop_pending = False

    def _stop_ended(self, user: str, name: str, ending: Ending, stop: asyncio.Future[None]) -> None:
        self._stops.discard(stop)
        error = None if stop.cancelled() else stop.exception()
        now = datetime.now(UTC)
        HUB_BOARD.add_stop(Stop(user, name, now, "account", ending.why), now)
        outcome = "success" if error is None and not stop.cancelled() else "unknown"
        audit(ending.spawner, stop_event(now, user, name, ending.state, Cause("account", ending.why, outcome=outcome)))
        if error is not None:
            shown = bounded(repr(error), 300)
            self.log.error("user=%s server=%s: its stop met an error: %s", user, bounded(name), shown)


def ready_servers(user: Any) -> list[str]:
    """Return the names of a user's servers that run and are not being started, stopped or looked for."""
    spawners: Iterable[tuple[str, Any]] = user.spawners.items()
    return [name for name, spawner in spawners if spawner.ready]


def noted_end(spawner: Any) -> dict[str, Any] | None:
    """Return when and why a server will be stopped since its owner's account has ended; None for not at all."""
    ours = hasattr(spawner, "change_state")
    found = spawner.get_state().get(_ENDS) if ours else getattr(spawner, _ATTRIBUTE, None)
    return found if isinstance(found, dict) else None


def note_end(spawner: Any, end: dict[str, Any] | None) -> None:
    """Note it, or take the note away."""
    if hasattr(spawner, "change_state"):  # ours: it survives a restart of the hub
        spawner.change_state(_ENDS, end)
    else:
        setattr(spawner, _ATTRIBUTE, end)
