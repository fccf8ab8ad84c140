"""Times as others write them."""

from __future__ import annotations

from datetime import UTC, datetime


def read_time(text: object) -> datetime:
    """Return the aware time of an ISO 8601 text; without an offset it is UTC.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(text, str) or len(text) > 64:
        raise ValueError("a time is no ISO 8601 text")
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("a time is no ISO 8601 text") from None
