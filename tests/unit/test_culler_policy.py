"""The culler's one decision: a table of servers, limits and times, and what must hold for all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.culler.activity import Activity, idle_seconds, last_active
from nbplatform_spawners.culler.policy import Limits, Off, Server, Told, Verdict, verdict
from nbplatform_spawners.rules.model import Origin

NOW = datetime(2026, 11, 24, 8, 12, tzinfo=UTC)
HOUR, DAY = 3600, 86400


def ago(seconds: float) -> datetime:
    """Return the time so many seconds before NOW."""
    return NOW - timedelta(seconds=seconds)


def idle(seconds: float, **more: object) -> Server:
    """Return a server that was last used so long ago, and began ten days ago."""
    server = Server(started=ago(10 * DAY), activity=Activity(last=ago(seconds)))
    return replace(server, **more)  # type: ignore[arg-type]


USUAL = Limits(idle=DAY, warn_before=2 * HOUR, extend=6 * HOUR)

# id, server, limits, kind, reason
TABLE = [
    ("used just now", idle(0), USUAL, "keep", "idle"),
    ("a second before the warning", idle(22 * HOUR - 1), USUAL, "keep", "idle"),
    ("at the warning", idle(22 * HOUR), USUAL, "warn", "idle"),
    ("a second before the stop", idle(DAY - 1, warned=ago(HOUR)), USUAL, "warn", "idle"),
    ("at the stop, warned", idle(DAY, warned=ago(2 * HOUR)), USUAL, "stop", "idle"),
    ("at the stop, never warned", idle(DAY), USUAL, "warn", "idle"),
    ("at the stop, warned in an earlier pause", idle(DAY, warned=ago(2 * DAY)), USUAL, "warn", "idle"),
    ("no warning wanted", idle(DAY), Limits(idle=DAY), "stop", "idle"),
    ("never means never", idle(900 * DAY), Limits(idle=None, warn_before=HOUR), "keep", None),
    ("nothing is decided", idle(900 * DAY), Limits(), "keep", None),
    ("the longest life, though used", idle(0), Limits(idle=DAY, max_age=10 * DAY), "stop", "max_age"),
    ("nearly the longest life", idle(0), Limits(idle=DAY, max_age=10 * DAY + 60, warn_before=HOUR), "warn", "max_age"),
    ("a start that nobody knows", replace(idle(0), started=None), Limits(max_age=1), "keep", None),
    ("no activity known: from the start", replace(idle(0), activity=Activity()), Limits(idle=DAY), "stop", "idle"),
    ("silent", idle(5 * DAY, unanswered="no answer"), Limits(idle=DAY), "keep", None),
    ("silent, and its life is over", idle(5 * DAY, unanswered="x"), Limits(idle=DAY, max_age=DAY), "stop", "max_age"),
    (
        "silent for longer than allowed",
        idle(5 * DAY, unanswered="x"),
        Limits(idle=DAY, unanswered_max=DAY),
        "stop",
        "idle",
    ),
    ("the account has ended", idle(0, ends=(ago(1), "it ended")), USUAL, "stop", "account"),
    ("the account ends soon", idle(0, ends=(ago(-60), "it ended")), USUAL, "warn", "account"),
    ("no longer allowed, kept", idle(0, off=Off(ago(DAY), "off", "keep")), USUAL, "keep", "idle"),
    ("no longer allowed, told", idle(0, off=Off(ago(0), "off", "warn")), Limits(), "warn", "not-allowed"),
    ("no longer allowed, to be stopped", idle(0, off=Off(ago(0), "off", "stop")), USUAL, "warn", "not-allowed"),
    (
        "no longer allowed for long",
        idle(0, off=Off(ago(3 * HOUR), "off", "stop"), warned=ago(2 * HOUR)),
        USUAL,
        "stop",
        "not-allowed",
    ),
]


@pytest.mark.parametrize(("_", "server", "limits", "kind", "reason"), TABLE, ids=[row[0] for row in TABLE])
def test_the_verdict(_: str, server: Server, limits: Limits, kind: str, reason: str | None) -> None:
    """Each row: what is known of a server, the limits, and what follows."""
    found = verdict(server, limits, NOW)
    assert (found.kind, found.reason) == (kind, reason)


# id, activity, busy_max, how long ago the server was last used
BUSY = [
    ("a busy kernel counts as use", Activity(last=ago(5 * DAY), busy=1, busy_since=ago(5 * DAY)), None, 0),
    ("not for ever", Activity(last=ago(5 * DAY), busy=1, busy_since=ago(3 * DAY)), DAY, 2 * DAY),
    ("busy since nobody knows when", Activity(last=ago(5 * DAY), busy=1), DAY, 0),
    ("a GPU that computes counts as use", Activity(last=ago(5 * DAY), gpu_used=ago(10), gpu_since=ago(HOUR)), DAY, 10),
    ("a GPU not for ever", Activity(last=ago(5 * DAY), gpu_used=ago(10), gpu_since=ago(3 * DAY)), DAY, 2 * DAY),
    ("a GPU used once", Activity(last=ago(5 * DAY), gpu_used=ago(HOUR)), DAY, HOUR),
    ("a clock that is ahead", Activity(last=ago(-HOUR)), None, 0),
    ("busy_max of no time", Activity(last=ago(DAY), busy=1, busy_since=ago(HOUR)), 0, HOUR),
]


@pytest.mark.parametrize(("_", "activity", "busy_max", "before"), BUSY, ids=[row[0] for row in BUSY])
def test_what_counts_as_use(_: str, activity: Activity, busy_max: int | None, before: float) -> None:
    """A person, a busy kernel and a GPU at work are use; the latter two for as long as the rules say."""
    assert last_active(activity, busy_max, NOW) == ago(before)


def test_nothing_known_is_no_use() -> None:
    """Who knows nothing says nothing, not "just now"."""
    assert last_active(Activity(), None, NOW) is None


def test_time_in_which_nobody_could_work_does_not_count() -> None:
    """Outages are taken from the idle time: each once, though they overlap, and only what lies in it."""
    outages = ((ago(3 * HOUR), ago(HOUR)), (ago(2 * HOUR), ago(HOUR / 2)), (ago(9 * DAY), ago(8 * DAY)))
    assert idle_seconds(ago(4 * HOUR), NOW, outages) == 1.5 * HOUR
    assert idle_seconds(ago(-HOUR), NOW, outages) == 0
    found = verdict(idle(DAY + HOUR, outages=outages), Limits(idle=DAY), NOW)
    assert (found.kind, found.at) == ("keep", NOW + timedelta(hours=1.5))


def test_an_extension_moves_the_stop_once() -> None:
    """Asked for after the warning began it moves the stop; asked for again it moves nothing more."""
    plain = verdict(idle(23 * HOUR), USUAL, NOW)
    first, second = (
        verdict(replace(idle(23 * HOUR), activity=Activity(last=ago(23 * HOUR), extend_asked=asked)), USUAL, NOW)
        for asked in (ago(1800), ago(5))
    )
    assert plain.at is not None
    assert plain.can_extend == 6 * HOUR
    assert first.at == second.at == plain.at + timedelta(hours=6)
    assert (first.kind, first.extended, first.can_extend) == ("keep", True, 0)


def test_an_extension_of_an_earlier_pause_moves_nothing() -> None:
    """Who extended last week and came back since starts anew."""
    activity = Activity(last=ago(23 * HOUR), extend_asked=ago(3 * DAY))
    assert not verdict(replace(idle(0), activity=activity), USUAL, NOW).extended


def test_who_was_told_late_gets_the_whole_extension() -> None:
    """A limit that was cut has passed long ago: the extension counts from the stop that was told."""
    cut = Limits(idle=4 * HOUR, warn_before=HOUR, extend=6 * HOUR)
    promise = Told("idle", ago(-1200), since=ago(600), extend=6 * HOUR)
    for asked in (ago(300), ago(5)):
        server = replace(idle(0), activity=Activity(last=ago(20 * HOUR), extend_asked=asked), warned=ago(600))
        found = verdict(replace(server, promise=promise), cut, NOW)
        assert (found.kind, found.extended, found.at) == ("keep", True, ago(-1200) + timedelta(hours=6))


def test_what_was_told_holds_whatever_the_rules_become() -> None:
    """Limits that are cut, and an extension that is taken out of the rules, stop nobody before the time they know."""
    taken = Told("idle", ago(-5 * HOUR), since=ago(HOUR), extended=True)
    offered = Told("idle", ago(-HOUR), since=ago(HOUR), extend=4 * HOUR)
    for promise, asked in ((taken, None), (offered, ago(60))):
        server = replace(idle(0), activity=Activity(last=ago(30 * HOUR), extend_asked=asked), warned=ago(HOUR))
        found = verdict(replace(server, promise=promise), Limits(idle=4 * HOUR, warn_before=HOUR), NOW)
        assert (found.kind, found.extended, found.at) == ("keep", True, ago(-5 * HOUR))


def test_what_was_told_of_one_reason_puts_off_no_other() -> None:
    """An account that has ended ends the server, however long it might have idled."""
    promise = Told("idle", ago(-5 * HOUR), since=ago(HOUR))
    assert verdict(idle(0, ends=(ago(1), "it ended"), promise=promise), USUAL, NOW).kind == "stop"


def test_a_second_pause_may_be_put_off_again() -> None:
    """What was asked for in an earlier pause, of another limit, does not stand in the way of asking again."""
    restored = Limits(idle=3 * DAY, warn_before=2 * HOUR, extend=6 * HOUR)
    server = replace(idle(0), activity=Activity(last=ago(71 * HOUR), extend_asked=ago(60)), warned=ago(HOUR))
    found = verdict(replace(server, promise=Told("idle", ago(-HOUR), ago(HOUR), extend=6 * HOUR)), restored, NOW)
    assert (found.extended, found.at) == (True, ago(-7 * HOUR))


def test_the_longest_life_is_put_off_once_though_it_is_used() -> None:
    """Work goes on in the server, and asking again near the new end moves nothing."""
    limits = Limits(max_age=10 * DAY, warn_before=2 * HOUR, extend=6 * HOUR)
    for asked in (ago(HOUR), ago(0)):
        server = Server(ago(10 * DAY + HOUR), Activity(last=NOW, extend_asked=asked))
        found = verdict(server, limits, NOW)
        assert (found.extended, found.at) == (True, NOW + timedelta(hours=5))


def test_an_outage_after_it_was_asked_for_takes_no_extension_away() -> None:
    """The stop moves by the outage, what was asked for stands."""
    outage = ((ago(10 * HOUR), ago(0)),)
    activity = Activity(last=ago(33 * HOUR), extend_asked=ago(10 * HOUR + 60))
    found = verdict(replace(idle(0, outages=outage), activity=activity), USUAL, NOW)
    assert (found.extended, found.at) == (True, NOW + timedelta(hours=7))


def test_who_extended_is_warned_again() -> None:
    """The warning before the extension does not count for the later stop."""
    server = replace(idle(0), activity=Activity(last=ago(29 * HOUR), extend_asked=ago(6 * HOUR)), warned=ago(7 * HOUR))
    found = verdict(server, USUAL, NOW)
    assert (found.kind, found.told) == ("warn", False)
    assert verdict(replace(server, warned=NOW), USUAL, NOW).told


def test_a_limit_that_was_cut_leaves_time_for_a_warning() -> None:
    """An edit from days to an hour stops nobody at once: half of ``warn_before`` is left from the warning on."""
    cut = Limits(idle=4 * HOUR, warn_before=HOUR)
    first = verdict(idle(20 * HOUR), cut, NOW)
    assert (first.kind, first.at) == ("warn", NOW + timedelta(minutes=30))
    later = NOW + timedelta(minutes=30)
    told = replace(idle(20 * HOUR), warned=NOW)
    assert verdict(told, cut, later - timedelta(seconds=1)).kind == "warn"
    assert verdict(told, cut, later).kind == "stop"


def test_a_warning_is_never_longer_than_half_of_the_limit() -> None:
    """With ``warn_before`` as long as the limit nobody could work without a warning on the screen."""
    limits = Limits(idle=HOUR, warn_before=2 * HOUR)
    assert verdict(idle(29 * 60), limits, NOW).kind == "keep"
    assert verdict(idle(30 * 60), limits, NOW).kind == "warn"


def test_the_reason_names_limit_rule_and_line() -> None:
    """The sentence is the one that the user, the log and the audit file get."""
    limits = Limits(idle=DAY, origins={"idle": Origin("defaults", "90-defaults.yaml", 6)})
    found = verdict(idle(DAY, with_gpu=True), limits, NOW)
    assert found.why == "a GPU server idle for 1 day (limit of defaults, 90-defaults.yaml:6)"
    assert found.origin == limits.origins["idle"]


def test_time_left_is_what_the_verdict_says() -> None:
    """Every display counts down to the same moment; what is due has no time left."""
    assert verdict(idle(20 * HOUR), USUAL, NOW).left(NOW) == 4 * HOUR
    assert verdict(idle(9 * DAY), Limits(idle=DAY), NOW).left(NOW) == 0
    assert Verdict("keep").left(NOW) is None


times = st.integers(min_value=0, max_value=40 * DAY)
limit = st.none() | st.integers(min_value=0, max_value=20 * DAY)


@given(last=times, started=times, cull=limit, age=limit, warn=st.integers(0, DAY), warned=st.none() | times)
def test_nobody_is_stopped_before_a_limit_is_reached(
    last: int, started: int, cull: int | None, age: int | None, warn: int, warned: int | None
) -> None:
    """Whatever the numbers: a stop has a limit that is reached, and who is warned is not stopped at once."""
    server = Server(ago(started), Activity(last=ago(last)), warned=None if warned is None else ago(warned))
    found = verdict(server, Limits(idle=cull, max_age=age, warn_before=warn), NOW)
    if found.kind == "stop":
        reached = cull is not None and last >= cull if found.reason == "idle" else age is not None and started >= age
        assert reached
        assert found.at is not None
        assert found.at <= NOW
    if found.kind == "warn":
        assert found.at is not None
        assert found.at > NOW


@given(last=times, asked=st.lists(times, min_size=1, max_size=5))
def test_no_number_of_extensions_moves_a_stop_by_more_than_one(last: int, asked: list[int]) -> None:
    """However often somebody asks, the stop is at most one ``extend`` later."""
    plain = verdict(idle(last, warned=NOW), USUAL, NOW)
    for one in asked:
        server = replace(idle(0, warned=NOW), activity=Activity(last=ago(last), extend_asked=ago(one)))
        found = verdict(server, USUAL, NOW)
        assert found.at is not None
        assert plain.at is not None
        assert found.at <= plain.at + timedelta(hours=6)
