"""The time, and the spans of it in which nobody could work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

JUMP = 60.0
"""Seconds by which the clock may differ from the time that has passed; more is a jump."""


class Clock:
    """The machine's clocks.  Tests pass another one."""

    def now(self) -> datetime:
        """Return the aware time of day; somebody may set it."""
        return datetime.now(UTC)

    def passed(self) -> float:
        """Return seconds that only ever go forward; they stand still while the machine sleeps."""
        return time.monotonic()


@dataclass(frozen=True)
class Contact:
    """A moment at which the hub answered.

    Attributes:
        at: aware time.
        passed: the same by :meth:`Clock.passed`; None for one of an earlier process.
    """

    at: datetime
    passed: float | None = None


def outage(last: Contact | None, here: Contact, failed: bool, longest: float) -> tuple[datetime, datetime] | None:
    """Return the span before a contact in which nobody could work; None for no such span.

    Args:
        last: the contact before; None for none.
        here: the hub answers now.
        failed: the hub was asked in between and did not answer.
        longest: seconds after which silence of an earlier process means that nobody was there.
    """
    if last is None or last.at >= here.at:
        return None
    gone = (here.at - last.at).total_seconds()
    if failed or (last.passed is None and gone > longest):
        return last.at, here.at
    ahead = jumped(last, here)
    return (here.at - timedelta(seconds=ahead), here.at) if ahead > JUMP else None


def jumped(last: Contact, here: Contact) -> float:
    """Return by how many seconds the time of day went ahead of the time that passed; negative where it went back."""
    if last.passed is None or here.passed is None:
        return 0.0
    return (here.at - last.at).total_seconds() - (here.passed - last.passed)
