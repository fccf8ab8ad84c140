"""What the hub keeps of what the idle culler tells it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nbplatform_spawners.spawners.idle_board import (
    KEEP_STOPS,
    MOST_ENTRIES,
    MOST_TEXT,
    IdleBoard,
    Message,
    Notice,
    Stop,
    parse_message,
)

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOTICE = Notice("ada", "", NOW + HOUR, "idle", "idle for a day", extend=7200)
STOP = Stop("ada", "", NOW - HOUR, "idle", "idle for a day")


def board(*notices: Notice, stops: tuple[Stop, ...] = ()) -> IdleBoard:
    """A board that was told something."""
    made = IdleBoard()
    made.put(Message(None, notices, stops), NOW)
    return made


def test_each_message_holds_every_notice() -> None:
    """What a message does not repeat is no longer true."""
    told = board(NOTICE, replace(NOTICE, server="two"))
    told.put(Message(None, (replace(NOTICE, server="two"),), ()), NOW)
    assert told.notice("ada", "", None) is None
    assert told.notice("ada", "two", None) is not None
    assert told.notice("ben", "two", None) is None


def test_who_knows_the_board_need_not_say_everything() -> None:
    """Another board has another epoch, and does not know what the one before it did."""
    told = IdleBoard()
    assert told.put(Message(None, (), ()), NOW) is False
    assert told.put(Message(told.epoch, (), ()), NOW) is True
    assert IdleBoard().put(Message(told.epoch, (), ()), NOW) is False


def test_a_notice_is_not_about_a_server_that_started_later() -> None:
    """The server that it was about has gone."""
    told = board(NOTICE)
    assert told.notice("ada", "", NOW - HOUR) == NOTICE
    assert told.notice("ada", "", NOW + HOUR) is None
    assert told.extend("ada", "", NOW + HOUR) is None


def test_a_stop_is_put_off_once() -> None:
    """By what the notice says; a second time changes nothing."""
    told = board(NOTICE)
    later = told.extend("ada", "", NOW - HOUR)
    assert later == replace(NOTICE, stop_at=NOW + 3 * HOUR, extended=True)
    assert told.extend("ada", "", NOW - HOUR) is None
    assert told.notice("ada", "", NOW - HOUR) == later


FIXED = {
    "no such notice": Notice("ben", "", NOW, "idle", "", extend=60),
    "nothing to add": replace(NOTICE, extend=0),
    "no stop is planned": replace(NOTICE, stop_at=None),
    "it was put off": replace(NOTICE, extended=True),
}


@pytest.mark.parametrize("notice", FIXED.values(), ids=FIXED)
def test_what_cannot_be_put_off_stays(notice: Notice) -> None:
    """Nobody gets more time by asking when there is none to have."""
    told = board(notice)
    assert told.extend("ada", "", None) is None
    assert told.notice(notice.user, "", None) == notice


# when the owner looks, in hours from now, and whether the server was started half an hour before the look; what is told
LOOKS: dict[str, list[tuple[int, bool, bool]]] = {
    "as often as they look": [(0, False, True), (1, False, True), (13 * 24, False, True)],
    "until it was started again": [(0, False, True), (1, True, False), (2, False, False)],
    "once although it was started again": [(1, True, True), (2, True, False)],
    "not for ever": [(14 * 24, False, False)],
}


@pytest.mark.parametrize("looks", LOOKS.values(), ids=LOOKS)
def test_a_stop_is_told_of(looks: list[tuple[int, bool, bool]]) -> None:
    """Its owner reads it at least once, unless they stay away for two weeks."""
    told = board(stops=(STOP,))
    for hours, again, expected in looks:
        now = NOW + hours * HOUR
        started = {"": now - HOUR / 2} if again else {}
        assert told.stops("ada", started, now) == ((STOP,) if expected else ()), hours
        assert told.stops("ben", {}, now) == ()


def test_the_server_that_was_stopped_is_not_the_one_that_runs() -> None:
    """A server that was started before its own stop (clocks of two machines) is still told of."""
    told = board(stops=(STOP,))
    for _ in range(2):
        assert told.stops("ada", {"": STOP.at - HOUR, "two": NOW}, NOW) == (STOP,)


def test_the_latest_stop_of_each_server_is_told_of() -> None:
    """Latest first; an older one that comes late changes nothing, a newer one is told anew."""
    two = replace(STOP, server="two", at=NOW - 2 * HOUR)
    told = board(stops=(STOP, two, replace(STOP, at=STOP.at - DAY)))
    assert told.stops("ada", {}, NOW) == (STOP, two)
    newer = replace(STOP, at=NOW)
    told.add_stop(newer, NOW)
    assert told.stops("ada", {"": NOW + HOUR}, NOW + HOUR) == (newer, two)
    assert told.stops("ada", {"": NOW + HOUR}, NOW + HOUR) == (two,)


def test_one_server_is_asked_about_alone() -> None:
    """What is told of one server leaves the stops of the others to be told."""
    told = board(stops=(STOP, replace(STOP, server="two")))
    again = {"": NOW, "two": NOW}
    assert told.stops("ada", {}, NOW, "two") == (replace(STOP, server="two"),)
    assert told.stops("ada", again, NOW) == (STOP,)


def test_the_board_does_not_grow() -> None:
    """Old stops go when a new one comes, and the oldest when there are too many."""
    told = board(stops=(STOP,))
    told.add_stop(replace(STOP, user="ben", at=NOW + KEEP_STOPS), NOW + KEEP_STOPS)
    assert told.stops("ada", {}, NOW) == ()
    full = board(stops=tuple(Stop(f"u{i}", "", NOW, "idle", "") for i in range(1, MOST_ENTRIES)))
    full.add_stop(STOP, NOW)
    assert full.stops("ada", {}, NOW) == (STOP,)
    full.add_stop(Stop("ben", "", NOW, "idle", ""), NOW)
    assert full.stops("ada", {}, NOW) == ()


ENTRY: dict[str, Any] = {"user": "ada", "server": "", "reason": "idle", "why": "idle for a day"}


def test_a_message_is_read() -> None:
    """Times of any offset, none is UTC; unknown keys are left alone, long sentences cut, what is missing is none."""
    told = {**ENTRY, "stop_at": "2026-11-24T10:00:00+01:00", "extend": 7200, "limit": 86400, "extended": False}
    stopped = {**ENTRY, "at": "2026-11-24T07:00:00", "why": "x" * 1000}
    message = parse_message({"epoch": "e", "notices": [told], "stops": [stopped], "more": 1})
    assert (message.epoch, message.notices) == ("e", (NOTICE,))
    assert message.stops == (replace(STOP, why="x" * (MOST_TEXT - 1) + "…"),)
    assert parse_message({}) == Message(None, (), ())
    assert parse_message({"notices": [{**ENTRY, "stop_at": None}]}).notices[0].stop_at is None


WRONG: dict[str, tuple[Any, str]] = {
    "no object": ([], "the body must be an object"),
    "an epoch of another kind": ({"epoch": 5}, "epoch must be a text or null"),
    "notices that are none": ({"notices": {}}, "notices must be a list"),
    "too many": ({"stops": [ENTRY] * (MOST_ENTRIES + 1)}, "stops must be a list of at most 20000 entries"),
    "an entry that is none": ({"notices": [5]}, "each of notices must be an object"),
    "no user": ({"notices": [{**ENTRY, "user": None}]}, "user must be a text"),
    "a long name": ({"notices": [{**ENTRY, "server": "x" * 256}]}, "server must be a text"),
    "no reason": ({"notices": [{**ENTRY, "reason": None}]}, "reason and why must be texts"),
    "less than nothing": ({"notices": [{**ENTRY, "extend": -1}]}, "extend must be a whole number"),
    "true seconds": ({"notices": [{**ENTRY, "extend": True}]}, "extend must be a whole number"),
    "endless seconds": ({"notices": [{**ENTRY, "extend": float("inf")}]}, "extend must be a whole number"),
    "ages of seconds": ({"notices": [{**ENTRY, "extend": 10**30}]}, "extend must be a whole number"),
    "extended by a word": ({"notices": [{**ENTRY, "extended": "no"}]}, "extended must be true or false"),
    "no time": ({"stops": [ENTRY]}, "at must be an ISO 8601 time"),
    "a time before time": ({"stops": [{**ENTRY, "at": "0001-01-01T00:00:00+14:00"}]}, "at must be an ISO 8601 time"),
    "the last time": ({"stops": [{**ENTRY, "at": "9999-12-31T23:59:59-14:00"}]}, "at must be an ISO 8601 time"),
    "a number": ({"stops": [{**ENTRY, "at": 1700000000}]}, "at must be an ISO 8601 time"),
}


@pytest.mark.parametrize(("body", "sentence"), WRONG.values(), ids=WRONG)
def test_a_bad_message_is_refused_whole(body: Any, sentence: str) -> None:
    """In one sentence that names what is wrong."""
    with pytest.raises(ValueError, match=f"^{sentence}"):
        parse_message(body)
