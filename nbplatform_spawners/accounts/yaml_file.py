"""The YAML file as an account directory: read again when it changes, never half-written; a bad one changes nothing."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from ..errors import BadFile, DirectoryUnavailable
from ..identity import Account
from ..names import bounded
from .directory import NotLinked
from .group_names import DroppedNames
from .parse import MAX_FILE, AccountsFile, parse_accounts

__all__ = ["AccountsFile", "YamlDirectory", "parse_accounts"]

_Signature = tuple[int, int, int, int, int]
SETTLE = 0.5
"""Seconds for which a file must have been quiet before a change in it is taken."""
_PATIENCE = 3.0
GRACE = 1.0
"""Seconds for which a file may be missing: some editors move it away before they write it anew."""
_PAUSE = 0.1


class YamlDirectory:
    """Accounts in a YAML file.

    The file is looked at in each lookup.  A change is taken as a whole once the file has been quiet for half a
    second.  A bad file changes nothing and is logged once.  A file that is missing or cannot be read for longer than
    ``GRACE`` is a directory that cannot be asked: it answers nothing until it is back, and that is logged once.

    Args:
        path: the file.
        log: told when the file is bad, or cannot be read, and when it is good again; and once of each group whose
            name is not safe.

    Raises:
        BadFile: the file holds mistakes; carries all of them.
        DirectoryUnavailable: the file cannot be read.
    """

    absence_is_proof = True

    def __init__(self, path: Path, log: logging.Logger | None = None) -> None:
        self.path = path
        self.log = log or logging.getLogger(__name__)
        self._lock = threading.Lock()
        self._complaint: str | None = None
        self._out_of_reach = False
        self._dropped = DroppedNames(log)
        try:
            content, self._seen = _read(path)
        except OSError as error:
            raise self._unavailable(error) from None
        self._file = self._parsed(content)

    def lookup(self, name: str) -> Account:
        """Return the account of this name; see ``AccountDirectory.lookup``."""
        return self.read().lookup(name)

    def lookup_federated(self, provider: str, subject: str) -> Account:
        """Return the account linked to this pair; see ``AccountDirectory.lookup_federated``."""
        found = self.read()
        name = found.federated.get((provider, subject))
        if name is None:
            raise NotLinked(provider, subject)
        return found.lookup(name)

    def read(self) -> AccountsFile:
        """Return what the file says now, or what it said when it was last good.  Blocks for up to 4 seconds.

        Raises:
            DirectoryUnavailable: it is missing or cannot be read.
        """
        with self._lock:
            try:
                self._take_change_in_time()
            except OSError as error:
                raise self._out(error) from None
            except BadFile as error:
                rest = len(error.mistakes) - 1
                more = f" (and {rest} more; see 'nbplatform accounts check')" if rest else ""
                self._complain(f"is bad: {bounded(error.mistakes[0], 300)}{more}")
            return self._file

    def _take_change_in_time(self) -> None:
        """Take a change, over again for ``GRACE`` while the file cannot be read; once where that is known already.

        Raises:
            OSError: it still cannot be read.
            BadFile: it holds mistakes.
        """
        deadline = time.monotonic() + GRACE
        while True:
            try:
                self._take_change()
            except OSError:
                if self._out_of_reach or time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(_PAUSE)

    def _take_change(self) -> None:
        if _signature(self.path.stat()) == self._seen:
            self._back()
            return
        if not self._wait_until_quiet():
            return
        content, seen = _read(self.path)
        self._seen = seen  # a bad file is parsed once, not at every lookup
        self._back()
        self._file = self._parsed(content)
        self._praise()

    def _parsed(self, content: bytes) -> AccountsFile:
        found = parse_accounts(content, self.path.name)
        for name in found.unsafe_groups:
            self._dropped.tell(name, found.groups[name])
        return found

    def _wait_until_quiet(self) -> bool:
        """Return whether the file stands still; by its age, or (where clocks differ) by looking twice."""
        deadline = time.monotonic() + _PATIENCE
        found = self.path.stat()
        while time.time() - found.st_ctime < SETTLE:
            time.sleep(SETTLE)
            before, found = found, self.path.stat()
            if _signature(found) == _signature(before):
                return True
            if time.monotonic() > deadline:
                return False
        return True

    def _unavailable(self, error: OSError) -> DirectoryUnavailable:
        return DirectoryUnavailable(f"the accounts file {self.path} cannot be read: {error.strerror}")

    def _out(self, error: OSError) -> DirectoryUnavailable:
        if not self._out_of_reach:
            self.log.error(
                "accounts file %s cannot be read: %s; no logins and no new servers until it is back",
                *(self.path, error.strerror),
            )
        self._out_of_reach = True
        return self._unavailable(error)

    def _back(self) -> None:
        if self._out_of_reach:
            self.log.info("accounts file %s can be read again", self.path)
        self._out_of_reach = False

    def _complain(self, problem: str) -> None:
        if problem != self._complaint:
            self.log.error("accounts file %s %s; what it said before holds on", self.path, problem)
        self._complaint = problem

    def _praise(self) -> None:
        if self._complaint:
            self.log.info("accounts file %s is good again", self.path)
        self._complaint = None


def _signature(found: os.stat_result) -> _Signature:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(path: Path) -> tuple[bytes, _Signature]:
    """Return the content and the signature that belong together.

    Raises:
        OSError: the file cannot be read, or does not stand still.
    """
    for _ in range(5):
        with path.open("rb") as file:
            before = _signature(os.fstat(file.fileno()))
            content = file.read(MAX_FILE + 1)
            if _signature(os.fstat(file.fileno())) == before:
                return content, before
    raise OSError(0, "it changes while it is read", str(path))
