"""How a cluster looks in a notebook: its jobs, why they wait, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import quote

from .ledger import Entry
from .meanings import waiting
from .waiting import tell_expected

_SHOWN = 4


def status_lines(entries: Iterable[Entry], trouble: str, support: str, now: datetime) -> list[str]:
    """Return what there is to say of a cluster's jobs, a sentence each, the shortest account first.

    Args:
        entries: the jobs.
        trouble: why Slurm cannot be asked; empty when it can.
        support: whom users ask.
        now: aware time.
    """
    entries = list(entries)
    counts = Counter(_kind(entry) for entry in entries)
    reasons = Counter(
        waiting(entry.state, support) + tell_expected(entry.state, now)
        for entry in entries
        if entry.state is not None and entry.state.pending
    )
    problems = Counter(entry.problem for entry in entries if entry.problem)
    told = [f"{number} {kind}" for kind, number in counts.items()]
    lines = [f"Slurm jobs: {', '.join(told)}"] if told else []
    lines += [f"{number} waiting: {reason}" for reason, number in reasons.most_common(_SHOWN)]
    lines += [problem for problem, _ in problems.most_common(_SHOWN)]
    return [*lines, trouble] if trouble else lines


def status_rows(lines: Iterable[str]) -> str:
    """Return sentences as rows of the table that Dask shows for a cluster."""
    return "".join(f'<tr><td colspan="2" style="text-align: left;">{escape(line)}</td></tr>' for line in lines)


def dashboard_link(environment: Mapping[str, str], cluster: str, address: str, port: int | None) -> str:
    """Return where the dashboard is: behind the notebook server in a hub, else at the scheduler itself.

    Args:
        environment: of the process.
        cluster: the cluster's id.
        address: the scheduler's, such as ``tls://10.0.0.1:4711``.
        port: of its dashboard; None while it is not known.
    """
    prefix = environment.get("JUPYTERHUB_SERVICE_PREFIX")
    if prefix:
        return f"{prefix.rstrip('/')}/nbplatform/dask/{quote(cluster)}/status"
    if port is None:
        return ""
    host = address.partition("://")[2].rpartition(":")[0]
    return f"https://{host}:{port}/status"


def _kind(entry: Entry) -> str:
    if entry.state is None:
        return "submitted" if entry.job_id else "to submit"
    return "waiting" if entry.state.pending else "ended" if entry.ended else "running"


class LiveDisplay:
    """A cluster in the output of a cell that changes with it, where there are no widgets.

    Args:
        render: returns the HTML as it is now.
    """

    def __init__(self, render: Callable[[], str]) -> None:
        self._render = render
        self._handle: Any = None
        self._shown = ""

    def show(self, alive: bool) -> None:
        """Show it in the cell that runs; ``alive``: it may change later."""
        from IPython.display import HTML, display

        self._shown = self._render()
        handle = display(HTML(self._shown), display_id=True)
        self._handle = handle if alive else None

    def refresh(self) -> None:
        """Show it as it is now, if that is different.  Called after anything has changed."""
        if self._handle is None:
            return
        now = self._render()
        if now != self._shown:
            from IPython.display import HTML

            self._shown = now
            self._handle.update(HTML(now))

    def end(self) -> None:
        """Show the end."""
        self.refresh()
        self._handle = None
