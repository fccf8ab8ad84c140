"""The jobs of one cluster: what was submitted is known from the first moment on, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .errors import ClusterFailed, SlurmDaskError, SlurmUnavailable
from .models import JobState
from .slurm import Slurm

AT_ONCE = 8
"""Submissions under way at once."""
_GATHER = 0.02
"""Seconds in which cancellations are gathered into one."""
_RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)
_LAST_SUBMISSIONS = 2.0
"""Seconds that closing waits for submissions under way: their ids are worth more than a search for them."""
_LOST_LOOKS = 3


@dataclass
class Entry:
    """One job.

    Attributes:
        name: the job's in Slurm.
        script: all of it.
        job_id: None until Slurm has taken it.
        state: as Slurm said last; None before.
        problem: one sentence while it cannot be submitted.
        submitted: ends when Slurm has taken or refused it, or when nobody wants it any longer.
        dropped: it is not wanted any longer.
        unseen: looks in a row that Slurm did not know it.
    """

    name: str
    script: str
    job_id: str | None = None
    state: JobState | None = None
    problem: str = ""
    submitted: asyncio.Task[None] | None = None
    dropped: bool = False
    unseen: int = 0

    @property
    def ended(self) -> bool:
        """It was there and is no longer."""
        return (self.state is not None and self.state.ended) or self.unseen >= _LOST_LOOKS


@dataclass
class Ledger:
    """What became of every job of a cluster.

    Args:
        slurm: the way to Slurm; closed with the ledger.
        changed: called after anything here has changed.
    """

    slurm: Slurm
    changed: Callable[[], None] = lambda: None
    entries: dict[str, Entry] = field(default_factory=dict)
    asked_at: float = 0.0
    trouble: str = ""
    """One sentence while Slurm cannot be asked."""

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._doomed: set[str] = set()
        self._cancelling: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, name: str, script: str) -> str:
        """Submit a job now, once, and return its id.

        Raises:
            SlurmDaskError: Slurm refuses it or cannot be asked.
        """
        entry = self.entries[name] = Entry(name, script)
        entry.submitted = asyncio.ensure_future(self._submit(entry))
        try:
            await asyncio.shield(entry.submitted)
        except BaseException:
            self.drop(name)
            raise
        return entry.job_id or ""

    def submit_soon(self, name: str, script: str) -> Entry:
        """Submit a job, again and again while Slurm cannot be asked, until it is dropped."""
        entry = self.entries[name] = Entry(name, script)
        entry.submitted = asyncio.ensure_future(self._submit_until(entry))
        return entry

    async def taken(self, name: str) -> None:
        """Wait until Slurm has taken a job, or the first time could not be asked.

        Raises:
            SlurmDaskError: it is refused.
        """
        entry = self.entries[name]
        while entry.submitted and not entry.submitted.done() and not entry.problem:
            await asyncio.wait([entry.submitted], timeout=0.1)
        if entry.submitted and entry.submitted.done() and not entry.submitted.cancelled():
            entry.submitted.result()

    def drop(self, name: str) -> None:
        """Cancel a job soon, together with others; returns at once."""
        entry = self.entries.pop(name, None)
        if entry is None:
            return
        entry.dropped = True
        if entry.job_id and not entry.ended:
            self._doom(entry.job_id)
        elif entry.submitted and not entry.submitted.done():
            entry.submitted.add_done_callback(lambda _: self._doom(entry.job_id))
        self.changed()

    def forget(self, name: str) -> None:
        """Take a job off the list that has ended by itself."""
        self.entries.pop(name, None)
        self.changed()

    async def look(self) -> None:
        """Ask Slurm how the jobs are; when it cannot be asked they stay as they were, and ``trouble`` says so."""
        known = {entry.job_id: entry for entry in self.entries.values() if entry.job_id}
        if not known:
            return
        try:
            found = await self.slurm.jobs([job for job in known if job])
        except SlurmDaskError as error:
            self.trouble = error.message
        else:
            self.trouble, self.asked_at = "", time.monotonic()
            for job, entry in known.items():
                state = found.get(job or "")
                entry.state, entry.unseen = state or entry.state, 0 if state else entry.unseen + 1
        self.changed()

    async def close(self) -> None:
        """Cancel every job there is in one call, and give back the way to Slurm.

        Raises:
            ClusterFailed: jobs may be left; it names them.
        """
        self._closed = True
        if self._cancelling:
            self._cancelling.cancel()
        pending = [entry.submitted for entry in self.entries.values() if entry.submitted]
        for entry in list(self.entries.values()):
            entry.dropped = True
        await _settle(pending)
        ids = self._doomed | {entry.job_id for entry in self.entries.values() if entry.job_id and not entry.ended}
        try:
            if ids:
                await self.slurm.cancel(sorted(ids))
        except SlurmDaskError as error:
            raise ClusterFailed(left_behind(ids, error.message)) from None
        finally:
            self.entries.clear()
            await self.slurm.close()

    def _doom(self, job_id: str | None) -> None:
        if job_id is None or (self._closed and job_id in self._doomed):
            return
        self._doomed.add(job_id)
        if not self._closed and (self._cancelling is None or self._cancelling.done()):
            self._cancelling = asyncio.ensure_future(self._cancel_doomed())

    async def _cancel_doomed(self) -> None:
        tries = 0
        while self._doomed:
            await asyncio.sleep(_GATHER if not tries else _RETRIES[min(tries, len(_RETRIES)) - 1])
            ids = set(self._doomed)
            try:
                await self.slurm.cancel(sorted(ids))
            except SlurmDaskError as error:
                self.trouble, tries = left_behind(ids, error.message), tries + 1
                self.changed()
            else:
                self._doomed -= ids
                self.trouble, tries = "", 0

    async def _submit(self, entry: Entry) -> None:
        async with self._slots:
            if not entry.dropped:
                entry.job_id = await self.slurm.submit(entry.script, name=entry.name)
                entry.problem = ""
                self.changed()

    async def _submit_until(self, entry: Entry) -> None:
        for tries in range(10**6):
            try:
                return await self._submit(entry)
            except SlurmUnavailable as error:
                entry.problem = error.message
                self.changed()
            for _ in range(10):
                if entry.dropped:
                    return None
                await asyncio.sleep(_RETRIES[min(tries, len(_RETRIES) - 1)] / 10)
        return None


def left_behind(ids: Iterable[str | None], why: str) -> str:
    """Return the sentence about jobs that could not be cancelled."""
    named = " ".join(sorted(job for job in ids if job))
    return f"jobs may be left in Slurm, which could not be told to cancel them ({why}): try `scancel {named}`"


async def _settle(tasks: list[asyncio.Task[None]]) -> None:
    """Let submissions end, the slow ones by cancelling them: the way to Slurm looks for what it lost."""
    if not tasks:
        return
    _, slow = await asyncio.wait(tasks, timeout=_LAST_SUBMISSIONS)
    for task in slow:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
