"""The culler's life: passes at their times, contact with the hub in between, an orderly end."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from ..hub_api import HubApi, HubError
from .clock import Contact
from .passes import ClockJumped, Pass

HEARTBEAT = 30.0
"""Seconds between two looks whether the hub is there."""
JITTER = 0.1
"""Part by which the time between two passes varies, so that several hubs' cullers do not keep step."""
SERVICE_NAME = "JUPYTERHUB_SERVICE_NAME"
"""The hub gives it to the services that it starts."""
_REFUSED = (401, 403)
SCOPES = ("list:users", "read:servers", "admin:server_state", "delete:servers", "access:servers")
"""What the service's role needs, and no more."""
OURS = {"admin:server_state", "access:servers"}
"""Those of them that upstream's culler does not need."""


class NotOurHub(Exception):
    """The hub refuses the service's token, or is not the one that started it: going on makes no sense."""


@dataclass(frozen=True)
class Times:
    """Seconds.

    Attributes:
        every: between two passes.
        first: before the first pass, and before one after an outage: servers and users come back, too.
        longest: a pass may take.
    """

    every: float
    first: float
    longest: float


class Service:
    """Makes passes until it is told to end.

    Args:
        one: makes a pass.
        hub: the hub's API.
        times: see :class:`Times`.
        after: called after each good pass; deletes users, say.
    """

    def __init__(
        self,
        one: Pass,
        hub: HubApi,
        times: Times,
        after: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.one, self.hub, self.times, self.after = one, hub, times, after
        self.memory, self.clock = one.memory, one.clock
        self.metrics, self.log = one.tellers.metrics, one.log
        self._parent = os.getppid() if SERVICE_NAME in os.environ else None

    async def run(self) -> None:
        """Make passes for ever.

        Raises:
            NotOurHub: there is no sense in going on.
        """
        self.log.info("first pass in %.0f s, then every %.0f s", self.times.first, self.times.every)
        await self._rest(self.times.first)
        while True:
            if await self.make_pass():
                await self._rest(self.times.every * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
            else:
                await self._rest(min(self.times.every, HEARTBEAT))

    async def make_pass(self) -> bool:
        """Make one pass, bounded in time; tell whether it was a good one.

        Raises:
            NotOurHub: the hub refuses the token.
        """
        begun = self.clock.passed()
        try:
            async with asyncio.timeout(self.times.longest):
                await self.check_scopes()  # each time: a role may be changed while this runs
                await self.one.run()
                if self.after is not None:
                    await self.after()
        except HubError as error:
            self._refused(error)
            self.memory.lost()
            self.metrics.failures.inc()
            self.log.warning("no pass: %s", error)
            return False
        except TimeoutError:
            self.metrics.failures.inc()
            self.log.error("the pass was given up after %d s", self.times.longest)
            return False
        except ClockJumped:
            self.log.warning("the clock was set during the pass: it is given up")
            return False
        except NotOurHub:
            raise
        except Exception:
            self.metrics.failures.inc()
            self.log.exception("the pass met an error that nobody thought of")
            return False
        finally:
            self.memory.record.save()
        took = self.clock.passed() - begun
        self.metrics.passes.observe(took)
        self.metrics.tell(self.metrics.last, self.clock.now().timestamp())
        self.log.debug("the pass took %.2f s", took)
        return True

    async def check_scopes(self, needed: Collection[str] = SCOPES) -> None:
        """Look whether the service may do what it needs; without that it would quietly see or stop nobody.

        A hub without our handlers needs no more than upstream's culler does.

        Raises:
            NotOurHub: it may not; the scopes that lack are named.
            HubError: the hub does not say.
        """
        granted = await self.hub.scopes()
        lacking = [scope for scope in needed if scope not in granted]
        if lacking and set(lacking) <= OURS and not await self._has_our_handlers():
            return
        if lacking:
            raise NotOurHub(f"the service's role lacks {' '.join(lacking)}; it needs the scopes {' '.join(needed)}")

    async def _has_our_handlers(self) -> bool:
        try:
            return await self.hub.ask([("-", "")]) is not None
        except HubError as error:
            if error.status in _REFUSED:
                return True
            raise

    async def meet(self, longest: float | None = None) -> bool:
        """Look whether the hub is there; tell whether it came back just now, or time has jumped.

        Args:
            longest: see :func:`.clock.outage`; None for two passes.

        Raises:
            NotOurHub: the process that started this one is gone.
        """
        if self._parent not in (None, os.getppid()):
            raise NotOurHub("the hub that started this service is gone")
        try:
            await self.hub.meet()
        except HubError as error:
            self.log.debug("no contact: %s", error)
            self.memory.lost()
            return False
        here = Contact(self.clock.now(), self.clock.passed())
        found = self.memory.met(here, 2 * self.times.every + HEARTBEAT if longest is None else longest)
        if found is None:
            return False
        begin, end = (moment.isoformat(timespec="seconds") for moment in found)
        self.log.warning("nobody could work from %s to %s: that time counts against nobody", begin, end)
        self.memory.record.save()
        return True

    async def _rest(self, seconds: float) -> None:
        """Wait for the next pass in contact with the hub; a hub that came back is left alone for a while."""
        until = self.clock.passed() + seconds
        while True:
            if await self.meet():
                until = max(until, self.clock.passed() + self.times.first)
            left = until - self.clock.passed()
            if left <= 0:
                return
            await asyncio.sleep(min(left, HEARTBEAT))

    def _refused(self, error: HubError) -> None:
        if error.status in _REFUSED:
            needed = " ".join(SCOPES)
            raise NotOurHub(f"{error}; the service's role needs the scopes {needed}") from None
