"""What is happening during a spawn, in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any


class Progress:
    """The steps of one start: said by the spawner, read by any number of waiting pages."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    def say(self, percent: int, message: str) -> None:
        """Add a step.

        Args:
            percent: how far the start is, 0 to 100.
            message: plain text for the user.
        """
        self._events.append({"progress": percent, "message": message})
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield every step from the first on, then each new one; ends only when the reader stops reading."""
        read = 0
        while True:
            more = self._more
            while read < len(self._events):
                yield dict(self._events[read])
                read += 1
            await more.wait()
