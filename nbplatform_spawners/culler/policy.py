"""Whether a server is kept, warned or stopped, and when: one pure function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from ..rules.model import Origin
from ..rules.units import duration_in_words
from .activity import Activity, idle_seconds, last_active

Kind = Literal["keep", "warn", "stop"]
Reason = Literal["idle", "max_age", "account", "not-allowed"]


@dataclass(frozen=True)
class Limits:
    """For how long one server may go on.  Seconds; None for never.

    Attributes:
        idle: without use.
        warn_before: the user is told this long before a stop; at most half of ``idle`` counts.
        max_age: from the start, used or not.
        busy_max: how long a busy kernel counts as use.
        extend: by how much a user may put off a stop, once; 0 for not at all.
        unanswered_max: how much longer a server may idle that does not answer; None for as long as it likes.
        origins: where the rules stand that decided ``idle`` and ``max_age``; without an entry where none did.
    """

    idle: int | None = None
    warn_before: int = 0
    max_age: int | None = None
    busy_max: int | None = None
    extend: int = 0
    unanswered_max: int | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True)
class Off:
    """A server that the rules no longer allow.

    Attributes:
        since: when that was first seen.
        why: the decision's sentence.
        action: what the administrator wants: ``keep``, ``warn`` or ``stop``.
    """

    since: datetime
    why: str
    action: Kind


@dataclass(frozen=True)
class Told:
    """What the user of a server was told of its stop: that holds, whatever limits are edited to.

    Attributes:
        reason: of the stop.
        at: when it was to come.
        since: when they were told.
        extend: seconds by which they could put it off.
        extended: they had put it off.
    """

    reason: str
    at: datetime
    since: datetime
    extend: int = 0
    extended: bool = False


@dataclass(frozen=True)
class Server:
    """What the policy knows of a running server.  Aware times.

    Attributes:
        started: None when it is not known: its age is then no reason for anything.
        activity: what is known of its use.
        with_gpu: it holds a GPU.
        unanswered: why it could not be asked; None where it answered, or where nobody asks servers.
        warned: when its user was last warned of a stop.
        promise: what its user was told of its stop, since it was last used.
        ends: when and why it ends with its account; None for an account that is good.
        off: set when the rules no longer allow it.
        outages: spans in which nobody could use it.
    """

    started: datetime | None
    activity: Activity
    with_gpu: bool = False
    unanswered: str | None = None
    warned: datetime | None = None
    promise: Told | None = None
    ends: tuple[datetime, str] | None = None
    off: Off | None = None
    outages: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What happens to a server.

    Attributes:
        kind: kept, kept and warned, or stopped.
        reason: of the stop that comes first; None when none will come.
        why: that reason as one sentence without a full stop; empty without one.
        at: when it is stopped if nothing changes; None for never, as far as is known now.
        extended: the user has put it off.
        can_extend: seconds by which the user may still put it off.
        idle: seconds without use; None when no use is known.
        limit: seconds that the reason's limit allows; None where it has none.
        origin: of the rule that set this limit; None where none did.
        told: the user's last warning is about this stop.
    """

    kind: Kind
    reason: Reason | None = None
    why: str = ""
    at: datetime | None = None
    extended: bool = False
    can_extend: int = 0
    idle: float | None = None
    limit: int | None = None
    origin: Origin | None = None
    told: bool = False

    def left(self, now: datetime) -> float | None:
        """Return the seconds until the stop, 0 when it is due, None when none is planned."""
        return None if self.at is None else max((self.at - now).total_seconds(), 0.0)


@dataclass(frozen=True)
class _End:
    """One reason for a stop, and when it would be."""

    reason: Reason
    why: str
    at: datetime
    limit: int | None
    warn_before: int
    extend: int = 0
    extended: bool = False


def verdict(server: Server, limits: Limits, now: datetime) -> Verdict:
    """Return what happens to a server now, and what will happen if nothing changes.

    Nobody is stopped who was not told for at least half of ``warn_before``.

    Args:
        server: as it is known.
        limits: that hold for it now.
        now: aware time.
    """
    used = last_active(server.activity, limits.busy_max, now) or server.started
    idle = None if used is None else idle_seconds(used, now, server.outages)
    ends = list(_ends(server, limits, idle, now))
    if not ends:
        return _kept_off(server, Verdict("keep", idle=idle))
    first = min((_promised(end, server) for end in ends), key=lambda end: end.at)
    told = server.warned is not None and server.warned >= first.at - timedelta(seconds=first.warn_before)
    at = _after_warning(first, server.warned if told else None, now)
    due = now >= at
    soon = first.warn_before > 0 and now >= at - timedelta(seconds=first.warn_before)
    found = Verdict(
        "stop" if due else "warn" if soon else "keep",
        first.reason,
        first.why,
        at,
        first.extended,
        0 if first.extended else first.extend,
        idle,
        first.limit,
        limits.origins.get(first.reason),
        told,
    )
    return _kept_off(server, found)


