"""Answers of a directory kept for a few minutes, each with its age."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from ..identity import Account
from .directory import AccountDirectory

MOST_ANSWERS = 20_000


class CachedDirectory:
    """A directory that is asked about the same account at most once in ``ttl`` seconds.

    Only accounts are kept: an unknown name, a refusal or an outage is asked about again each time.  Every answer says
    when the directory gave it (``Account.as_of``).  Safe to call from several threads.

    Args:
        inner: the directory itself.
        ttl: seconds for which an answer is kept.
        clock: seconds that only grow.
    """

    def __init__(self, inner: AccountDirectory, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.inner = inner
        self.ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, ...], tuple[float, Account]] = OrderedDict()

    @property
    def absence_is_proof(self) -> bool:
        """Whether an unknown name proves that the account is gone; see ``AccountDirectory``."""
        return self.inner.absence_is_proof

    def lookup(self, name: str) -> Account:
        """Return the account of this name; see ``AccountDirectory.lookup``."""
        return self._kept((name,), lambda: self.inner.lookup(name))

    def lookup_federated(self, provider: str, subject: str) -> Account:
        """Return the account linked to this pair; see ``AccountDirectory.lookup_federated``."""
        return self._kept((provider, subject), lambda: self.inner.lookup_federated(provider, subject))

    def _kept(self, key: tuple[str, ...], ask: Callable[[], Account]) -> Account:
        begin = self._clock()
        with self._lock:
            told, account = self._answers.get(key, (0.0, None))
        if account is not None and begin - told < self.ttl:
            return account
        asked_at = datetime.now(UTC)
        try:
            found = ask()
        except BaseException:
            with self._lock:
                self._answers.pop(key, None)
            raise
        account = found if found.as_of is not None else replace(found, as_of=asked_at)
        with self._lock:
            self._answers[key] = (begin, account)
            self._answers.move_to_end(key)
            while len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)
        return account
