"""What the culler remembers: whole or not at all on the disk, its owner's alone, never open twice."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.culler.record import MAX_OUTAGES, Record

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
KEY = "a/b ☃/train@2026-11-20T08:00:00+00:00"
STOP = {"user": "a/b ☃", "server": "train", "at": NOW.isoformat(), "reason": "idle", "why": "idle for 3 days"}


def ago(**how_long: float) -> str:
    """Return a time before now."""
    return (NOW - timedelta(**how_long)).isoformat()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the record is to be."""
    return tmp_path / "culler.json"


@pytest.fixture
def record(path: Path) -> Iterator[Record]:
    """Open a new record."""
    found = Record.open(path)
    yield found
    found.close()


def reopened(record: Record) -> Record:
    """Return what another process would find."""
    assert record.save() is True
    record.close()
    return Record.open(record.path)


def test_a_new_record_knows_nothing(record: Record, path: Path) -> None:
    """And there is no file before it is saved."""
    assert (record.contact, record.outages, record.known, record.warned, record.stops, record.off) == (
        None, [], {}, {}, [], {}
    )  # fmt: skip
    assert not path.exists()


def test_everything_is_there_after_a_restart(record: Record) -> None:
    """Each of its parts, with hostile names and keys that only later versions know."""
    record.contact = NOW.isoformat()
    record.outages.append([ago(hours=2), ago(hours=1)])
    record.known[KEY] = record.warned[KEY] = record.off[KEY] = ago(hours=5)
    record.stops.append({**STOP, "told": False, "key": KEY, "done": True})
    record.other["later"] = {"x": [1]}
    again = reopened(record)
    for name in ("contact", "outages", "known", "warned", "off", "stops", "other"):
        assert getattr(again, name) == getattr(record, name), name
    again.close()


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_nobody_else_reads_it(path: Path, mask: int) -> None:
    """It says who works when; a file that was open to all is closed with the next save."""
    path.write_text('{"version": 1}', encoding="utf-8")
    path.chmod(0o644)
    before = os.umask(mask)
    try:
        record = Record.open(path)
        assert record.save()
        record.close()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    assert modes == {0o600}


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"version":1,"contact":"2026-11-2',
    "zeros": b"\0" * 4096,
    "no text": b"\xff\xfe",
    "a list": b"[]",
    "another version": b'{"version":2}',
    "no version": b"{}",
    "too deep": b"[" * 100_000,
    "a contact that is none": b'{"version":1,"contact":7}',
    "outages that are an object": b'{"version":1,"outages":{"a":1}}',
    "half an outage": b'{"version":1,"outages":[["2026-11-24"]]}',
    "a known time that is a number": b'{"version":1,"known":{"a":1}}',
    "known that is a list": b'{"version":1,"known":[]}',
    "known that is null": b'{"version":1,"known":null}',
    "stops that are null": b'{"version":1,"stops":null}',
    "outages that are null": b'{"version":1,"outages":null}',
    "a stop that is a text": b'{"version":1,"stops":["ada"]}',
    "a stop without a user": b'{"version":1,"stops":[{"server":"","at":"2026-11-24","reason":"","why":""}]}',
    "a stop at no time": b'{"version":1,"stops":[{"user":"a","server":"","at":7,"reason":"","why":""}]}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_moved_aside(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is kept for a person to look at, said in one line, and the culler goes on with nothing."""
    path.write_bytes(content)
    record = Record.open(path)
    assert (record.contact, record.known, record.stops, record.other) == (None, {}, [], {})
    assert path.with_name("culler.json.broken").read_bytes() == content
    assert [(entry.levelname, entry.getMessage()[:35]) for entry in caplog.records] == [
        ("ERROR", f"the culler's record {path}"[:35])
    ]
    assert record.save()
    record.close()


def test_a_second_broken_record_does_not_replace_the_first(path: Path) -> None:
    """What was moved aside stays."""
    for content in (b"first", b"second", b"third"):
        path.write_bytes(content)
        Record.open(path).close()
    found = {one.name: one.read_bytes() for one in path.parent.iterdir() if "broken" in one.name}
    assert found == {
        "culler.json.broken": b"first",
        "culler.json.broken-2": b"second",
        "culler.json.broken-3": b"third",
    }


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """The service must not start as if it could remember."""
    with pytest.raises(FileNotFoundError):
        Record.open(tmp_path / "gone" / "culler.json")


def test_what_cannot_be_read_is_an_error_and_not_moved(path: Path) -> None:
    """A folder in its place is not a broken record."""
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        Record.open(path)
    assert path.is_dir()


