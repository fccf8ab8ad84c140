"""What the culler remembers of servers from pass to pass, and over its own restarts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from .clock import Contact, outage
from .models import Running, time_of
from .policy import Verdict
from .record import Record


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
        if found is not None:
            self.record.outages.append([moment.isoformat() for moment in found])
            self.outages = self._outages()
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
        else:
            self.record.warned[server.key] = at.isoformat()

    def first_asked(self, server: Running, asked: datetime | None, used: datetime | None) -> datetime | None:
        """Return when the user first asked to put off this stop; later ones change nothing.

        Args:
            server: whose stop.
            asked: when they asked last; None for never.
            used: when it was last used: what was asked before was about another stop.
        """
        first = time_of(self.record.asked.get(server.key))
        if asked is None or (used is not None and asked < used):
            self.record.asked.pop(server.key, None)
            return None
        if first is not None and first <= asked and (used is None or first >= used):
            return first
        self.record.asked[server.key] = asked.isoformat()
        return asked

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
