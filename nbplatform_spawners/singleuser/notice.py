"""A notice that the server will be stopped, and what becomes of it.  Times are passed in."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ..names import bounded
from .times import iso

REASONS = ("idle", "max_age", "account", "not-allowed")
LONGEST = 10 * 366 * 86400.0
"""Seconds; no notice is about anything later."""
WHY = 500
"""Characters of the sentence that the person reads."""
SAME_STOP = timedelta(seconds=60)
"""Two notices are about the same stop when it has moved no more than that."""


@dataclass(frozen=True)
class Notice:
    """What the person is told.

    Attributes:
        ends: when the server will be stopped, by the server's clock; None: no stop is planned.
        stop_at: the same as whoever sent it has written it.
        reason: one of ``REASONS``.
        why: one sentence.
        extend: seconds by which the person can put the stop off; 0: not at all.
        extended: whether that was done.
        idle: whether the notice is void as soon as the person does something.
        since: when it came.
    """

    ends: datetime | None
    stop_at: datetime | None
    reason: str
    why: str
    extend: float
    extended: bool
    idle: bool
    since: datetime

    def as_json(self, now: datetime) -> dict[str, Any]:
        """Return it as the server's answer has it, the time left counted down."""
        left = None if self.ends is None else max(0.0, round((self.ends - now).total_seconds(), 3))
        return {
            "seconds_left": left,
            "stop_at": iso(self.stop_at),
            "reason": self.reason,
            "why": self.why,
            "extend": self.extend,
            "extended": self.extended,
            "idle": self.idle,
        }

    def put_off(self) -> Notice:
        """Return it with the stop moved by ``extend``."""
        by = timedelta(seconds=self.extend)
        ends, stop_at = (None if moment is None else moment + by for moment in (self.ends, self.stop_at))
        return replace(self, ends=ends, stop_at=stop_at, extended=True)


def parse_notice(text: bytes, now: datetime) -> Notice:
    """Return the notice that a request brings.  Keys that are not known here are left alone: hubs may be newer.

    Args:
        text: the body, of bounded size.
        now: the time, with an offset.

    Raises:
        ValueError: it is none; one sentence.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise ValueError("the body must be a mapping")
    left, stop_at = body.get("seconds_left"), body.get("stop_at")
    if (left is None) != (stop_at is None):
        raise ValueError("seconds_left and stop_at must be given together")
    return Notice(
        ends=None if left is None else now + timedelta(seconds=_seconds("seconds_left", left)),
        stop_at=None if stop_at is None else _moment("stop_at", stop_at),
        reason=_reason(body.get("reason")),
        why=_sentence("why", body.get("why")),
        extend=_seconds("extend", body.get("extend", 0)),
        extended=_flag("extended", body.get("extended", False)),
        idle=_flag("idle", body.get("idle", False)),
        since=now,
    )


class Board:
    """Where the one notice hangs.

    Attributes:
        notice: what hangs there; None: nothing.
        extend_asked: when the person last put a stop off; None: never.
    """

    def __init__(self) -> None:
        self.notice: Notice | None = None
        self.extend_asked: datetime | None = None
        self._before: datetime | None = None

    def put(self, notice: Notice) -> bool:
        """Hang a notice up in place of the one there; returns whether the person is told something else by it.

        A notice that was under way while the person put that very stop off does not take that back.
        """
        old = self.notice
        if old is not None and old.extended and not notice.extended and self._is_about_same(notice):
            notice = replace(notice, extend=old.extend).put_off()
        self.notice = notice
        return old is None or _told(old) != _told(notice)

    def take_away(self) -> bool:
        """Take the notice away; returns whether there was one."""
        had = self.notice is not None
        self.notice = None
        return had

    def extend(self, now: datetime) -> str | None:
        """Put the stop off; returns None, or one sentence why that cannot be."""
        notice = self.notice
        if notice is None or notice.ends is None:
            return "no stop is planned: there is nothing to put off"
        if notice.extended:
            return "the stop has been put off already, which can be done once"
        if not notice.extend:
            return "this stop cannot be put off"
        self._before = notice.stop_at
        self.extend_asked = now
        self.notice = notice.put_off()
        return None

    def acted(self, last: datetime | None) -> bool:
        """Take a notice away that says the person is idle; returns whether it was.

        Args:
            last: when the person last did something.
        """
        notice = self.notice
        if notice is None or not notice.idle or last is None or last <= notice.since:
            return False
        return self.take_away()

    def _is_about_same(self, notice: Notice) -> bool:
        if self._before is None or notice.stop_at is None:
            return False
        return abs(notice.stop_at - self._before) <= SAME_STOP


def _told(notice: Notice) -> tuple[object, ...]:
    """Return what a person reads of a notice; small corrections of the time are none."""
    minutes = None if notice.stop_at is None else round(notice.stop_at.timestamp() / 60)
    return minutes, notice.reason, notice.why, notice.extend, notice.extended, notice.idle


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number of seconds")
    if not (math.isfinite(value) if isinstance(value, float) else abs(value) < 1e12) or not 0 <= value <= LONGEST:
        raise ValueError(f"{name} must be 0 to {LONGEST:.0f} seconds")
    return value


def _moment(name: str, value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 64 else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 1970 < moment.year < 9000:
        raise ValueError(f"{name} must be a time in ISO 8601 with an offset, as 2026-07-01T09:30:00+00:00")
    return moment


def _reason(value: object) -> str:
    if value not in REASONS:
        shown = bounded(value) if isinstance(value, str) else f"a {type(value).__name__}"
        raise ValueError(f"reason must be one of {', '.join(REASONS)}, got {shown}")
    return str(value)


def _sentence(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > WHY or not value.isprintable():
        raise ValueError(f"{name} must be one line of at most {WHY} characters")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value