def _kept_off(server: Server, found: Verdict) -> Verdict:
    """Return a verdict, or in place of ``keep`` the warning that the rules no longer allow it, if that is wished."""
    if found.kind != "keep" or found.extended or server.off is None or server.off.action != "warn":
        return found
    return Verdict("warn", "not-allowed", server.off.why, idle=found.idle, told=server.warned is not None)


def _ends(server: Server, limits: Limits, idle: float | None, now: datetime) -> Iterator[_End]:
    """Yield every reason for a stop that will come true if nothing changes."""
    if limits.idle is not None and idle is not None:
        end = _idle_end(server, limits, limits.idle, idle, now)
        if end is not None:
            yield end
    if limits.max_age is not None and server.started is not None:
        warn = min(limits.warn_before, limits.max_age // 2)
        at, why = server.started + timedelta(seconds=limits.max_age), f"it ran for {duration_in_words(limits.max_age)}"
        why += ", the longest that a server may run" + _by(limits, "max_age")
        yield _extended(_End("max_age", why, at, limits.max_age, warn, limits.extend), server, now)
    if server.ends is not None:
        yield _End("account", server.ends[1], server.ends[0], None, _long_before(server.ends[0], now))
    if server.off is not None and server.off.action == "stop":
        at = server.off.since + timedelta(seconds=limits.warn_before)
        yield _End("not-allowed", server.off.why, at, None, limits.warn_before)


def _idle_end(server: Server, limits: Limits, limit: int, idle: float, now: datetime) -> _End | None:
    at = now + timedelta(seconds=limit - idle)
    what = "a GPU server" if server.with_gpu else "a server"
    why = f"{what} idle for {duration_in_words(limit)}{_by(limits, 'idle')}"
    if not limit:
        why = f"{what} that this site takes for idle"
    if server.unanswered is not None:
        if limits.unanswered_max is None:
            return None  # silence alone stops nobody
        at += timedelta(seconds=limits.unanswered_max)
        why += ", which does not answer"
    end = _End("idle", why, at, limit, min(limits.warn_before, limit // 2), limits.extend)
    return _extended(end, server, now)


def _extended(end: _End, server: Server, now: datetime) -> _End:
    """Return the end put off, where the user asked for it after the warning began; asking twice moves nothing."""
    asked = server.activity.extend_asked
    if not end.extend or asked is None:
        return end
    # An outage after it was asked for moves the end of an idle server, and with it the warning.
    lost = (now - asked).total_seconds() - idle_seconds(asked, now, server.outages) if end.reason == "idle" else 0.0
    if asked < end.at - timedelta(seconds=end.warn_before + lost):
        return end
    return replace(end, at=end.at + timedelta(seconds=end.extend), extended=True)


def _promised(end: _End, server: Server) -> _End:
    """Return the end not sooner than the user was told it would come, with what they were offered and took."""
    told, asked = server.promise, server.activity.extend_asked
    if told is None or told.reason != end.reason:
        return end
    taken = told.extend > 0 and asked is not None and asked >= told.since
    at = told.at + timedelta(seconds=told.extend if taken else 0)
    if at <= end.at:
        return end
    return replace(end, at=at, extended=end.extended or told.extended or taken)


def _after_warning(end: _End, warned: datetime | None, now: datetime) -> datetime:
    """Return when the server is stopped: not before the user was told for half of the time."""
    if not end.warn_before:
        return end.at
    told = now if warned is None else warned
    return max(end.at, told + timedelta(seconds=end.warn_before // 2))


def _long_before(at: datetime, now: datetime) -> int:
    """Return so many seconds that whoever ends with their account is warned from the first look on."""
    return max(int((at - now).total_seconds()) + 1, 0)


def _by(limits: Limits, key: str) -> str:
    origin = limits.origins.get(key)
    return f" (limit of {origin.by}, {origin.where})" if origin else ""
