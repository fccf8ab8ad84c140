"""The pool of guest accounts: each is given to one person, for ever, whatever happens to the machine."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pickle
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.accounts import guest_file
from nbplatform_spawners.accounts.directory import NotLinked
from nbplatform_spawners.accounts.guest_file import make_record, mark_of
from nbplatform_spawners.accounts.guest_settings import parse_guest_settings
from nbplatform_spawners.accounts.guests import GuestExpired, GuestPool, GuestsFull
from nbplatform_spawners.cli import make_parser
from nbplatform_spawners.errors import BadFile, DirectoryUnavailable
from tests.house.pages import code_blocks

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SETTINGS = """\
prefix: guest
first_uid: 64001
count: 3
gid: 61400
groups: {guests: 61400, school: 61300}
home: /pbs/guests/{name}
expires_after: 90d
providers: [edugain]
"""


@pytest.fixture
def pool(tmp_path: Path) -> GuestPool:
    """An empty pool of three accounts."""
    return made_pool(tmp_path)


def made_pool(folder: Path, settings: str = SETTINGS) -> GuestPool:
    """A pool with an empty record."""
    (folder / "guests.yaml").write_text(settings)
    found = GuestPool(folder / "guests.yaml")
    make_record(found.record_path)
    return found


def again(pool: GuestPool) -> GuestPool:
    """The pool as another process, or the next start of the hub, sees it."""
    return GuestPool(pool.path)


# Giving out


def test_a_new_person_gets_the_next_account_and_keeps_it(pool: GuestPool) -> None:
    """Everything comes from the settings; the same person gets the same account in every process."""
    first = pool.account("edugain", "org!a", NOW)
    assert first.identity.to_dict() == {
        "name": "guest1",
        "uid": 64001,
        "gid": 61400,
        "groups": {"guests": 61400, "school": 61300},
        "primary_group": "guests",
        "home": "/pbs/guests/guest1",
        "shell": "/bin/bash",
        "provider": "edugain",
        "unnamed_gids": [],
    }
    assert first.valid_until == NOW + timedelta(days=90)
    assert pool.account("edugain", "org!b", NOW).identity.name == "guest2"
    later = again(pool).account("edugain", "org!a", NOW + timedelta(days=1))
    assert later == first


def test_a_person_is_provider_and_subject_letter_by_letter(tmp_path: Path) -> None:
    """Another case, another provider, another organisation: another person."""
    pool = made_pool(tmp_path, SETTINGS.replace("count: 3", "count: 9").replace("[edugain]", "[edugain, other]"))
    people = [("edugain", "org!a"), ("edugain", "org!A"), ("other", "org!a"), ("edugain", "org2!a"), ("edugain", "a")]
    assert len({pool.account(*person, NOW).identity.uid for person in people}) == len(people)


def test_a_full_pool_refuses_and_known_guests_come_in(pool: GuestPool, caplog: pytest.LogCaptureFixture) -> None:
    """Before, a warning says that it is nearly full."""
    with caplog.at_level(logging.WARNING):
        for subject in "abc":
            pool.account("edugain", subject, NOW)
    assert [record.getMessage() for record in caplog.records] == [f"3 of 3 guest accounts of {pool.path} are given out"]
    with pytest.raises(GuestsFull) as caught:
        pool.account("edugain", "d", NOW)
    assert (caught.value.reason, caught.value.message) == ("guests-full", "all 3 accounts for guests are given out")
    assert pool.account("edugain", "c", NOW).identity.name == "guest3"
    assert pool.known("edugain", "d") is None


def test_an_account_that_has_ended_refuses_and_is_given_to_nobody_else(pool: GuestPool) -> None:
    """Its files are still there."""
    for subject in "abc":
        pool.account("edugain", subject, NOW)
    end = NOW + timedelta(days=90)
    pool.account("edugain", "a", end - timedelta(seconds=1))
    with pytest.raises(GuestExpired) as caught:
        pool.account("edugain", "a", end)
    assert caught.value.reason == "account"
    assert "account 'guest1': this guest account ended on 2027-02-22T08:00+00:00" in caught.value.message
    with pytest.raises(GuestsFull):
        pool.account("edugain", "d", end + timedelta(days=9999))


def test_a_prolonged_account_comes_back_with_its_files(pool: GuestPool) -> None:
    """Same name, same uid; another process sees it at once, and an end can also be brought nearer."""
    before = pool.account("edugain", "a", NOW)
    other = again(pool)
    other.account("edugain", "a", NOW)
    pool.prolong("guest1", NOW + timedelta(days=200), NOW)
    found = other.account("edugain", "a", NOW + timedelta(days=199))
    assert (found.identity, found.valid_until) == (before.identity, NOW + timedelta(days=200))
    pool.prolong("guest1", None, NOW)
    assert other.account("edugain", "a", NOW + timedelta(days=9999)).valid_until is None
    pool.prolong("guest1", NOW, NOW)
    with pytest.raises(GuestExpired):
        again(pool).account("edugain", "a", NOW)
    with pytest.raises(KeyError):
        pool.prolong("guest2", None, NOW)


def test_people_of_other_providers_are_no_guests(pool: GuestPool) -> None:
    """Not even those who were, before the settings changed."""
    with pytest.raises(NotLinked):
        pool.account("orcid", "a", NOW)
    pool.account("edugain", "a", NOW)
    pool.path.write_text(SETTINGS.replace("[edugain]", "[another]"))
    with pytest.raises(NotLinked):
        pool.account("edugain", "a", NOW)


def test_what_was_given_out_outlives_other_settings(pool: GuestPool) -> None:
    """Other numbers and names are for new guests; no name and no uid is given out twice."""
    pool.account("edugain", "a", NOW)
    pool.account("edugain", "b", NOW)
    pool.path.write_text(SETTINGS.replace("guest\n", "visitor\n").replace("64001", "64002").replace("90d", "never"))
    assert pool.account("edugain", "a", NOW).identity.name == "guest1"
    assert pool.account("edugain", "a", NOW).valid_until == NOW + timedelta(days=90)
    new = pool.account("edugain", "c", NOW)
    assert (new.identity.name, new.identity.uid, new.valid_until) == ("visitor2", 64003, None)


def test_bad_settings_change_nothing_and_are_told_once(pool: GuestPool, caplog: pytest.LogCaptureFixture) -> None:
    """And so are settings that are gone; good ones act at once."""
    with caplog.at_level(logging.ERROR):
        pool.path.write_text("prefix: guest\n")
        assert pool.account("edugain", "a", NOW).identity.name == "guest1"
        assert pool.account("edugain", "b", NOW).identity.name == "guest2"
        pool.path.unlink()
        assert pool.account("edugain", "b", NOW).identity.name == "guest2"
        assert pool.account("edugain", "b", NOW).identity.name == "guest2"
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f'guests file {pool.path} is bad: "guests.yaml:1: ')
    assert second == f"guests file {pool.path} is bad: No such file or directory; what it said before holds on"
    pool.path.write_text(SETTINGS.replace("count: 3", "count: 2"))
    with pytest.raises(GuestsFull):
        pool.account("edugain", "c", NOW)


def test_a_look_gives_out_nothing(pool: GuestPool) -> None:
    """Only a login does: somebody whose link was taken out must not use up an account at the next refresh."""
    with pytest.raises(NotLinked):
        pool.account("edugain", "a", NOW, new=False)
    assert not pool.record().guests
    given = pool.account("edugain", "a", NOW)
    assert pool.account("edugain", "a", NOW, new=False) == given


# Damage


def filled(pool: GuestPool) -> GuestPool:
    """The pool with two guests, one of them prolonged."""
    pool.account("edugain", "a", NOW)
    pool.prolong("guest1", NOW + timedelta(days=100), NOW)
    pool.account("edugain", "b", NOW)
    return pool


def test_a_record_cut_anywhere_gives_out_nothing(pool: GuestPool) -> None:
    """Whatever is missing at its end was given out: the mark says so."""
    path = filled(pool).record_path
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DirectoryUnavailable, match="is damaged"):
            again(pool).account("edugain", "new", NOW)
        assert path.read_bytes() == whole[:length]


def test_a_record_with_any_byte_changed_gives_out_nothing(pool: GuestPool) -> None:
    """Nor does one with a line taken out, doubled or put elsewhere."""
    path = filled(pool).record_path
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    broken = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    broken += [b"".join(lines[:at] + lines[at + 1 :]) for at in range(len(lines))]
    broken += [whole + lines[-1], b"".join([lines[0], lines[2], lines[1], lines[3]]), b"", b"\n" * 9, b"[]\n" * 9]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(DirectoryUnavailable, match="is damaged"):
            again(pool).account("edugain", "new", NOW)


def test_a_killed_writer_leaves_no_half_line_behind(pool: GuestPool) -> None:
    """Cut at any byte of a line whose account nobody was given, the record goes on; a whole line counts."""
    path = filled(pool).record_path
    before, mark = path.read_bytes(), mark_of(path).read_bytes()
    pool.account("edugain", "c", NOW)
    whole = path.read_bytes()
    for length in range(len(before), len(whole) + 1):
        path.write_bytes(whole[:length])
        mark_of(path).write_bytes(mark)
        known = again(pool).known("edugain", "c")
        assert (known is not None) == (length == len(whole))
        assert again(pool).account("edugain", "x" if known is None else "c", NOW).identity.name == "guest3"
        assert again(pool).account("edugain", "b", NOW).identity.name == "guest2"
        with pytest.raises(GuestsFull):
            again(pool).account("edugain", "y", NOW)


def test_a_line_that_a_killed_writer_left_is_made_safe_before_it_is_given_out(pool: GuestPool) -> None:
    """The mark follows, so that the line cannot be lost unseen."""
    path = filled(pool).record_path
    mark = mark_of(path).read_bytes()
    pool.account("edugain", "c", NOW)
    after = mark_of(path).read_bytes()
    mark_of(path).write_bytes(mark)
    assert again(pool).account("edugain", "c", NOW).identity.name == "guest3"
    assert mark_of(path).read_bytes() == after


LOST: dict[str, tuple[Callable[[Path], object], str]] = {
    "the record": (lambda path: path.unlink(), "bring the newest copies of both back"),
    "the mark": (lambda path: mark_of(path).unlink(), "its mark is missing"),
    "an empty mark": (lambda path: mark_of(path).write_bytes(b""), "its mark cannot be read"),
    "a mark of another record": (
        lambda path: mark_of(path).write_bytes(
            json.dumps({**json.loads(mark_of(path).read_bytes()), "chain": "0" * 32}).encode()
        ),
        "it is not the record that its mark was written for",
    ),
    "both": (lambda path: [one.unlink() for one in (path, mark_of(path))], "accounts guests init FILE' makes one"),
}


@pytest.mark.parametrize(("lose", "message"), LOST.values(), ids=LOST)
def test_a_lost_record_is_no_empty_one(pool: GuestPool, lose: Callable[[Path], object], message: str) -> None:
    """Else the first guest after a disk was not mounted would get the first guest's files."""
    lose(filled(pool).record_path)
    for one in (pool, again(pool)):
        with pytest.raises(DirectoryUnavailable, match=message):
            one.account("edugain", "a", NOW)


