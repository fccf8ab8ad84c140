"""The culler's smaller parts: the hub's models as values, its memory, the table, metrics, users to delete."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.culler.activity import Activity
from nbplatform_spawners.culler.clock import Contact
from nbplatform_spawners.culler.examine import Seen
from nbplatform_spawners.culler.limits import Standing
from nbplatform_spawners.culler.memory import Memory, merged
from nbplatform_spawners.culler.metrics import Metrics
from nbplatform_spawners.culler.models import Running, find, running_servers
from nbplatform_spawners.culler.notices import event_of, page_notice, server_notice
from nbplatform_spawners.culler.policy import Limits, Told, Verdict
from nbplatform_spawners.culler.record import Record
from nbplatform_spawners.culler.table import table
from nbplatform_spawners.culler.users import UserLimits, is_over
from nbplatform_spawners.hub_api import Door

NOW = datetime(2026, 11, 24, 8, 12, tzinfo=UTC)
DAY = timedelta(days=1)
STARTED = NOW - 3 * DAY


def server(name: str = "", started: datetime = STARTED, user: str = "ada", **state: Any) -> Running:
    """Return a running server."""
    return Running(user, name, started, NOW, None, True, {"version": 1, **state})


def seen(one: Running, verdict: Verdict, **more: Any) -> Seen:
    """Return a server as it was looked at."""
    return Seen(one, Standing(Limits(idle=86400), "rules"), Activity(last=NOW - DAY), verdict, **more)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    """Return a memory that knows nothing."""
    return Memory(Record(tmp_path / "record.json"))


# Models


def test_the_hubs_model_becomes_values() -> None:
    """Times are aware, a state of ours is kept, the default server comes first."""
    model = {
        "name": "ada",
        "servers": {
            "b": {
                "started": "2026-11-21T08:12:00Z",
                "last_activity": None,
                "pending": "stop",
                "ready": False,
                "state": {},
            },
            "": {"started": "2026-11-21T08:12:00", "ready": True, "state": {"version": 1, "gpu_count": 2}},
        },
    }
    default, named = running_servers(model)
    assert (default.name, default.started, default.gpu_count, default.ready) == ("", STARTED, 2, True)
    assert (named.pending, named.ready, named.last_activity, named.state) == ("stop", False, None, {})


@pytest.mark.parametrize(
    "servers",
    [None, [], {"": None}, {"": {"stopped": True}}],
    ids=["no access to servers", "of another form", "no model", "stopped"],
)
def test_what_is_no_running_server_is_none(servers: Any) -> None:
    """A model that shows no servers, or nonsense, gives none: nothing is done about it."""
    assert list(running_servers({"name": "ada", "servers": servers})) == []


def test_a_state_of_another_spawner_is_not_believed() -> None:
    """A stock spawner's ``gpus`` or ``ends`` mean something else, or nothing."""
    model = {"name": "ada", "servers": {"": {"ready": True, "state": {"gpus": 7, "ends": {"at": "2020-01-01"}}}}}
    (found,) = running_servers(model)
    assert (found.gpu_count, found.ends) == (0, None)


def test_another_run_of_a_server_is_another_server() -> None:
    """Who stopped and started a server meanwhile has a new one, which nobody looked at."""
    old, again = server(), {"name": "ada", "servers": {"": {"started": NOW.isoformat(), "ready": True}}}
    assert find(again, old) is None
    assert find(None, old) is None
    same = {"name": "ada", "servers": {"": {"started": STARTED.isoformat(), "ready": True}}}
    assert find(same, old) is not None


def test_the_end_of_an_account_is_read_from_the_state() -> None:
    """Time and sentence; a note of another form ends nobody."""
    assert server(ends={"at": NOW.isoformat(), "why": "it ended"}).ends == (NOW, "it ended")
    for wrong in (None, "x", {"at": "soon"}, {"why": "x"}, []):
        assert server(ends=wrong).ends is None


# Memory


def test_a_stop_that_was_begun_is_told_after_a_crash(memory: Memory) -> None:
    """Gone means that the crash came after the stop; still there means that it came before."""
    gone, here = server("a"), server("b")
    for one in (gone, here):
        memory.begin_stop(one, Verdict("stop", "idle", "idle for 1 day"), NOW)
    assert memory.stops() == []
    memory.settle_stops([here])
    assert [one["server"] for one in memory.stops()] == ["a"]
    assert memory.stops() == memory.stops(untold=True)
    memory.told_stops()
    assert memory.stops(untold=True) == []


