"""Rule files on disk: read whole, watched by polling, swapped as a whole, never worse than before."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from ..errors import BadFile, Mistake
from ..names import bounded
from .model import RuleBook
from .parse import generation_of, parse_rules

MAX_BYTES = 4 * 1024**2
"""Bytes that all rule files of a directory may have together."""
_TRIES = 5
_PAUSE = 0.05
_Signature = dict[str, tuple[int, ...]]


def read_files(directory: Path) -> dict[str, bytes]:
    """Return every rule file of a directory, by name: as they were at one moment.

    Read are the files whose names end in ``.yaml``.  Hidden files, what editors leave behind and folders are not.

    Raises:
        BadFile: no rule file, one that cannot be read, a ``.yml`` file, a folder or a dangling link called
            ``x.yaml``, more than 4 MiB in all, or files that never stand still.
    """
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        names = _list(directory)
        try:
            before = _signature(directory, names)
            files, opened = _read(directory, names)
            # A link swap or a rename in between would give half of the old files and half of the new ones; one that
            # is taken back shows only in what was opened.
            if opened == before == _signature(directory, names) and _list(directory) == names:
                return files
        except BadFile:
            if _list(directory) == names:
                raise  # not a file that was just renamed
    raise _bad(directory, "the rule files change all the time, they were never twice the same")


def load(directory: Path) -> RuleBook:
    """Return the rule book of a directory.

    Raises:
        BadFile: with every mistake.
    """
    return parse_rules(read_files(directory))


class RuleStore:
    """The rule book of a directory, kept up to date.

    A daemon thread reads the files twice a second: this also works where nobody is notified (NFS, config maps),
    and a file system that hangs blocks nobody else.  A change is taken when two polls in a row saw the same, so
    that a half-written file is not, and then as a whole.  Bad files change nothing.

    Args:
        directory: where the rule files are.
        interval: seconds between two polls.
        log: told of each new rule book, and once of each bad one.
        on_change: called with the store, in the polling thread, after ``book`` or ``problem`` changed; must not raise.

    Raises:
        BadFile: the files are bad at the start.
    """

    _shared: ClassVar[dict[str, RuleStore]] = {}  # by real path, and by every path it was asked for with
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        directory: Path | str,
        interval: float = 0.5,
        log: logging.Logger | None = None,
        on_change: Callable[[RuleStore], None] | None = None,
    ) -> None:
        self.directory = Path(directory).absolute()  # not resolved: a link is followed at each poll
        self.interval = interval
        self.log = log or logging.getLogger(__name__)
        self.on_change = on_change
        files = read_files(self.directory)
        self._book = parse_rules(files)
        self._problem: BadFile | None = None
        self._taken = self._seen = self._book.generation
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def shared(cls, directory: Path | str, log: logging.Logger | None = None) -> RuleStore:
        """Return the started store of this process for a directory; each real path has one.

        Raises:
            BadFile: the files are bad and no store was made before.
        """
        asked = str(Path(directory).absolute())
        with cls._shared_lock:
            store = cls._shared.get(asked)  # asked again and again: a file system that hangs must not block that
            if store is None:
                path = os.path.realpath(asked)
                store = cls._shared[asked] = cls._shared.get(path) or cls(directory, log=log)
                cls._shared.setdefault(path, store)
            store.start()
            return store

    @property
    def book(self) -> RuleBook:
        """The last good rule book."""
        return self._book

    @property
    def problem(self) -> BadFile | None:
        """What is wrong with the files as they are now; None when they are what ``book`` says."""
        return self._problem

    def start(self) -> None:
        """Begin to watch; does nothing when it is watching."""
        if self._thread is None or not self._thread.is_alive():
            self._stopping.clear()
            self._thread = threading.Thread(target=self._watch, name="nbplatform-rules", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the watch.  Waits for a poll that is under way, but not for a file system that hangs."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
            self._thread = None

    def check_now(self) -> bool:
        """Poll once: read the files, and take them if they are new and the same as in the poll before.

        Returns:
            whether anything was taken, good or bad.
        """
        with self._lock:
            files, problem = _look(self.directory)
            mark = _mark_of(problem) if problem else generation_of(files)
            settled, self._seen = mark == self._seen, mark
            if mark == self._taken or not settled:
                return False
            self._taken = mark
            self._take(files, problem)
        if self.on_change:
            self.on_change(self)
        return True

    def _watch(self) -> None:
        while not self._stopping.wait(self.interval):
            self.check_now()

    def _take(self, files: dict[str, bytes], problem: BadFile | None) -> None:
        if problem is None:
            try:
                self._book = parse_rules(files)
            except BadFile as error:
                problem = error
        self._problem = problem
        if problem is None:
            self.log.info("rules of %s: generation %.12s holds now", self.directory, self._book.generation)
        else:
            first, more = problem.mistakes[0], len(problem.mistakes) - 1
            self.log.error(
                "rules of %s are bad, generation %.12s stays: %s%s",
                self.directory,
                self._book.generation,
                bounded(first, 400),
                f" (and {more} more, see 'nbplatform rules check')" if more else "",
            )


def _look(directory: Path) -> tuple[dict[str, bytes], BadFile | None]:
    try:
        return read_files(directory), None
    except BadFile as error:
        return {}, error


def _mark_of(problem: BadFile) -> str:
    return hashlib.sha256(str(problem).encode("utf-8", "backslashreplace")).hexdigest()


def _bad(directory: Path, message: str) -> BadFile:
    return BadFile([Mistake(_shown(directory), 0, message)])


def _shown(path: Path | str) -> str:
    return bounded(path, 200)[1:-1]


def _list(directory: Path) -> list[str]:
    """Return the names of the rule files, sorted."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError as error:
        raise _bad(directory, f"the rule directory cannot be read: {error.strerror}") from None
    names = [name for name in names if not name.startswith((".", "#"))]
    mistakes = [
        Mistake(_shown(name), 0, f"only '.yaml' is read; rename it to {bounded(Path(name).stem + '.yaml')}")
        for name in names
        if name.lower().endswith((".yml", ".yaml")) and not name.endswith(".yaml")
    ]
    names = [name for name in names if name.endswith(".yaml")]
    mistakes += [
        Mistake(_shown(name), 0, "the file's name holds a character that cannot be printed")
        for name in names
        if not name.isprintable()
    ]
    if mistakes:
        raise BadFile(mistakes)
    if not names:
        raise _bad(directory, "the rule directory holds no rule file (*.yaml)")
    return names


