"""Groups that a directory names and servers do not have, or have without a name: told once each."""

from __future__ import annotations

import logging
import threading

from ..names import bounded
from .granted import Granted


class DroppedNames:
    """Tells of each group whose name no rule can match, or that is left out, once for each name.

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
        if self.log is not None and self._first(name):
            self.log.warning(
                "group %s has no safe name: its members keep gid %d, no rule can match it", bounded(name), gid
            )

    def tell_all(self, got: Granted) -> None:
        """Tell of every group of an account that has no safe name, or whose gid is outside the range."""
        for name, gid in got.unsafe:
            self.tell(name, gid)
        for name, gid in got.outside:
            if self.log is not None and self._first(name):
                self.log.warning(
                    "group %s is left out: its gid, %d, is outside the range that servers may have", bounded(name), gid
                )

    def tell_unusable(self, dn: str) -> None:
        """Tell of a group's entry that has no single name or gid, unless it was told before."""
        if self.log is not None and self._first(dn):
            self.log.warning("group %s is left out: its entry has no single name or no single gid", bounded(dn))

    def _first(self, name: str) -> bool:
        with self._lock:
            first = name not in self._told
            self._told.add(name)
        return first
