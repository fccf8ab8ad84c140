"""What the idle culler has told the hub, for the home page: which servers will be stopped, which were and why."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

KEEP_STOPS = timedelta(days=14)
"""How long a stop is told of at most."""
MOST_ENTRIES = 20_000
"""Notices, and stops, that one message may hold; and the stops that are kept."""
MOST_TEXT = 500
"""Characters of a sentence; a longer one is cut."""
MOST_NAME = 255
_LONGEST_EXTEND = 10 * 366 * 86400
_YEARS = range(2000, 2200)


@dataclass(frozen=True)
class Notice:
    """A server that will be stopped, or that its owner should know something about.  All of it is plain text.

    Attributes:
        user: the owner's name.
        server: the server's name; empty for the default server.
        stop_at: aware time of the stop; None when none is planned.
        reason: ``idle``, ``max_age``, ``account`` or ``not-allowed``.
        why: one sentence for the owner.
        extend: by how many seconds the owner may put the stop off, once; 0 for not at all.
        extended: whether that was done.
    """

    user: str
    server: str
    stop_at: datetime | None
    reason: str
    why: str
    extend: int = 0
    extended: bool = False

    @property
    def can_extend(self) -> bool:
        """Whether the owner may put the stop off."""
        return self.stop_at is not None and self.extend > 0 and not self.extended


@dataclass(frozen=True)
class Stop:
    """A server that was stopped, when and why.  All of it is plain text."""

    user: str
    server: str
    at: datetime
    reason: str
    why: str


@dataclass(frozen=True)
class Message:
    """What the culler says: every notice that holds, and stops that it made.

    Attributes:
        epoch: what the board answered last; None for one that has not been asked yet.
        notices: all of them.
        stops: those that this board may not know.
    """

    epoch: str | None
    notices: tuple[Notice, ...]
    stops: tuple[Stop, ...]


class IdleBoard:
    """In memory alone: after a start of the hub the culler sees another epoch, and says everything again.

    Attributes:
        epoch: random for each board.
    """

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self._notices: dict[tuple[str, str], Notice] = {}
        self._noticed: datetime | None = None
        self._stops: dict[tuple[str, str], Stop] = {}
        self._seen: set[tuple[str, str]] = set()

    def put(self, message: Message, now: datetime) -> bool:
        """Take over a message: its notices replace all others, its stops are added.

        Args:
            message: as :func:`parse_message` gives it.
            now: aware time.

        Returns:
            Whether the sender knew this board; if not, it has more stops to tell.
        """
        self._notices = {(notice.user, notice.server): notice for notice in message.notices}
        self._noticed = now
        for stop in message.stops:
            self.add_stop(stop, now)
        return message.epoch == self.epoch

    def notice(self, user: str, server: str, since: datetime | None) -> Notice | None:
        """Return what holds for a running server.

        Args:
            user: the owner's name.
            server: the server's name.
            since: aware time of its start; what was said before is about the server before it.
        """
        if since is not None and self._noticed is not None and self._noticed < since:
            return None
        return self._notices.get((user, server))

    def extend(self, user: str, server: str, since: datetime | None) -> Notice | None:
        """Put a stop off; return the notice that holds from now on, None when there is nothing to put off."""
        notice = self.notice(user, server, since)
        if notice is None or not notice.can_extend or notice.stop_at is None:
            return None
        later = replace(notice, stop_at=notice.stop_at + timedelta(seconds=notice.extend), extended=True)
        self._notices[user, server] = later
        return later

    def add_stop(self, stop: Stop, now: datetime) -> None:
        """Keep a stop for its owner; the latest of each server.

        Args:
            stop: the stop.
            now: aware time; stops that are too old are forgotten.
        """
        key = (stop.user, stop.server)
        known = self._stops.get(key)
        if known is None or known.at < stop.at:
            self._stops[key] = stop
            self._seen.discard(key)
        for old in [key for key, kept in self._stops.items() if now - kept.at > KEEP_STOPS]:
            self._forget(old)
        if len(self._stops) > MOST_ENTRIES:
            self._forget(min(self._stops, key=lambda key: self._stops[key].at))

    def stops(
        self, user: str, started: Mapping[str, datetime], now: datetime, server: str | None = None
    ) -> tuple[Stop, ...]:
        """Return the stops that a user is to be told of, the latest first; who asks shows them.

        A stop is told of until its server was started again and its owner was told once, and for
        :data:`KEEP_STOPS` at most.

        Args:
            user: the owner's name.
            started: name of each of their running servers to the aware time of its start.
            now: aware time.
            server: the name of the only server that is asked about; None for all of them.
        """
        told = []
        for key, stop in list(self._stops.items()):
            if stop.user != user or server not in (None, stop.server):
                continue
            again = started.get(stop.server)
            if now - stop.at > KEEP_STOPS or (key in self._seen and again is not None and again >= stop.at):
                self._forget(key)
            else:
                self._seen.add(key)
                told.append(stop)
        return tuple(sorted(told, key=lambda stop: stop.at, reverse=True))

    def _forget(self, key: tuple[str, str]) -> None:
        self._stops.pop(key, None)
        self._seen.discard(key)


HUB_BOARD = IdleBoard()
"""The board of this process's hub."""


