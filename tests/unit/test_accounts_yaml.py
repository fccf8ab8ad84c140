"""The accounts file on disk: taken as a whole when it changes, never worse than before."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nbplatform_spawners.accounts.directory import UnknownAccount, open_directory
from nbplatform_spawners.accounts.yaml_file import YamlDirectory
from nbplatform_spawners.errors import BadFile, DirectoryUnavailable

HEAD = "groups: {users: 61000, atlas: 61100}\naccounts:\n"
ALICE = "  alice: {uid: 62001, group: users}\n"
MORE = "  alice: {uid: 62001, group: users, groups: [atlas]}\n"
BOB = "  bob: {uid: 62002, group: users}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An accounts file with Alice and Bob."""
    path = tmp_path / "accounts.yaml"
    path.write_text(HEAD + ALICE + BOB)
    return path


def groups(directory: YamlDirectory) -> set[str]:
    """Alice's groups."""
    return set(directory.lookup("alice").identity.groups)


def by_rename(path: Path, text: str) -> None:
    """As most editors write."""
    new = path.with_name("new.tmp")
    new.write_text(text)
    new.replace(path)


def in_place(path: Path, text: str) -> None:
    """As ``cat > file`` writes."""
    path.write_text(text)


def same_size_and_time(path: Path, text: str) -> None:
    """As a tool writes that puts the old time back; the text has the length of the one before."""
    before = path.stat()
    padded = text + "#" * (before.st_size - len(text) - 1) + "\n" if len(text) < before.st_size else text
    path.write_text(padded)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_link(path: Path, text: str) -> None:
    """As a Kubernetes config map changes: a link is swapped for another."""
    data = path.with_name("data-2")
    data.mkdir()
    (data / "accounts.yaml").write_text(text)
    link = path.with_name("link.tmp")
    link.symlink_to(data / "accounts.yaml")
    link.replace(path)


@pytest.mark.parametrize("write", [by_rename, in_place, same_size_and_time, by_link])
def test_the_next_lookup_sees_a_change(path: Path, write: object) -> None:
    """Group changes act at the next spawn, however the file is written."""
    in_place(path, HEAD + ALICE + BOB + "# a line of text to be replaced\n")
    directory = YamlDirectory(path)
    assert groups(directory) == {"users"}
    write(path, HEAD + MORE + BOB)  # type: ignore[operator]
    assert groups(directory) == {"users", "atlas"}


def test_a_half_written_file_is_not_taken(path: Path) -> None:
    """The first half of an accounts file may be valid YAML without Bob: the lookup waits for the rest."""
    directory = YamlDirectory(path)
    path.write_text(HEAD + MORE)

    def rest() -> None:
        time.sleep(0.05)
        with path.open("a") as file:
            file.write(BOB)

    writer = threading.Thread(target=rest)
    writer.start()
    try:
        assert directory.lookup("bob").identity.uid == 62002
        assert groups(directory) == {"users", "atlas"}
    finally:
        writer.join()


