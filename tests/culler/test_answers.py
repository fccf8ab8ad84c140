"""What a server says of its use, and everything that it might say instead."""

from __future__ import annotations

import copy
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.culler.activity import Activity
from nbplatform_spawners.culler.answers import parse_activity, parse_jupyter
from nbplatform_spawners.times import read_time

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def ago(**how_long: float) -> str:
    """Return a time before now as servers write it."""
    return (NOW - timedelta(**how_long)).isoformat()


def at(text: str) -> datetime:
    """Return that time."""
    return datetime.fromisoformat(text)


IDLE: dict[str, Any] = {
    "version": 1,
    "now": NOW.isoformat(),
    "started": ago(days=3),
    "last_action": ago(hours=5),
    "kernels": {"count": 1, "busy": 0, "busy_since": None, "last_activity": ago(hours=6), "connections": 0},
    "terminals": {"count": 0, "last_activity": None},
    "downloads": 0,
    "connections": 0,
    "gpus": None,
    "gpu_problem": None,
    "extend_asked": None,
}


def changed(base: Any, **values: Any) -> dict[str, Any]:
    """Return an answer with other values; ``kernels__busy`` is a key within a key."""
    answer = copy.deepcopy(base)
    for path, value in values.items():
        *parents, key = path.split("__")
        target = answer
        for parent in parents:
            target = target[parent]
        target[key] = value
    return dict(answer)


def idle(**values: Any) -> dict[str, Any]:
    """Return the answer of an idle server, with other values."""
    return changed(IDLE, **values)


GOOD = {
    "idle": (IDLE, Activity(last=at(ago(hours=5)))),
    "a kernel was used last": (idle(kernels__last_activity=ago(hours=1)), Activity(last=at(ago(hours=1)))),
    "a terminal was used last": (
        idle(terminals={"count": 1, "last_activity": ago(minutes=2)}),
        Activity(last=at(ago(minutes=2))),
    ),
    "a download runs": (idle(downloads=1), Activity(last=NOW)),
    "never used": (idle(last_action=None, kernels__last_activity=None), Activity(last=at(ago(days=3)))),
    "busy": (
        idle(kernels__busy=2, kernels__busy_since=ago(hours=30)),
        Activity(last=at(ago(hours=5)), busy=2, busy_since=at(ago(hours=30))),
    ),
    "busy since nobody knows when": (idle(kernels__busy=1), Activity(last=at(ago(hours=5)), busy=1)),
    "a GPU that is used": (
        idle(gpus={"count": 1, "last_used": ago(seconds=5), "used_since": ago(hours=2), "seconds_used": 12.5}),
        Activity(last=at(ago(hours=5)), gpu_used=at(ago(seconds=5)), gpu_since=at(ago(hours=2)), gpu_seconds=12.5),
    ),
    "a GPU that never was": (
        idle(gpus={"count": 1, "last_used": None, "used_since": None, "seconds_used": 0}),
        Activity(last=at(ago(hours=5)), gpu_seconds=0.0),
    ),
    "put off": (
        idle(extend_asked=ago(minutes=1)),
        Activity(last=at(ago(hours=5)), extend_asked=at(ago(minutes=1))),
    ),
    "more keys than we know": (idle(later={"x": [1]}), Activity(last=at(ago(hours=5)))),
    "another offset": (idle(last_action="2026-11-24T04:00:00+01:00"), Activity(last=at(ago(hours=5)))),
    "Z": (idle(last_action="2026-11-24T03:00:00Z"), Activity(last=at(ago(hours=5)))),
    "no offset is UTC": (idle(last_action="2026-11-24T03:00:00"), Activity(last=at(ago(hours=5)))),
    "a future that its clock does not know": (idle(last_action=ago(days=-400)), Activity(last=NOW)),
    "a GPU used in the future": (
        idle(gpus={"count": 1, "last_used": ago(days=-1), "used_since": ago(days=-1), "seconds_used": None}),
        Activity(last=at(ago(hours=5)), gpu_used=NOW, gpu_since=NOW),
    ),
    "put off in the future": (
        idle(extend_asked="9999-01-01T00:00Z"),
        Activity(last=at(ago(hours=5)), extend_asked=NOW),
    ),
}


