"""Looking at servers: first at what is known of them, then, before anything is done, at the servers themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..hub_api import Door, HubApi, HubError
from ..names import bounded
from .activity import Activity
from .clock import Clock
from .limits import LimitsFinder, Standing
from .memory import Memory
from .models import Running, find
from .policy import Kind, Limits, Off, Server, Verdict, verdict
from .server_api import ServerApi, Unanswered

log = logging.getLogger("IdleCuller")
DOORS_AT_ONCE = 20
"""Servers for which the hub is asked for tokens in one request: it makes them one after the other."""
PARTS_AT_ONCE = 3
DOOR_HOLDS = 200.0
"""Seconds for which a server's token, which is good for 300, is used again."""


@dataclass(frozen=True)
class Wishes:
    """What the administrator wants of the looks, beyond the limits.

    Attributes:
        no_longer_allowed: what happens to servers that the rules no longer allow.
        default_servers, named_servers: whether these may be stopped when they are idle.
        arbiter: upstream's hook, which then decides alone whether a server is idle; None without one.
        timeout: seconds, the ``inactive_limit`` that the hook is given.
    """

    no_longer_allowed: Kind = "keep"
    default_servers: bool = True
    named_servers: bool = True
    arbiter: Callable[..., Any] | None = None
    timeout: int = 0


@dataclass(frozen=True)
class Seen:
    """A server as it was looked at.

    Attributes:
        server: as the hub describes it.
        standing: its limits, and whether the rules still allow it.
        activity: what is known of its use.
        verdict: what follows.
        unanswered: why it could not be asked; None where it answered or was not asked.
        door: how it was asked; None where it was not.
        opened: when the hub gave the door, by :meth:`.clock.Clock.passed`.
    """

    server: Running
    standing: Standing
    activity: Activity
    verdict: Verdict
    unanswered: str | None = None
    door: Door | None = None
    opened: float = 0.0

    @property
    def idle_gpu(self) -> bool:
        """A kernel is busy while the GPU that the server holds is not used."""
        since = self.activity.busy_since
        if self.activity.gpu_seconds is None or not self.activity.busy or since is None:
            return False
        return self.activity.gpu_used is None or self.activity.gpu_used < since