BROKEN = {
    "no YAML": "accounts: {",
    "empty": "",
    "an unknown key": HEAD + "  alice: {uid: 62001, grop: users}\n",
    "cut behind the groups": "groups: {users: 61000}\n",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_bad_file_changes_nothing_and_is_logged_once(
    path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good file holds on, with one error line for each bad one, until it is mended."""
    directory = YamlDirectory(path)
    caplog.set_level(logging.INFO)
    in_place(path, content)
    assert directory.lookup("bob").identity.uid == 62002
    assert directory.lookup("alice").identity.uid == 62001
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(path) in caplog.text
    in_place(path, HEAD + MORE)
    assert groups(directory) == {"users", "atlas"}
    with pytest.raises(UnknownAccount):
        directory.lookup("bob")
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def hide(path: Path) -> None:
    """Take the file away."""
    path.rename(path.with_name("aside"))


def shut(path: Path) -> None:
    """Put something in its place that cannot be read as a file, whoever asks."""
    hide(path)
    path.mkdir()


def put_back(path: Path) -> None:
    """The file as it was."""
    if path.exists():
        path.rmdir()
    path.with_name("aside").rename(path)


@pytest.mark.parametrize("take", [hide, shut])
def test_a_file_that_cannot_be_read_answers_nothing(
    path: Path, take: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """An outage says nothing about any account: neither "gone" nor "still good"; one line for each outage."""
    directory = YamlDirectory(path)
    caplog.set_level(logging.INFO)
    for outage in (1, 2):
        take(path)
        for name in ("bob", "alice", "nobody"):
            with pytest.raises(DirectoryUnavailable, match=r"accounts\.yaml cannot be read: "):
                directory.lookup(name)
        put_back(path)
        assert directory.lookup("bob").identity.uid == 62002
        assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"] * outage


def test_a_file_that_is_moved_away_for_a_moment_is_waited_for(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Some editors rename the old file first and write the new one then: nobody notices."""
    directory = YamlDirectory(path)
    hide(path)
    writer = threading.Timer(0.2, in_place, (path, HEAD + MORE + BOB))
    writer.start()
    try:
        assert groups(directory) == {"users", "atlas"}
    finally:
        writer.join()
    assert not caplog.records


def test_a_bad_file_after_an_outage_still_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was last good holds on: the file can be read again, and what is wrong with it is said."""
    directory = YamlDirectory(path)
    path.unlink()
    with pytest.raises(DirectoryUnavailable):
        directory.lookup("bob")
    in_place(path, "accounts: {")
    assert directory.lookup("bob").identity.uid == 62002
    assert "is bad: " in caplog.text


def test_a_group_without_a_safe_name_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the start and when it comes in by a change, in one bounded line each; not at each lookup or change."""
    in_place(path, HEAD.replace("users:", "Domain Users: 61200, users:") + ALICE)
    directory = YamlDirectory(path, log=logging.getLogger("hub"))
    long = "x y" * 200
    for more in ("# one", "# two"):
        in_place(path, HEAD.replace("users:", f"Domain Users: 61200, {long}: 61201, users:") + ALICE + more + "\n")
        directory.lookup("alice")
        directory.lookup("alice")
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "group 'Domain Users' has no safe name: its members keep gid 61200, no rule can match it"
    assert second.startswith("group 'x yx y")
    assert len(second) < 200


def test_a_bad_file_at_the_start_is_an_error_with_every_mistake(path: Path) -> None:
    """A hub must not start on a guess."""
    in_place(path, HEAD + "  alice: {uid: x, group: y}\n")
    with pytest.raises(BadFile) as caught:
        YamlDirectory(path)
    assert len(caught.value.mistakes) == 2


def test_no_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(DirectoryUnavailable, match=r"none\.yaml cannot be read: No such file"):
        YamlDirectory(tmp_path / "none.yaml")


def test_a_directory_at_the_start_is_an_error(tmp_path: Path) -> None:
    """As any path that cannot be read."""
    (tmp_path / "d.yaml").mkdir()
    with pytest.raises(DirectoryUnavailable, match="Is a directory"):
        YamlDirectory(tmp_path / "d.yaml")


def test_many_threads_may_ask_while_the_file_changes(path: Path) -> None:
    """Each answer is of the old file or of the new one, whole."""
    directory = YamlDirectory(path)
    answers: list[set[str]] = []

    def ask() -> None:
        for _ in range(50):
            answers.append(groups(directory))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    by_rename(path, HEAD + MORE)
    for thread in threads:
        thread.join()
    assert len(answers) == 200
    assert all(answer in ({"users"}, {"users", "atlas"}) for answer in answers)


WRONG_SPECS = ["", "ldap", "accounts.yml", "accounts.json", "a\nb"]


@pytest.mark.parametrize("spec", WRONG_SPECS)
def test_a_directory_that_does_not_exist_in_our_words_is_said(spec: str) -> None:
    """``nss`` or a path that ends in ``.yaml``; anything else is an error with both words in it."""
    with pytest.raises(ValueError, match=r"neither 'nss' nor the path of a \.yaml file") as caught:
        open_directory(spec)
    assert "\n" not in str(caught.value)


def test_a_path_opens_the_file(path: Path) -> None:
    """The specification of a YAML directory is its path."""
    assert open_directory(str(path)).lookup("bob").identity.uid == 62002