@pytest.mark.parametrize(("answer", "activity"), GOOD.values(), ids=GOOD)
def test_an_answer_becomes_an_activity(answer: dict[str, Any], activity: Activity) -> None:
    """The latest of what a person did; no time is after now."""
    assert parse_activity(answer, NOW) == activity


@pytest.mark.parametrize("skew", [timedelta(days=-400), timedelta(hours=1), timedelta(days=400)])
def test_a_wrong_clock_moves_nothing(skew: timedelta) -> None:
    """A server whose clock goes wrong by any amount has the activity of one whose clock goes right."""
    answer = idle(
        kernels__busy=1,
        kernels__busy_since=ago(hours=3),
        extend_asked=ago(hours=1),
        gpus={"count": 1, "last_used": ago(hours=2), "used_since": ago(hours=4), "seconds_used": 7},
    )

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(inner) for key, inner in value.items()}
        return (at(value) + skew).isoformat() if isinstance(value, str) else value

    assert parse_activity(moved(answer), NOW) == parse_activity(answer, NOW)


WRONG: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "a text": "idle",
    "empty": {},
    "another version": idle(version=2),
    "a true version": idle(version=True),
    "no time": idle(now=None),
    "a time that is none": idle(now="now"),
    "a time that is a number": idle(now=1764000000),
    "a time without end": idle(now="2026-11-24T08:00:00" + "0" * 10**6),
    "no start": idle(started=None),
    "an action that is a number": idle(last_action=0),
    "an action that is true": idle(last_action=True),
    "an action in a list": idle(last_action=[ago(hours=1)]),
    "kernels that are a list": idle(kernels=[]),
    "no kernels": idle(kernels=None),
    "busy that is a text": idle(kernels__busy="1"),
    "busy that is true": idle(kernels__busy=True),
    "busy below zero": idle(kernels__busy=-1),
    "busy that is a decimal": idle(kernels__busy=0.5),
    "busy beyond all measure": idle(kernels__busy=10**100),
    "busy since a number": idle(kernels__busy=1, kernels__busy_since=5),
    "terminals that are a number": idle(terminals=0),
    "downloads that are null": idle(downloads=None),
    "gpus that are true": idle(gpus=True),
    "gpus in a list": idle(gpus=[{}]),
    "gpu seconds below zero": idle(gpus={"seconds_used": -1}),
    "gpu seconds that are no number": idle(gpus={"seconds_used": math.nan}),
    "gpu seconds without end": idle(gpus={"seconds_used": math.inf}),
    "gpu seconds that are a text": idle(gpus={"seconds_used": "7"}),
    "a GPU's time that is a number": idle(gpus={"last_used": 7}),
    "put off at noon": idle(extend_asked="noon"),
    "a clock at the end of time": idle(now="0001-01-01T00:00:00+00:00", last_action="9999-12-31T23:59:59+00:00"),
    "a time beyond the end": idle(last_action="9999-12-31T23:59:59-14:00"),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_another_answer_is_refused_with_one_sentence(answer: Any) -> None:
    """What is not as agreed says nothing about a server: never that it is idle, never that it is busy."""
    with pytest.raises(ValueError, match=r"^[a-z][\w' :.,-]+$") as caught:
        parse_activity(answer, NOW)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("key", ["version", "now", "started", "kernels", "terminals", "downloads"])
def test_a_missing_key_is_not_taken_for_nothing(key: str) -> None:
    """A server that leaves its kernels out might have some."""
    with pytest.raises(ValueError, match=r".+"):
        parse_activity({name: value for name, value in IDLE.items() if name != key}, NOW)


