"""The door to an accounts file that is changed: as a whole, with the same owner, mode and attributes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from .parse import MAX_FILE


def change_file(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace a file by what ``change`` makes of its content; who reads it sees the old content or the new.

    One that a symbolic link names is replaced where it lies.  Two that change files of one folder wait for each other.

    Args:
        path: the file.
        change: returns the new content; what it raises is passed on, and nothing is changed.

    Raises:
        OSError: it cannot be read, or not be replaced with the same owner; nothing is changed.
    """
    target = path.resolve(strict=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not target.is_file():  # opening a pipe would wait for ever
            raise OSError(0, "it is not a regular file", str(path))
        with target.open("rb") as file:
            found = os.fstat(file.fileno())
            content = change(file.read(MAX_FILE + 1))
        if _changed(found, target.stat()):
            raise OSError(0, "somebody else changes it now; try again", str(path))
        _replace(target, content, found)
        os.fsync(folder)
    finally:
        os.close(folder)


def _changed(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether an editor was quicker."""
    return (before.st_ino, before.st_mtime_ns, before.st_size) != (now.st_ino, now.st_mtime_ns, now.st_size)


def _replace(target: Path, content: bytes, like: os.stat_result) -> None:
    number, new = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # hidden, and for nobody else at first
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            if (os.geteuid(), os.getegid()) != (like.st_uid, like.st_gid):
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            shutil.copystat(target, new)  # access lists, and mode after owner: chown takes bits away
            os.utime(file.fileno())
            os.fsync(file.fileno())
        Path(new).replace(target)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise
