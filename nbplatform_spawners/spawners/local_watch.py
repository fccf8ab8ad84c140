"""What the local backend looks after beside the hub's own polling: ends seen at once, servers that nobody knows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from jupyterhub import orm
from sqlalchemy.orm import Session

from ..hosts.local_process import LocalProcess, find_running


class EndWatch:
    """Tells the moment a process has ended, so that its port is not left to whoever takes it next.

    Args:
        pid: process id.
        on_end: called once in the event loop; also when the process is gone already.
    """

    def __init__(self, pid: int, on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        self._handle: int | None = None
        try:
            self._handle = os.pidfd_open(pid)
        except OSError:
            self._loop.call_soon(on_end)
        else:
            self._loop.add_reader(self._handle, self._ended)

    def close(self) -> None:
        """Watch no longer; closing twice is no mistake."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._loop.remove_reader(handle)
            os.close(handle)

    def _ended(self) -> None:
        self.close()
        self._on_end()


def strays(top: Path, recorded: Iterable[str]) -> Iterator[LocalProcess]:
    """Yield running servers that no record names: a hub that was killed in the middle of their start left them.

    Args:
        top: the runtime directory.
        recorded: the private folders of the servers that the hub knows.
    """
    known = set(recorded)
    with suppress(OSError):
        for directory in sorted(top.absolute().iterdir()):
            process = None if str(directory) in known else find_running(directory)
            if process is not None:
                yield process


def recorded_folders(db: Session) -> Iterator[str]:
    """Yield the private folders that the hub's records name.

    Args:
        db: the hub's database.
    """
    for record in db.query(orm.Spawner):
        process = LocalProcess.from_state((record.state or {}).get("process"))
        if process is not None:
            yield process.directory
