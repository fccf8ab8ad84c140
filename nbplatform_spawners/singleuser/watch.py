"""What the idle culler asks this server: what its person and its kernels do, and the notice that it will be stopped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async
from tornado.ioloop import PeriodicCallback

from . import start
from .gpu_sampler import GpuSampler, sampler_for
from .kernels_busy import BusyKernels, Kernels
from .notice import Board, Notice
from .requests_seen import RequestsSeen
from .times import iso, latest, moment_of

VERSION = 1
LOOK_EVERY = 10.0
"""Seconds between two looks at kernels, terminals and downloads."""
AT_LATEST = 60.0
"""Seconds from the start to the first look, where nothing else begins it."""
LIST_LIMIT = 3.0
"""Seconds that a list of kernels or terminals may take: those of a gateway are elsewhere."""
SCHEMA = Path(__file__).resolve().parent / "events" / "notice.yaml"
SCHEMA_ID = "https://events.nbplatform.invalid/nbplatform/notice/v1"
SETTING = "nbplatform_watch"


def utc_now() -> datetime:
    """Return the time by this machine's clock, with an offset."""
    return datetime.now(UTC)


class Watch:
    """Watches one server from inside.

    Attributes:
        board: the notice.
        requests: what requests have shown.
    """

    def __init__(self, serverapp: Any, clock: Callable[[], datetime] = utc_now) -> None:
        """Prepare; nothing is looked at before :meth:`install`.

        Args:
            serverapp: the server's application.
            clock: returns the time, with an offset.
        """
        self.board = Board()
        self.requests = RequestsSeen(serverapp.base_url, clock, self._acted)
        self.clock = clock
        self._serverapp = serverapp
        self._busy = BusyKernels()
        self._gpus: GpuSampler | None = None
        self._timer: PeriodicCallback | None = None
        self._started = moment_of(serverapp.web_app.settings.get("started")) or clock()

    def install(self) -> None:
        """See requests from now on, and know the event."""
        self.requests.install(self._serverapp.web_app)
        events = self._serverapp.event_logger
        if SCHEMA_ID not in events.schemas:
            events.register_event_schema(SCHEMA)
        # A Jupyter Server before 2.16 tells no extension that it listens.
        self._serverapp.io_loop.call_later(AT_LATEST, self.begin)

    def begin(self) -> None:
        """Look every few seconds.  Called when the server listens; twice is no mistake."""
        # Another extension may have set a log function of its own.
        self.requests.install(self._serverapp.web_app)
        if self._timer is None:
            self._timer = PeriodicCallback(self._look, LOOK_EVERY * 1000, jitter=0.1)
            self._timer.start()
            self._gpus = sampler_for(os.environ, self.clock)
            if self._gpus is not None:
                self._gpus.start()

    async def activity(self) -> dict[str, Any]:
        """Return the answer of ``GET api/nbplatform/activity``.

        Raises:
            TimeoutError: kernels or terminals could not be listed in time.
        """
        kernels, (terminals, typed) = await self._kernels(), await self._terminals()
        now = self.clock()
        self._void(kernels, typed)
        gpus, problem = (None, None) if self._gpus is None else self._gpus.answer()
        return {
            "version": VERSION,
            "now": iso(now),
            "started": iso(self._started),
            "last_action": iso(self.requests.last_action),
            "kernels": kernels.as_json(),
            "terminals": {"count": terminals, "last_activity": iso(typed)},
            "downloads": self.requests.downloads(),
            "connections": self.requests.connections(),
            "gpus": gpus,
            "gpu_problem": problem,
            "extend_asked": iso(self.board.extend_asked),
        }

    async def shown(self) -> dict[str, Any]:
        """Return the answer of ``GET api/nbplatform/notice``."""
        if self.board.notice is not None and self.board.notice.idle:
            kernels, (_, typed) = await self._kernels(), await self._terminals()
            self._void(kernels, typed)
        return self._shown()

    def put(self, notice: Notice) -> None:
        """Take a notice; whoever listens is told where it says something else than the one before."""
        if self.board.put(notice):
            self._tell()

    def take_away(self) -> None:
        """Take the notice away."""
        if self.board.take_away():
            self._tell()

    def extend(self) -> str | None:
        """Put the stop off; returns None, or one sentence why that cannot be."""
        refused = self.board.extend(self.clock())
        if refused is None:
            self._tell()
        return refused

    async def _look(self) -> None:
        with start.harmless("the look at kernels and terminals"):
            self.requests.note_downloads()
            kernels, (_, typed) = await self._kernels(), await self._terminals()
            self._void(kernels, typed)

    async def _kernels(self) -> Kernels:
        models = await asyncio.wait_for(ensure_async(self._serverapp.kernel_manager.list_kernels()), LIST_LIMIT)
        return self._busy.look(models, self.clock())

    async def _terminals(self) -> tuple[int, datetime | None]:
        """Return how many terminals there are, and when one was last used, be it gone since."""
        settings = self._serverapp.web_app.settings
        manager = settings.get("terminal_manager")
        models = [] if manager is None else await asyncio.wait_for(ensure_async(manager.list()), LIST_LIMIT)
        moments = (moment_of(one.get("last_activity")) for one in models)
        return len(models), latest(moment_of(settings.get("terminal_last_activity")), *moments)

    def _void(self, kernels: Kernels, typed: datetime | None) -> None:
        """Take a notice away that something has made void."""
        if self.board.acted(latest(self.requests.last_action, kernels.last_activity, kernels.busy_since, typed)):
            self._tell()

    def _acted(self) -> None:
        if self.board.acted(self.requests.last_action):
            self._tell()

    def _shown(self) -> dict[str, Any]:
        notice = self.board.notice
        return {"notice": None if notice is None else notice.as_json(self.clock())}

    def _tell(self) -> None:
        with start.harmless("the event of a notice"):
            self._serverapp.event_logger.emit(schema_id=SCHEMA_ID, data=self._shown())


def watch_of(serverapp: Any) -> Watch:
    """Return the watch of a server, a new one where it has none: extensions may be loaded twice."""
    settings = serverapp.web_app.settings
    if SETTING not in settings:
        settings[SETTING] = Watch(serverapp)
    watch: Watch = settings[SETTING]
    return watch
