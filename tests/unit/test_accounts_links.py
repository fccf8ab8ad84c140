"""Links written into an accounts file and taken out: nothing else in the text changes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.accounts.link_file import change_file
from nbplatform_spawners.accounts.links import LinkRefused, UnknownUser, add_link, remove_link
from nbplatform_spawners.accounts.parse import parse_accounts
from nbplatform_spawners.errors import BadFile

PAIR = ("edugain", "https://idp.example/x!abc")
LINK = '{provider: edugain, subject: "https://idp.example/x!abc"}'

# What stands before, what stands afterwards: the account's part of the file alone.
WRITTEN = {
    "a line in braces": (
        "  gus: {uid: 62017, group: guests, home: /home/gus}  # since 2024\n",
        f"  gus: {{uid: 62017, group: guests, home: /home/gus, federated: [{LINK}]}}  # since 2024\n",
    ),
    "braces over several lines, with a comma at the end": (
        "  gus: {uid: 62017,  # one\n        group: guests,\n  }\n",
        f"  gus: {{uid: 62017,  # one\n        group: guests, federated: [{LINK}],\n  }}\n",
    ),
    "braces like JSON": (
        '  "gus": {"uid": 62017, "group": "guests"}\n',
        f'  "gus": {{"uid": 62017, "group": "guests", federated: [{LINK}]}}\n',
    ),
    "a block": (
        "  gus:\n    # the number\n    uid: 62017\n    group: guests  # of all guests\n\n",
        f"  gus:\n    # the number\n    uid: 62017\n    group: guests  # of all guests\n    federated: [{LINK}]\n\n",
    ),
    "a block that ends with a block": (
        "  gus:\n    uid: 62017\n    group: guests\n    groups:\n      - users  # all\n",
        f"  gus:\n    uid: 62017\n    group: guests\n    groups:\n      - users  # all\n    federated: [{LINK}]\n",
    ),
    "a block that ends with quotes": (
        '  gus:\n    uid: 62017\n    group: guests\n    home: "/home/\\\n      gus"\n',
        f'  gus:\n    uid: 62017\n    group: guests\n    home: "/home/\\\n      gus"\n    federated: [{LINK}]\n',
    ),
    "a block that ends with a block of text": (
        "  gus:\n    uid: 62017\n    group: guests\n    home: |-\n      /home/gus\n",
        f"  gus:\n    uid: 62017\n    group: guests\n    federated: [{LINK}]\n    home: |-\n      /home/gus\n",
    ),
    "a block with Windows lines": (
        "  gus:\r\n    uid: 62017\r\n    group: guests\r\n",
        f"  gus:\r\n    uid: 62017\r\n    group: guests\r\n    federated: [{LINK}]\r\n",
    ),
    "a list in brackets": (
        "  gus: {uid: 62017, group: guests, federated: [{provider: a, subject: b}]}\n",
        f"  gus: {{uid: 62017, group: guests, federated: [{{provider: a, subject: b}}, {LINK}]}}\n",
    ),
    "an empty list": (
        "  gus: {uid: 62017, group: guests, federated: [ ]}\n",
        f"  gus: {{uid: 62017, group: guests, federated: [{LINK} ]}}\n",
    ),
    "a list in lines": (
        "  gus:\n    uid: 62017\n    federated:\n      - {provider: a, subject: b}  # old\n    group: guests\n",
        "  gus:\n    uid: 62017\n    federated:\n      - {provider: a, subject: b}  # old\n"
        f"      - {LINK}\n    group: guests\n",
    ),
    "a list in lines, each over two, in the column of the key": (
        "  gus:\n    uid: 62017\n    group: guests\n    federated:\n    - provider: a\n      subject: b\n",
        "  gus:\n    uid: 62017\n    group: guests\n    federated:\n    - provider: a\n      subject: b\n"
        f"    - {LINK}\n",
    ),
    "the last line without an end": (
        "  gus:\n    uid: 62017\n    group: guests",
        f"  gus:\n    uid: 62017\n    group: guests\n    federated: [{LINK}]",
    ),
}
BEFORE = """\
# The accounts of the site.
groups: {users: 61000, guests: 61400}   # gids
accounts:
  élodie: {uid: 62001, group: users}   # a name that is refused, and é is two bytes
  alice:   {uid: 62002, group: users, groups: [guests]}
