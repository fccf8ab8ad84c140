"""How much one token, and all of them together, may ask of the service for Slurm's tokens."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

MAX_WAITING = 100
"""Requests of one line that may be here at once: under way, or waiting while others ask the hub."""
_AT_ONCE = 5
"""Requests of one line that ask the hub at once."""
_PER_TOKEN = 20
_PERIOD = 60.0
"""Requests with one token in so many seconds; a server needs one in some minutes."""
_REMEMBERED = 10_000
_UNKNOWN_FOR = 5.0
"""Seconds for which a token that the hub does not know is refused without asking it again."""


class TooMany(Exception):
    """Too many were asked for; after how many seconds to ask again.

    Args:
        seconds: whole ones.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests: ask again in {seconds} seconds")
        self.seconds = seconds


class Throttle:
    """Bounds how often one token may ask, and knows which were good; remembers the latest alone, by their hashes.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    def count(self, key: bytes) -> None:
        """Count a request.

        Raises:
            TooMany: there were enough of them.
        """
        now = self._clock()
        begun, count = self._begun.pop(key, (now, 0))
        if now - begun >= _PERIOD:
            begun, count = now, 0
        self._begun[key] = (begun, count + 1)
        if len(self._begun) > _REMEMBERED:
            self._begun.popitem(last=False)
        if count >= _PER_TOKEN:
            raise TooMany(max(1, math.ceil(begun + _PERIOD - now)))

    def note_unknown(self, key: bytes) -> None:
        """Remember for some seconds that the hub does not know a token."""
        self._good.pop(key, None)
        self._unknown[key] = self._clock() + _UNKNOWN_FOR
        if len(self._unknown) > _REMEMBERED:
            self._unknown.popitem(last=False)

    def is_unknown(self, key: bytes) -> bool:
        """Tell whether the hub said just now that it does not know a token."""
        return self._unknown.get(key, 0.0) > self._clock()

    def note_good(self, key: bytes) -> None:
        """Remember that a token was good for one of Slurm's."""
        self._good[key] = None
        self._good.move_to_end(key)
        if len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)

    def was_good(self, key: bytes) -> bool:
        """Tell whether a token was good when it was last shown; the hub is asked again all the same."""
        return key in self._good


class Line:
    """Those who wait to ask the hub.  Belongs to one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._here = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        Raises:
            TooMany: so many are here that nobody else may wait.
        """
        if self._here >= MAX_WAITING:
            raise TooMany(1)
        self._here += 1
        try:
            async with self._turn:
                yield
        finally:
            self._here -= 1
