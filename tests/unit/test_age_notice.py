"""What the spawn page says of the age of what the hub knows of an account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from nbplatform_spawners.spawners.choices import _age_notice

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
SENTENCE = "What is known of your account and groups is {} old; it is asked for anew when you start a server"


def ago(minutes: float) -> dict[str, object]:
    """The state of a user whose account was asked for so many minutes ago."""
    return {"identity_as_of": (NOW - timedelta(minutes=minutes)).isoformat(timespec="seconds")}


CASES: dict[str, tuple[dict[str, object], str | None]] = {
    "just now": (ago(0), None),
    "nearly a quarter of an hour": (ago(14.9), None),
    "16 minutes": (ago(16), SENTENCE.format("16 minutes")),
    "a day": (ago(1440), SENTENCE.format("1440 minutes")),
    "in another zone": (
        {"identity_as_of": (NOW - timedelta(minutes=16)).astimezone(timezone(timedelta(hours=2))).isoformat()},
        SENTENCE.format("16 minutes"),
    ),
    "from the future": (ago(-60), None),
    "not stored": ({}, None),
    "nothing": ({"identity_as_of": None}, None),
    "no time": ({"identity_as_of": "yesterday"}, None),
    "a number": ({"identity_as_of": 1_900_000_000}, None),
    "without a zone": ({"identity_as_of": "2030-05-01T10:00:00"}, None),
}


@pytest.mark.parametrize(("state", "notice"), CASES.values(), ids=CASES)
def test_people_are_told_how_old_it_is_once_that_matters(state: dict[str, object], notice: str | None) -> None:
    """Nothing while it is fresh, nor where the age is not known: a page is never lost to what is stored."""
    assert _age_notice(state, NOW) == notice
