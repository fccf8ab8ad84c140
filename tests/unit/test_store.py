"""The store on real files: whole, watched, swapped at once, never worse than before."""

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbplatform_spawners.errors import BadFile
from nbplatform_spawners.rules.store import RuleStore, load, read_files

PROFILES = "profiles: {cpu: {title: CPU, allow: true}}\n"
ONE = "rules: [{name: one, match: {}, cpu: 1}]\n"
TWO = "rules: [{name: two, match: {}, cpu: 2}]\n"
BAD = "rules: [{name: bad, match: {}, cpu: none}]\n"
PATIENCE = 30.0
"""Seconds after which a test that waits for a thread gives up; nothing is measured."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with two good rule files."""
    rules = tmp_path / "placement_rules"
    rules.mkdir()
    (rules / "10-profiles.yaml").write_text(PROFILES)
    (rules / "20-rules.yaml").write_text(ONE)
    return rules


@pytest.fixture
def store(directory: Path) -> RuleStore:
    """Return a store that polls when the test says so."""
    return RuleStore(directory)


def names(store: RuleStore) -> list[str]:
    """Return the names of the rules that hold."""
    return [rule.origin.by for rule in store.book.rules]


def poll_until_settled(store: RuleStore) -> None:
    """Poll as often as a change needs that has come to rest."""
    store.check_now()
    store.check_now()


def write_in_place(directory: Path, text: str) -> None:
    """Write as ``cat > file`` does."""
    (directory / "20-rules.yaml").write_text(text)


def write_by_rename(directory: Path, text: str) -> None:
    """Write as vim does: the old file becomes a backup, the new one takes its name."""
    (directory / "20-rules.yaml").rename(directory / "20-rules.yaml~")
    (directory / "4913").write_text("")
    (directory / ".20-rules.yaml.swp").write_text("")
    (directory / "20-rules.yaml").write_text(text)
    (directory / "4913").unlink()


def write_by_replace(directory: Path, text: str) -> None:
    """Write as most editors and configuration management do: a new file is moved over the old one."""
    (directory / ".new").write_text(text)
    (directory / ".new").replace(directory / "20-rules.yaml")


def write_with_the_old_time_and_size(directory: Path, text: str) -> None:
    """Write as ``cp --preserve`` or a coarse clock may: nothing but the content tells."""
    path = directory / "20-rules.yaml"
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


WRITERS = (write_in_place, write_by_rename, write_by_replace, write_with_the_old_time_and_size)


@pytest.mark.parametrize("write", WRITERS)
def test_a_change_is_taken_however_it_was_written(
    store: RuleStore, directory: Path, write: Callable[[Path, str], None]
) -> None:
    """Files are watched by content: no notification, time or size is needed."""
    write(directory, TWO)
    poll_until_settled(store)
    assert (names(store), store.problem) == (["two"], None)


def test_a_half_written_file_that_is_valid_yaml_is_never_taken(store: RuleStore, directory: Path) -> None:
    """A change is taken when two polls in a row saw the same."""
    seen = set()
    path = directory / "20-rules.yaml"
    whole = "rules:\n" + "".join(f"  - {{name: r{number}, match: {{}}, cpu: 1}}\n" for number in range(20))
    with path.open("w") as file:
        for line in whole.splitlines(keepends=True):
            file.write(line)
            file.flush()
            store.check_now()
            seen.add(tuple(names(store)))
    assert seen == {("one",)}
    store.check_now()
    assert len(names(store)) == 20


def test_a_bad_file_changes_nothing_and_is_logged_once(
    store: RuleStore, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good rule book stays, one error line is logged, the problem is shown until it is gone."""
    before = store.book
    write_in_place(directory, BAD)
    for _ in range(5):
        store.check_now()
    assert store.book is before
    assert [str(mistake).partition(": '")[0] for mistake in store.problem.mistakes] == [  # type: ignore[union-attr]
        "20-rules.yaml:1: rule 'bad': cpu"
    ]
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "20-rules.yaml:1" in errors[0]
    assert errors[0].isprintable()


def test_another_mistake_is_another_error_line(
    store: RuleStore, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each distinct bad content is told once."""
    for text in (BAD, BAD.replace("none", "nil")):
        write_in_place(directory, text)
        poll_until_settled(store)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR]


REPAIRS = {"to what it was": (ONE, ["one"]), "to something new": (TWO, ["two"])}


@pytest.mark.parametrize(("text", "expected"), REPAIRS.values(), ids=REPAIRS)
def test_a_repaired_file_clears_the_problem(store: RuleStore, directory: Path, text: str, expected: list[str]) -> None:
    """The problem describes the files as they are now."""
    write_in_place(directory, BAD)
    poll_until_settled(store)
    assert store.problem
    write_in_place(directory, text)
    poll_until_settled(store)
    assert (names(store), store.problem) == (expected, None)


def test_a_directory_that_vanishes_and_comes_back_changes_nothing(store: RuleStore, directory: Path) -> None:
    """A vanished directory is a bad rule book, not "no rules"."""
    away = directory.with_name("away")
    directory.rename(away)
    poll_until_settled(store)
    assert names(store) == ["one"]
    assert "No such file or directory" in str(store.problem)
    away.rename(directory)
    poll_until_settled(store)
    assert (names(store), store.problem) == (["one"], None)


