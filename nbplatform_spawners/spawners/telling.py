"""What a spawner tells people: how far a start is, what a running server is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import BadFile
from ..identity import Identity
from .idle_board import HUB_BOARD
from .progress import Progress
from .status import Summary, summary


class Telling:
    """Methods for ``NbplatformSpawner``."""

    _steps: Progress
    _identity: Identity | None = None
    _record: dict[str, Any]
    if TYPE_CHECKING:
        rules: Any
        user: Any
        name: str
        orm_spawner: Any
        get_state: Any
        commit_state: Any

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
        notice = HUB_BOARD.notice(self.user.name, self.name, self.started_at())
        return summary(state, datetime.now(UTC), title, notice)

    def started_at(self) -> datetime | None:
        """Return the aware time of the start as the hub noted it; None when it is not known."""
        started = self.orm_spawner.started if self.orm_spawner is not None else None
        return started.replace(tzinfo=UTC) if started is not None else None

    def change_state(self, key: str, value: Any) -> None:
        """Write one of ``STATE_KEYS`` into a running server's state, and that into the hub's database.

        Args:
            key: which.
            value: plain JSON; None takes the key out.
        """
        if value is None:
            self._record.pop(key, None)
        else:
            self._record[key] = value
        self.commit_state()