def test_a_full_disk_loses_nothing_that_was_there(record: Record, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A limit on the size of files stands for it: said once, the file as it was, and said when it is over."""
    caplog.set_level(logging.INFO)
    record.contact = NOW.isoformat()
    assert record.save()
    before = path.read_bytes()
    record.known = {f"user{number}": NOW.isoformat() for number in range(1000)}
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert record.save() is False
        assert record.save() is False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert record.save() is True
    assert len(json.loads(path.read_bytes())["known"]) == 1000
    assert caplog.messages == [
        f"the culler's record {path} cannot be written: File too large",
        f"the culler's record {path} is written again",
    ]
    assert sorted(one.name for one in path.parent.iterdir()) == ["culler.json", "culler.json.lock"]


def test_what_a_killed_culler_left_half_written_is_no_hindrance(record: Record, path: Path) -> None:
    """Its new file is thrown away; a link planted there is not followed."""
    victim = path.with_name("victim")
    victim.write_bytes(b"untouched")
    path.with_name(".culler.json.new").symlink_to(victim)
    assert record.save() is True
    assert victim.read_bytes() == b"untouched"
    assert json.loads(path.read_bytes())["version"] == 1


def test_a_link_to_the_record_stays_a_link(tmp_path: Path) -> None:
    """Where the site keeps its state elsewhere, the record is written there."""
    there = tmp_path / "state"
    there.mkdir()
    link = tmp_path / "culler.json"
    link.symlink_to(there / "culler.json")
    record = Record.open(link)
    assert record.save()
    record.close()
    assert link.is_symlink()
    assert (there / "culler.json").is_file()


OTHER = textwrap.dedent(
    """
    import logging, sys
    from nbplatform_spawners.culler import record
    record.SAY_EVERY = 0.5
    logging.basicConfig(format="%(message)s")
    found = record.Record.open(sys.argv[1])
    print("open", found.known, flush=True)
    sys.stdin.read()
    """
)


def other_culler(path: Path) -> subprocess.Popen[str]:
    """Start another process that opens the record."""
    pipe: Any = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", OTHER, path], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_second_culler_waits_until_the_first_ends(record: Record, path: Path) -> None:
    """It says so again and again, and then finds what the first has saved last."""
    with other_culler(path) as other:
        assert other.stderr is not None
        assert other.stdout is not None
        lines = [other.stderr.readline().strip() for _ in range(2)]
        assert lines == [f"another culler has {path} open; this one waits until it ends"] * 2
        record.known["ada/@"] = NOW.isoformat()
        assert record.save()
        record.close()
        assert other.stdout.readline() == f"open {{'ada/@': '{NOW.isoformat()}'}}\n"
        other.kill()


def test_one_that_must_not_wait_is_told_so(record: Record, path: Path) -> None:
    """A single pass beside a running service is an error at once, and leaves the service's record alone."""
    assert record.save()
    with pytest.raises(BlockingIOError):
        Record.open(path, wait=False)
    record.close()
    Record.open(path, wait=False).close()


def test_a_look_disturbs_nobody(record: Record, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It works while a culler runs and before there is a file; a broken one is said and stays where it is."""
    assert Record.peek(path).known == {}
    assert not path.exists()
    record.known[KEY] = NOW.isoformat()
    assert record.save()
    assert Record.peek(path).known == {KEY: NOW.isoformat()}
    path.write_bytes(b"cut")
    assert Record.peek(path).known == {}
    assert path.read_bytes() == b"cut"
    assert caplog.messages == [f"the culler's record {path} is broken (no JSON) and is not looked at"]


def test_the_next_culler_starts_when_the_first_was_killed(path: Path) -> None:
    """The lock ends with its process, however that ended."""
    with other_culler(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open {}\n"
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    Record.open(path).close()


def test_what_is_old_or_about_nobody_is_forgotten(record: Record) -> None:
    """Outages after 60 days and beyond a hundred, stops after 14 days, servers that run no more."""
    record.outages[:] = [[ago(days=70), ago(days=61)], [ago(days=62), ago(days=59)]]
    record.outages += [[ago(hours=200 - number), ago(hours=199.5 - number)] for number in range(99)]
    record.known.update({KEY: ago(days=1), "gone": ago(days=1)})
    record.warned.update({KEY: ago(days=1), "gone": ago(days=1)})
    record.off.update({KEY: ago(days=1), "gone": ago(days=1)})
    stops = [
        {**STOP, "at": ago(days=1), "why": "new"},
        {**STOP, "at": ago(days=2), "why": "older"},
        {**STOP, "server": "", "at": ago(days=13)},
        {**STOP, "server": "old", "at": ago(days=15)},
    ]
    record.stops[:] = stops
    record.prune(NOW, {KEY})
    assert len(record.outages) == MAX_OUTAGES
    assert record.outages[0] == [ago(days=62), ago(days=59)]
    assert (set(record.known), set(record.warned), set(record.off)) == ({KEY}, {KEY}, {KEY})
    assert sorted(record.stops, key=str) == sorted([stops[0], stops[2]], key=str)
    record.outages.append([ago(hours=1), ago(minutes=30)])
    record.prune(NOW, {KEY})
    assert len(record.outages) == MAX_OUTAGES
    assert record.outages[-1] == [ago(hours=1), ago(minutes=30)]
    assert record.outages[0] != [ago(days=62), ago(days=59)]
