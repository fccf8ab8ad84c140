"""Groups whose names are dropped because they are not safe: told once each."""

from __future__ import annotations

import logging
import threading

from ..names import bounded


class DroppedNames:
    """Tells of each group whose name no rule can match, once for each name.

    Safe to call from several threads.

    Args:
        log: told with one line a name; nobody is told when None.
    """

    def __init__(self, log: logging.Logger | None) -> None:
        self.log = log
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def tell(self, name: str, gid: int) -> None:
        """Tell of the group ``name``, unless it was told before."""
        with self._lock:
            if self.log is None or name in self._told:
                return
            self._told.add(name)
        self.log.warning("group %s has no safe name: its members keep gid %d, no rule can match it", bounded(name), gid)
