"""The audit file: one JSON object a line, which another program ships and rotates."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from pathlib import Path
from typing import TypeAlias

from .events import Event, event_line

Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
_HOW = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_MODE = 0o640


class EventFile:
    """A file that events are added to, by several processes at once if need be.

    Each event is one write to the end of the file.  A file that was moved away or deleted is made anew at the next
    event, one that was cut to nothing is gone on with, so every way of rotating works and none needs a signal.  It may
    be used by several threads.

    Args:
        path: of the file; it is made when the first event comes, readable by its owner and group.  It should be on a
            local disk: the writer waits for the write.
        log: told once that events are lost, and once that they no longer are; nobody is told when None.
    """

    def __init__(self, path: str | os.PathLike[str], log: Logger | None = None) -> None:
        self.path = os.fspath(path)
        self.lost = 0
        """How many events could not be written since the last one that was."""
        self._log = log
        self._file: int | None = None
        self._torn = False
        self._lock = threading.Lock()

    def write(self, event: Event) -> None:
        """Add one event.  Never raises for the file's sake: nobody's server waits for a full disk to be mended."""
        line = event_line(event)
        with self._lock:
            try:
                self._write(line)
            except OSError as error:
                self._close()
                self.lost += 1
                if self.lost == 1:
                    self._say_lost(error)
                return
            lost, self.lost = self.lost, 0
        if lost and self._log is not None:
            self._log.warning("audit events are written to %s again; lost: %d", self.path, lost)

    def close(self) -> None:
        """Close the file; the next event opens it again."""
        with self._lock:
            self._close()

    def _say_lost(self, error: OSError) -> None:
        if self._log is not None:
            self._log.error("audit events are lost, %s cannot be written: %s", self.path, error.strerror)

    def _write(self, line: bytes) -> None:
        file = self._opened()
        if self._torn:
            line = b"\n" + line  # half an event is before us, and must not take this one with it
        written = os.write(file, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError(0, "the disk took only a part of an event")

    def _opened(self) -> int:
        """Return the file that the path names now."""
        if self._file is not None and _is_at(self._file, self.path):
            return self._file
        self._close()
        file = os.open(self.path, _HOW, _MODE)  # not blocking: opening a pipe would wait for a reader
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "it is no plain file")
            self._torn = found.st_size > 0 and os.pread(file, 1, found.st_size - 1) != b"\n"
        except OSError:
            os.close(file)
            raise
        self._file = file
        return file

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None


def _is_at(file: int, path: str) -> bool:
    """Tell whether an open file is the one that the path names."""
    try:
        return os.path.samestat(os.fstat(file), Path(path).stat())
    except FileNotFoundError:
        return False
