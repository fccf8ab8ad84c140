"""Spans in which nobody could work: outages of the hub, clocks that jump, a culler that was not there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nbplatform_spawners.culler.clock import Contact, outage

NOW = datetime(2026, 11, 24, 8, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(minutes=5)

# id, last contact, this one, failed in between, begin of the outage (None: none)
TABLE = [
    ("the first contact ever", None, Contact(NOW, 0.0), False, None),
    ("an ordinary pause", Contact(BEFORE, 0.0), Contact(NOW, 300.0), False, None),
    ("the hub was away", Contact(BEFORE, 0.0), Contact(NOW, 300.0), True, BEFORE),
    (
        "the clock jumped ahead by 3 days",
        Contact(BEFORE - timedelta(days=3), 0.0),
        Contact(NOW, 300.0),
        False,
        NOW - timedelta(days=3),
    ),
    ("the clock was set back", Contact(NOW + timedelta(days=3), 0.0), Contact(NOW, 300.0), False, None),
    ("the clock was set right by a little", Contact(BEFORE, 0.0), Contact(NOW, 290.0), False, None),
    (
        "the machine slept",
        Contact(BEFORE - timedelta(hours=8), 0.0),
        Contact(NOW, 300.0),
        False,
        NOW - timedelta(hours=8),
    ),
    ("a short restart of the culler", Contact(BEFORE), Contact(NOW, 5.0), False, None),
    (
        "the culler was away for a day",
        Contact(NOW - timedelta(days=1)),
        Contact(NOW, 5.0),
        False,
        NOW - timedelta(days=1),
    ),
]


@pytest.mark.parametrize(("_", "last", "here", "failed", "begin"), TABLE, ids=[row[0] for row in TABLE])
def test_the_span_in_which_nobody_could_work(
    _: str, last: Contact | None, here: Contact, failed: bool, begin: datetime | None
) -> None:
    """What the clocks and the hub show becomes a span that counts against nobody, or none."""
    assert outage(last, here, failed, longest=1800) == (None if begin is None else (begin, NOW))