def test_an_old_copy_of_the_record_gives_nothing_out(pool: GuestPool) -> None:
    """Whole, with its mark, and without the last guest: whose account somebody else would get."""
    path = filled(pool).record_path
    copies = {one: one.read_bytes() for one in (path, mark_of(path))}
    assert pool.account("edugain", "c", NOW).identity.name == "guest3"
    newest = {one: one.read_bytes() for one in copies}
    for one, content in copies.items():
        one.write_bytes(content)
    for subject in ("a", "c", "d"):
        with pytest.raises(DirectoryUnavailable, match="guest3 would be given to somebody else"):
            pool.account("edugain", subject, NOW)
    for one, content in newest.items():
        one.write_bytes(content)
    assert pool.account("edugain", "c", NOW).identity.name == "guest3"


def test_a_record_is_not_made_over_another(pool: GuestPool) -> None:
    """Not where it lies, and not where only its mark was lost."""
    path = filled(pool).record_path
    content = path.read_bytes()
    with pytest.raises(FileExistsError):
        make_record(path)
    mark_of(path).unlink()
    with pytest.raises(FileExistsError):
        make_record(path)
    assert path.read_bytes() == content


def test_making_a_record_can_be_killed_and_repeated(tmp_path: Path) -> None:
    """What is left of it is not taken for a record."""
    path = tmp_path / "guests.record"
    make_record(path)
    whole = path.read_bytes()
    mark_of(path).unlink()
    for length in (0, 5, len(whole)):
        path.write_bytes(whole[:length])
        make_record(path)
        assert path.read_bytes().count(b"\n") == 1
        assert (path.stat().st_mode & 0o777, mark_of(path).stat().st_mode & 0o777) == (0o600, 0o600)
        mark_of(path).unlink()