class Examiner:
    """Looks at servers.

    Args:
        hub: the hub's API.
        servers: asks servers.
        memory: what earlier passes knew.
        clock: the time.
        wishes: of the administrator.
    """

    def __init__(self, hub: HubApi, servers: ServerApi, memory: Memory, clock: Clock, wishes: Wishes) -> None:
        self.hub, self.servers, self.memory, self.clock, self.wishes = hub, servers, memory, clock, wishes
        self.can_ask: bool | None = None
        """Whether the hub lets us ask servers; None as long as nobody knows."""

    def begin(self) -> None:
        """Begin a pass: a hub that had no handlers of ours may be another by now."""
        self.can_ask = self.can_ask or None

    def first(self, server: Running, limits: LimitsFinder) -> Seen:
        """Judge a server by what is known of it without asking."""
        standing = limits.standing(server)
        if server.pending or not server.ready:
            changing = Verdict("keep", why=f"its {server.pending} goes on" if server.pending else "it is not ready")
            return Seen(server, standing, Activity(by="hub"), changing)
        if self.can_ask is False:
            activity = Activity(last=server.last_activity or server.started, by="hub")
        else:  # the hub's figure is an upper bound alone: an open page refreshes it for ever
            known = [one for one in (self.memory.used(server), server.started) if one is not None]
            activity = Activity(last=max(known, default=server.last_activity))
        return self._judge(server, standing, activity)

    async def look(self, seen: Sequence[Seen], limits: LimitsFinder) -> list[Seen]:
        """Ask servers, and judge them anew by what they say."""
        parts = [seen[begin : begin + DOORS_AT_ONCE] for begin in range(0, len(seen), DOORS_AT_ONCE)]
        turn = asyncio.Semaphore(PARTS_AT_ONCE)

        async def one(part: Sequence[Seen]) -> list[Seen]:
            async with turn:  # door and question together: a token must not grow old behind servers that hang
                return await self._look_at(part, limits)

        asked = await asyncio.gather(*(one(part) for part in parts))
        return [one for part in asked for one in part]

    async def again(self, seen: Seen, limits: LimitsFinder) -> Seen | None:
        """Look a second time, right before the stop; None when this run of the server is over, or changing.

        Raises:
            HubError: the hub cannot be asked.
        """
        server = find(await self.hub.user(seen.server.user), seen.server)
        if server is None or server.pending or not server.ready:
            return None
        fresh = replace(limits, now=self.clock.now())
        again = self.first(server, fresh)
        if seen.door is not None and self.clock.passed() - seen.opened < DOOR_HOLDS:
            return await self._ask(replace(again, opened=seen.opened), seen.door)
        return (await self._look_at([again], fresh))[0]

    async def _look_at(self, seen: Sequence[Seen], limits: LimitsFinder) -> list[Seen]:
        if self.can_ask is False:
            return [self.first(one.server, limits) for one in seen]
        try:
            doors = await self.hub.ask([(one.server.user, one.server.name) for one in seen])
        except HubError as error:
            return [self._silent(one, f"the hub gives no key: {error}") for one in seen]
        if doors is None and self.can_ask:  # it could before: whatever answers there now is no reason to trust less
            return [self._silent(one, "the hub gives no key any more") for one in seen]
        if doors is None:
            self.can_ask = False
            return [self.first(one.server, limits) for one in seen]
        self.can_ask, opened = True, self.clock.passed()
        by_server = {(door.user, door.server): door for door in doors}
        found = ((replace(one, opened=opened), by_server.get((one.server.user, one.server.name))) for one in seen)
        return list(await asyncio.gather(*(self._ask(one, door) for one, door in found)))

    async def _ask(self, seen: Seen, door: Door | None) -> Seen:
        if door is None:
            return self._silent(seen, "the hub says that it does not run")
        answer = await self.servers.ask(door, self.clock.now)
        if isinstance(answer, Unanswered):
            return self._silent(seen, answer.why, door)
        self.memory.note_used(seen.server, answer.last)
        return replace(self._judge(seen.server, seen.standing, answer, door=door), opened=seen.opened)

    def _silent(self, seen: Seen, why: str, door: Door | None = None) -> Seen:
        known = [one for one in (seen.activity.last, seen.server.last_activity) if one is not None]
        activity = replace(seen.activity, last=max(known, default=None))  # the hub's figure is a bound, at least
        return self._judge(seen.server, seen.standing, activity, unanswered=why, door=door)

    def _judge(
        self,
        server: Running,
        standing: Standing,
        activity: Activity,
        *,
        unanswered: str | None = None,
        door: Door | None = None,
    ) -> Seen:
        now = self.clock.now()
        asked = [one for one in (activity.extend_asked, server.time_of("extend_asked")) if one is not None]
        activity = replace(activity, extend_asked=max(asked, default=None))
        since = self.memory.off_since(server, standing.off is not None, now)
        off = Off(since, standing.off, self.wishes.no_longer_allowed) if since and standing.off else None
        judged = Server(
            started=server.started,
            activity=activity,
            with_gpu=server.gpu_count > 0,
            unanswered=unanswered,
            warned=self.memory.warned(server),
            promise=self.memory.promise(server),
            ends=server.ends,
            off=off,
            outages=self.memory.outages,
        )
        found = verdict(judged, self._wanted(server, standing.limits, now), now)
        return Seen(server, standing, activity, found, unanswered, door)

    def _wanted(self, server: Running, limits: Limits, now: datetime) -> Limits:
        """Return the limits with what the administrator says of this kind of server."""
        if not (self.wishes.named_servers if server.name else self.wishes.default_servers):
            return replace(limits, idle=None)
        if self.wishes.arbiter is None:
            return limits
        since = server.last_activity or server.started
        if since is None:
            return replace(limits, idle=None)
        try:
            idle = self.wishes.arbiter(
                inactive=now - since, inactive_limit=self.wishes.timeout, server=dict(server.model)
            )
        except Exception as error:  # noqa: BLE001 - the site's own function: one server must not end the pass
            log.warning("cull_arbiter_hook failed for user=%s: %s", bounded(server.user), bounded(repr(error), 200))
            idle = False
        return replace(limits, idle=0 if idle else None, warn_before=0)
