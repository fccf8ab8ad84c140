"""Waiting for Docker hosts for tests, and what to say when one does not come up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

UP_LIMIT = 60.0  # seconds until something must be up
LOG_TAIL = 40


class HostDied(Exception):
    """A Docker host, or its daemon, did not come up; the message ends with the last lines of its log."""


def wait_for(done: Callable[[], bool], alive: Callable[[], bool], what: str, log: Path) -> None:
    """Wait until something is done by a process that is alive.

    Raises:
        HostDied: the process ended, or it takes longer than a minute.
    """
    limit = time.monotonic() + UP_LIMIT
    while not done():
        dead = not alive()
        if dead or time.monotonic() > limit:
            lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL:] if log.exists() else []
            raise HostDied("\n".join([f"{what} {'ended' if dead else f'is not up after {UP_LIMIT} s'}:", *lines]))
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Pids of a process's children.

    Raises:
        HostDied: it has none, since what it started has ended.
    """
    with contextlib.suppress(OSError):
        if words := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return [int(word) for word in words]
    raise HostDied(f"what process {pid} started does not run")