def test_a_full_disk_gives_out_nothing(pool: GuestPool) -> None:
    """A real limit on the size of files: the record stays as it was, and goes on once there is room."""
    path = filled(pool).record_path
    before = path.read_bytes()
    script = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from datetime import datetime, UTC
from pathlib import Path
from nbplatform_spawners.accounts.guests import GuestPool
from nbplatform_spawners.errors import DirectoryUnavailable
pool = GuestPool(Path({str(pool.path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before)} + 20, {len(before)} + 20))
try:
    pool.account("edugain", "c", datetime.now(UTC))
except DirectoryUnavailable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"the record of guests {path} cannot be written: File too large\n"
    assert path.read_bytes() == before
    assert pool.account("edugain", "c", NOW).identity.name == "guest3"


def test_a_record_that_another_process_holds_is_asked_later(pool: GuestPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process must not hang the hub."""
    monkeypatch.setattr(guest_file, "LOCK_LIMIT", 0.1)
    with pool.record_path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DirectoryUnavailable, match="another process holds the record"):
            pool.account("edugain", "a", NOW)
    assert pool.account("edugain", "a", NOW).identity.name == "guest1"


# Several processes

GIVE = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from nbplatform_spawners.accounts.guests import GuestPool
pool = GuestPool(Path(sys.argv[1]))
for subject in sys.argv[2:]:
    print(subject, pool.account("edugain", subject, datetime.now(UTC)).identity.name, flush=True)
"""


def give(pool: GuestPool, *subjects: str) -> subprocess.Popen[str]:
    """A process that asks for the accounts of these people, one after the other."""
    command = [sys.executable, "-c", GIVE, str(pool.path), *subjects]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_give_out_no_account_twice(tmp_path: Path) -> None:
    """The same people ask both: each gets one account, and everybody another."""
    pool = made_pool(tmp_path, SETTINGS.replace("count: 3", "count: 40"))
    subjects = [f"s{number}" for number in range(40)]
    processes = [give(pool, *subjects), give(pool, *reversed(subjects))]
    told = [dict(line.split() for line in process.communicate(timeout=60)[0].splitlines()) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert told[0] == told[1]
    assert len({*told[0].values()}) == 40


def test_what_was_given_out_is_there_after_a_kill(tmp_path: Path) -> None:
    """SIGKILL in the middle of the work, again and again: nobody loses an account or shares one."""
    pool = made_pool(tmp_path, SETTINGS.replace("count: 3", "count: 2000"))
    told: dict[str, str] = {}
    for round_ in range(4):
        process = give(pool, *(f"r{round_}-{number}" for number in range(500)))
        assert process.stdout is not None
        told |= dict(process.stdout.readline().split() for _ in range(5 + 7 * round_))
        process.send_signal(signal.SIGKILL)
        told |= dict(line.split() for line in process.stdout if line.endswith("\n"))
        process.wait()
        process.stdout.close()
    assert len({*told.values()}) == len(told) > 20
    fresh = again(pool)
    assert {subject: fresh.account("edugain", subject, datetime.now(UTC)).identity.name for subject in told} == told


# Settings

WRONG = {
    "no settings": ("", ["guests.yaml:1: the file is empty"]),
    "everything missing": (
        "{}",
        [
            f"guests.yaml:1: the settings: the key '{key}' is missing"
            for key in ("count", "expires_after", "first_uid", "gid", "prefix", "providers")
        ],
    ),
    "an unknown key": (
        SETTINGS + "cuont: 4\n",
        ["guests.yaml:9: the settings: unknown key 'cuont', did you mean 'count'?"],
    ),
    "values": (
        SETTINGS.replace("guest\n", "Guest1\n").replace("64001", "0").replace("count: 3", "count: 10001"),
        [
            "guests.yaml:1: the settings: prefix: 'Guest1': a safe name in lower case that does not end with a digit",
            "guests.yaml:2: the settings: first_uid: '0': a number from 1 to 4294967294 is expected",
            "guests.yaml:3: the settings: count: '10001': a number from 1 to 10000 is expected",
        ],
    ),
    "one home for all": (
        SETTINGS.replace("/{name}", ""),
        ["guests.yaml:6: the settings: home: '/pbs/guests': a path with the placeholder {name} is expected"],
    ),
    "another placeholder": (
        SETTINGS.replace("/pbs", "/{group}"),
        ["guests.yaml:6: the settings: home: '/{group}/guests/{name}': there is no other placeholder than {name}"],
    ),
    "no time": (
        SETTINGS.replace("90d", "0d"),
        ["guests.yaml:7: the settings: expires_after: '0d': more than nothing is expected"],
    ),
    "uids that go too far": (
        SETTINGS.replace("64001", "4294967294"),
        ["guests.yaml:3: the settings: count: the last uid is more than 4294967294"],
    ),
    "a group that is not safe": (
        SETTINGS.replace("school", "a b"),
        ["guests.yaml:5: the settings: groups: the name 'a b' is not a safe one"],
    ),
    "nobody": (
        SETTINGS.replace("[edugain]", "[]"),
        ["guests.yaml:8: the settings: providers: the list is empty"],
    ),
    "a relative record": (
        SETTINGS + "record: guests.record\n",
        ["guests.yaml:9: the settings: record: 'guests.record': the path is relative"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_every_mistake_of_the_settings_is_named(text: str, expected: list[str]) -> None:
    """With its line; never the first alone."""
    with pytest.raises(BadFile) as caught:
        parse_guest_settings(text.encode(), "guests.yaml")
    found = sorted(str(mistake) for mistake in caught.value.mistakes)
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True)), found


def test_the_pool_of_the_documents_is_one() -> None:
    """What a reader copies parses, and the commands there are commands."""
    blocks = [
        block for block in code_blocks("docs/how-to/edugain.md") if block.mark.endswith("test_accounts_guests.py")
    ]
    settings, commands = (block.text for block in blocks)
    found = parse_guest_settings(settings.encode(), "guests.yaml")
    assert (found.name(50), found.uid(50), found.record) == ("guest50", 64050, "/var/lib/jupyterhub/guests.record")
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "nbplatform"
        assert make_parser().parse_args(arguments).file == Path("/etc/jupyterhub/guests.yaml")


def test_settings_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """At the start; later ones change nothing."""
    with pytest.raises(DirectoryUnavailable, match="cannot be read: No such file"):
        GuestPool(tmp_path / "none.yaml")


def test_refusals_pass_from_process_to_process() -> None:
    """They are pickled where a test or a pool of processes passes them on."""
    for refusal in (GuestsFull(3), GuestExpired("guest1", NOW)):
        assert pickle.loads(pickle.dumps(refusal)).message == refusal.message


# The command

NBPLATFORM = [sys.executable, "-m", "nbplatform_spawners.cli", "accounts", "guests"]


def run(*arguments: str, cwd: Path) -> Any:
    """Run a command to its end."""
    return subprocess.run([*NBPLATFORM, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_makes_a_record_once(tmp_path: Path) -> None:
    """Without one, nothing is listed."""
    (tmp_path / "guests.yaml").write_text(SETTINGS)
    done = run("list", "guests.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "'nbplatform accounts guests init FILE' makes one, once" in done.stderr
    assert run("init", "guests.yaml", cwd=tmp_path).stdout.startswith("made guests.record; it and guests.record.mark ")
    assert run("init", "guests.yaml", cwd=tmp_path).returncode == 1
    done = run("list", "guests.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "0 of 3 accounts are given out\n")


def test_the_command_shows_who_has_what(pool: GuestPool) -> None:
    """Ended accounts are told from others, and prolonged from now on; an unknown guest is wrong use."""
    folder = pool.path.parent
    past = datetime.now(UTC) - timedelta(days=400)
    pool.account("edugain", "org!a", past)
    pool.account("edugain", "org!b", datetime.now(UTC))
    lines = run("list", "guests.yaml", cwd=folder).stdout.splitlines()
    assert lines[0].split() == [
        "guest1",
        "64001",
        "ended",
        f"{past + timedelta(days=90):%Y-%m-%dT%H:%MZ}",
        "edugain",
        "org!a",
    ]
    assert lines[1].split()[:2] == ["guest2", "64002"]
    assert lines[2] == "2 of 3 accounts are given out"
    done = run("prolong", "guests.yaml", "guest1", "--by", "30d", cwd=folder)
    assert done.stdout.startswith("guest1 ends ")
    assert pool.account("edugain", "org!a", datetime.now(UTC) + timedelta(days=29)).identity.uid == 64001
    assert run("prolong", "guests.yaml", "guest1", "--until", "never", cwd=folder).stdout == "guest1 has no end\n"
    assert run("prolong", "guests.yaml", "guest9", "--by", "30d", cwd=folder).returncode == 2
    assert run("prolong", "guests.yaml", "guest1", cwd=folder).returncode == 2
    assert run("prolong", "guests.yaml", "guest1", "--by", "soon", cwd=folder).returncode == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_record_belongs_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    """An administrator makes it, and prolongs accounts, as root; the hub may run as somebody else."""
    os.chown(tmp_path, 12345, 12346)
    pool = filled(made_pool(tmp_path))
    for path in (pool.record_path, mark_of(pool.record_path)):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)
