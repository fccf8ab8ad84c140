"""What is said of a stop: to the server, to the hub's pages, to the audit file.  Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..events import Cause, Event, extension_event, stop_event, warning_event
from .limits import Standing
from .models import Running
from .policy import Verdict

_EVENTS = {"warning": warning_event, "extension": extension_event, "stop": stop_event}


def server_notice(verdict: Verdict, now: datetime) -> dict[str, Any]:
    """Return what ``PUT api/nbplatform/notice`` tells a server."""
    left = verdict.left(now)
    return {
        "seconds_left": None if left is None else round(left),
        "stop_at": None if verdict.at is None else verdict.at.isoformat(timespec="seconds"),
        "reason": verdict.reason,
        "why": verdict.why,
        "extend": verdict.can_extend,
        "extended": verdict.extended,
        "idle": verdict.reason == "idle",
    }


def page_notice(server: Running, verdict: Verdict) -> dict[str, Any]:
    """Return what the hub's home page shows of a stop to come."""
    return {
        "user": server.user,
        "server": server.name,
        "stop_at": None if verdict.at is None else verdict.at.isoformat(timespec="seconds"),
        "reason": verdict.reason,
        "why": verdict.why,
        "extend": verdict.can_extend,
        "extended": verdict.extended,
        "limit": verdict.limit,
    }


def event_of(
    kind: str, server: Running, standing: Standing, verdict: Verdict, now: datetime, outcome: str = "success"
) -> Event:
    """Return the event for the audit file.

    Args:
        kind: ``warning``, ``extension`` or ``stop``.
        server, standing, verdict: which server, its limits and what was decided.
        now: aware time.
        outcome: of a stop; ``unknown`` where it was begun and nobody can say how it ended.
    """
    limits = standing.limits
    cause = Cause(
        reason=verdict.reason or "",
        why=verdict.why,
        origin=verdict.origin,
        limits={
            "cull_after_gpu" if server.gpu_count else "cull_after": limits.idle,
            "warn_before": limits.warn_before,
            "max_age": limits.max_age,
            "busy_max": limits.busy_max,
            "extend": limits.extend,
        },
        stop_at=verdict.at,
        idle_seconds=verdict.idle,
        outcome=outcome,
    )
    return _EVENTS[kind](now, server.user, server.name, server.state, cause)
