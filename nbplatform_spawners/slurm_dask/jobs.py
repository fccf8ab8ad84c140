"""The scheduler and the workers as Dask's cluster objects know them: each is a job in the cluster's ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed.deploy.spec import ProcessInterface

from .folder import ClusterFolder
from .jobqueue import Place, WorkerJob, scheduler_script, worker_script
from .ledger import Ledger
from .models import Site
from .waiting import SchedulerWait

SCHEDULER = "scheduler"


class Scripts:
    """Writes the scripts of one cluster's jobs.

    Args:
        cluster: the cluster's id.
        job: what each worker's job asks for.
        place: where the jobs find each other.
        site: the site's file.
    """

    def __init__(self, cluster: str, job: WorkerJob, place: Place, site: Site) -> None:
        self.cluster, self.job, self.place, self._site = cluster, job, place, site

    def scheduler_name(self) -> str:
        """Return the name of the scheduler's job."""
        return f"dask-scheduler-{self.cluster}"

    def worker_name(self, name: object) -> str:
        """Return the name of a worker's job."""
        return f"dask-worker-{self.cluster}-{name}"

    def scheduler(self) -> str:
        """Return the script of the scheduler's job."""
        site = self._site
        return scheduler_script(
            self.job, self.place, self.scheduler_name(), site.scheduler_cores, site.scheduler_memory
        )

    def worker(self, name: object, dependency: str | None = None) -> str:
        """Return the script of a worker's job; ``dependency`` is the id of a job that must have begun before."""
        return worker_script(self.job, self.place, str(name), self.worker_name(name), dependency)


class SchedulerJob(ProcessInterface):
    """The scheduler.

    Args:
        ledger: the cluster's jobs.
        scripts: of the cluster.
        folder: of the cluster.
        here: versions of the kernel's side.
        first_workers: submits the first workers: called when the scheduler is submitted, and once more with its id
            should workers begin before it; see ``SchedulerWait``.
        support: whom users ask.
    """

    def __init__(
        self,
        ledger: Ledger,
        scripts: Scripts,
        folder: ClusterFolder,
        here: dict[str, str],
        first_workers: Callable[[str | None], None],
        support: str,
    ) -> None:
        super().__init__()
        self._ledger, self._scripts, self._folder = ledger, scripts, folder
        self._here, self._first_workers, self._support = here, first_workers, support

    @property
    def job_id(self) -> str | None:
        """The job's id; None before Slurm has taken it."""
        entry = self._ledger.entries.get(self._scripts.scheduler_name())
        return entry.job_id if entry else None

    async def start(self) -> None:
        """Submit the job and wait until it has told where it is.

        Raises:
            SlurmDaskError: it was refused, or ended.
        """
        name = self._scripts.scheduler_name()
        await self._ledger.submit(name, self._scripts.scheduler())
        entry = self._ledger.entries[name]
        self._first_workers(None)
        wait = SchedulerWait(self._folder, self._ledger, entry, self._here, self._first_workers, self._support)
        self.address = await wait.address()
        await super().start()

    async def close(self) -> None:
        """End the job."""
        self._ledger.drop(self._scripts.scheduler_name())
        await super().close()


class WorkerProcess(ProcessInterface):
    """One job of workers.

    Args:
        _address: the scheduler's; the script has the file with it in its place.
        ledger: the cluster's jobs.
        scripts: of the cluster.
        name: the worker's.
    """

    def __init__(self, _address: Any, ledger: Ledger, scripts: Scripts, name: object) -> None:
        super().__init__()
        self._ledger, self._scripts, self.name = ledger, scripts, name
        self.job_name = scripts.worker_name(name)

    async def start(self) -> None:
        """Submit the job, unless it was submitted with the scheduler, and wait until Slurm has taken it.

        Raises:
            SlurmDaskError: it is refused.  While Slurm cannot be asked it is tried again, and this returns.
        """
        known = self._ledger.entries.get(self.job_name)
        if known is None or known.ended:
            self._ledger.submit_soon(self.job_name, self._scripts.worker(self.name))
        await self._ledger.taken(self.job_name)
        await super().start()

    async def close(self) -> None:
        """End the job; returns at once, several are ended together."""
        self._ledger.drop(self.job_name)
        await super().close()
