"""``nbplatform-local``: servers on this machine, each as its user and in its own view of the file system."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from jupyterhub.utils import random_port

from ..errors import Refusal
from ..hosts.admit import LiveHost, LivePool
from ..hosts.local_machine import LocalMachine, probe_machine
from ..hosts.local_process import LaunchError, LocalProcess, launch, listener_uid, log_tail, status, stop, trim_log
from ..names import slug
from ..plan import SpawnPlan
from ..render.local import ungranted_groups
from ..rules.decision import Decision
from ..rules.model import Host, Pool
from ..rules.unplaceable import why_unplaceable
from .base import NbplatformSpawner
from .errors import ServerFailedError
from .local_settings import LocalSettings
from .local_watch import EndWatch, recorded_folders, strays
from .ready import wait_until_ready

HERE = "this machine"
_LISTENER_INTERVAL = 0.05
"""Seconds between two looks at who listens, where the hub does the waiting."""
_LOG_LIMIT = 2000
_KILLED = 128 + 9
_swept: set[Path] = set()
"""Runtime directories that this process has looked through for servers that nobody knows."""
_NO_INTERNAL_SSL = "nbplatform-local does not support c.JupyterHub.internal_ssl; set it to False"


class LocalSpawner(LocalSettings, NbplatformSpawner):
    """Starts servers on the hub's own machine: for a laptop, a workstation, a small group's server, a demo.

    As root each server runs with its account's uid, gid and groups; as an ordinary user in a user namespace with
    that uid and gid inside.  What the machine cannot do is said in the hub's log at the first start.
    """

    ignored_fields = frozenset({"image", "pool", "hosts"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._process: LocalProcess | None = None
        self._watch: EndWatch | None = None

    @property
    def machine(self) -> LocalMachine:
        """What this machine can do; looked up once a process, its lacks logged then."""
        return _machine(self.bwrap or None, tuple(self.readable_paths), self.log)

    @classmethod
    def check_configuration(cls, config: Any) -> None:
        """Check the rules and say in the log what this machine cannot do (see the base class).

        Raises:
            ValueError: ``internal_ssl`` is on.
        """
        if config.JupyterHub.get("internal_ssl", False):
            raise ValueError(_NO_INTERNAL_SSL)
        super().check_configuration(config)
        _ = cls(config=config).machine

    async def live_pools(self, decision: Decision) -> tuple[LivePool, ...]:
        """Return this machine as the only pool: here ``pool`` and ``hosts`` choose nothing."""
        await self._end_strays()
        memory = int(self.machine.memory * self.overcommit)
        self._check_possible(decision, memory)
        host = LiveHost(HERE, memory, gpus=tuple(self.gpus), gpu_model=self.gpu_model or None)
        return (LivePool(HERE, (host,)),)

    async def _end_strays(self) -> None:
        """End what a killed hub left in the middle of a start, once, before anything is granted."""
        top = Path(self.runtime_directory)
        if top in _swept:
            return
        _swept.add(top)
        # The list is made before the first await: nothing that is started meanwhile is in it.
        for process in list(strays(top, recorded_folders(self.user.db))):
            self.log.warning("ending a server that no record names: pid %s of %s", process.pid, process.directory)
            await stop(process, 0)

    def _check_possible(self, decision: Decision, memory: int) -> None:
        book = self.book()
        host = Host(HERE, "", memory, gpu_model=self.gpu_model or None, gpus=tuple(self.gpus))
        here = replace(book, pools={HERE: Pool(HERE, (host,))})
        fields = {"pool": (HERE,), "memory": decision.value("memory", 0)}
        impossible = why_unplaceable(here, book.profiles[decision.profile or ""], fields)
        if impossible:
            raise Refusal("unplaceable", impossible)

    async def apply_plan(self, plan: SpawnPlan) -> str:
        """Start the server, record it, wait until it answers; return its URL.

        Raises:
            Refusal: ``storage``: a source is missing.
            ServerFailedError: it ended before it answered; the message has the end of its log.
        """
        for group in ungranted_groups(plan, self.machine):
            self.log.warning("user=%s group %s cannot be granted on this machine", self.user.name, group)
        self._steps.say(30, "Starting your server on this machine")
        directory = self._fresh_directory()
        try:
            self._process = await launch(self._with_gpus(plan), self.machine, directory, self._server_id)
        except LaunchError as error:
            raise ServerFailedError(str(error)) from error
        try:
            self.commit_state()
            self._steps.say(60, "Waiting for your server to answer")
            await self._wait_until_ready(directory)
        except BaseException:
            await asyncio.shield(self._end(now=True))
            raise
        return self._url

    def _with_gpus(self, plan: SpawnPlan) -> SpawnPlan:
        granted = ",".join(plan.placement.gpus)
        visible = {"CUDA_VISIBLE_DEVICES": granted, "NVIDIA_VISIBLE_DEVICES": granted or "void"}
        return replace(plan, env={**plan.env, **visible})

    async def prepare(self) -> SpawnPlan:
        """Choose the port before the plan is made: the server learns it from its environment."""
        if self._plan is None:
            self.port = random_port()
        return await super().prepare()

    async def create_certs(self) -> Any:
        """Say that ``internal_ssl`` does not apply here: hub and servers talk over this machine's loopback.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(_NO_INTERNAL_SSL)

    async def _wait_until_ready(self, directory: Path) -> None:
        look = partial(self._look_at_start, directory)
        if self.ready_interval:
            await wait_until_ready(f"{self._url}{self.server.base_url}api", self.ready_interval, look)
            return
        # The hub would ask whoever listens; only the system knows who that is.
        while not await look():  # noqa: ASYNC110
            await asyncio.sleep(_LISTENER_INTERVAL)

    async def _look_at_start(self, directory: Path) -> bool:
        """Tell whether the server listens.

        Raises:
            ServerFailedError: it has ended, or another user's process listens in its place.
        """
        ended = await self.poll()
        if ended is not None:
            raise ServerFailedError(_how_it_ended(ended), log_tail(directory, _LOG_LIMIT))
        found = listener_uid(self.port)
        if found not in (None, self._expected_uid):
            raise ServerFailedError(f"port {self.port} was taken by a process of uid {found}; start again")
        return found is not None

    @property
    def _expected_uid(self) -> int:
        """The uid, seen from outside, of whoever may listen on the server's port."""
        return int(self._record["identity"]["uid"]) if self.machine.mode == "root" else os.getuid()

    async def poll(self) -> int | None:
        """Return None while the server runs or is being started, else its exit status (0 when not known)."""
        if self._process is not None:
            trim_log(Path(self._process.directory), self.max_log_size)
            ended: int | None = status(self._process)
            found = listener_uid(self.port)
            if ended is not None or self._start_pending or found in (None, self._expected_uid):
                return ended
            self.log.error(
                "%s is ended: uid %s has its port %s, nobody must be sent there", self._log_name, found, self.port
            )
            await self._end(now=True)
            return 1
        return None if self._start_pending else 0

    def start_polling(self) -> None:
        """Poll, and look at once when the server ends.  Called by the hub."""
        super().start_polling()
        if self._process is not None:
            pid = self._process.server_pid or self._process.pid
            self._watch = EndWatch(pid, lambda: self._keep(asyncio.ensure_future(self.poll_and_notify())))

    def stop_polling(self) -> None:
        """Poll no longer.  Called by the hub."""
        super().stop_polling()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _keep(self, look: asyncio.Future[None]) -> None:
        self._look = look  # the event loop itself holds no strong reference

    async def stop(self, now: bool = False) -> None:
        """End the server and everything it started.  Never raises on one that is gone."""
        await self._end(now)

    async def _end(self, now: bool) -> None:
        process, self._process = self._process, None
        if process is not None and not await stop(process, 0 if now else self.stop_grace):
            self.log.error("%s did not end although it was killed: pid %s", self._log_name, process.pid)

    async def get_url(self) -> str:
        """Return where the server listens, as recorded at its start."""
        return self._url

    @property
    def _url(self) -> str:
        return f"http://{self.ip}:{self.port}"

    @property
    def _server_id(self) -> str:
        """A name for the server's directory and cgroups; ``.`` is in no slug, so no two servers share one."""
        return slug(self.user.name) + (f".{slug(self.name)}" if self.name else "")

    def _fresh_directory(self) -> Path:
        top = Path(self.runtime_directory)
        top.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = top / self._server_id
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        return directory

    def get_state(self) -> dict[str, Any]:
        """Return the base's state with the process and the port."""
        state = super().get_state()
        if self._process is not None:
            state.update(process=self._process.to_state(), port=self.port)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Find the server again after a hub restart: by pid, start time and boot."""
        super().load_state(state)
        self._process = LocalProcess.from_state(state.get("process"))
        if self._process is not None:
            self.port = state.get("port", 0)

    def clear_state(self) -> None:
        """Forget the server; its log stays until the next start."""
        super().clear_state()
        self._process = None


def _how_it_ended(code: int) -> str:
    killed = code == _KILLED
    return "the server was killed, most likely for want of memory" if killed else f"the server ended with {code}"


@cache
def _machine(bwrap: str | None, readable_paths: tuple[str, ...], log: Any) -> LocalMachine:
    machine = probe_machine(bwrap=bwrap, extra_paths=readable_paths)
    for note in machine.notes:
        log.warning("local backend: %s", note)
    return machine
