"""Ends the jobs of servers that are gone.

Slurm is asked first, then the hub: a server that began in between is then in the hub's list, and a job that was
submitted in between is in neither and safe.  Who is not asked, or does not answer, says nothing about any server; a
user of whom the hub says nothing that can be used is unknown, and what is theirs stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..event_file import EventFile, Logger
from ..events import job_event
from ..hub_api import HubApi, HubError
from ..names import bounded
from .errors import SlurmDaskError, SlurmRefused, SlurmUnavailable
from .models import JobState
from .orphans import Orphan, Server, ServerState, orphans
from .service_metrics import ServiceMetrics
from .slurm import Slurm
from .tag import read_tag
from .token_holder import read_servers

SCOPES = ("list:users", "read:servers", "admin:server_state")
"""What the service's role needs, and no more."""
AT_ONCE = 100
"""Jobs in one call."""
STUBBORN = 2
"""Passes after which a job that was told to end, and is still there, is worth a line."""


@dataclass(frozen=True)
class Whose:
    """Which jobs are looked after, and for how long one look may take.

    Attributes:
        hub: the hub's name, as its servers' jobs carry it.
        longest: seconds for one look.
    """

    hub: str
    longest: float = 300.0


@dataclass(frozen=True)
class Tellers:
    """Who is told.

    Attributes:
        log: lines.
        metrics: Prometheus.
        audit: the file of events; None for none.
    """

    log: Logger
    metrics: ServiceMetrics = field(default_factory=ServiceMetrics)
    audit: EventFile | None = None


