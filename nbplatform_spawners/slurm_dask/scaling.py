"""How many workers a cluster has: what is asked for, what Slurm takes, and what ends by itself."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask.config
from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.spec import SpecCluster
from distributed.utils import NoOpAwaitable

from ..names import bounded
from .errors import ClusterFailed, SlurmDaskError
from .jobs import WorkerProcess
from .ledger import Entry
from .limits import check_workers, checked_count, checked_memory
from .runtime import Runtime

log = logging.getLogger(__name__)
_RETIRE = 30.0
"""Seconds in which workers that go hand over what they hold."""
_AFTER_REFUSAL = 30.0
"""Seconds in which an adaptive cluster does not ask Slurm again for what it has refused."""
_REPLACED = frozenset({"BOOT_FAIL", "NODE_FAIL", "PREEMPTED"})
"""Ends of a worker's job that are nobody's wish: another takes its place."""


class ScalingCluster(SpecCluster):
    """A cluster whose workers are jobs; what Dask's own leaves out when workers have several processes, or end.

    Attributes:
        runtime: what it has outside of Dask.
        ended: why it is over; empty unless it ended by itself.
    """

    def __init__(self, runtime: Runtime, worker: dict[str, Any], jobs: int, **more: Any) -> None:
        self.runtime = runtime
        self.ended = ""
        self._spec_lock = threading.RLock()
        self._next_name = jobs
        self.scheduler: Any
        self.scheduler_comm: Any
        self.loop: Any
        self._refused: list[SlurmDaskError] = []
        self._refused_at = -math.inf
        super().__init__(workers=dict.fromkeys(range(jobs), worker), worker=worker, **more)

    @property
    def _cluster_class_name(self) -> str:
        return type(self).__name__

    def scale(  # type: ignore[override]
        self, n: int | None = None, jobs: int = 0, memory: Any = None, cores: int | None = None
    ) -> Any:
        """Ask for a number of workers, or of jobs, or for so much memory or so many cores in all; returns at once.

        Raises:
            ClusterRefused: the site allows less, or it is no number.
            ClusterFailed: the cluster is closed.
        """
        asked = {"n": n, "jobs": jobs, "memory": memory, "cores": cores}
        wanted = [self._jobs_for(name, value) for name, value in asked.items() if value is not None]
        return self._scale_to(max(wanted, default=0))

    async def scale_up(self, n: int) -> None:  # type: ignore[override]
        """Ask for more workers, at most as many as the site allows.  Called when a cluster adapts."""
        processes, limit = self.runtime.request.job.processes, self.runtime.site.limits.workers
        wanted = math.ceil((n if limit is None else min(n, limit // processes * processes)) / processes)
        if time.monotonic() - self._refused_at < _AFTER_REFUSAL:
            wanted = min(wanted, len(self.worker_spec))
        self._scale_to(wanted)

    def adapt(self, *args: Any, **more: Any) -> Any:
        """Let the load decide on the number of workers.

        Args:
            args: Dask's ``Adaptive``, or a class of the user's own.
            more: ``minimum`` and ``maximum`` count workers; with ``_jobs``, ``_cores`` and ``_memory`` behind, as in
                dask-jobqueue, jobs and what all workers have.  The rest is ``Adaptive``'s.

        Raises:
            ClusterRefused: the site allows less, or a bound is no number.
        """
        processes, limit = self.runtime.request.job.processes, self.runtime.site.limits.workers
        least = [self._jobs_for(name, value) for name, value in _taken(more, "minimum")]
        most = [self._jobs_for(name, value, _at_most) for name, value in _taken(more, "maximum")]
        most += [] if limit is None else [limit // processes]
        more["minimum"] = max(least, default=0) * processes
        more["maximum"] = min(most) * processes if most else math.inf
        if not args:
            more.setdefault("Adaptive", _Adaptive)
        return super().adapt(*args, **more)

    def new_worker_spec(self) -> dict[int, Any]:
        """Return one more worker; its name was never used before, for the scheduler may still know an old one."""
        number, self._next_name = self._next_name, self._next_name + 1
        return {number: self.new_spec}

    def _jobs_for(self, name: str, value: Any, whole: Callable[[float], int] = math.ceil) -> int:
        """Return how many jobs an argument asks for; its name tells whether it counts jobs, cores, bytes or workers."""
        job = self.runtime.request.job
        if name.endswith("memory"):
            jobs = whole(checked_memory(name, value) / job.memory)
        else:
            of_one = 1 if name.endswith("jobs") else job.cores if name.endswith("cores") else job.processes
            jobs = whole(checked_count(name, value) / of_one)
        check_workers(jobs * job.processes, self.runtime.site, name)
        return jobs

    def _scale_to(self, jobs: int) -> Any:
        if self.status in (Status.closing, Status.closed, Status.failed):
            raise ClusterFailed(self.ended or "this cluster is closed: make a new one")
        with self._spec_lock:
            for name in self._to_leave(len(self.worker_spec) - jobs):
                del self.worker_spec[name]
            while len(self.worker_spec) < jobs:
                self.worker_spec.update(self.new_worker_spec())
        self.loop.add_callback(self._correct_state)
        return NoOpAwaitable() if self.asynchronous else None

    def _to_leave(self, count: int) -> list[int]:
        """Return whom to let go: those that are not there yet before those that are, the newest first."""
        if count <= 0:
            return []
        there = {self._job_of(worker["name"]) for worker in list(self.scheduler_info["workers"].values())}
        return sorted(self.worker_spec, key=lambda name: (name in there, -name))[:count]

    async def _correct_state_internal(self) -> None:
        async with self._lock:
            self._correct_state_waiting = None
            with self._spec_lock:
                wanted = dict(self.worker_spec)
            leaving = [name for name in self.workers if name not in wanted]
            await self._retire(leaving)
            for name in leaving:
                worker = self.workers.pop(name, None)
                if worker is not None:
                    await worker.close()
            await self._open_workers({name: spec for name, spec in wanted.items() if name not in self.workers})

    async def _open_workers(self, specs: dict[int, Any]) -> None:
        for name, spec in specs.items():
            self.workers[name] = spec["cls"](self.scheduler.address, name=name, **spec["options"])
            self._created.add(self.workers[name])
        opened = {name: self.workers[name] for name in specs}
        answers = await asyncio.gather(*(_awaited(worker) for worker in opened.values()), return_exceptions=True)
        for name, answer in zip(opened, answers, strict=True):
            if isinstance(answer, SlurmDaskError):
                self._note_refusal(answer)
                await self._take_off(name)
            elif isinstance(answer, BaseException):
                raise answer

    def _note_refusal(self, error: SlurmDaskError) -> None:
        self._refused_at = time.monotonic()
        if self.status == Status.running and error.message not in {each.message for each in self._refused}:
            self._tell(f"a worker was refused: {error.message}")
        self._refused = [*self._refused[-9:], error]

    async def _retire(self, names: list[int]) -> None:
        """Let workers hand over what they hold, and close, before their jobs are cancelled."""
        there = [worker["name"] for worker in self.scheduler_info["workers"].values()]
        leaving = [worker for worker in there if self._job_of(worker) in names]
        if leaving and self.status == Status.running:
            with suppress(OSError, TimeoutError):
                retire = self.scheduler_comm.retire_workers(names=leaving, close_workers=True)
                await asyncio.wait_for(retire, _RETIRE)

    async def _take_off(self, name: int) -> None:
        """Have a worker no longer, and want it no longer."""
        with self._spec_lock:
            self.worker_spec.pop(name, None)
        worker = self.workers.pop(name, None)
        if worker is not None:
            await worker.close()

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove":
            name = self._job_of(self.scheduler_info["workers"][msg]["name"])
            delay = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
            asyncio.get_running_loop().call_later(delay, self._lost, name)
        super(SpecCluster, self)._update_worker_status(op, msg)

    def _lost(self, name: int) -> None:
        """Called some time after a worker has left; a nanny brings one back under the same name."""
        there = {self._job_of(worker["name"]) for worker in self.scheduler_info["workers"].values()}
        if self.status == Status.running and name in self.workers and name not in there:
            task = asyncio.ensure_future(self._take_off(name))
            self._futures.add(task)
            task.add_done_callback(self._futures.discard)

    async def _settle_ended(self) -> None:
        """Take off the workers whose jobs have ended by themselves; others replace those that failed."""
        ledger, told = self.runtime.ledger, []
        for name, worker in list(self.workers.items()):
            entry = ledger.entries.get(worker.job_name)
            if entry is None or not entry.ended:
                continue
            told.append(await asyncio.to_thread(self.runtime.why_ended, entry))
            await self._take_off(name)
            if self._adaptive is None and _to_replace(entry):
                with self._spec_lock:
                    self.worker_spec.update(self.new_worker_spec())
        if told:
            self._tell(told[0] if len(told) == 1 else f"{told[0]}; and {len(told) - 1} more have ended")
            await self._correct_state()

    def _job_of(self, worker: object) -> int:
        """Return the number of the job that a worker runs in; -1 for a worker of somebody else."""
        text = str(worker).partition("-")[0]
        return int(text) if text.isdecimal() else -1

    def _tell(self, sentence: str) -> None:
        """Tell the user what happened to a cluster that was up."""
        log.warning("dask cluster %s: %s", self.runtime.id, bounded(sentence, 1000)[1:-1])


class _Adaptive(Adaptive):
    """Dask's own, which asks for more by ``scale_up``: Slurm is not asked every second for what it refuses."""

    cluster: Any

    async def scale_up(self, n: int) -> None:  # type: ignore[override]
        await self.cluster.scale_up(n)


def _taken(more: dict[str, Any], bound: str) -> list[tuple[str, Any]]:
    """Take the arguments for a bound out of all; return those that say one."""
    names = (bound, *(f"{bound}_{what}" for what in ("jobs", "cores", "memory")))
    taken = [(name, more.pop(name, None)) for name in names]
    return [(name, value) for name, value in taken if value is not None and value != math.inf]


def _at_most(jobs: float) -> int:
    """Return whole jobs that stay within an upper bound; one where it is less than that."""
    return max(math.floor(jobs), 1) if jobs else 0


def _to_replace(entry: Entry) -> bool:
    return entry.state is not None and entry.state.state in _REPLACED


async def _awaited(worker: WorkerProcess) -> None:
    await worker
