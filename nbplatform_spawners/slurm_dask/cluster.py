"""``SlurmCluster``: a Dask cluster whose scheduler and workers are Slurm jobs of the notebook's own user."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from distributed.core import Status, rpc
from distributed.deploy.spec import SpecCluster
from distributed.utils import Log, Logs, NoOpAwaitable

from .display import LiveDisplay, dashboard_link, status_lines, status_rows
from .errors import ClusterFailed, SlurmDaskError
from .jobs import WorkerProcess
from .models import Site
from .runtime import Runtime
from .scaling import ScalingCluster
from .slurm import Slurm

log = logging.getLogger(__name__)
_LOOK_WAITING, _LOOK_RUNNING = 3.0, 15.0
"""Seconds between looks at Slurm while jobs wait, and while all run."""
_GOODBYE = 0.5
"""Seconds that a scheduler has to say that it closes."""
_ABANDON = 30.0
"""Seconds in which a start that was interrupted is cleared up."""
_OUTPUT = 1024 * 1024


class SlurmCluster(ScalingCluster):
    """A Dask cluster on Slurm: the scheduler is a job, each worker is one, and all end with the notebook.

    Every argument has a default of the site; the user's own ``jobqueue.slurm`` configuration of Dask comes before it.

    Args:
        n_workers: workers at the start.
        queue, account: Slurm's partition and account.
        cores, memory, gpus: of one worker's job; memory as in ``"4 GiB"``.
        processes: Dask workers in one job, which share these; 1 unless said.
        walltime: of each job, as in ``"02:00:00"``.
        python: path of the Python on the nodes; the kernel's own where the nodes have it.
        name: shown with the cluster; its id unless said.
        asynchronous, loop, shutdown_on_close: as in every Dask cluster.
        site, slurm: for tests and tools: the site's file as read, and the way to Slurm.
        more: dask-jobqueue's ``job_extra_directives``, ``job_script_prologue``, ``worker_extra_args``,
            ``local_directory``, ``log_directory``, ``death_timeout``, ``nanny``, ``shebang``, ``job_cpu``, ``job_mem``,
            ``job_directives_skip``.

    Raises:
        ClusterRefused: the site does not allow it, or an argument is wrong; nothing was submitted.
        SlurmRefused: Slurm says no.
        SlurmUnavailable: Slurm cannot be asked now.
        ClusterFailed: it was submitted and ended, or the nodes' Python does not fit; nothing is left.
    """

    def __init__(
        self,
        n_workers: int | None = None,
        *,
        queue: str | None = None,
        account: str | None = None,
        cores: int | None = None,
        memory: str | int | None = None,
        gpus: int | None = None,
        processes: int | None = None,
        walltime: str | int | None = None,
        python: str | None = None,
        name: str | None = None,
        asynchronous: bool = False,
        loop: Any = None,
        shutdown_on_close: bool = True,
        site: Site | None = None,
        slurm: Slurm | None = None,
        **more: Any,
    ) -> None:
        asked = {"n_workers": n_workers, "queue": queue, "account": account, "cores": cores, "memory": memory}
        asked |= {"gpus": gpus, "processes": processes, "walltime": walltime, "python": python, **more}
        self._pid = os.getpid()
        runtime = Runtime(asked, site, slurm, os.environ)
        self._watching: asyncio.Task[None] | None = None
        self._dying: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._live = LiveDisplay(self._repr_html_)
        job = runtime.request.job
        options = {"ledger": runtime.ledger, "scripts": runtime.scripts}
        worker: dict[str, Any] = {"cls": WorkerProcess, "options": options}
        if job.processes > 1:
            worker["group"] = [f"-{number}" for number in range(job.processes)]
        try:
            super().__init__(
                runtime,
                worker,
                math.ceil(runtime.request.wish.n_workers / job.processes),
                asynchronous=asynchronous,
                loop=loop,
                security=runtime.security,
                name=name or runtime.id,
                shutdown_on_close=shutdown_on_close,
            )
        except SlurmDaskError as error:
            self._abandon()
            raise error.with_traceback(None) from None  # the sentence is the user's, the way through Dask is not
        except BaseException:
            self._abandon()
            raise

    # --- life ---

    async def _start(self) -> None:
        while self.status == Status.starting:  # noqa: ASYNC110 - as in Dask's own, whose states these are
            await asyncio.sleep(0.01)
        if self.status == Status.running:
            return
        if self.status != Status.created:
            raise ClusterFailed(self.ended or "this cluster is closed: make a new one")
        self._lock = asyncio.Lock()
        self.status = Status.starting
        try:
            await self._open()
        except BaseException as error:
            self.status = Status.failed
            sentence = await self._clear_up()
            if isinstance(error, OSError | TimeoutError):
                where = getattr(self.scheduler, "address", None)
                raise ClusterFailed(
                    f"the cluster's scheduler at {where} cannot be reached from here: {error}"
                ) from None
            if sentence and isinstance(error, SlurmDaskError):
                raise type(error)(f"{error.message}; {sentence}") from None
            raise

    async def _open(self) -> None:
        await self.runtime.prepare()
        self.scheduler = self.runtime.scheduler_job(self._submit_first_workers)
        await self.scheduler
        address = self.scheduler.address
        self.scheduler_comm = rpc(address, connection_args=self.security.get_connection_args("client"))
        await self.runtime.link(address, self._scheduler_lost)
        await super(SpecCluster, self)._start()
        await self._correct_state()
        if self._refused:
            raise self._refused[0]
        self._watching = asyncio.ensure_future(self._watch())

    def _submit_first_workers(self, dependency: str | None) -> None:
        """Submit the first workers' jobs behind the scheduler's: they come up while it does, and wait for its file."""
        scripts, ledger = self.runtime.scripts, self.runtime.ledger
        for name in self.worker_spec:
            ledger.drop(scripts.worker_name(name))
            ledger.submit_soon(scripts.worker_name(name), scripts.worker(name, dependency))

    def _scheduler_lost(self) -> None:
        if self._dying is None and self._closing is None:
            self._dying = asyncio.ensure_future(self._die())

    async def _die(self) -> None:
        self.ended = await self.runtime.why_gone()
        self._tell(self.ended)
        if sentence := await self._clear_up():
            self._tell(sentence)

    async def _clear_up(self) -> str:
        """Close; return the sentence about what is left, if anything is."""
        try:
            await self._close()
        except SlurmDaskError as error:
            return error.message
        return ""

    async def _close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        self.status = Status.closing
        if self._adaptive is not None:
            self._adaptive.stop(reason="cluster-closed")
        if self._watching is not None:
            self._watching.cancel()
        await self.runtime.unlink()
        if self.scheduler_comm is not None and not self.ended:
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(self.scheduler_comm.terminate(), _GOODBYE)
        for worker in self.workers.values():
            await worker.close()
        with self._spec_lock:
            self.worker_spec.clear()
            self.workers.clear()
        await super(SpecCluster, self)._close()
        self.status = Status.closing
        try:
            await self.runtime.close()
        finally:
            self.status = Status.closed
            self._live.end()

    def close(self, timeout: float | None = None) -> Any:
        """Cancel every job and remove the cluster's folder.

        Raises:
            ClusterFailed: jobs may be left; it names them.
        """
        if os.getpid() != self._pid:
            return NoOpAwaitable() if self.asynchronous else None  # the cluster is the parent's
        try:
            return super().close(timeout)
        except SlurmDaskError:
            self._loop_runner.stop()
            raise

    def _abandon(self) -> None:
        """Clear up behind a constructor that did not come to its end; a second interrupt ends this, too."""
        if getattr(self, "_loop_runner", None) is None or self.called_from_running_loop:
            return
        with suppress(RuntimeError, TimeoutError, SlurmDaskError):
            self.sync(self._close, callback_timeout=_ABANDON)
        self._loop_runner.stop()

    # --- while it runs ---

    async def _watch(self) -> None:
        """Look at the jobs now and then: the scheduler's end is noticed by its link, that of a worker's job here."""
        ledger = self.runtime.ledger
        while True:
            waiting = any(entry.state is None or entry.state.pending for entry in ledger.entries.values())
            await asyncio.sleep(_LOOK_WAITING if waiting else _LOOK_RUNNING)
            await ledger.look()
            scheduler = self.runtime.scheduler_entry
            if scheduler is not None and scheduler.ended:
                return self._scheduler_lost()
            await self._settle_ended()
            self._live.refresh()

    def _update_worker_status(self, op: str, msg: Any) -> None:
        super()._update_worker_status(op, msg)
        self._live.refresh()

    # --- what the user sees ---

    def job_script(self) -> str:
        """Return the job script of the next worker, as it will be submitted."""
        return self.runtime.scripts.worker(self._next_name)

    def scheduler_script(self) -> str:
        """Return the job script of the scheduler, as it is submitted."""
        return self.runtime.scripts.scheduler()

    @property
    def dashboard_link(self) -> str:
        """Where the dashboard is: behind the notebook server in a hub, else at the scheduler itself, for its key."""
        port = self.scheduler_info.get("services", {}).get("dashboard")
        return dashboard_link(os.environ, self.runtime.id, self.scheduler_address, port)

    async def _get_logs(
        self, cluster: bool = True, scheduler: bool = True, workers: bool | Iterable[str] = True
    ) -> Logs:
        scripts, logs = self.runtime.scripts, Logs()
        if cluster:
            logs["Cluster"] = Log("\n".join(self._status_lines()))
        names = {"Scheduler": scripts.scheduler_name()} if scheduler else {}
        jobs = list(self.workers) if workers is True else [self._job_of(name) for name in workers or ()]
        names |= {f"Worker {name}": scripts.worker_name(name) for name in jobs}
        for title, job_name in names.items():
            logs[title] = Log(await asyncio.to_thread(self.runtime.output, job_name, _OUTPUT))
        return logs

    def _status_lines(self) -> list[str]:
        if self.ended:
            return [self.ended]
        ledger = self.runtime.ledger
        return status_lines(list(ledger.entries.values()), ledger.trouble, self.runtime.site.support, datetime.now(UTC))

    def _repr_html_(self, cluster_status: str | None = None) -> str:
        return str(super()._repr_html_(cluster_status=(cluster_status or "") + status_rows(self._status_lines())))

    def _ipython_display_(self, **more: Any) -> None:
        if self._widget() is not None:
            super()._ipython_display_(**more)
        else:
            self._live.show(self.status != Status.closed)
