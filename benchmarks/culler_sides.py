"""Two cullers, each a process of its own as a hub starts it, on the same hub: a double at the wire that notes times.

Ours is ``python -m nbplatform_spawners.culler``, the peer ``python -m jupyterhub_idle_culler`` 2.0.  The hub answers at
once, but for stops: what is measured is the culler.  Upstream's has no way to make one pass and end, so both run as
services, are looked at from outside, and are ended when they rest.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tornado.httputil import HTTPServerRequest

from tests.culler.hub_double import FakeServer, HubDouble

from .runner import CannotRun

LIMIT = 300.0
"""Seconds that a culler may take."""
QUIET = 1.5
"""Seconds without a request and without CPU time after which a culler rests."""
_LOOK = 0.02
_PEER = "jupyterhub_idle_culler"
_STEPS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Asked:
    """A request that was answered; seconds of ``time.perf_counter``."""

    method: str
    path: str
    begin: float
    end: float


class TimedHub(HubDouble):
    """A hub, and servers, that note when each request came and when it was answered.

    Args:
        servers: all of them.
        stop_delay: seconds that a stop takes.
    """

    def __init__(self, servers: Iterable[FakeServer], *, stop_delay: float = 0.0) -> None:
        super().__init__(servers, stop_delay=stop_delay)
        self.answered: list[Asked] = []
        self.first: float | None = None
        self.met: Callable[[], None] = lambda: None
        """Called when the first request comes."""

    async def _answer(self, request: HTTPServerRequest) -> None:
        begin = time.perf_counter()
        if self.first is None:
            self.met()
            self.first = begin
        await super()._answer(request)
        self.answered.append(Asked(str(request.method), request.path, begin, time.perf_counter()))


class Process:
    """A culler that runs.

    Args:
        hub: the one it asks.
        process: of the culler.
    """

    def __init__(self, hub: TimedHub, process: subprocess.Popen[bytes]) -> None:
        self.hub, self._process = hub, process
        self._spent_before = 0.0
        hub.met = self._begin

    def _begin(self) -> None:
        self._spent_before = self._spent()

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def wait_for(self, done: Callable[[], bool]) -> None:
        """Wait until something is so.

        Raises:
            CannotRun: it takes too long.
        """
        limit = time.perf_counter() + LIMIT
        while not done() and self.alive():
            if time.perf_counter() > limit:
                raise CannotRun(f"the culler is not done after {LIMIT:.0f} s: {dict(self.hub.counts)}")
            time.sleep(_LOOK)

    def rest(self) -> tuple[float, float]:
        """Wait until it has made its pass and rests.

        Returns:
            seconds from its first request until it did its last work, and its CPU seconds in that time.

        Raises:
            CannotRun: it takes too long.
        """
        worked = [time.perf_counter(), self._spent(), len(self.hub.answered)]

        def rests() -> bool:
            now, seen = time.perf_counter(), (self._spent(), len(self.hub.answered))
            if seen != (worked[1], worked[2]):
                worked[:] = [now, *seen]
            return bool(self.hub.counts["list"]) and now - worked[0] > QUIET

        self.wait_for(rests)
        if self.hub.first is None:
            return 0.0, 0.0  # it has ended, and :func:`running` says why
        return worked[0] - self.hub.first, worked[1] - self._spent_before

    def _spent(self) -> float:
        """Return the CPU seconds that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _STEPS_A_SECOND


@contextmanager
def running(side: str, hub: TimedHub, options: Sequence[str]) -> Iterator[Process]:
    """A culler that asks this hub, and makes its first pass at once.

    Args:
        side: ``ours`` or ``peer``.
        hub: the hub, running.
        options: of its command.

    Raises:
        CannotRun: the peer is not installed, or it ended by itself.
    """
    if importlib.util.find_spec(_PEER) is None:
        raise CannotRun(f"{_PEER} is not installed: pip install 'jupyterhub-idle-culler>=2.0,<3'")
    module = {"ours": "nbplatform_spawners.culler", "peer": _PEER}[side]
    more = ["--start-delay=0"] if side == "ours" else []
    command = [sys.executable, "-m", module, "--cull-every=100000", *more, *options]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "JPY_"))}
    paths = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parent.parent), kept.get("PYTHONPATH")]))
    env = {**kept, "PYTHONPATH": paths, "JUPYTERHUB_API_URL": hub.url, "JUPYTERHUB_API_TOKEN": hub.token}
    with tempfile.TemporaryDirectory(prefix="nbplatform-bench-") as folder, Path(folder, "log").open("w+b") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield Process(hub, process)
        finally:
            ended = process.poll()
            process.kill()
            process.wait()
        if ended is not None:
            raise CannotRun(f"{module} ended with status {ended}: {_end_of(Path(folder, 'log'))}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-500:]
