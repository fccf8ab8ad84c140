"""Waiting for the scheduler's job, and telling the user meanwhile why it takes so long."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from typing import Any, Protocol

from ..names import bounded
from .errors import ClusterFailed
from .folder import ClusterFolder
from .ledger import Entry, Ledger
from .meanings import ending, never_starts, waiting
from .models import JobState
from .versions import mismatch

log = logging.getLogger(__name__)
SILENT = 1.0
"""Seconds that nobody is told of: most starts are shorter."""
_TICK = 0.05
_LOOKS = (0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
"""Seconds between looks at Slurm, growing: a queue that is long today is asked less."""
COMES_UP = 120.0
"""Seconds in which a scheduler whose job runs must have come up."""
LONGEST_WAIT = 86400
"""Seconds that a scheduler may wait in the queue: its certificate is made for so long and the wall time."""
LOG_TAIL = 2000


class Progress(Protocol):
    """Shows one line that changes."""

    def show(self, text: str) -> None:
        """Show the line in place of the one before."""
        ...

    def end(self) -> None:
        """Take the line away."""
        ...


class Terminal:
    """One line of a terminal, written over again and again."""

    def show(self, text: str) -> None:
        """Show the line."""
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    def end(self) -> None:
        """Clear the line."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


class Notebook:
    """One output of a cell, replaced again and again."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Show the line."""
        from IPython.display import HTML, display

        shown = HTML(f"<p>{escape(text)}</p>")
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)

    def end(self) -> None:
        """Leave an empty output."""
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(HTML(""))


class Script:
    """A script's log, where somebody has asked for it; else nothing."""

    def show(self, text: str) -> None:
        """Log the line."""
        log.info("%s", text)

    def end(self) -> None:
        """Nothing to take away."""


