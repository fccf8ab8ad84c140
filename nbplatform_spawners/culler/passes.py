"""One pass over all servers: read everything, look, warn, stop, tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..event_file import EventFile
from ..hub_api import HubError
from ..names import bounded
from ..rules.model import RuleBook
from .clock import JUMP, Contact, jumped
from .examine import Examiner, Seen
from .limits import LimitsFinder, Options
from .metrics import Metrics
from .models import Running, running_servers
from .notices import event_of, page_notice, server_notice
from .stops import Stop, Stopper
from .tell import Teller

SAME_TIME = timedelta(seconds=90)
"""A stop that moves by less is the same stop: its user is not told again."""
BREATH = 200
"""Servers that are judged before others in this process get a turn."""


class ClockJumped(Exception):
    """The clock was set while a pass was under way: what it knows of idle times is wrong."""


@dataclass(frozen=True)
class Tellers:
    """Who is told what happens.

    Attributes:
        audit: the audit file; None without one.
        warn: the site's command and web hook.
        metrics: Prometheus.
        log: a line for each decision.
    """

    audit: EventFile | None
    warn: Teller
    metrics: Metrics
    log: logging.Logger


class Pass:
    """Makes passes, one after the other.

    Args:
        examiner: looks at servers.
        stopper: stops them.
        options: the limits of the command line.
        book: returns the rules that hold now; None where there are none.
        tellers: who is told.
    """

    def __init__(
        self,
        examiner: Examiner,
        stopper: Stopper,
        options: Options,
        book: Callable[[], RuleBook | None],
        tellers: Tellers,
    ) -> None:
        self.examiner, self.stopper = examiner, stopper
        self.memory, self.clock = examiner.memory, examiner.clock
        self.options, self.book, self.tellers, self.log = options, book, tellers, tellers.log
        self.seen: list[Seen] = []
        """What the last look found."""
        self._epoch: str | None = None
        self._told: dict[str, Seen] = {}
        """The warnings that stand: key of the server to how it was seen when its user was told."""
        self._silent: set[str] = set()
        self._off: set[str] = set()

    async def look(self) -> tuple[list[Seen], LimitsFinder]:
        """Read all servers and judge them; nothing is done to any of them.

        Raises:
            HubError: the hub cannot be asked.
        """
        self.examiner.begin()
        users = await self.examiner.hub.users()
        running = [server for user in users for server in running_servers(user)]
        limits = LimitsFinder(self.book(), self.options, self.clock.now())
        seen: list[Seen] = []
        for number, server in enumerate(running):
            seen.append(self.examiner.first(server, limits))
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
        to_ask = [one for one in seen if self._is_asked(one)]
        looked = {one.server.key: one for one in await self.examiner.look(to_ask, limits)}
        if self.examiner.can_ask is False:  # known only now: all that was guessed is judged by the hub's figures
            self.seen = [self.examiner.first(one.server, limits) for one in seen]
        else:
            self.seen = [looked.get(one.server.key, one) for one in seen]
        for one in self.seen if self.log.isEnabledFor(logging.DEBUG) else ():
            self.log.debug(
                "%s: %s idle=%s at=%s", _named(one.server), one.verdict.kind, one.verdict.idle, one.verdict.at
            )
        return self.seen, limits

    def _is_asked(self, seen: Seen) -> bool:
        """Tell whether a server is asked: before anything happens to it, where its GPUs are counted, and where a
        warning was given, which may have to be taken back.
        """
        if seen.server.pending or not seen.server.ready or self.examiner.can_ask is False:
            return False
        if seen.verdict.kind != "keep" or seen.verdict.extended or seen.server.gpu_count > 0:
            return True
        return self.memory.warned(seen.server) is not None

    async def run(self) -> list[Stop]:
        """Make one pass; returns how each stop ended.

        Raises:
            HubError: the hub cannot be asked; nothing was done.
            ClockJumped: the clock was set meanwhile; nothing was done.
        """
        begun = Contact(self.clock.now(), self.clock.passed())
        seen, limits = await self.look()
        if abs(jumped(begun, Contact(self.clock.now(), self.clock.passed()))) > JUMP:
            raise ClockJumped
        self.memory.settle_stops(one.server for one in seen)
        self.memory.forget_others((one.server for one in seen), self.clock.now())
        self.tellers.metrics.note_servers(seen, self.clock.passed())
        self._note_changes(seen)
        ready = [one for one in seen if one.server.ready and not one.server.pending]
        await self._warn(ready)
        to_stop = [one for one in ready if one.verdict.kind == "stop"]
        for one in to_stop:
            self.memory.begin_stop(one.server, one.verdict, self.clock.now())
        self.memory.record.save()  # before any of them: after a crash their users are told all the same
        await self._tell_hub()
        stops = await self.stopper.stop_all(to_stop, limits, self._ended)
        await asyncio.gather(*(self._notify(one.seen) for one in stops if one.outcome == "came back"))
        if stops:
            self.memory.record.save()
            await self._tell_hub()
        return stops

    def _note_changes(self, seen: Sequence[Seen]) -> None:
        """Log, once for each server, that it does not answer or is no longer allowed."""
        silent = {one.server.key: one for one in seen if one.unanswered is not None}
        for key in silent.keys() - self._silent:
            self.log.warning(
                "%s does not answer and is not stopped for that: %s", _named(silent[key].server), silent[key].unanswered
            )
        off = {one.server.key: one for one in seen if one.standing.off is not None}
        for key in off.keys() - self._off:
            self.log.warning(
                "%s is no longer allowed, action=%s: %s",
                _named(off[key].server),
                self.examiner.wishes.no_longer_allowed,
                off[key].standing.off,
            )
        self._silent, self._off = set(silent), set(off)

    # Warnings

    async def _warn(self, seen: Sequence[Seen]) -> None:
        """Tell users of the stops to come, and of those that will not come."""
        standing = {one.server.key: one for one in seen if one.verdict.kind == "warn" or _is_put_off(one)}
        servers = {one.server.key: one for one in seen}
        for key, one in standing.items():
            before = self._told.get(key)
            if _is_put_off(one):
                if before is not None and not before.verdict.extended:
                    self._say("extension", one)
            elif not one.verdict.told or (before is not None and not _same(before, one)):
                self._say("warning", one)
                if not one.verdict.told:
                    self.memory.note_warned(one.server, self.clock.now())
            self.memory.note_promise(one.server, one.verdict)
        over = [servers[key] for key in servers.keys() - standing.keys() if self.memory.warned(servers[key].server)]
        over = [one for one in over if one.verdict.kind == "keep" and one.unanswered is None]
        for one in over:
            used, warned = one.activity.last, self.memory.warned(one.server)
            why = "is used again" if one.activity.busy or (used and warned and used > warned) else "has more time now"
            self.log.info("%s %s and keeps running", _named(one.server), why)
            self.memory.note_warned(one.server, None)
        self._told = standing
        await asyncio.gather(*(self._notify(one) for one in standing.values()), *(self._notify(one) for one in over))

    def _say(self, kind: str, seen: Seen) -> None:
        """Log, count and pass on that a user is warned, or has put off a stop."""
        verdict = seen.verdict
        at = verdict.at.isoformat(timespec="seconds") if verdict.at else "never"
        self.log.info("%s user=%s server=%s stop_at=%s because=%s", kind, *_who(seen.server), at, verdict.why)
        event = event_of(kind, seen.server, seen.standing, verdict, self.clock.now())
        if self.tellers.audit is not None:
            self.tellers.audit.write(event)
        if kind == "warning":
            self.tellers.metrics.warnings.labels(verdict.reason or "").inc()
            self.tellers.warn.tell(event)
        else:
            self.tellers.metrics.extensions.inc()

    async def _notify(self, seen: Seen) -> None:
        """Tell a server of the stop to come, or that none will."""
        if seen.door is None:
            return
        stands = seen.verdict.kind == "warn" or _is_put_off(seen)
        notice = server_notice(seen.verdict, self.clock.now()) if stands else None
        if not await self.examiner.servers.notify(seen.door, notice):
            self.log.debug("%s did not take its notice", _named(seen.server))

    async def _tell_hub(self) -> None:
        """Tell the hub's pages of the stops to come, and of those that were."""
        notices = [page_notice(one.server, one.verdict) for one in self._told.values()]
        for _ in range(2):  # a hub that was started anew knows nothing: it is told everything
            everything = self._epoch is None
            board = {"epoch": self._epoch, "notices": notices, "stops": self.memory.stops(untold=not everything)}
            try:
                answer = await self.examiner.hub.tell(board)
            except HubError as error:
                self.log.warning("the hub's pages do not show what is stopped: %s", error)
                return
            if answer is None:
                return
            if everything or answer.get("epoch") == self._epoch:
                self._epoch = str(answer.get("epoch"))
                self.memory.told_stops()
                return
            self._epoch = None

    # Stops

    def _ended(self, stop: Stop) -> None:
        """Note how one stop ended."""
        seen, now = stop.seen, self.clock.now()
        if stop.outcome in ("came back", "silent", "gone"):
            self.memory.not_stopped(seen.server)
        elif stop.outcome != "failed":  # what failed may still go: the next pass settles it
            self.memory.stopped(seen.server, now)
        verdict = seen.verdict
        if stop.outcome == "came back":
            self.memory.note_warned(seen.server, None)
            self.log.info("%s came back and keeps running", _named(seen.server))
            return
        if stop.outcome == "silent":
            self.log.info("%s did not answer at the second look and is not stopped now", _named(seen.server))
            return
        if stop.outcome == "gone":
            self.log.info("%s is stopped, or changing, already", _named(seen.server))
            return
        self.tellers.metrics.stops.labels(verdict.reason or "", stop.outcome).inc()
        outcome = {"stopped": "success", "failed": "failure"}.get(stop.outcome, "unknown")
        if self.tellers.audit is not None:
            self.tellers.audit.write(event_of("stop", seen.server, seen.standing, verdict, now, outcome))
        if stop.outcome == "stopped":
            idle = "unknown" if verdict.idle is None else f"{verdict.idle:.0f}"
            self.log.info("stopped user=%s server=%s idle=%s because=%s", *_who(seen.server), idle, verdict.why)
        else:
            self.log.error("%s: its stop is %s: %s", _named(seen.server), stop.outcome, stop.why)


def _is_put_off(seen: Seen) -> bool:
    return seen.verdict.kind == "keep" and seen.verdict.extended


def _same(before: Seen, now: Seen) -> bool:
    """Tell whether a warning says what was said before."""
    old, new = before.verdict, now.verdict
    if old.reason != new.reason or old.extended != new.extended or (old.at is None) != (new.at is None):
        return False
    return old.at is None or new.at is None or abs(old.at - new.at) < SAME_TIME


def _who(server: Running) -> tuple[str, str]:
    return bounded(server.user), bounded(server.name)


def _named(server: Running) -> str:
    user, name = _who(server)
    return f"user={user} server={name}"