class Reaper:
    """Looks, and ends what has no server.

    Args:
        slurm: a door that sees everybody's jobs and may end them.
        hub: with the service's token.
        whose: which jobs.
        tellers: who is told.
    """

    def __init__(self, slurm: Slurm, hub: HubApi, whose: Whose, tellers: Tellers) -> None:
        self._slurm, self._hub, self._whose = slurm, hub, whose
        self._log, self._metrics, self._audit = tellers.log, tellers.metrics, tellers.audit
        self._told: dict[str, int] = {}
        self._unknown: frozenset[str] = frozenset()
        self._trouble: str | None = None

    async def make_pass(self) -> bool:
        """Look once, and end what has no server; tell whether the look was a whole one.

        Nothing is ended unless Slurm and the hub both answered with all that was asked of them.
        """
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._whose.longest):
                found = await self.look()
                await self._end(found)
        except HubError as error:
            self._failed("hub", f"the hub: {error}")
        except SlurmDaskError as error:
            self._failed("slurm", f"Slurm: {error}")
        except TimeoutError:
            self._failed("time", f"it was given up after {self._whose.longest:.0f} s")
        else:
            self._metrics.passes.observe(time.monotonic() - begun)
            self._metrics.tell(self._metrics.last, time.time())
            if self._trouble is not None:
                self._log.info("jobs without a server are looked for again")
            self._trouble = None
            return True
        return False

    async def look(self) -> list[Orphan]:
        """Return the jobs whose server is positively gone.

        Raises:
            SlurmUnavailable, SlurmRefused: Slurm does not say.
            HubError: the hub does not say, or not all of it.
        """
        jobs = await self._slurm.jobs()
        ours = [job for job in jobs.values() if self._is_ours(job)]
        self._metrics.tell(self._metrics.jobs, len(ours))
        self._remember(jobs)
        unknown: dict[str, str] = {}
        found = await self._without_server(ours, unknown) if ours else []
        self._tell(unknown)
        return found

    async def _without_server(self, ours: Collection[JobState], unknown: dict[str, str]) -> list[Orphan]:
        """Return the jobs without a server; users of whom nothing can be read are added to ``unknown``, with why."""
        await self._check_scopes()
        first = orphans(ours, await self._servers(unknown), self._whose.hub)
        if not first:
            return []
        again = await self._servers_of(sorted({one.tag.user for one in first}), unknown)
        both = orphans((one.job for one in first), again, self._whose.hub)
        return [one for one in both if one.tag.user not in unknown]

    def _is_ours(self, job: JobState) -> bool:
        tag = None if job.ended else read_tag(job.tag)
        return tag is not None and tag.hub == self._whose.hub

    async def _check_scopes(self) -> None:
        """Look whether the service may read what it needs: without that every server would seem to be gone."""
        granted = await self._hub.scopes()
        lacking = [scope for scope in SCOPES if scope not in granted]
        if lacking:
            raise HubError(f"the service's role lacks {' '.join(lacking)}; it needs the scopes {' '.join(SCOPES)}")

    async def _servers(self, unknown: dict[str, str]) -> dict[Server, ServerState]:
        found: dict[Server, ServerState] = {}
        models = await self._hub.users("active")
        for model in models:
            try:
                found |= read_servers([model])
            except ValueError as error:
                unknown[model["name"]] = str(error)
        if models and len(unknown) == len(models):
            raise HubError(next(iter(unknown.values())))  # nobody can be read: it is the answer as a whole
        return found

    async def _servers_of(self, users: Iterable[str], unknown: dict[str, str]) -> dict[Server, ServerState]:
        """Return the servers of some users, each asked for alone: a page of a long list may be old by now."""
        found: dict[Server, ServerState] = {}
        for user in users:
            try:
                model = await self._hub.user(user)
                found |= read_servers([] if model is None else [model])
            except (HubError, ValueError) as error:
                await self._check_scopes()  # a hub that does not answer at all ends the look here
                unknown[user] = str(error)
        await self._check_scopes()  # who lost its role in between is told that there is no such user
        return found

    def _tell(self, unknown: Mapping[str, str]) -> None:
        """Tell of users who are unknown, each once as long as that lasts."""
        self._metrics.tell(self._metrics.unknown, len(unknown))
        for user in sorted(unknown.keys() - self._unknown):
            self._log.warning("the jobs of %s are left alone: %s", bounded(user), unknown[user])
        self._unknown = frozenset(unknown)

    async def _end(self, found: Collection[Orphan]) -> None:
        """Tell these jobs to end; what one user's jobs meet is no matter of the others'."""
        refused: SlurmUnavailable | None = None
        for user in sorted({one.job.user for one in found}):
            theirs = sorted((one for one in found if one.job.user == user), key=lambda one: int_or_0(one.job.id))
            for at in range(0, len(theirs), AT_ONCE):
                some = theirs[at : at + AT_ONCE]
                try:
                    await self._slurm.cancel([one.job.id for one in some])
                except SlurmRefused as error:
                    self._log.error("the jobs of %s may not be ended: %s", bounded(user), error)
                    self._note(some, "failure")
                except SlurmUnavailable as error:
                    self._note(some, "unknown")
                    refused = error
                else:
                    self._note(some, "success")
        if refused is not None:
            raise refused

    def _note(self, some: Iterable[Orphan], outcome: str) -> None:
        for one in some:
            before = self._told.get(one.job.id, 0)
            self._told[one.job.id] = before + 1
            if before == 0 and outcome == "success":
                self._metrics.ended.inc()
                self._log.info("ended job %s of user=%s server=%s: %s", *_shown(one))
            elif before == STUBBORN:
                self._log.warning("job %s of user=%s server=%s was told to end, and has not: %s", *_shown(one))
            if self._audit is not None and before == 0:
                self._audit.write(job_event(datetime.now(UTC), (one.tag.user, one.tag.server), _job(one), outcome))

    def _remember(self, jobs: Mapping[str, JobState]) -> None:
        """Forget what was told to jobs that are over."""
        self._told = {id_: count for id_, count in self._told.items() if id_ in jobs and not jobs[id_].ended}

    def _failed(self, who: str, why: str) -> None:
        self._metrics.failures.labels(who).inc()
        if self._trouble != who:
            self._log.warning("no look for jobs without a server, nothing is ended: %s", why)
        self._trouble = who


def table(found: Collection[Orphan]) -> str:
    """Return the jobs that would be ended, for people."""
    if not found:
        return "no job is without its server"
    rows = [("JOB", "USER", "SERVER", "NAME", "WHY")]
    rows += [(one.job.id, one.job.user, bounded(one.tag.server), bounded(one.job.name)[1:-1], one.why) for one in found]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def int_or_0(text: str) -> int:
    """Return a job's number, by which jobs are sorted; 0 for a job of an array and the like."""
    return int(text) if text.isdecimal() else 0


def _shown(one: Orphan) -> tuple[str, str, str, str]:
    return bounded(one.job.id)[1:-1], one.tag.user, bounded(one.tag.server), one.why


def _job(one: Orphan) -> dict[str, str]:
    return {"job": one.job.id, "job_name": one.job.name, "cluster": one.tag.cluster, "why": one.why}
