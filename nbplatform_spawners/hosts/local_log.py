"""The log of a server: its end for people, and a bound on what it holds of the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .local_helper import LOG_FILE

_TAIL_LIMIT = 2000  # bytes
_BLOCK = 512  # bytes, the unit of st_blocks on every file system


def log_tail(directory: Path, limit: int = _TAIL_LIMIT) -> str:
    """Return the end of a server's log: whole lines of at most ``limit`` bytes, control characters escaped."""
    try:
        with (directory / LOG_FILE).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            end = file.read(limit)
    except OSError:
        return ""
    if size > limit:
        end = end.partition(b"\n")[2] or end
    text = end.decode("utf-8", "replace").strip()
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def trim_log(directory: Path, limit: int) -> None:
    """Empty a log that is longer than ``limit`` bytes, also of a running server: it must not fill the hub's disk.

    What counts is also what the file holds of the disk: its writer can reserve blocks behind its end (fallocate(2)),
    which emptying it gives back.
    """
    with suppress(OSError):
        found = (directory / LOG_FILE).stat()
        if max(found.st_size, found.st_blocks * _BLOCK) > limit:
            os.truncate(directory / LOG_FILE, 0)