def parse_message(body: object) -> Message:
    """Return what the culler's JSON says; keys that are not known are left alone.

    Raises:
        ValueError: it is not that; one sentence says what is wrong.
    """
    found = _mapping(body, "the body")
    epoch = found.get("epoch")
    if epoch is not None and not isinstance(epoch, str):
        raise ValueError("epoch must be a text or null")
    notices = tuple(_notice(entry) for entry in _entries(found, "notices"))
    return Message(epoch, notices, tuple(_stop(entry) for entry in _entries(found, "stops")))


def aware_time(text: object, what: str = "a time") -> datetime:
    """Return an ISO 8601 text as a time in UTC; one without an offset is taken as UTC.

    Raises:
        ValueError: it is not one, or of another century.
    """
    try:
        found = datetime.fromisoformat(text if isinstance(text, str) else "")
        if found.year in _YEARS:
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        pass
    raise ValueError(f"{what} must be an ISO 8601 time")


def name_of(value: object, what: str, *, empty: bool = False) -> str:
    """Return the name of a user or a server.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(value, str) or len(value) > MOST_NAME or not (value or empty):
        raise ValueError(f"{what} must be a text of at most {MOST_NAME} characters")
    return value


def _entries(found: Mapping[str, Any], key: str) -> Iterable[Mapping[str, Any]]:
    entries = found.get(key, [])
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        raise ValueError(f"{key} must be a list of at most {MOST_ENTRIES} entries")
    return (_mapping(entry, f"each of {key}") for entry in entries)


def _notice(entry: Mapping[str, Any]) -> Notice:
    stop_at, extend, extended = entry.get("stop_at"), entry.get("extend", 0), entry.get("extended", False)
    if type(extend) is not int or not 0 <= extend <= _LONGEST_EXTEND:
        raise ValueError("extend must be a whole number of seconds")
    if not isinstance(extended, bool):
        raise ValueError("extended must be true or false")
    when = None if stop_at is None else aware_time(stop_at, "stop_at")
    return Notice(*_server(entry), when, *_texts(entry), extend, extended)


def _stop(entry: Mapping[str, Any]) -> Stop:
    return Stop(*_server(entry), aware_time(entry.get("at"), "at"), *_texts(entry))


def _server(entry: Mapping[str, Any]) -> tuple[str, str]:
    return name_of(entry.get("user"), "user"), name_of(entry.get("server", ""), "server", empty=True)


def _texts(entry: Mapping[str, Any]) -> tuple[str, str]:
    reason, why = entry.get("reason"), entry.get("why")
    if not isinstance(reason, str) or not isinstance(why, str):
        raise ValueError("reason and why must be texts")
    return reason[:MOST_NAME], why if len(why) <= MOST_TEXT else f"{why[: MOST_TEXT - 1]}…"


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be an object")
    return value
