"""Jobs whose submission was cut short: Slurm may have them, or get them yet, and nobody waits for them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping

from .errors import SlurmDaskError, SlurmUnavailable
from .models import JobState
from .programs import ProgramMissing

LOOKS = (0.2, 1.0, 3.0)
"""Seconds before each of the looks that must find nothing, one after the other: a controller that hung takes what it
was sent when it goes on, and not in its order."""
PATIENCE = 15.0
"""Seconds between two tries at most while Slurm cannot be asked."""
GIVEN_UP = 900.0
"""Seconds after which nobody looks any more: whoever knows the job's tag ends it then."""


class LostJobs:
    """Looks for such jobs by their name and cancels them, in tasks of its own.

    Args:
        jobs: returns the user's jobs.
        cancel: cancels jobs.
    """

    def __init__(
        self,
        jobs: Callable[[], Awaitable[Mapping[str, JobState]]],
        cancel: Callable[[Collection[str]], Awaitable[None]],
    ) -> None:
        self._jobs = jobs
        self._cancel = cancel
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._under_way: Counter[str] = Counter()
        self._wanted: set[str] = set()

    async def submit(self, name: str, send: Callable[[], Awaitable[str]]) -> str:
        """Submit a job, and take it back when it is not known what came of that.

        Args:
            name: the job's, which no other job has; one that is submitted again after a failure may have it again.
            send: submits and returns the job's id.

        Raises:
            SlurmUnavailable: nothing is known of it, and it is being looked for.
            SlurmDaskError: there is no such job.
        """
        self._under_way[name] += 1
        try:
            job = await send()
        except ProgramMissing:
            raise
        except (SlurmUnavailable, asyncio.CancelledError):
            self._look_for(name)
            raise
        finally:
            self._under_way -= Counter([name])
        if name in self._tasks:
            self._wanted.add(job)
        return job

    async def close(self, seconds: float) -> None:
        """Let those who look finish, for so many seconds; then they end, too."""
        tasks = list(self._tasks.values())
        if not tasks:
            return
        try:
            await asyncio.wait(tasks, timeout=seconds)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_for(self, name: str) -> None:
        before = self._tasks.get(name)
        if before is not None:
            before.cancel()
        task = asyncio.get_running_loop().create_task(self._take_back(name), name=f"take back {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._found_out(name, done))

    def _found_out(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not self._tasks:
            self._wanted.clear()

    async def _take_back(self, name: str) -> None:
        end = time.monotonic() + GIVEN_UP
        looks, pause = 0, LOOKS[0]
        while looks < len(LOOKS) and time.monotonic() < end:
            await asyncio.sleep(pause)
            try:
                cancelled = await self._cancel_called(name)
            except SlurmDaskError:
                looks, pause = 0, min(2 * pause, PATIENCE)
                continue
            looks = 0 if cancelled else looks + 1
            pause = LOOKS[min(looks, len(LOOKS) - 1)]

    async def _cancel_called(self, name: str) -> bool:
        """Cancel the jobs of a name that nobody waits for; tell whether there was one, or may be."""
        jobs = (await self._jobs()).values()
        if self._under_way[name]:
            return True
        found = {job.id for job in jobs if job.name == name and not job.ended} - self._wanted
        if found:
            await self._cancel(found)
        return bool(found)
