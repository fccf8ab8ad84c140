"""What is known of a server's use, and when it was last used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

Outages = Iterable[tuple[datetime, datetime]]
"""Spans, from and to, in which nobody could work: they do not count as idle time."""


@dataclass(frozen=True)
class Activity:
    """What a server says of its use.  Aware times on the culler's own clock, none of them in the future.

    Attributes:
        last: the last thing a person did: a request, a cell of a kernel that is idle now, a terminal, a download.
        busy: kernels that compute now.
        busy_since: when the kernel that began last among them began.
        gpu_used: when a GPU of the server was last used.
        gpu_since: since when a GPU is used without a longer pause; None when it is not used now.
        gpu_seconds: seconds of full use of its GPUs since the server's start; None where nobody measures it.
        extend_asked: when the user last asked to put off a stop.
        by: who says so: ``server`` (our extension), ``jupyter`` (Jupyter's own API), ``hub`` (its figure alone).
    """

    last: datetime | None = None
    busy: int = 0
    busy_since: datetime | None = None
    gpu_used: datetime | None = None
    gpu_since: datetime | None = None
    gpu_seconds: float | None = None
    extend_asked: datetime | None = None
    by: str = "server"


def last_active(activity: Activity, busy_max: int | None, now: datetime) -> datetime | None:
    """Return when a server was last used; None when nothing is known.

    A kernel that computes is use, and so is a GPU that does, for ``busy_max`` after they began: an endless loop
    would otherwise hold a GPU for weeks.

    Args:
        activity: what is known of it.
        busy_max: seconds; None for as long as it takes.
        now: aware time.
    """
    found = [activity.last]
    if activity.busy:
        found.append(_bounded(activity.busy_since or now, now, busy_max))
    if activity.gpu_used is not None:
        found.append(_bounded(activity.gpu_since or activity.gpu_used, activity.gpu_used, busy_max))
    times = [min(one, now) for one in found if one is not None]
    return max(times, default=None)


def idle_seconds(since: datetime, now: datetime, outages: Outages = ()) -> float:
    """Return for how many seconds nobody has used a server although they could.

    Args:
        since: aware time of the last use; the future counts as now.
        now: aware time.
        outages: what does not count; spans may overlap.
    """
    idle = now - since
    for begin, end in _apart(outages, since, now):
        idle -= end - begin
    return max(idle.total_seconds(), 0.0)


def _bounded(since: datetime, until: datetime, longest: int | None) -> datetime:
    return until if longest is None else min(until, since + timedelta(seconds=longest))


def _apart(outages: Outages, since: datetime, now: datetime) -> list[tuple[datetime, datetime]]:
    """Return the outages cut to a span, none of them overlapping another."""
    apart: list[tuple[datetime, datetime]] = []
    for begin, end in sorted(outages):
        start = max(begin, since, apart[-1][1] if apart else since)
        if start < min(end, now):
            apart.append((start, min(end, now)))
    return apart
