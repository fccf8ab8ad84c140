"""What the culler remembers of servers from pass to pass, and over its own restarts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from .clock import Contact, outage
from .models import Running, time_of
from .policy import Told, Verdict
from .record import MAX_OUTAGES, Record

TOUCH = timedelta(seconds=60)
"""Outages with less between them are one."""


class Memory:
    """The record in terms of the policy: times are aware, servers are known by their keys.

    Args:
        record: where it is kept.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._contact: Contact | None = None
        self._failed = False
        self.outages = self._outages()
        """Spans in which nobody could work."""
        contact = time_of(record.contact)
        if contact is not None:
            self._contact = Contact(contact)

    # Outages

    def lost(self) -> None:
        """Note that the hub did not answer."""
        self._failed = True

    def met(self, here: Contact, longest: float) -> tuple[datetime, datetime] | None:
        """Note that the hub answered; returns the span before in which nobody could work, if there was one.

        Args:
            here: now.
            longest: see :func:`.clock.outage`.
        """
        found = outage(self._contact, here, self._failed, longest)
        if found is not None or (self._contact is not None and here.at < self._contact.at):
            self.outages = merged((*self.outages, *([found] if found else ())), here.at)
            self.record.outages[:] = [[moment.isoformat() for moment in span] for span in self.outages]
        self._contact, self._failed = here, False
        self.record.contact = here.at.isoformat()
        return found

    def _outages(self) -> tuple[tuple[datetime, datetime], ...]:
        spans = ((time_of(begin), time_of(end)) for begin, end in self.record.outages)
        return tuple((begin, end) for begin, end in spans if begin is not None and end is not None)

    # One server

    def used(self, server: Running) -> datetime | None:
        """Return when a server said, the last time it was asked, that it was used."""
        return time_of(self.record.known.get(server.key))

    def note_used(self, server: Running, at: datetime | None) -> None:
        """Note what a server said of its last use."""
        if at is not None:
            self.record.known[server.key] = at.isoformat()

    def warned(self, server: Running) -> datetime | None:
        """Return when the user was last warned of a stop of this server."""
        return time_of(self.record.warned.get(server.key))

    def note_warned(self, server: Running, at: datetime | None) -> None:
        """Note a warning, or that it was taken back."""
        if at is None:
            self.record.warned.pop(server.key, None)
            self.record.promised.pop(server.key, None)
        else:
            self.record.warned[server.key] = at.isoformat()

    def promise(self, server: Running) -> Told | None:
        """Return what the user was told of this server's stop."""
        told, since = self.record.promised.get(server.key), self.warned(server)
        at = None if told is None else time_of(told["at"])
        if told is None or at is None or since is None:
            return None
        return Told(told["reason"], at, since, told["extend"], bool(told.get("extended")))

    def note_promise(self, server: Running, verdict: Verdict) -> None:
        """Note what the user is told of this server's stop."""
        if verdict.at is not None:
            said = {"reason": verdict.reason, "at": verdict.at.isoformat()}
            self.record.promised[server.key] = {**said, "extend": verdict.can_extend, "extended": verdict.extended}

    def off_since(self, server: Running, is_off: bool, now: datetime) -> datetime | None:
        """Return since when the rules no longer allow a server; None when they do."""
        if not is_off:
            self.record.off.pop(server.key, None)
            return None
        return time_of(self.record.off.setdefault(server.key, now.isoformat())) or now

    def forget_others(self, running: Iterable[Running], now: datetime) -> None:
        """Forget what is about servers that are gone, and what is old."""
        self.record.prune(now, {server.key for server in running})
        self.outages = self._outages()

    # Stops

    def begin_stop(self, server: Running, verdict: Verdict, now: datetime) -> None:
        """Note that a server is about to be stopped, and why: whoever reads it after a crash tells the user."""
        self._forget_stop(server)
        who = {"user": server.user, "server": server.name, "key": server.key}
        why = {"at": now.isoformat(), "reason": verdict.reason, "why": verdict.why}
        self.record.stops.append({**who, **why, "done": False, "told": False})

    def stopped(self, server: Running, now: datetime) -> None:
        """Note that it is stopped."""
        for one in self.record.stops:
            if one.get("key") == server.key:
                one.update(done=True, at=now.isoformat())

    def not_stopped(self, server: Running) -> None:
        """Note that it goes on: its user came back, or the hub would not stop it."""
        self.record.stops[:] = [one for one in self.record.stops if one.get("key") != server.key]

    def settle_stops(self, running: Iterable[Running]) -> None:
        """Settle what an earlier process had begun: gone means stopped, still there means not."""
        here = {server.key for server in running}
        self.record.stops[:] = [one for one in self.record.stops if one.get("done") or one.get("key") not in here]
        for one in self.record.stops:
            one["done"] = True

    def stops(self, *, untold: bool = False) -> list[dict[str, Any]]:
        """Return what the hub shows of stopped servers; with ``untold`` only what it was not told."""
        keys = ("user", "server", "at", "reason", "why")
        wanted = (one for one in self.record.stops if one.get("done") and not (untold and one.get("told")))
        return [{key: one[key] for key in keys} for one in wanted]

    def told_stops(self) -> None:
        """Note that the hub was told of every stop."""
        for one in self.record.stops:
            if one.get("done"):
                one["told"] = True

    def _forget_stop(self, server: Running) -> None:
        same = (server.user, server.name)
        self.record.stops[:] = [one for one in self.record.stops if (one.get("user"), one.get("server")) != same]


def merged(spans: Iterable[tuple[datetime, datetime]], now: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Return spans in order, those that touch as one, without what lies in the future.

    Where there are too many, the oldest are joined over what lies between: nobody's time is counted that did not.
    """
    found: list[tuple[datetime, datetime]] = []
    for begin, end in sorted((begin, min(end, now)) for begin, end in spans):
        if found and begin <= found[-1][1] + TOUCH:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif begin < end:
            found.append((begin, end))
    while len(found) > MAX_OUTAGES:
        found[:2] = [(found[0][0], found[1][1])]
    return tuple(found)
