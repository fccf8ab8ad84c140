"""The file that says who has which guest account: locked, added to, and on the disk before anything is given out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import DirectoryUnavailable
from .guest_record import Damaged, Record, first_record, read_record

LOCK_LIMIT = 5.0
"""Seconds for which another process may hold the record."""
_PAUSE = 0.02
_BLOCK = 1024**2
_MAKE_ONE = "'nbplatform accounts guests init FILE' makes one, once"


def mark_of(path: Path) -> Path:
    """Return where the mark of a record is; see ``guest_record``."""
    return path.with_name(path.name + ".mark")


def make_record(path: Path) -> None:
    """Make an empty record; done once, by a person: a missing record must never pass for an empty one.

    It belongs to the owner of its folder, as far as this process may give it away.

    Raises:
        FileExistsError: there is one, or a part of one.
        OSError: it cannot be written.
    """
    if mark_of(path).exists():
        raise FileExistsError(0, "there is one already", str(path))
    with open(path, "a+b", opener=_private) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.seek(0)
        if file.read().count(b"\n") > 1 or mark_of(path).exists():
            raise FileExistsError(0, "there is one already, or its mark is missing", str(path))
        owner = path.parent.stat()
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        line, record = first_record(secrets.token_hex(8))
        os.ftruncate(file.fileno(), 0)
        _write(file.fileno(), line, 0)
        _write_mark(path, file.fileno(), record)


@contextlib.contextmanager
def opened(path: Path, how: int) -> Iterator[int]:
    """Open and lock the record; ``LOCK_SH`` for reading, ``LOCK_EX`` for adding to it.

    Raises:
        DirectoryUnavailable: it is missing, cannot be opened, or another process does not give it back.
    """
    try:
        file = os.open(path, os.O_RDWR if how == fcntl.LOCK_EX else os.O_RDONLY)
    except FileNotFoundError:
        lost = "its mark is there: bring the newest copies of both back" if mark_of(path).exists() else _MAKE_ONE
        raise DirectoryUnavailable(f"there is no record of guests at {path}; {lost}") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        limit = time.monotonic() + LOCK_LIMIT
        while True:
            try:
                fcntl.flock(file, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > limit:
                    raise DirectoryUnavailable(f"another process holds the record of guests {path}") from None
            except OSError as error:
                raise _unreadable(path, error) from None
            time.sleep(_PAUSE)
        yield file
    finally:
        os.close(file)


def content_of(path: Path, file: int) -> Record:
    """Return what the open and locked record says.

    Raises:
        DirectoryUnavailable: it cannot be read, or is damaged.
    """
    try:
        mark = mark_of(path).read_bytes()
        content = b"".join(iter(lambda: os.read(file, _BLOCK), b""))
        return read_record(content, mark)
    except FileNotFoundError:
        problem = "its mark is missing"
    except OSError as error:
        raise _unreadable(path, error) from None
    except Damaged as damage:
        problem = str(damage)
    raise DirectoryUnavailable(f"the record of guests {path} is damaged: {problem}; bring the newest copy back")


def settled_content(path: Path, file: int) -> Record:
    """Return what the record says that is open and locked for adding to it.

    A line of somebody who was killed is put on the disk first: its account is given out from now on.

    Raises:
        DirectoryUnavailable: it cannot be read or written, or is damaged.
    """
    record = content_of(path, file)
    if not record.settled:
        try:
            os.fsync(file)
            _write_mark(path, file, record)
        except OSError as error:
            raise _unwritable(path, error) from None
    return record


def append(path: Path, file: int, before: Record, line: bytes, after: Record) -> None:
    """Add a line to the locked record, and move its mark.

    Raises:
        DirectoryUnavailable: that is not on the disk; nothing may be given out.
    """
    try:
        os.ftruncate(file, before.size)  # a line that was cut when somebody was killed: nobody was given it
        try:
            _write(file, line, before.size)
        except OSError:
            os.ftruncate(file, before.size)
            raise
        _write_mark(path, file, after)
    except OSError as error:
        raise _unwritable(path, error) from None


def _write(file: int, content: bytes, at: int) -> None:
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written
    os.fsync(file)


def _write_mark(path: Path, file: int, record: Record) -> None:
    """Replace the mark as a whole; it belongs to the owner of the record."""
    mark = mark_of(path)
    new = mark.with_name(mark.name + ".new")
    owner = os.fstat(file)
    with open(new, "wb", opener=_private) as out:
        if os.geteuid() == 0:
            os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
        out.write(record.mark)
        out.flush()
        os.fsync(out.fileno())
    new.replace(mark)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unreadable(path: Path, error: OSError) -> DirectoryUnavailable:
    return DirectoryUnavailable(f"the record of guests {path} cannot be read: {error.strerror}")


def _unwritable(path: Path, error: OSError) -> DirectoryUnavailable:
    return DirectoryUnavailable(f"the record of guests {path} cannot be written: {error.strerror}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