def _signature(directory: Path, names: list[str]) -> _Signature:
    """Return what changes when a file is written or replaced.

    Raises:
        BadFile: one is not a file.
    """
    found: _Signature = {}
    mistakes = []
    for name in names:
        try:
            now = (directory / name).stat()  # before it is opened: opening a pipe would wait for ever
        except OSError as error:
            mistakes.append(Mistake(name, 0, f"the file cannot be read: {error.strerror}"))
            continue
        if not stat.S_ISREG(now.st_mode):
            mistakes.append(Mistake(name, 0, "this is not a file"))
        found[name] = _state(now)
    if mistakes:
        raise BadFile(mistakes)
    return found


def _state(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(directory: Path, names: list[str]) -> tuple[dict[str, bytes], _Signature]:
    """Return the contents, and the signature of the files that were really read.

    Raises:
        BadFile: a file cannot be read, or all together are too large.
    """
    files: dict[str, bytes] = {}
    opened: _Signature = {}
    mistakes = []
    left = MAX_BYTES
    for name in names:
        try:
            with (directory / name).open("rb") as file:
                files[name] = file.read(left + 1)
                opened[name] = _state(os.fstat(file.fileno()))
        except OSError as error:
            mistakes.append(Mistake(name, 0, f"the file cannot be read: {error.strerror}"))
            continue
        left -= len(files[name])
        if left < 0:
            raise _bad(directory, f"the rule files hold more than {MAX_BYTES // 1024**2} MiB")
    if mistakes:
        raise BadFile(mistakes)
    return files, opened
