"""The table of a dry run: who, how long idle, which limit, which rule, what happens.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..rules.units import format_duration
from .examine import Seen

_ORDER = {"stop": 0, "warn": 1, "keep": 2}
HEAD = ("server", "what", "idle", "limit", "left", "by", "rule or reason")


def table(seen: Sequence[Seen], now: datetime) -> str:
    """Return one line for each server, those that are stopped first, under a line of headings.

    Args:
        seen: the servers.
        now: aware time.
    """
    ordered = sorted(seen, key=lambda one: (_ORDER[one.verdict.kind], one.server.user, one.server.name))
    rows = [HEAD, *(_row(one, now) for one in ordered)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in [*lines, "", _sums(seen)])


def _row(seen: Seen, now: datetime) -> tuple[str, ...]:
    verdict, left = seen.verdict, seen.verdict.left(now)
    limit = verdict.limit if verdict.limit is not None else seen.standing.limits.idle
    return (
        _printable(f"{seen.server.user}/{seen.server.name}".rstrip("/")),
        "put off" if verdict.kind == "keep" and verdict.extended else verdict.kind,
        "unknown" if verdict.idle is None else _short(verdict.idle),
        format_duration(limit),
        "never" if left is None else _short(left),
        seen.activity.by if seen.door or seen.activity.by == "hub" else "memory",
        _printable(_reason(seen)),
    )


def _reason(seen: Seen) -> str:
    notes = [seen.verdict.why] if seen.verdict.kind != "keep" or seen.verdict.reason is None else []
    origin = seen.verdict.origin or seen.standing.limits.origins.get("idle")
    if seen.verdict.kind == "keep" and origin is not None:
        notes.append(f"{origin.by}, {origin.where}")
    notes += [f"no answer: {seen.unanswered}"] if seen.unanswered else []
    notes += [seen.standing.off] if seen.standing.off and seen.verdict.reason != "not-allowed" else []
    notes += ["idle GPU, busy kernel"] if seen.idle_gpu else []
    return "; ".join(filter(None, notes))


def _sums(seen: Sequence[Seen]) -> str:
    counts = {kind: sum(one.verdict.kind == kind for one in seen) for kind in _ORDER}
    silent = sum(one.unanswered is not None for one in seen)
    return (
        f"{len(seen)} running: {counts['stop']} to stop, {counts['warn']} to warn, {counts['keep']} to keep;"
        f" {silent} did not answer"
    )


def _short(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = int(seconds)
    unit = next((size for size in (86400, 3600, 60) if whole >= size), 1)
    step = {86400: 3600, 3600: 60, 60: 1, 1: 1}[unit]
    return format_duration(whole - whole % step)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