"""
AFTER = "  zoe: {uid: 62003, group: users}\n# the end\n"


def whole(part: str) -> bytes:
    """An accounts file with this part in the middle, or at its end where that has no end of a line."""
    text = BEFORE + part + (AFTER if part.endswith("\n") else "")
    return (text.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in part else text).encode()


@pytest.mark.parametrize(("before", "after"), WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte order mark"])
def test_a_link_is_written_in_the_style_of_the_account(before: str, after: str, mark: bytes) -> None:
    """Comments, order and every other character stay."""
    written = add_link(mark + whole(before), "accounts.yaml", "Gus", PAIR)
    assert written == mark + whole(after)
    assert parse_accounts(written, "accounts.yaml").federated[PAIR] == "gus"


HEAD = "  gus:\n    uid: 62017\n    group: guests\n    federated:\n"
# The account's part with the link, and without it.
TAKEN_OUT = {
    "the only one in brackets": (
        f"  gus: {{uid: 62017, group: guests, federated: [{LINK}], home: /home/gus}}  # x\n",
        "  gus: {uid: 62017, group: guests, federated: [], home: /home/gus}  # x\n",
    ),
    "the first in brackets": (
        f"  gus: {{uid: 62017, group: guests, federated: [{LINK}, {{provider: a, subject: b}}]}}\n",
        "  gus: {uid: 62017, group: guests, federated: [{provider: a, subject: b}]}\n",
    ),
    "the last in brackets": (
        f"  gus: {{uid: 62017, group: guests, federated: [{{provider: a, subject: b}},\n    {LINK}]}}\n",
        "  gus: {uid: 62017, group: guests, federated: [{provider: a, subject: b}]}\n",
    ),
    "the only line": (
        f"  gus:\n    uid: 62017\n    federated:\n      - {LINK}\n    group: guests\n",
        "  gus:\n    uid: 62017\n    federated: []\n    group: guests\n",
    ),
    "the only line, in the column of the key": (
        f"  gus:\n    uid: 62017\n    group: guests\n    federated:\n    - {LINK}\n",
        "  gus:\n    uid: 62017\n    group: guests\n    federated: []\n",
    ),
    "the first line": (
        f"{HEAD}      - {LINK}  # x\n      - {{provider: a, subject: b}}\n",
        f"{HEAD}      - {{provider: a, subject: b}}\n",
    ),
    "the last line": (
        f"{HEAD}      - {{provider: a, subject: b}}\n      - {LINK}\n",
        f"{HEAD}      - {{provider: a, subject: b}}\n",
    ),
    "two lines of a block": (
        f"{HEAD}      - provider: edugain\n"
        "        subject: https://idp.example/x!abc\n      - {provider: a, subject: b}\n",
        f"{HEAD}      - {{provider: a, subject: b}}\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), TAKEN_OUT.values(), ids=TAKEN_OUT)
def test_a_link_is_taken_out(before: str, after: str) -> None:
    """Comments, order and every other character stay."""
    written = remove_link(whole(before), "accounts.yaml", "gus", PAIR)
    assert written == whole(after)
    assert PAIR not in parse_accounts(written, "accounts.yaml").federated


PARTS = st.sampled_from([part for part, _ in (*WRITTEN.values(), *TAKEN_OUT.values())])
SUBJECTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.isprintable)


@given(PARTS, SUBJECTS)
def test_any_subject_can_be_written_and_taken_out_again(part: str, subject: str) -> None:
    """Quotes, backslashes, colons and every script; the file then says what it said before."""
    before = parse_accounts(whole(part), "a.yaml")
    written = add_link(whole(part), "a.yaml", "gus", ("other", subject))
    assert parse_accounts(written, "a.yaml").federated == {**before.federated, ("other", subject): "gus"}
    back = parse_accounts(remove_link(written, "a.yaml", "gus", ("other", subject)), "a.yaml")
    assert (back.federated, back.accounts) == (before.federated, before.accounts)


def test_who_is_linked_already_is_not_linked_again() -> None:
    """Neither to somebody else nor twice to the same."""
    linked = add_link(whole(WRITTEN["a block"][0]), "a.yaml", "gus", PAIR)
    for user in ("alice", "gus"):
        with pytest.raises(LinkRefused, match="linked to the account 'gus' already"):
            add_link(linked, "a.yaml", user, PAIR)
    with pytest.raises(LinkRefused, match="linked to the account 'gus'"):
        remove_link(linked, "a.yaml", "alice", PAIR)
    with pytest.raises(LinkRefused, match="are not linked"):
        remove_link(linked, "a.yaml", "gus", ("edugain", "HTTPS://idp.example/x!abc"))


def test_an_unknown_user_and_a_bad_file_are_refused() -> None:
    """With what is wrong."""
    for change in (add_link, remove_link):
        with pytest.raises(UnknownUser, match="no account 'nobody'"):
            change(whole(WRITTEN["a block"][0]), "a.yaml", "nobody", PAIR)
        with pytest.raises(BadFile, match=r"a\.yaml:2: "):
            change(b"groups: {}\naccounts: {gus: {uid: x}}\n", "a.yaml", "gus", PAIR)


def test_what_cannot_be_changed_safely_is_left_to_a_person() -> None:
    """A link whose end YAML does not tell; nothing is returned, so nothing is written."""
    part = f"{HEAD}      - provider: edugain\n        subject: |-\n          x\n"
    with pytest.raises(LinkRefused, match="by hand"):
        remove_link(whole(part), "a.yaml", "gus", ("edugain", "x"))


# The file


def test_the_file_is_replaced_with_its_owner_mode_and_attributes(tmp_path: Path) -> None:
    """And where it lies: a symbolic link to it stays one."""
    real = tmp_path / "real.yaml"
    real.write_bytes(b"old")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 12345, 12346)
    link = tmp_path / "accounts.yaml"
    link.symlink_to(real)
    before = real.stat()
    change_file(link, lambda content: content + b" new")
    after = real.stat()
    assert link.is_symlink()
    assert real.read_bytes() == b"old new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_mtime_ns > before.st_mtime_ns
    assert sorted(path.name for path in tmp_path.iterdir()) == ["accounts.yaml", "real.yaml"]


def test_what_somebody_else_writes_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """An editor that was quicker wins; nothing is left behind."""
    path = tmp_path / "accounts.yaml"
    path.write_bytes(b"old")

    def change(content: bytes) -> bytes:
        path.write_bytes(b"by an editor")
        return content + b" new"

    with pytest.raises(OSError, match="somebody else changes it now"):
        change_file(path, change)
    assert path.read_bytes() == b"by an editor"
    assert list(tmp_path.iterdir()) == [path]


def test_changes_at_once_are_all_made(tmp_path: Path) -> None:
    """Each waits for the one before."""
    path = tmp_path / "accounts.yaml"
    path.write_bytes(b"")
    threads = [threading.Thread(target=change_file, args=(path, lambda content: content + b"x")) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == b"x" * 20


# The commands

NBPLATFORM = [sys.executable, "-m", "nbplatform_spawners.cli", "accounts"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an accounts file."""
    (tmp_path / "accounts.yaml").write_bytes(whole(WRITTEN["a block"][0]))
    return tmp_path


