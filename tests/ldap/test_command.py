"""``nbplatform accounts show`` with an LDAP server, as a program: what an administrator looks at before users come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components.slapd import PASSWORD, Slapd

from .site import accounts, settings_for, write_settings


def show(name: str, spec: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "nbplatform_spawners.cli", "accounts", "show", name, "--accounts", spec, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_account_is_shown_as_the_hub_will_see_it(nis: Slapd, tmp_path: Path) -> None:
    """Exit status 0; groups that are left out are named on the standard error."""
    done = show("alice", write_settings(tmp_path, settings_for(nis, cache=None)))
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    assert (shown["uid"], shown["groups"], shown["refused"]) == (62001, {"users": 61000, "atlas": 61100}, None)
    assert done.stderr.splitlines() == [
        "group 'Domain Users' has no safe name: its members keep gid 61200, no rule can match it",
        "group 'docker' is left out: its gid, 998, is outside the range that servers may have",
    ]


ENDS = {
    "an ended account": ("lapsed", {}, 3, "account 'lapsed': it ended on 2020-01-01T00:00+00:00"),
    "a uid outside the range": ("bob", {"more": ["--max-uid", "62001"]}, 3, "the uid, 62002, is outside the allowed"),
    "an unknown name": ("nobody", {}, 2, "account 'nobody': this site has no such account"),
    "upper case on the command line": ("BOB", {}, 0, ""),
    "uid 0": ("zero", {}, 3, "account 'zero': the uid, '0', is not a number"),
    "nobody there": ("alice", {"servers": ["ldaps://127.0.0.1:1"]}, 1, "it is down, not there, or speaks"),
    "a base that is wrong": ("alice", {"accounts": accounts("ou=none")}, 1, "a base of the settings is not there"),
    "a mistake in the settings": ("alice", {"severs": []}, 1, "unknown key 'severs', did you mean 'servers'?"),
    "a password for all eyes": ("alice", {"mode": 0o644}, 1, "everybody can read or write it: chmod 600"),
}


@pytest.mark.parametrize(("name", "changed", "status", "said"), ENDS.values(), ids=ENDS)
def test_each_end_has_its_status_and_sentence(
    own: Slapd, tmp_path: Path, name: str, changed: dict[str, object], status: int, said: str
) -> None:
    """As with any other directory; never a trace, never the password."""
    settings = {key: value for key, value in changed.items() if key not in ("more", "mode")}
    own.password_file.chmod(int(str(changed.get("mode", 0o600))))
    more = changed.get("more", [])
    assert isinstance(more, list)
    done = show(name, write_settings(tmp_path, settings_for(own, **settings)), *more)
    assert done.returncode == status, done
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_all_mistakes_of_the_settings_are_named_at_once(nis: Slapd, tmp_path: Path) -> None:
    """One a line, as FILE:LINE: MESSAGE."""
    (tmp_path / "directory.yaml").write_text("servers: [ldap]\ntimeout: soon\naccounts: {bsae: x}\n")
    done = show("alice", f"ldap:{tmp_path}/directory.yaml")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("directory.yaml:") for line in lines)
