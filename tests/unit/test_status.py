"""What the home page tells of a running server, from its state alone."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nbplatform_spawners.spawners.idle_board import Notice
from nbplatform_spawners.spawners.status import Summary, summary

STARTED = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
NOW = STARTED + timedelta(days=1, hours=2, minutes=5)
DAY = 86400
STATE: dict[str, Any] = {
    "version": 1,
    "profile": "gpu",
    "host": "gpu01",
    "pool": "gpu",
    "gpus": ["GPU-0a", "GPU-1b"],
    "gpu_count": 2,
    "memory": 16 * 1024**3,
    "cpu": 4.0,
    "idle": {"cull_after": 3 * DAY, "cull_after_gpu": DAY, "warn_before": 7200, "max_age": 14 * DAY},
    "started": "2026-11-24T09:00:00+01:00",
}


def told(**changes: object) -> Summary:
    """The summary of the state above with changes."""
    found = summary({**STATE, **changes}, NOW)
    assert found is not None
    return found


def test_a_running_server_tells_where_since_when_what_and_until_when() -> None:
    """All of it, in words; times are aware and in UTC."""
    assert summary(STATE, NOW, "Two GPUs") == Summary(
        profile="Two GPUs",
        where="gpu01, in the pool gpu",
        facts=(("Memory", "16 GiB"), ("Cores", "4"), ("GPUs", "2 GPUs (GPU-0a, GPU-1b)")),
        since=STARTED,
        age="1 day and 2 hours",
        idle="1 day",
        latest=STARTED + timedelta(days=14),
    )


# what is changed in the state, what changes in the summary
CHANGES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "no title is known": ({}, {"profile": "gpu"}),
    "one machine": ({"host": "this machine", "pool": "this machine"}, {"where": "this machine"}),
    "a pool without hosts": ({"host": ""}, {"where": "gpu"}),
    "a server without GPUs goes by cull_after": ({"gpu_count": 0, "gpus": []}, {"idle": "3 days"}),
    "a server with GPUs goes by cull_after where nothing else is decided": (
        {"idle": {"cull_after": 3 * DAY}},
        {"idle": "3 days", "latest": None},
    ),
    "a server with GPUs that is never stopped": (
        {"idle": {"cull_after": DAY, "cull_after_gpu": None}},
        {"idle": "", "latest": None},
    ),
    "no limit at all": ({"idle": {}}, {"idle": "", "latest": None}),
    "a state from before limits were noted": ({"idle": None, "cpu": None}, {"idle": None, "latest": None}),
    "never too old": ({"idle": {"max_age": None}}, {"idle": "", "latest": None}),
    "devices that the backend chooses": ({"gpus": [], "gpu_count": 1, "memory": 0, "cpu": None}, {}),
    "a start that nobody noted": ({"started": None}, {"since": None, "age": "", "latest": None}),
    "a time that is none": ({"started": "yesterday"}, {"since": None, "age": "", "latest": None}),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_is_missing_is_left_out_and_nothing_breaks(change: dict[str, object], expected: dict[str, object]) -> None:
    """A state may be of another release of the same version, or cut: what is there is told."""
    found = asdict(told(**change))
    assert {key: found[key] for key in expected} == expected


def test_what_a_server_does_not_hold_is_not_mentioned() -> None:
    """No row says "0 GPUs"; a half core is said as one."""
    assert told(gpu_count=0, gpus=[]).facts == (("Memory", "16 GiB"), ("Cores", "4"))
    assert told(gpu_count=1, gpus=[], memory=0, cpu=0.5).facts == (("Cores", "0.5"), ("GPUs", "1 GPU"))


@pytest.mark.parametrize("state", [{}, {"version": 2}, {"pid": 5}], ids=["none", "of another version", "another's"])
def test_a_state_of_another_kind_tells_nothing(state: dict[str, object]) -> None:
    """A server of another spawner, or one that does not run, has no summary."""
    assert summary(state, NOW) is None


# seconds since the start, what is said
AGES = [(-5, "less than a minute"), (59, "less than a minute"), (119, "1 minute"), (3599, "59 minutes")]
AGES += [(3720, "1 hour and 2 minutes"), (DAY, "1 day"), (8 * DAY + 7199, "8 days and 1 hour")]


@pytest.mark.parametrize(("seconds", "words"), AGES)
def test_an_age_is_said_in_two_units_at_most(seconds: int, words: str) -> None:
    """Nobody wants the seconds of a server that runs for days; a clock that went back is no error."""
    found = summary(STATE, STARTED + timedelta(seconds=seconds))
    assert found is not None
    assert found.age == words


NOTICE = Notice("ada", "", NOW + timedelta(hours=2), "idle", "idle for a day", extend=21600)


def test_a_notice_says_whether_it_can_be_put_off() -> None:
    """By how much, in words; and whether its time has passed."""
    found = summary(STATE, NOW, notice=NOTICE)
    assert found is not None
    assert (found.notice, found.overdue, found.extend) == (NOTICE, False, "6 hours")
    late = summary(STATE, NOW + timedelta(hours=3), notice=replace(NOTICE, extended=True))
    assert late is not None
    assert (late.overdue, late.extend) == (True, "")
    assert (told().notice, told().overdue, told().extend) == (None, False, "")


def test_an_account_that_has_ended_goes_before_every_other_notice() -> None:
    """It cannot be put off; what is no such note in the state is left out."""
    ends = {"at": "2026-11-25T12:00:00+00:00", "why": "account 'ada': it ended"}
    found = summary({**STATE, "ends": ends}, NOW, notice=NOTICE)
    assert found is not None
    stop_at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert found.notice == Notice("", "", stop_at, "account", "account 'ada': it ended")
    assert found.extend == ""
    for broken in ({}, {"at": "soon"}, "yes", None):
        assert told(ends=broken).notice is None