def test_a_stop_that_did_not_come_about_is_forgotten(memory: Memory) -> None:
    """Nobody reads that a server was stopped which runs."""
    memory.begin_stop(server(), Verdict("stop", "idle", "idle"), NOW)
    memory.not_stopped(server())
    memory.settle_stops([])
    assert memory.stops() == []


def test_what_was_told_is_remembered_until_the_server_is_used(memory: Memory) -> None:
    """Over a restart of the culler; taken back with the warning."""
    memory.note_warned(server(), NOW)
    memory.note_promise(server(), Verdict("warn", "idle", "idle", NOW + DAY, can_extend=60))
    memory.record.save()
    again = Memory(Record.peek(memory.record.path))
    assert again.promise(server()) == Told("idle", NOW + DAY, NOW, extend=60)
    again.note_warned(server(), None)
    assert again.promise(server()) is None


def test_since_when_a_server_is_not_allowed_is_kept(memory: Memory) -> None:
    """The time runs from the first sight on, and anew when the rules allowed it in between."""
    assert memory.off_since(server(), True, NOW) == NOW
    assert memory.off_since(server(), True, NOW + DAY) == NOW
    assert memory.off_since(server(), False, NOW + DAY) is None
    assert memory.off_since(server(), True, NOW + 2 * DAY) == NOW + 2 * DAY


def test_outages_are_remembered_over_a_restart(memory: Memory) -> None:
    """The next process takes the same time from everybody's idle time."""
    memory.met(Contact(NOW, 0.0), 1800)
    memory.lost()
    memory.met(Contact(NOW + DAY, 86400.0), 1800)
    assert memory.outages == ((NOW, NOW + DAY),)
    assert Memory(memory.record).outages == memory.outages
    memory.forget_others([], NOW + 90 * DAY)
    assert memory.outages == ()


def test_outages_that_touch_are_one_and_none_is_dropped(memory: Memory) -> None:
    """However many there are: a hub that fails all night leaves one span, and what is too many is joined."""
    minute = timedelta(minutes=1)
    night = [(NOW + number * minute, NOW + (number + 1) * minute) for number in range(600)]
    assert merged(night, NOW + DAY) == ((NOW, NOW + 600 * minute),)
    apart = [(NOW + number * DAY, NOW + number * DAY + minute) for number in range(150)]
    found = merged(apart, NOW + 200 * DAY)
    assert len(found) == 100
    assert found[0] == (NOW, NOW + 50 * DAY + minute)
    assert found[-1] == apart[-1]


def test_a_clock_that_was_set_back_leaves_no_outage_in_the_future(memory: Memory) -> None:
    """What was taken for a jump ahead would else count for days to come."""
    memory.met(Contact(NOW, 0.0), 1800)
    memory.met(Contact(NOW + 3 * DAY, 60.0), 1800)
    assert memory.outages
    memory.met(Contact(NOW + timedelta(minutes=2), 120.0), 1800)
    assert all(end <= NOW + timedelta(minutes=2) for _, end in memory.outages)


# Words


def test_the_same_stop_is_said_alike_everywhere() -> None:
    """Server, page and audit file get one time, one reason, one sentence."""
    verdict = Verdict("warn", "idle", "a server idle for 1 day", NOW + DAY, can_extend=3600, idle=7200.4, limit=86400)
    said = server_notice(verdict, NOW)
    page = page_notice(server("x"), verdict)
    event = event_of("warning", server("x"), Standing(Limits(idle=86400), "rules"), verdict, NOW)
    assert said["stop_at"] == page["stop_at"] == "2026-11-25T08:12:00+00:00"
    assert event["nbplatform"]["stop_at"] == "2026-11-25T08:12:00.000Z"
    assert said["why"] == page["why"] == event["message"] == verdict.why
    assert (said["seconds_left"], said["extend"], said["idle"]) == (86400, 3600, True)


