"""Slurm over HTTP, at slurmrestd: for a notebook server that has nothing of Slurm but a token for its own user."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from .answers import read_rest_jobs, read_rest_partitions, read_rest_submit
from .commands import JOB_PATH, checked_ids
from .errors import SlurmDaskError, SlurmUnavailable
from .lost import LostJobs
from .meanings import refusal
from .models import JobState
from .rest_wire import Found, RestWire
from .script import directives, properties
from .token_api import Tokens

ONE_BY_ONE = 8
"""So many jobs are asked for one by one; for more of them, slurmrestd is asked for all that it shows."""
T = TypeVar("T")


class RestSlurm:
    """Asks slurmrestd, with a token in a header of each question and nowhere else.

    Belongs to one event loop.  Implements :class:`~.slurm.Slurm`.

    Args:
        url: of slurmrestd, such as ``https://slurm.example.org:6820``.
        token: where tokens come from; closed with the door.
        timeout: seconds that one call may take, the question for a token included.
        all_users: whether everybody's jobs are seen, as an operator needs them.
        support: whom users ask.
        ssl_options: of an ``https`` address; None for the machine's own authorities.

    Raises:
        ValueError: the address is none.
    """

    def __init__(  # each is a setting of its own: a class for them would be passed through once
        self,
        url: str,
        token: Tokens,
        timeout: float = 10.0,
        *,
        all_users: bool = False,
        support: str = "your administrators",
        ssl_options: ssl.SSLContext | None = None,
    ) -> None:
        self._wire = RestWire(url, token, timeout, support, ssl_options)
        self._timeout = timeout
        self._all_users = all_users
        self._support = support
        self._lost = LostJobs(self.jobs, self.cancel)

    def __repr__(self) -> str:
        return f"<RestSlurm {self._wire.url}>"

    async def submit(self, script: str, *, name: str) -> str:
        """Submit a job script and return the job's id; see :meth:`.slurm.Slurm.submit`."""
        asked = dict(directives(script))
        return await self._lost.submit(name, lambda: self._within(lambda: self._submit(script, name, asked)))

    async def jobs(self, ids: Collection[str] | None = None) -> dict[str, JobState]:
        """Return jobs by id; see :meth:`.slurm.Slurm.jobs`.

        Raises:
            ValueError: an id is none.
        """
        wanted = None if ids is None else checked_ids(ids)
        return {} if wanted == [] else await self._within(lambda: self._jobs(wanted))

    async def cancel(self, ids: Collection[str]) -> None:
        """Cancel jobs, some at once; see :meth:`.slurm.Slurm.cancel`.

        Raises:
            ValueError: an id is none.
        """
        wanted = checked_ids(ids)
        if not wanted:
            return
        for found in await self._within(lambda: self._each("DELETE", wanted)):
            if not (found.good or found.unknown):
                raise self._refusal(found)

    async def partitions(self) -> list[str]:
        """Return the names of the partitions that this user may see."""
        found = await self._within(lambda: self._wire.ask("GET", "partitions"))
        return self._read(found, read_rest_partitions)

    async def close(self) -> None:
        """Give back what the door holds; jobs that are looked for are, for ``timeout`` seconds more."""
        await self._lost.close(self._timeout)
        await self._wire.close()

    async def _submit(self, script: str, name: str, asked: Mapping[str, str | None]) -> str:
        job = {
            "current_working_directory": _home(),
            **properties(script, {"PATH": JOB_PATH}, await self._wire.version()),
        }
        body = {"script": script, "job": job}
        found = await self._wire.ask("POST", "job/submit", body, twice=False)
        if found.doubtful:
            there = [state.id for state in (await self._jobs(None)).values() if state.name == name and not state.ended]
            if there:
                return there[0]
            found = await self._wire.ask("POST", "job/submit", body, twice=False)
        self._wire.demand_heard(found)
        try:
            number = read_rest_submit(found.body)
        except ValueError as error:
            raise self._unusable(error) from None
        if number is None:
            raise self._refusal(found, asked)
        return number

    async def _jobs(self, ids: list[str] | None) -> dict[str, JobState]:
        if ids is not None and len(ids) <= ONE_BY_ONE:
            parts = await self._each("GET", ids)
        else:
            parts = [await self._wire.ask("GET", "jobs")]
        known = [part for part in parts if not part.unknown]
        jobs = {number: job for part in known for number, job in self._own(part).items()}
        return jobs if ids is None else {number: jobs[number] for number in ids if number in jobs}

    def _own(self, found: Found) -> dict[str, JobState]:
        jobs = self._read(found, read_rest_jobs)
        return {number: job for number, job in jobs.items() if self._all_users or job.user == found.user}

    async def _each(self, method: str, ids: Sequence[str]) -> list[Found]:
        """Ask about jobs one by one, some at once; the first error ends the others."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._wire.ask(method, f"job/{number}")) for number in ids]
        return [task.result() for task in tasks]

    async def _within(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await work()
        except TimeoutError:
            why = f"{self._wire.url} gave no whole answer within {self._timeout:.3g} s"
            raise SlurmUnavailable(f"Slurm does not answer: {why}; try again in a few minutes") from None
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    def _read(self, found: Found, read: Callable[[Mapping[str, Any]], T]) -> T:
        if not found.good:
            raise self._refusal(found)
        try:
            return read(found.body)
        except ValueError as error:
            raise self._unusable(error) from None

    def _refusal(self, found: Found, asked: Mapping[str, str | None] | None = None) -> SlurmDaskError:
        return refusal(found.said, asked or {}, self._support)

    def _unusable(self, error: ValueError) -> SlurmUnavailable:
        return SlurmUnavailable(f"Slurm's answer cannot be used: {error}; tell {self._support}")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group, however deep it lies."""
    one: BaseException = errors
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one


def _home() -> str:
    """Return where a job begins that does not say it: in the HOME, as those that sbatch submits from there."""
    home = os.environ.get("HOME", "")
    return home if home.startswith("/") else "/"