def run(*arguments: str, cwd: Path) -> Any:
    """Run a command to its end."""
    return subprocess.run([*NBPLATFORM, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_the_commands_link_and_unlink(site: Path) -> None:
    """Both say what they did."""
    done = run("link", "gus", *PAIR, cwd=site)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "accounts.yaml: gus is linked to provider edugain, subject 'https://idp.example/x!abc'\n"
    assert (site / "accounts.yaml").read_bytes() == whole(WRITTEN["a block"][1])
    assert run("unlink", "gus", *PAIR, cwd=site).stdout.startswith("accounts.yaml: gus is no longer linked to ")


LDAP = """\
servers: [ldaps://ldap.example.org]
accounts: {base: "dc=example", federated: "(&(objectClass=person)(site=yes)(voPersonExternalID={provider}!{subject}))"}
groups: {base: "dc=example"}
"""
ELSEWHERE = {
    "nobody": (["link", "nobody", *PAIR], 2, "accounts.yaml: there is no account 'nobody' in this file"),
    "no such link": (["unlink", "gus", *PAIR], 3, "accounts.yaml: this provider and subject are not linked"),
    "no file": (["link", "gus", *PAIR, "--accounts", "none.yaml"], 1, "none.yaml: No such file or directory"),
    "no directory": (["link", "gus", *PAIR, "--accounts", "x"], 2, "--accounts 'x' is none of nss, PATH.yaml,"),
    "an empty subject": (["link", "gus", "edugain", ""], 2, "subject '': printable text of 1 to 1024 characters"),
    "an unsafe provider": (["link", "gus", "a b", "x"], 2, "provider 'a b': letters, digits,"),
    "the machine": (["link", "gus", *PAIR, "--accounts", "nss"], 3, "the machine's own accounts hold no links"),
    "a service": (["link", "gus", *PAIR, "--accounts", "http:x.yaml"], 3, "this directory is not written from here;"),
    "LDAP": (
        ["link", "gus", *PAIR, "--accounts", "ldap:ldap.yaml"],
        3,
        "this directory is not written from here; the entry of gus must have:\n"
        "  voPersonExternalID: edugain!https://idp.example/x!abc\n",
    ),
    "LDAP without links": (
        ["link", "gus", *PAIR, "--accounts", "ldap:plain.yaml"],
        1,
        "plain.yaml: there is no 'federated' in its accounts",
    ),
    "LDAP without a file": (["link", "gus", *PAIR, "--accounts", "ldap:no.yaml"], 1, "no.yaml: No such file"),
}


@pytest.mark.parametrize(("arguments", "status", "message"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_cannot_be_written_is_said(site: Path, arguments: list[str], status: int, message: str) -> None:
    """With what to enter where; no file changes."""
    (site / "ldap.yaml").write_text(LDAP)
    (site / "plain.yaml").write_text(LDAP.partition(", federated")[0] + '}\ngroups: {base: "dc=example"}\n')
    before = (site / "accounts.yaml").read_bytes()
    done = run(*arguments, cwd=site)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(message)
    assert (site / "accounts.yaml").read_bytes() == before


def test_capital_letters_are_remarked_on(site: Path) -> None:
    """Keycloak's session note is in lower case; the link is written as it was asked for."""
    done = run("link", "gus", "edugain", "Abc", cwd=site)
    assert done.returncode == 0
    assert done.stderr.startswith("note: the subject has capital letters.")
    assert parse_accounts((site / "accounts.yaml").read_bytes(), "a").federated["edugain", "Abc"] == "gus"


def test_a_pipe_is_no_accounts_file(tmp_path: Path) -> None:
    """Opening one would wait for ever, with the folder's lock held."""
    os.mkfifo(tmp_path / "accounts.yaml")
    with pytest.raises(OSError, match="not a regular file"):
        change_file(tmp_path / "accounts.yaml", bytes)