def test_the_table_shows_what_happens_first() -> None:
    """Stops first, then warnings; who, how long idle, which limit, what is left, and why."""
    rows = [
        seen(server(user="zoe"), Verdict("keep", "idle", "x", NOW + DAY, idle=60)),
        seen(server("b", user="ada"), Verdict("warn", "idle", "soon", NOW + DAY / 24, idle=82800, limit=86400)),
        seen(server(user="ben"), Verdict("stop", "idle", "idle for 1 day", NOW, idle=86400.0, limit=86400)),
        seen(server(user="ev\x1b[31m"), Verdict("keep"), unanswered="no whole answer within 5 seconds"),
    ]
    text = table(rows, NOW)
    assert "\x1b" not in text
    names = [line.split()[0] for line in text.splitlines()[:-2]]
    assert names == ["server", "ben", "ada/b", "ev?[31m", "zoe"]
    assert "ada/b    warn  23h" in text
    assert "no answer: no whole answer within 5 seconds" in text
    assert text.endswith("4 running: 1 to stop, 1 to warn, 2 to keep; 1 did not answer")


# Metrics


def test_gpu_hours_are_counted_between_passes() -> None:
    """Held: GPUs times the time between two passes; used: what servers say they did since the last pass."""
    metrics = Metrics()
    gpu = seen(server(gpu_count=2), Verdict("keep"))
    busy = replace(gpu, activity=Activity(gpu_seconds=1000.0))
    metrics.note_servers([busy], 0.0)
    metrics.note_servers([replace(busy, activity=Activity(gpu_seconds=4600.0))], 3600.0)
    metrics.note_servers([replace(busy, activity=Activity(gpu_seconds=0.0))], 3600.0)
    metrics.note_servers([replace(busy, activity=Activity(gpu_seconds=1e10))], 3600.0)  # who says so uses no more
    read = metrics.registry.get_sample_value
    assert read("nbplatform_culler_gpu_hours_held_total") == 2
    assert read("nbplatform_culler_gpu_hours_used_total") == 1
    assert read("nbplatform_culler_servers", {"class": "gpu", "verdict": "keep"}) == 1
    assert read("nbplatform_culler_servers", {"class": "cpu", "verdict": "keep"}) is None


def test_a_busy_kernel_beside_an_idle_gpu_is_remarked() -> None:
    """Reported, never stopped for that; a server whose GPU nobody measures says nothing."""
    since = NOW - DAY
    idle = Activity(busy=1, busy_since=since, gpu_seconds=3.0, gpu_used=since - DAY)
    one = seen(server(gpu_count=1), Verdict("keep"), door=Door("ada", "", "http://x/", "t", None))
    assert replace(one, activity=idle).idle_gpu
    assert not replace(one, activity=replace(idle, gpu_used=NOW)).idle_gpu
    assert not replace(one, activity=replace(idle, gpu_seconds=None)).idle_gpu


# Users

LIMITS = UserLimits(timeout=86400, max_age=None, admins=False)
USERS = [
    ("long gone", {"last_activity": "2026-11-20T00:00:00Z"}, True),
    ("just here", {"last_activity": "2026-11-24T08:00:00Z"}, False),
    ("never here, made long ago", {"created": "2026-11-01T00:00:00Z"}, True),
    ("about whom nothing is known", {}, False),
    ("an administrator", {"admin": True, "last_activity": "2026-11-20T00:00:00Z"}, False),
    ("with a server", {"servers": {"": {}}, "last_activity": "2026-11-20T00:00:00Z"}, False),
    ("about to start one", {"pending": "spawn", "last_activity": "2026-11-20T00:00:00Z"}, False),
]


@pytest.mark.parametrize(("_", "user", "over"), USERS, ids=[row[0] for row in USERS])
def test_who_is_deleted(_: str, user: dict[str, Any], over: bool) -> None:
    """As upstream's culler does it, and never anybody about whom nothing is known."""
    assert is_over({"name": "x", **user}, LIMITS, NOW) is over


def test_an_age_deletes_who_is_still_there() -> None:
    """``--max-age`` is from the making on."""
    user = {"name": "x", "created": "2026-11-01T00:00:00Z", "last_activity": "2026-11-24T08:00:00Z"}
    assert is_over(user, replace(LIMITS, max_age=86400), NOW)
