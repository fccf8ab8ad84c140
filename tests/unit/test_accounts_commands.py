"""``nbplatform accounts``, as a program."""

import json
import os
import pty
import select
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from nbplatform_spawners.accounts.hashes import hash_problem
from tests.unit.account_services import TOKEN, service

NBPLATFORM = [sys.executable, "-m", "nbplatform_spawners.cli", "accounts"]
GOOD = """\
groups: {users: 61000, Domain Users: 61200}
accounts:
  alice: {uid: 62001, group: users, groups: [Domain Users], valid_until: "2999-01-01T00:00Z"}
  old: {uid: 62002, group: users, valid_until: "2020-06-30T00:00+02:00"}
  zero: {uid: 0, group: users}
"""


def run(*arguments: str, text: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*NBPLATFORM, *arguments], input=text, capture_output=True, text=True, timeout=60, cwd=cwd, check=False
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an accounts file."""
    (tmp_path / "accounts.yaml").write_text(GOOD)
    return tmp_path


def test_check_counts_what_is_good_and_warns_of_the_rest(site: Path) -> None:
    """Exit status 0: one unsafe account locks out nobody else, an unsafe group name locks out nobody at all."""
    done = run("check", "accounts.yaml", cwd=site)
    assert (done.returncode, done.stderr) == (0, "")
    group, warning, summary = done.stdout.splitlines()
    kept = "has no safe name: its members keep gid 61200, no rule can match it"
    assert group == f"accounts.yaml:1: warning: group 'Domain Users' {kept}"
    assert warning.startswith("accounts.yaml: warning: 'zero' is refused: ")
    assert summary == "accounts.yaml: 2 accounts in 2 groups, 0 with a password, 1 refused"


OUTSIDE = """\
groups: {users: 61000, docker: 998}
accounts:
  alice: {uid: 62001, group: users}
  low: {uid: 999, group: users}
  docked: {uid: 62003, group: users, groups: [docker]}
  zero: {uid: 0, group: users}
"""


def test_check_counts_accounts_outside_the_range_as_refused(site: Path) -> None:
    """The hub refuses them, in the range that is its default; another range is named by flags."""
    (site / "accounts.yaml").write_text(OUTSIDE)
    done = run("check", "accounts.yaml", cwd=site)
    assert (done.returncode, done.stderr) == (0, "")
    docked, low, _, summary = done.stdout.splitlines()
    range_ = "is outside the allowed range 1000 to 4294967294"
    assert docked == (
        "accounts.yaml: warning: 'docked' is refused: account 'docked': the gid of group docker, 998, " + range_
    )
    assert low == "accounts.yaml: warning: 'low' is refused: account 'low': the uid, 999, " + range_
    assert summary == "accounts.yaml: 1 accounts in 2 groups, 0 with a password, 3 refused"
    done = run("check", "accounts.yaml", "--min-uid", "999", "--min-gid", "998", cwd=site)
    assert done.stdout.splitlines()[-1] == "accounts.yaml: 3 accounts in 2 groups, 0 with a password, 1 refused"


SHOWN = {
    "below": (["low"], 3, "account 'low': the uid, 999, is outside the allowed range 1000 to 4294967294"),
    "below, in another range": (["low", "--min-uid", "999"], 0, None),
    "a group": (["docked"], 3, "account 'docked': the gid of group docker, 998, is outside the allowed range 1000 to"),
    "above": (["alice", "--max-gid", "60999"], 3, "account 'alice': the gid, 61000, is outside"),
}


@pytest.mark.parametrize(("arguments", "status", "refused"), SHOWN.values(), ids=SHOWN)
def test_show_says_who_is_outside_the_range(site: Path, arguments: list[str], status: int, refused: str | None) -> None:
    """The account is shown all the same; exit status 3."""
    (site / "accounts.yaml").write_text(OUTSIDE)
    done = run("show", *arguments, cwd=site)
    shown = json.loads(done.stdout)["refused"]
    assert done.returncode == status
    assert shown is None if refused is None else shown.startswith(refused)


def test_check_names_every_mistake(site: Path) -> None:
    """One a line as ``file:line: message``, exit status 1."""
    (site / "accounts.yaml").write_text("groups: {}\naccounts:\n  alice: {uid: x, group: g}\n")
    done = run("check", "accounts.yaml", cwd=site)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "accounts.yaml:3: account 'alice': group: unknown group 'g'",
        "accounts.yaml:3: account 'alice': uid: 'x': a number from 1 to 4294967294 is expected",
    ]


def test_check_of_no_file_is_an_error(site: Path) -> None:
    """Exit status 1, without a trace."""
    done = run("check", "none.yaml", cwd=site)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "none.yaml: No such file or directory\n")


def test_show_prints_the_account_as_the_hub_sees_it(site: Path) -> None:
    """The identity's plain dict with its end and whether it is refused; the accounts file is the default."""
    done = run("show", "Alice", cwd=site)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "name": "alice",
        "uid": 62001,
        "gid": 61000,
        "groups": {"users": 61000},
        "primary_group": "users",
        "home": "/home/alice",
        "shell": "/bin/bash",
        "provider": None,
        "unnamed_gids": [61200],
        "valid_until": "2999-01-01T00:00:00+00:00",
        "as_of": None,
        "refused": None,
    }


