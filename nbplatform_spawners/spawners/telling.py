"""What a spawner tells people: how far a start is, what a running server is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import BadFile
from .progress import Progress
from .status import Summary, summary


class Telling:
    """Methods for ``NbplatformSpawner``."""

    _steps: Progress
    if TYPE_CHECKING:
        rules: Any
        get_state: Any

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what is happening, in words.  Called by the hub while a start is pending."""
        async for event in self._steps.events():
            yield event

    def steps(self) -> list[dict[str, Any]]:
        """Return what has happened so far, as :meth:`progress` tells it.  Called by the page of a pending start."""
        return self._steps.steps()

    def summary(self) -> Summary | None:
        """Return what this server is and holds, None when it is not known.  Called by the home page."""
        state, title = self.get_state(), ""
        with suppress(BadFile):
            profiles = self.rules.book.profiles
            title = profiles[state["profile"]].title if state.get("profile") in profiles else ""
        return summary(state, datetime.now(UTC), title)