def choose_progress() -> Progress:
    """Return what suits where this runs: a notebook, a terminal, or a script that nobody watches."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and hasattr(shell, "kernel"):
        return Notebook()
    return Terminal() if sys.stderr is not None and sys.stderr.isatty() else Script()


class SchedulerWait:
    """Waits until the scheduler's job has told where it is.

    Args:
        folder: the cluster's.
        ledger: the cluster's jobs.
        entry: the scheduler's.
        here: versions of the kernel's side.
        hold_back: called once with the job's id when workers have begun before it: they are to stand behind it.
        support: whom users ask.
    """

    def __init__(
        self,
        folder: ClusterFolder,
        ledger: Ledger,
        entry: Entry,
        here: dict[str, str],
        hold_back: Callable[[str], None],
        support: str,
    ) -> None:
        self._folder, self._ledger, self._entry = folder, ledger, entry
        self._here, self._hold_back, self._support = here, hold_back, support
        self._told: set[str] = set()
        self._running_since: float | None = None
        self._held_back = False

    async def address(self) -> str:
        """Return the scheduler's address.

        Raises:
            ClusterFailed: it will not come; one sentence says why.
        """
        progress = choose_progress()
        start = looked = time.monotonic()
        looks = 0
        try:
            while True:
                names = set(await asyncio.to_thread(self._folder.names))
                if (found := await self._found(names)) is not None:
                    return found
                now = time.monotonic()
                if now - looked >= _LOOKS[min(looks, len(_LOOKS) - 1)]:
                    looks, looked = looks + 1, now
                    await self._look(now)
                    if now - start > LONGEST_WAIT:
                        raise ClusterFailed("the scheduler's job has waited for a day: try again, or ask for less")
                if now - start > SILENT:
                    self._tell(progress, start, now)
                await asyncio.sleep(_TICK)
        finally:
            if self._told:
                progress.end()

    async def _found(self, names: set[str]) -> str | None:
        for name in sorted(names):
            if name.startswith("mismatch-"):
                raise ClusterFailed(await asyncio.to_thread(read_mismatch, self._folder, name, self._here))
        if "scheduler.json" not in names:
            return None
        try:
            content = await asyncio.to_thread(self._folder.read, "scheduler.json")
            return str(json.loads(content or b"")["address"])
        except (ValueError, KeyError, TypeError):
            return None  # it is being written

    async def _look(self, now: float) -> None:
        await self._ledger.look()
        state = self._entry.state
        if self._entry.ended:
            raise ClusterFailed(await asyncio.to_thread(self._why_ended))
        if state is not None and never_starts(state):
            raise ClusterFailed(f"the scheduler's job {state.id} would never start: {waiting(state, self._support)}")
        if state is not None and state.running and self._running_since is None:
            self._running_since = now
        if state is not None and state.pending and not self._held_back and self._workers_run():
            self._held_back = True
            self._hold_back(state.id)
        if self._running_since is not None and now - self._running_since > COMES_UP:
            raise ClusterFailed(
                f"the scheduler's job {self._entry.job_id} runs, but has not come up in {COMES_UP:.0f} seconds: its "
                f"node may not see {self._folder.path}, ask {self._support}{self._log_tail()}"
            )

    def _workers_run(self) -> bool:
        """Tell whether a worker holds a node already, and does nothing there until the scheduler comes."""
        return any(entry.state is not None and entry.state.running for entry in self._ledger.entries.values())

    def _tell(self, progress: Progress, start: float, now: float) -> None:
        text = tell_waiting(self._entry, self._ledger.trouble, self._support, datetime.now(UTC))
        shown = f"{text} ({now - start:.0f} s; interrupt to cancel)" if not isinstance(progress, Script) else text
        if shown not in self._told:
            self._told = {shown}
            progress.show(shown)

    def _why_ended(self) -> str:
        for name in self._folder.names():
            if name.startswith("mismatch-"):
                return read_mismatch(self._folder, name, self._here)
        state = self._entry.state
        why = ending(state) if state is not None and state.ended else "Slurm no longer knows it"
        return f"the scheduler's job {self._entry.job_id} ended before it could be used: {why}{self._log_tail()}"

    def _log_tail(self) -> str:
        return last_words(self._folder.tail(f"log/{self._entry.name}.log", LOG_TAIL))


def tell_waiting(entry: Entry, trouble: str, support: str, now: datetime) -> str:
    """Return one line about a job that one waits for.

    Args:
        entry: the job.
        trouble: why Slurm cannot be asked; empty when it can.
        support: whom users ask.
        now: aware time.
    """
    if trouble:
        return trouble
    state = entry.state
    if state is None:
        return f"Slurm has taken the scheduler's job {entry.job_id}"
    if not state.pending:
        return f"the scheduler's job {state.id} runs on {state.nodes or 'its node'} and is coming up"
    return f"the scheduler's job {state.id} waits: {waiting(state, support)}{tell_expected(state, now)}"


def tell_expected(state: JobState, now: datetime) -> str:
    """Return when Slurm means to start a waiting job, as the end of a sentence; empty when it does not say."""
    if state.expected is None or state.expected <= now:
        return ""
    minutes = round((state.expected - now).total_seconds() / 60)
    local = state.expected.astimezone()
    when = f"{local:%H:%M}" if minutes < 720 else f"{local:%Y-%m-%d %H:%M}"
    return f"; Slurm expects it to start at {when}, in {minutes} min" if minutes else "; Slurm starts it now"


def read_mismatch(folder: ClusterFolder, name: str, here: dict[str, str]) -> str:
    """Return the sentence about a node whose versions do not fit."""
    try:
        told = json.loads(folder.read(name) or b"")
        there = {str(key): str(value) for key, value in told["versions"].items()}
        where = bounded(told.get("executable", ""), 200)[1:-1]
    except (ClusterFailed, ValueError, KeyError, TypeError, AttributeError):
        there, where = {}, ""
    return (mismatch(here, there) or "the nodes' Dask does not fit this notebook's") + (
        f" (nodes: {where})" if where else ""
    )


def last_words(text: str) -> str:
    """Return the last line of a job's output as the end of a sentence; what Dask tells of its everyday is none."""
    whole = text.splitlines()[1 if len(text.encode()) >= LOG_TAIL else 0 :]  # the first one may be cut
    lines = [line.strip() for line in whole if line.strip() and " - INFO - " not in line]
    return f"; its last words: {bounded(lines[-1], 300)}" if lines else ""