def test_show_says_when_a_service_told_of_the_account(tmp_path: Path) -> None:
    """In ISO 8601 with its zone: what is shown may be older than the question."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    with service() as one:
        settings = f"url: {one.url}\nencryption: none\ntoken_file: {tmp_path / 'token'}\n"
        (tmp_path / "service.yaml").write_text(settings)
        begin = datetime.now(UTC).replace(microsecond=0)
        done = run("show", "ada", "--accounts", f"http:{tmp_path / 'service.yaml'}")
    assert done.returncode == 0, done.stderr
    assert begin <= datetime.fromisoformat(json.loads(done.stdout)["as_of"]) <= datetime.now(UTC)


STATUSES = {
    "an ended account": (["show", "old"], 3, ""),
    "an unsafe account": (["show", "zero"], 3, "account 'zero': the uid"),
    "an unknown account": (["show", "nobody"], 2, "account 'nobody': this site has no such account"),
    "a look-alike": (["show", "\u212aim"], 2, "account '\\u212aim': this site has no such account"),
    "no directory of that kind": (["show", "alice", "--accounts", "ldap"], 1, "accounts 'ldap' is neither 'nss' nor"),
    "no file": (["show", "alice", "--accounts", "none.yaml"], 1, "the accounts file none.yaml cannot be read"),
    "root of this machine": (["show", "root", "--accounts", "nss"], 3, "account 'root': this user name is not"),
    "an empty range": (["show", "alice", "--max-uid", "9"], 2, "--min-uid 1000 is more than --max-uid 9"),
    "an empty range, checked": (["check", "accounts.yaml", "--max-gid", "9"], 2, "--min-gid 1000 is more than"),
    "a range in words": (["show", "alice", "--min-uid", "one"], 2, "usage: nbplatform accounts show"),
    "no command": ([], 2, "usage: nbplatform accounts"),
    "a short password": (["hash"], 1, "a password has at least 8 characters"),
}


@pytest.mark.parametrize(("arguments", "status", "said"), STATUSES.values(), ids=STATUSES)
def test_each_end_has_its_status_and_sentence(site: Path, arguments: list[str], status: int, said: str) -> None:
    """0 good, 1 the directory is bad, 2 usage or no such account, 3 refused; never a trace."""
    done = run(*arguments, cwd=site)
    assert done.returncode == status
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


def test_show_of_an_ended_account_says_why(site: Path) -> None:
    """The account is shown all the same."""
    shown = json.loads(run("show", "old", cwd=site).stdout)
    assert shown["refused"] == "account 'old': it ended on 2020-06-30T00:00+02:00"


def test_hash_makes_what_the_accounts_file_takes() -> None:
    """From the first line of the standard input; the hash fits the password, and the password is printed nowhere."""
    done = run("hash", text="correct horse\nanother line\n")
    assert (done.returncode, done.stderr) == (0, "")
    made = done.stdout.strip()
    assert hash_problem(made) is None
    assert PasswordHasher().verify(made, "correct horse")
    assert "horse" not in made


TYPED = {
    "twice the same": (b"correct horse\ncorrect horse\n", 0, "$argon2id$"),
    "two that differ": (b"correct horse\ncorrect house\n", 1, "the two passwords differ"),
}


@pytest.mark.parametrize(("typed", "status", "said"), TYPED.values(), ids=TYPED)
def test_hash_asks_twice_on_a_terminal_and_shows_nothing(typed: bytes, status: int, said: str) -> None:
    """What is typed is not echoed."""
    main, terminal = pty.openpty()
    command = [*NBPLATFORM, "hash"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    try:
        seen = b""
        for prompt, line in zip((b"Password: ", b"Again: "), typed.splitlines(keepends=True), strict=True):
            while prompt not in seen:
                seen += os.read(main, 1000)
            os.write(main, line)
        assert process.wait(60) == status
        while said.encode() not in seen and select.select([main], [], [], 5)[0]:
            seen += os.read(main, 10_000)
    finally:
        process.kill()
        process.wait()
        os.close(main)
        os.close(terminal)
    assert said in seen.decode()
    assert b"horse" not in seen
