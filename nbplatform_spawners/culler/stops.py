"""Stopping servers: several at once, each looked at right before and asked after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..hub_api import HubApi, HubError
from ..names import bounded
from .examine import Examiner, Seen
from .limits import LimitsFinder
from .models import find

SLOW = 2.0
"""Seconds after which a stop that is still under way makes room for another one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two looks whether a server has gone: they grow."""
Outcome = Literal["stopped", "came back", "silent", "gone", "failed", "unknown"]


@dataclass(frozen=True)
class Stop:
    """How one stop ended.

    Attributes:
        seen: the server at its last look; the first one where there was none.
        outcome: ``stopped``; ``came back``: it is used again; ``silent``: it did not answer at the second look;
            ``gone``: somebody else stopped it, or it changes; ``failed``: it runs on; ``unknown``: the hub says that it
            is stopped, and it still answers, or nobody says.
        why: of what is neither stopped nor in use; empty else.
    """

    seen: Seen
    outcome: Outcome
    why: str = ""


class Stopper:
    """Stops servers.

    Args:
        hub: the hub's API, for stops alone: they may take long.
        examiner: looks again before a stop.
        concurrency: stops begun at once.
        timeout: seconds that a server may take to go.
        remove: also remove named servers from the hub.
        log: told of every stop.
    """

    def __init__(
        self,
        hub: HubApi,
        examiner: Examiner,
        *,
        concurrency: int,
        timeout: float,
        remove: bool,
        log: logging.Logger,
    ) -> None:
        self.hub, self.examiner = hub, examiner
        self.timeout, self.remove, self.log = timeout, remove, log
        self._slots = asyncio.Semaphore(max(concurrency, 1))

    async def stop_all(self, seen: Sequence[Seen], limits: LimitsFinder, ended: Callable[[Stop], None]) -> list[Stop]:
        """Stop servers whose time is over; returns how each of them ended, in the order given.

        Args:
            seen: as the first look found them.
            limits: finds the limits for the second look.
            ended: called with each stop when it has ended.
        """

        async def one(server: Seen) -> Stop:
            try:
                stop = await self._stop(server, limits)
            except Exception as error:  # noqa: BLE001 - whatever one server provokes, the others are stopped
                stop = Stop(server, "failed", bounded(repr(error), 200))
            ended(stop)
            return stop

        return list(await asyncio.gather(*(one(server) for server in seen)))

    async def _stop(self, seen: Seen, limits: LimitsFinder) -> Stop:
        try:
            async with self._slots:
                again = await self.examiner.again(seen, limits)
                if again is None:
                    return Stop(seen, "gone")
                if again.verdict.kind != "stop":
                    return Stop(again, "came back" if again.unanswered is None else "silent")
                who = again.server
                request = asyncio.ensure_future(
                    self.hub.stop(who.user, who.name, remove=self.remove and bool(who.name))
                )
                # A stop that takes its time waits outside: nobody else waits for it.
                await asyncio.wait({request}, timeout=SLOW)
        except HubError as error:
            return Stop(seen, "failed", str(error))
        try:
            await request
        except HubError as error:
            if error.status is not None and error.status < 500:
                return Stop(again, "failed", str(error))
            self.log.info("%s: the hub did not say how its stop went: %s", _named(again), error)
        return await self._gone(again)

    async def _gone(self, seen: Seen) -> Stop:
        """Wait until the hub says that the server is gone, and ask the server itself: a 204 alone proves nothing."""
        pause, waited, problem = FIRST_PAUSE, 0.0, ""
        while True:
            try:
                found = find(await self.examiner.hub.user(seen.server.user), seen.server)
                problem = "it still runs" if found is None or not found.pending else f"its {found.pending} goes on"
                if found is None:
                    break
            except HubError as error:
                problem = str(error)
            if waited >= self.timeout:
                return Stop(seen, "failed", f"not gone after {self.timeout:.0f} s: {problem}")
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(pause * 2, LONGEST_PAUSE)
        if seen.door is not None and await self.examiner.servers.is_there(seen.door):
            return Stop(seen, "unknown", "the hub says that it is stopped, and it still answers")
        return Stop(seen, "stopped")


def _named(seen: Seen) -> str:
    return f"user={bounded(seen.server.user)} server={bounded(seen.server.name)}"
