"""What the culler must remember over its own restarts: one file of JSON, and never two cullers at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..times import read_time

VERSION = 1
MAX_SIZE = 64 * 1024**2
MAX_OUTAGES = 100
OUTAGES_KEPT = timedelta(days=60)
STOPS_KEPT = timedelta(days=14)
SAY_EVERY = 60.0
"""Seconds between two lines of one that waits for its turn."""
_PAUSE = 0.2
_MAX_BROKEN = 10
_TIMES = ("known", "warned", "off")


@dataclass
class Record:
    """What is remembered, as plain values; times are ISO 8601 texts.  Made by :meth:`open`.

    Attributes:
        path: of the file.
        contact: when the hub last answered; None for never.
        outages: ``[from, to]`` each: when nobody could work.
        known: key of a running server to when it was last used.
        warned: key of a running server to when its user was warned.
        promised: key of a running server to what its user was told of its stop: ``{reason, at, extend, extended}``.
        stops: ``{user, server, at, reason, why, told, …}`` each, the latest for each server.
        off: key of a running server to when the rules were first seen not to allow it.
        other: what a newer version keeps beside these; kept as it is.
    """

    path: Path
    contact: str | None = None
    outages: list[list[str]] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    warned: dict[str, str] = field(default_factory=dict)
    promised: dict[str, dict[str, Any]] = field(default_factory=dict)
    stops: list[dict[str, Any]] = field(default_factory=list)
    off: dict[str, str] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    _lock: int = field(default=-1, repr=False)
    _log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__), repr=False)
    _unsaved: bool = field(default=False, repr=False)

    @classmethod
    def peek(cls, path: str | os.PathLike[str], log: logging.Logger | None = None) -> Record:
        """Return what the file holds now, to look at: another culler may have it open.  It must not be saved.

        Args:
            path: of the file; it need not exist.
            log: told of a broken file, which stays where it is.
        """
        record = cls(Path(os.path.realpath(path)))
        record._log = log or record._log
        with contextlib.suppress(OSError):
            try:
                record._take(record._read())
            except ValueError as error:
                record._log.warning("the culler's record %s is broken (%s) and is not looked at", record.path, error)
        return record

    @classmethod
    def open(cls, path: str | os.PathLike[str], log: logging.Logger | None = None, *, wait: bool = True) -> Record:
        """Return what the file holds; waits as long as another process has it open.

        A file that cannot be understood is moved aside, as ``NAME.broken``, and said: the culler then goes on with
        nothing remembered, which warns users anew and forgets outages.

        Args:
            path: of the file; it need not exist, its folder must.
            log: told of a wait and of a broken file.
            wait: whether to wait; else another process is an error.

        Raises:
            BlockingIOError: another process has it open.
            OSError: the folder or the file cannot be used.
        """
        record = cls(Path(os.path.realpath(path)))
        record._log = log or record._log
        record._lock = record._locked(wait)
        try:
            record._load()
        except BaseException:
            record.close()
            raise
        return record

    def save(self) -> bool:
        """Write it to the disk, as a whole or not at all; tell whether that is done.  A full disk is said, once."""
        plain = {**self.other, "version": VERSION, **self._plain()}
        fresh = self.path.with_name(f".{self.path.name}.new")
        try:
            fresh.unlink(missing_ok=True)  # of one that was killed: nobody else has the lock
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _write(file, json.dumps(plain, separators=(",", ":")).encode("ascii"))
                os.fsync(file)
            finally:
                os.close(file)
            fresh.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            if not self._unsaved:
                self._log.error("the culler's record %s cannot be written: %s", self.path, error.strerror)
            self._unsaved = True
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            return False
        if self._unsaved:
            self._log.warning("the culler's record %s is written again", self.path)
        self._unsaved = False
        return True

    def prune(self, now: datetime, running_keys: Container[str]) -> None:
        """Forget what is old, and what is about servers that run no more.

        Args:
            now: aware time.
            running_keys: keys of all servers that run.
        """
        recent = [span for span in self.outages if read_time(span[1]) > now - OUTAGES_KEPT]
        self.outages[:] = recent[-MAX_OUTAGES:]
        for name in (*_TIMES, "promised"):
            kept: dict[str, Any] = getattr(self, name)
            for key in [key for key in kept if key not in running_keys]:
                del kept[key]
        latest = {(one["user"], one["server"]): one for one in sorted(self.stops, key=lambda one: read_time(one["at"]))}
        self.stops[:] = [one for one in latest.values() if read_time(one["at"]) > now - STOPS_KEPT]

    def close(self) -> None:
        """Let another culler have it; does not save."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _plain(self) -> dict[str, Any]:
        times = {name: getattr(self, name) for name in _TIMES}
        return {
            "contact": self.contact,
            "outages": self.outages,
            "stops": self.stops,
            "promised": self.promised,
            **times,
        }

    def _locked(self, wait: bool) -> int:
        """Return the open lock file, once nobody else has it."""
        lock = self.path.with_name(f"{self.path.name}.lock")
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        said = -SAY_EVERY
        try:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return file
                except BlockingIOError:
                    if not wait:
                        raise
                    if time.monotonic() - said >= SAY_EVERY:
                        said = time.monotonic()
                        self._log.warning("another culler has %s open; this one waits until it ends", self.path)
                time.sleep(_PAUSE)
        except BaseException:
            os.close(file)
            raise

    def _load(self) -> None:
        try:
            self._take(self._read())
        except FileNotFoundError:
            return
        except ValueError as error:
            aside = self._move_aside()
            self._log.error("the culler's record %s is broken (%s) and is now %s", self.path, error, aside)

    def _read(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(MAX_SIZE + 1)

    def _take(self, content: bytes) -> None:
        plain = _checked(content)
        for name in self._plain():
            if name in plain:
                setattr(self, name, plain.pop(name))
        plain.pop("version")
        self.other = plain

    def _move_aside(self) -> Path:
        names = [f"{self.path.name}.broken", *(f"{self.path.name}.broken-{at}" for at in range(2, _MAX_BROKEN))]
        places = [self.path.with_name(name) for name in names]
        aside = next((place for place in places if not place.exists()), places[-1])
        self.path.replace(aside)
        return aside


def _checked(content: bytes) -> dict[str, Any]:
    """Return what a record's file says.

    Raises:
        ValueError: it is no record.
    """
    if len(content) > MAX_SIZE:
        raise ValueError(f"more than {MAX_SIZE} bytes")
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(plain, dict) or plain.get("version") != VERSION:
        raise ValueError(f"no record of version {VERSION}")
    try:
        if not isinstance(plain.get("outages", []), list) or not isinstance(plain.get("stops", []), list):
            raise TypeError
        if plain.get("contact") is not None:
            read_time(plain["contact"])
        for begin, end in plain.get("outages", []):
            read_time(begin), read_time(end)
        for name in _TIMES:
            for time_ in plain.get(name, {}).values():
                read_time(time_)
        for told in plain.get("promised", {}).values():
            read_time(told["at"])
            if not isinstance(told["reason"], str) or type(told["extend"]) is not int:
                raise TypeError
        for stop in plain.get("stops", []):
            read_time(stop["at"])
            if not all(isinstance(stop[key], str) for key in ("user", "server", "reason", "why")):
                raise TypeError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError("one of its values is of another form") from None
    return plain


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _sync_folder(folder: Path) -> None:
    """Put a new name on the disk, too."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