STATUS = {"started": ago(days=3), "last_activity": ago(hours=4), "connections": 0, "kernels": 1}
JUPYTER = {
    "an idle kernel": (
        (STATUS, [{"execution_state": "idle", "last_activity": ago(hours=2)}], []),
        Activity(last=at(ago(hours=2)), by="jupyter"),
    ),
    "busy kernels": (
        (
            STATUS,
            [
                {"execution_state": "busy", "last_activity": ago(hours=9)},
                {"execution_state": "busy", "last_activity": ago(hours=7)},
            ],
            None,
        ),
        Activity(last=at(ago(hours=4)), busy=2, busy_since=at(ago(hours=7)), by="jupyter"),
    ),
    "a busy kernel with a stale time": (
        (STATUS, [{"execution_state": "busy", "last_activity": ago(days=20)}], []),
        Activity(last=at(ago(hours=4)), busy=1, busy_since=at(ago(days=20)), by="jupyter"),
    ),
    "a kernel of which nothing is known": (
        (STATUS, [{"id": "x"}, {"execution_state": None, "last_activity": None}], []),
        Activity(last=at(ago(hours=4)), by="jupyter"),
    ),
    "a terminal": (
        (STATUS, [], [{"name": "1", "last_activity": ago(minutes=1)}]),
        Activity(last=at(ago(minutes=1)), by="jupyter"),
    ),
    "a clock an hour ahead": (
        ({"now": ago(hours=-1), "started": ago(days=3), "last_activity": ago(hours=3)}, [], []),
        Activity(last=at(ago(hours=4)), by="jupyter"),
    ),
    "a clock that nobody knows": (({**STATUS, "now": None}, [], []), Activity(last=at(ago(hours=4)), by="jupyter")),
    "never used": (({"started": ago(days=3)}, [], []), Activity(last=at(ago(days=3)), by="jupyter")),
    "the future": (({"last_activity": ago(days=-3)}, [], []), Activity(last=NOW, by="jupyter")),
}


@pytest.mark.parametrize(("answers", "activity"), JUPYTER.values(), ids=JUPYTER)
def test_jupyters_own_answers_become_an_activity(answers: tuple[Any, Any, Any], activity: Activity) -> None:
    """Kernels that compute are told apart from those that do not."""
    assert parse_jupyter(*answers, NOW) == activity


WRONG_JUPYTER: dict[str, tuple[Any, Any, Any]] = {
    "no status": (None, [], []),
    "a status that is a list": ([], [], []),
    "kernels that are an object": (STATUS, {}, []),
    "no kernels": (STATUS, None, []),
    "a kernel that is a text": (STATUS, ["busy"], []),
    "a kernel's time that is a number": (STATUS, [{"execution_state": "busy", "last_activity": 1}], []),
    "terminals that are a text": (STATUS, [], "none"),
    "a terminal that is null": (STATUS, [], [None]),
    "a status without a time": ({"last_activity": "soon"}, [], []),
    "a clock that is none": ({**STATUS, "now": "late"}, [], []),
}


@pytest.mark.parametrize("answers", WRONG_JUPYTER.values(), ids=WRONG_JUPYTER)
def test_other_answers_of_jupyter_are_refused(answers: tuple[Any, Any, Any]) -> None:
    """With one sentence, as above."""
    with pytest.raises(ValueError, match=r"^[a-zA-Z][\w' :.,-]+$"):
        parse_jupyter(*answers, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes().map(str),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*IDLE, "busy", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(IDLE)), JSON, max_size=3), JSON, JSON)
def test_whatever_a_server_says_is_understood_or_refused(values: dict[str, Any], one: Any, two: Any) -> None:
    """No answer raises anything else, and no time of an activity is in the future."""
    found = []
    for parse in (lambda: parse_activity({**IDLE, **values}, NOW), lambda: parse_jupyter(one, two, one, NOW)):
        try:
            found.append(parse())
        except ValueError:
            continue
    for activity in found:
        times = (activity.last, activity.busy_since, activity.gpu_used, activity.gpu_since, activity.extend_asked)
        assert all(time <= NOW for time in times if time is not None)
        assert activity.busy >= 0


def test_a_time_is_read_strictly() -> None:
    """ISO 8601, in any offset; nothing else is a time."""
    assert read_time("2026-11-24T09:00:00.5+01:00") == NOW + timedelta(seconds=0.5)
    for bad in ("", "2026", "20:00", 7, None, b"2026-11-24", "2026-11-24T08:00:00" + " " * 100):
        with pytest.raises(ValueError, match="a time is no ISO 8601 text"):
            read_time(bad)
