"""Benchmarks of a spawn: from the request to a server that is ready, ours and a stock hub's by turns.

A measuring session of 20 pairs serves the median and the 90th percentile.  The first pair, which finds nothing in the
machine's caches, does not count.
"""

from __future__ import annotations

import functools

from .hub_sides import Side, two_sides
from .pairs import Pairs, by_turns
from .runner import Figure, benchmark, tell

RUNS = 20
_WHAT = "from the POST of a spawn to a ready server, {}: nbplatform-local and a stock hub, {} of 20 warm runs each"
_SERVER = "the jupyter_server application"
_LAB = "with JupyterLab"


@benchmark("spawn", unit="s", about=_WHAT.format(_SERVER, "median"))
def spawn() -> Figure:
    """Measure spawns of the jupyter_server application; the median."""
    return _session(lab=False).median()


@benchmark("spawn_p90", unit="s", about=_WHAT.format(_SERVER, "90th percentile"))
def spawn_p90() -> Figure:
    """Return the 90th percentile of the same runs."""
    return _session(lab=False).p90()


@benchmark("spawn_lab", unit="s", about=_WHAT.format(_LAB, "median"))
def spawn_lab() -> Figure:
    """Measure spawns of a server with JupyterLab; the median."""
    return _session(lab=True).median()


@benchmark("spawn_lab_p90", unit="s", about=_WHAT.format(_LAB, "90th percentile"))
def spawn_lab_p90() -> Figure:
    """Return the 90th percentile of the same runs."""
    return _session(lab=True).p90()


@functools.cache
def _session(*, lab: bool) -> Pairs:
    with two_sides(lab=lab) as (ours, peer):
        return measure_spawns(ours, peer, runs=RUNS, name="spawn_lab" if lab else "spawn")


def measure_spawns(ours: Side, peer: Side, *, runs: int, name: str, warm_up: int = 1) -> Pairs:
    """Return the seconds that starts took; each server has ended before the next one starts."""
    return by_turns(
        ours.start_and_stop,
        peer.start_and_stop,
        rounds=runs,
        warm_up=warm_up,
        told=lambda words: tell(f"{name}: {words} (s)"),
    )
