"""What a running server is, for its owner: where it runs, since when, what it holds and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..plan import STATE_VERSION
from ..rules.units import duration_in_words, format_count, format_size
from .idle_board import Notice


@dataclass(frozen=True)
class Summary:
    """A running server in words.  Nothing here is HTML.

    Attributes:
        profile: its title, or its name.
        where: the host, with the pool where that says more.
        facts: label and value of what it holds.
        since: aware time of its start; None when it is not known.
        age: how long ago that is, in words; empty when it is not known.
        idle: how long it may be idle before it may be stopped, in words; empty for no such limit, None when the state
            does not say its limits.
        latest: aware time at which it may be stopped although it is used; None for no such limit.
        notice: what its owner should know: mostly that it will be stopped, when and why; None for nothing.
        overdue: whether the notice's time has passed.
        extend: by how much the owner may put the stop off, in words; empty for not at all.
    """

    profile: str
    where: str
    facts: tuple[tuple[str, str], ...]
    since: datetime | None
    age: str
    idle: str | None
    latest: datetime | None
    notice: Notice | None = None
    overdue: bool = False
    extend: str = ""


def summary(state: Mapping[str, Any], now: datetime, title: str = "", notice: Notice | None = None) -> Summary | None:
    """Return what a server's state says; None for a state that is not one of ours.

    Args:
        state: as the spawner's ``get_state`` gives it.
        now: aware time.
        title: of the profile, where it is known.
        notice: of the idle culler; that the account has ended, which the state says, goes before it.
    """
    if state.get("version") != STATE_VERSION:
        return None
    since = time_of(state.get("started"))
    notice = _ended(state.get("ends")) or notice
    limits = state.get("idle") or {}
    idle, longest = _idle_limit(limits, state.get("gpu_count") or 0), limits.get("max_age")
    return Summary(
        profile=title or str(state.get("profile") or ""),
        where=_where(str(state.get("host") or ""), str(state.get("pool") or "")),
        facts=_facts(state),
        since=since,
        age=_age(now - since) if since else "",
        idle=None if state.get("idle") is None else "" if idle is None else duration_in_words(idle),
        latest=since + timedelta(seconds=longest) if since and longest is not None else None,
        notice=notice,
        overdue=notice is not None and notice.stop_at is not None and notice.stop_at <= now,
        extend=duration_in_words(notice.extend) if notice is not None and notice.can_extend else "",
    )


def _ended(ends: object) -> Notice | None:
    """Return what a state says of an account that has ended."""
    at = time_of(ends.get("at")) if isinstance(ends, Mapping) else None
    return Notice("", "", at, "account", str(ends.get("why") or "")) if isinstance(ends, Mapping) and at else None


def _idle_limit(limits: Mapping[str, Any], gpus: int) -> int | None:
    key = "cull_after_gpu" if gpus and "cull_after_gpu" in limits else "cull_after"
    limit: int | None = limits.get(key)
    return limit


def _where(host: str, pool: str) -> str:
    return f"{host}, in the pool {pool}" if host and pool and pool != host else host or pool


def _facts(state: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    memory, cpu = state.get("memory"), state.get("cpu")
    gpus = ", ".join(map(str, state.get("gpus") or ()))
    count = format_count(state.get("gpu_count") or 0, "GPU")
    facts = {
        "Memory": format_size(memory) if memory else "",
        "Cores": f"{cpu:g}" if cpu else "",
        "GPUs": f"{count} ({gpus})" if gpus else count if state.get("gpu_count") else "",
    }
    return tuple((label, value) for label, value in facts.items() if value)


def time_of(text: object) -> datetime | None:
    """Return an ISO 8601 text of a state as a time in UTC; None for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _age(passed: timedelta) -> str:
    """Return a duration in its two largest units; "less than a minute" below one."""
    seconds = max(int(passed.total_seconds()), 0)
    unit = next((size for size in (86400, 3600, 60) if seconds >= size), 0)
    if not unit:
        return "less than a minute"
    step = {86400: 3600, 3600: 60, 60: 60}[unit]
    return duration_in_words(seconds - seconds % step)
