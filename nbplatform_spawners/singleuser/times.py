"""Moments as the server's answers have them: ISO 8601 with an offset."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(moment: datetime | None) -> str | None:
    """Return a moment as text; None for none."""
    return None if moment is None else moment.isoformat()


def moment_of(value: object) -> datetime | None:
    """Return what a model of Jupyter's calls a moment, with an offset; None for what is none.

    Args:
        value: text as in Jupyter's REST answers, or a ``datetime``; without an offset it is UTC.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of some moments; None where there is none."""
    return max((moment for moment in moments if moment is not None), default=None)
