"""Benchmarks of Dask clusters on one real Slurm: ours, and plain dask-jobqueue, by turns.

Ours has its scheduler in a job of its own and speaks TLS everywhere; dask-jobqueue keeps its scheduler with the caller
and speaks in the clear.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.components import MissingComponent
from tests.components.slurm import Slurm, running_slurm

from .pairs import Pairs, by_turns
from .runner import CannotRun, Figure, benchmark, tell

PROGRAM = Path(__file__).with_name("_dask_user.py")
USER = "alice"
SITE = "slurm: {{way: commands}}\nworkers: {{shared: [{home}, {prefix}]}}\n"
ROUNDS, SCALE_ROUNDS = 7, 3
WORKERS = 8
LEFT_AFTER = 5.0  # seconds after which no job may be left
_PEER = "plain dask-jobqueue, whose scheduler sits with the caller"


class Side:
    """One side of one user's process.

    Args:
        slurm: the cluster.
        process: the user's.
        log: what that process writes besides.
        name: ``ours`` or ``peer``.
    """

    def __init__(self, slurm: Slurm, process: subprocess.Popen[str], log: Path, name: str) -> None:
        self._slurm = slurm
        self._log = log
        self._process = process
        self._name = name

    def measure(self, what: str) -> dict[str, float]:
        """Return what the user measured, and under ``left`` how many jobs are there some seconds afterwards.

        Args:
            what: one of the methods of the user, and its argument.

        Raises:
            CannotRun: the user's process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self._name} {what}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            words = " ".join(self._log.read_text(errors="replace").split())[-500:]
            raise CannotRun(f"the user's process has ended while it measured {self._name} {what}: {words}")
        found: dict[str, float] = json.loads(line)
        limit = time.monotonic() + LEFT_AFTER
        while (left := self._slurm.job_count(USER)) and time.monotonic() < limit:
            time.sleep(0.1)
        if left:
            words = f"{self._name} {what}: {left} jobs are left after {LEFT_AFTER:.0f} s"
            if self._name == "ours":
                raise CannotRun(words)
            tell(words)
        self._slurm.clear()
        return {**found, "left": left}


@contextmanager
def two_sides() -> Iterator[tuple[Side, Side]]:
    """Both sides on one Slurm, in one process of one user.

    Raises:
        CannotRun: this machine cannot run a Slurm.
    """
    try:
        with running_slurm() as slurm:
            site = slurm.places.top / "site.yaml"
            site.write_text(SITE.format(home=slurm.home, prefix=sys.prefix))
            environment = slurm.user_environment(USER, {"NBPLATFORM_SLURM_SITE": str(site)})
            command = slurm.words_as(USER, [sys.executable, PROGRAM, slurm.address])
            log = slurm.places.top / "log" / "user.log"
            pipe = subprocess.PIPE
            with (
                log.open("w") as errors,
                subprocess.Popen(
                    command, env=environment, cwd="/", stdin=pipe, stdout=pipe, stderr=errors, text=True
                ) as process,
            ):
                try:
                    yield Side(slurm, process, log, "ours"), Side(slurm, process, log, "peer")
                finally:
                    process.kill()
    except MissingComponent as lacking:
        raise CannotRun(str(lacking)) from None


@benchmark(
    "dask",
    unit="s",
    about=f"how much longer until the first worker is ready than with {_PEER}: difference of the medians of"
    f" {ROUNDS} by turns; ours has a scheduler in a job of its own, and TLS",
)
def dask() -> Figure:
    """Measure the first worker; the difference of the medians."""
    with two_sides() as (ours, peer):
        median = measure_first(ours, peer, rounds=ROUNDS).median()
    assert median.peer is not None
    tell(f"dask: first worker after {median.ours:.2f} s, with dask-jobqueue after {median.peer:.2f} s")
    return Figure(median.ours - median.peer)


def measure_first(ours: Side, peer: Side, *, rounds: int, warm_up: int = 1) -> Pairs:
    """Return the seconds until the first worker, round by round."""
    return by_turns(
        lambda: [ours.measure("first")["took"]],
        lambda: [peer.measure("first")["took"]],
        rounds=rounds,
        warm_up=warm_up,
        told=lambda words: tell(f"dask: {words} (s)"),
    )


@benchmark(
    "dask_scale", unit="s", about=f"until {WORKERS} workers are up, beside {_PEER}: median of {SCALE_ROUNDS} by turns"
)
def dask_scale() -> Figure:
    """Measure scaling up; the median."""
    return _scaled()[0]


@benchmark("dask_close", unit="s", about=f"scaling {WORKERS} workers down and closing, from the same rounds")
def dask_close() -> Figure:
    """Measure the end; the median."""
    return _scaled()[1]


@functools.cache
def _scaled() -> tuple[Figure, Figure]:
    with two_sides() as (ours, peer):
        up, down = measure_scale(ours, peer, workers=WORKERS, rounds=SCALE_ROUNDS)
    return up.median(), down.median()


def measure_scale(ours: Side, peer: Side, *, workers: int, rounds: int, warm_up: int = 1) -> tuple[Pairs, Pairs]:
    """Return the seconds until the workers are up, and those that scaling down and closing took, round by round."""
    ends: dict[str, list[float]] = {"ours": [], "peer": []}

    def one_round(side: Side, name: str) -> list[float]:
        found = side.measure(f"scale {workers}")
        ends[name].append(found["close"])
        return [found["took"]]

    up = by_turns(
        lambda: one_round(ours, "ours"),
        lambda: one_round(peer, "peer"),
        rounds=rounds,
        warm_up=warm_up,
        told=lambda words: tell(f"dask_scale: {words} (s)"),
    )
    return up, Pairs(tuple(ends["ours"][warm_up:]), tuple(ends["peer"][warm_up:]))