def test_an_emptied_directory_changes_nothing(store: RuleStore, directory: Path) -> None:
    """An empty directory is a bad rule book, not "no rules"."""
    for path in directory.iterdir():
        path.unlink()
    poll_until_settled(store)
    assert names(store) == ["one"]
    assert "holds no rule file" in str(store.problem)


def make_config_map(directory: Path, version: str, text: str) -> None:
    """Put files into place as the kubelet does: a new folder, then one rename of the link ``..data``."""
    folder = directory / f"..{version}"
    folder.mkdir(parents=True)
    (folder / "10-profiles.yaml").write_text(PROFILES)
    (folder / "20-rules.yaml").write_text(text)
    (directory / "..data_tmp").symlink_to(folder.name)
    (directory / "..data_tmp").replace(directory / "..data")
    for name in ("10-profiles.yaml", "20-rules.yaml"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


def test_a_config_map_is_swapped_by_its_link(tmp_path: Path) -> None:
    """Kubernetes swaps the symbolic link ``..data``; the files' own links never change."""
    make_config_map(tmp_path / "map", "2026_1", ONE)
    store = RuleStore(tmp_path / "map")
    make_config_map(tmp_path / "map", "2026_2", TWO)
    shutil.rmtree(tmp_path / "map" / "..2026_1")
    poll_until_settled(store)
    assert (names(store), store.problem) == (["two"], None)


def test_a_directory_that_is_a_link_is_followed_at_each_poll(directory: Path) -> None:
    """A deployment may swap a link to the whole directory."""
    other = directory.with_name("other")
    shutil.copytree(directory, other)
    write_in_place(other, TWO)
    link = directory.with_name("current")
    link.symlink_to(directory)
    store = RuleStore(link)
    link.unlink()
    link.symlink_to(other)
    poll_until_settled(store)
    assert names(store) == ["two"]


def test_a_relative_directory_stays_what_it_was_when_the_process_moves(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The directory is made absolute at the start."""
    monkeypatch.chdir(directory.parent)
    store = RuleStore(directory.name)
    monkeypatch.chdir(tmp_path.parent)
    poll_until_settled(store)
    assert store.problem is None


def test_a_directory_of_a_thousand_rules_is_taken_as_a_whole(store: RuleStore, directory: Path) -> None:
    """Many rules in many files are one rule book."""
    for part in range(10):
        rules = "".join(f"  - {{name: r{part}-{number}, match: {{}}, cpu: 1}}\n" for number in range(100))
        (directory / f"5{part}-more.yaml").write_text("rules:\n" + rules)
    poll_until_settled(store)
    assert len(names(store)) == 1001


def test_only_rule_files_are_read(directory: Path) -> None:
    """Hidden files, editor leftovers, other files and the folder of cases are not rules."""
    for leftover in (".20-rules.yaml.swp", ".hidden.yaml", "#20-rules.yaml#", "20-rules.yaml~", "README.md", "4913"):
        (directory / leftover).write_text("not: rules")
    (directory / ".#20-rules.yaml").symlink_to("ada@host.4711:1")
    (directory / "tests").mkdir()
    (directory / "tests" / "cases.yaml").write_text("tests: []")
    assert sorted(read_files(directory)) == ["10-profiles.yaml", "20-rules.yaml"]


def make_yml(directory: Path) -> None:
    """Leave a file with the other ending."""
    (directory / "30-more.yml").write_text(TWO)


def make_capitals(directory: Path) -> None:
    """Leave a file that some systems would read."""
    (directory / "30-more.YAML").write_text(TWO)


def make_folder(directory: Path) -> None:
    """Call a folder x.yaml."""
    (directory / "x.yaml").mkdir()


def make_dangling(directory: Path) -> None:
    """Leave a link to nothing."""
    (directory / "x.yaml").symlink_to("nowhere.yaml")


def make_loop(directory: Path) -> None:
    """Leave a link to itself."""
    (directory / "x.yaml").symlink_to("x.yaml")


def make_pipe(directory: Path) -> None:
    """Leave a named pipe, on which reading would wait for ever."""
    os.mkfifo(directory / "x.yaml")


def make_large(directory: Path) -> None:
    """Write more than anybody reads."""
    (directory / "x.yaml").write_text("#" * (4 * 1024**2))


def make_binary(directory: Path) -> None:
    """Write what is not text."""
    (directory / "x.yaml").write_bytes(b"\xff\xfe")


def make_unreadable(directory: Path) -> None:
    """Leave a file that gives an error when it is read, to root as well."""
    (directory / "x.yaml").symlink_to("/proc/self/mem")


def make_hostile_name(directory: Path) -> None:
    """Name a file so that a log line would break."""
    (directory / "a\nb.yaml").write_text("")


def make_file_of_it(directory: Path) -> None:
    """Put a file where the directory was."""
    shutil.rmtree(directory)
    directory.write_text("")


BAD_DIRECTORIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a .yml file": (make_yml, "30-more.yml: only '.yaml' is read; rename it to '30-more.yaml'"),
    "an ending in capitals": (make_capitals, "30-more.YAML: only '.yaml' is read; rename it to '30-more.yaml'"),
    "a folder called x.yaml": (make_folder, "x.yaml: this is not a file"),
    "a dangling link": (make_dangling, "x.yaml: the file cannot be read: No such file or directory"),
    "a link to itself": (make_loop, "x.yaml: the file cannot be read: Too many levels of symbolic links"),
    "a named pipe": (make_pipe, "x.yaml: this is not a file"),
    "too much": (make_large, "the rule files hold more than 4 MiB"),
    "bytes that are no text": (make_binary, "x.yaml:1: the file is not UTF-8 text"),
    "a file that gives an error": (make_unreadable, "x.yaml: the file cannot be read: Input/output error"),
    "a name with a line break": (make_hostile_name, "a\\nb.yaml: the file's name holds a character"),
    "a file in place of the directory": (make_file_of_it, "the rule directory cannot be read: Not a directory"),
}


@pytest.mark.parametrize(("spoil", "expected"), BAD_DIRECTORIES.values(), ids=BAD_DIRECTORIES)
def test_what_cannot_be_read_is_a_mistake_at_the_start_and_changes_nothing_later(
    directory: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    """Nothing is skipped in silence: a bad directory stops the start, and later changes nothing."""
    store = RuleStore(directory)
    spoil(directory)
    with pytest.raises(BadFile) as caught:
        load(directory)
    assert expected in str(caught.value)
    poll_until_settled(store)
    assert names(store) == ["one"]
    assert str(store.problem) == str(caught.value)


def test_files_that_are_swapped_while_they_are_read_come_from_one_version(tmp_path: Path) -> None:
    """Half of the old files and half of the new ones would be rules that nobody wrote."""
    directory = tmp_path / "map"
    versions = [f"# version {number}\n" for number in range(2)]
    for number, text in enumerate(versions):
        make_config_map(directory, f"v{number}", text)
        (directory / f"..v{number}" / "10-profiles.yaml").write_text(text)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for number in range(2):
                (directory / "..data_tmp").symlink_to(f"..v{number}")
                (directory / "..data_tmp").replace(directory / "..data")

    thread = threading.Thread(target=swap)
    thread.start()
    mixed = 0
    try:
        for _ in range(30):
            with contextlib.suppress(BadFile):  # it may say that the files never stand still
                mixed += len(set(read_files(directory).values())) != 1
    finally:
        over.set()
        thread.join()
    assert mixed == 0
    assert len(set(read_files(directory).values())) == 1


def test_a_bad_directory_stops_the_start(tmp_path: Path) -> None:
    """A bad file at start stops the start."""
    with pytest.raises(BadFile, match="No such file or directory"):
        RuleStore(tmp_path / "nowhere")


@pytest.fixture
def watching(directory: Path) -> Iterator[tuple[RuleStore, "threading.Semaphore"]]:
    """Yield a store that watches by itself, and what is released at each change."""
    changed = threading.Semaphore(0)
    store = RuleStore(directory, interval=0.01, on_change=lambda _: changed.release())
    store.start()
    yield store, changed
    store.stop()


def test_the_thread_takes_changes_and_tells_of_them(
    watching: tuple[RuleStore, threading.Semaphore], directory: Path
) -> None:
    """Hot reload: nobody has to ask; the callback sees the store as it is after the change."""
    store, changed = watching
    write_by_replace(directory, TWO)
    assert changed.acquire(timeout=PATIENCE)
    assert names(store) == ["two"]
    write_by_replace(directory, BAD)
    assert changed.acquire(timeout=PATIENCE)
    assert (names(store), bool(store.problem)) == (["two"], True)


def test_a_stopped_store_leaves_no_thread_and_can_start_again(
    watching: tuple[RuleStore, threading.Semaphore], directory: Path
) -> None:
    """Stopping ends the watch, starting twice makes one."""
    store, changed = watching
    store.start()
    threads = [thread for thread in threading.enumerate() if thread.name == "nbplatform-rules"]
    assert len(threads) == 1
    store.stop()
    assert not threads[0].is_alive()
    store.start()
    write_by_replace(directory, TWO)
    assert changed.acquire(timeout=PATIENCE)


def test_one_store_serves_a_directory_however_it_is_called(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every spawner of the process shares one store and one thread for each real path."""
    link = directory.with_name("link")
    link.symlink_to(directory)
    monkeypatch.chdir(directory.parent)
    store = RuleStore.shared(directory)
    try:
        assert all(RuleStore.shared(path) is store for path in (str(directory), link, directory.name, directory))
    finally:
        store.stop()


def test_a_bad_directory_is_not_shared(tmp_path: Path) -> None:
    """What could not be loaded is tried again when it is asked for again."""
    rules = tmp_path / "rules"
    with pytest.raises(BadFile):
        RuleStore.shared(rules)
    rules.mkdir()
    (rules / "a.yaml").write_text(PROFILES)
    store = RuleStore.shared(rules)
    store.stop()
    assert list(store.book.profiles) == ["cpu"]
