"""What is happening during a spawn, in words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..rules.units import duration_in_words, format_size

_NOTICE = 10.0
_OFTEN = 3
_PULL = (20, 50)


@dataclass
class _Step:
    """One thing that is done or waited for."""

    percent: int
    message: str
    since: float
    image: str | None = None

    def event(self, number: int, waited: int) -> dict[str, Any]:
        """The step as the hub sends it; after some seconds with how long it has taken so far."""
        so_far = f" ({duration_in_words(waited)} so far)" if waited else ""
        return {"progress": self.percent, "message": self.message + so_far, "step": number}


class Progress:
    """The steps of one start: said by the spawner, read by any number of waiting pages.

    An event is ``{"progress": 0 to 100, "message": plain text, "step": number}``.  The percentage never falls.  More
    than one event may have the same ``step``: an image that is being fetched, a step that takes long; the last of
    them says it all.

    Args:
        notice: seconds after which a step that takes long says so; then as many again, later every third time.
        clock: seconds that only grow.
    """

    def __init__(self, notice: float = _NOTICE, clock: Callable[[], float] = time.monotonic) -> None:
        self._notice = notice
        self._clock = clock
        self._steps: list[_Step] = []
        self._more = asyncio.Event()

    def say(self, percent: int, message: str) -> None:
        """Add a step.

        Args:
            percent: how far the start is, 0 to 100.
            message: plain text for the user, without a full stop.
        """
        self._add(_Step(percent, message, self._clock()))

    def pulling(self, image: str, done: int, total: int | None) -> None:
        """Tell how much of an image is here; cheap enough to be called for every chunk.

        Args:
            image: its name.
            done: bytes that are here.
            total: bytes in all; None or 0 when nobody knows.
        """
        share = min(max(done / total, 0.0), 1.0) if total else 0.0
        far = f"{share:.0%} of {format_size(total)}" if total else f"{format_size(done)} so far"
        percent = _PULL[0] + int(share * (_PULL[1] - _PULL[0]))
        message = f"Fetching the image {image}: {far}"
        last = self._steps[-1] if self._steps else None
        if last is None or last.image != image:
            self._add(_Step(percent, message, self._clock(), image))
        elif last.message != message:
            last.percent, last.message = max(percent, last.percent), message
            self._wake()

    def clear(self) -> None:
        """Forget all steps: another start begins.  Who reads goes on with its first step."""
        self._steps = []
        self._wake()

    def _add(self, step: _Step) -> None:
        step.percent = max(step.percent, self._steps[-1].percent if self._steps else 0)
        self._steps.append(step)
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    def steps(self) -> list[dict[str, Any]]:
        """Return the steps so far as events, for a page that cannot be told of new ones."""
        last = len(self._steps) - 1
        return [
            step.event(number, self._wait(step) if number == last else 0) for number, step in enumerate(self._steps)
        ]

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield every step from the first on, then what is new; ends only when the reader stops reading."""
        steps, read, told = self._steps, 0, (0, "", 0)
        while True:
            more = self._more
            if steps is not self._steps:
                steps, read, told = self._steps, 0, (0, "", 0)
            for number in range(max(read - 1, 0), len(steps)):
                step = steps[number]
                # A step that is over need not say once more how long it took.
                waited = self._wait(step) if step is steps[-1] else told[2] if number < read else 0
                news = (step.percent, step.message, waited)
                if number >= read or news != told:
                    read, told = number + 1, news
                    yield step.event(number, waited)
            await self._until(more, steps)

    async def _until(self, more: asyncio.Event, steps: list[_Step]) -> None:
        """Return when something is new, or when the last step has taken so long that it should say so."""
        if not steps:
            await more.wait()
            return
        taken = self._clock() - steps[-1].since
        # Not asyncio.wait_for: in Python 3.11 it swallows a cancellation that comes together with what it waits for.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._due(self._notices(taken) + 1) - taken):
                await more.wait()

    def _wait(self, step: _Step) -> int:
        """Whole seconds to say that a step has taken; 0 while it has not taken long."""
        notices = self._notices(self._clock() - step.since)
        return int(self._due(notices)) if notices else 0

    def _notices(self, taken: float) -> int:
        """How often a step has said that it takes long: the count grows fast at first, then slowly."""
        count = int(taken / self._notice)
        return count if count <= _OFTEN else _OFTEN + count // _OFTEN - 1

    def _due(self, notices: int) -> float:
        """Seconds after which a step says so for the nth time: with 10 s after 10, 20, 30, 60, 90."""
        return self._notice * (notices if notices <= _OFTEN else (notices - _OFTEN + 1) * _OFTEN)
