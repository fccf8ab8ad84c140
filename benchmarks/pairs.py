"""Two sides measured by turns, so that whatever else the machine does meets both; and what is said of many runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .runner import Figure

Run = Callable[[], Sequence[float]]
"""Measures one side once: one figure, or those of several repetitions."""


@dataclass(frozen=True)
class Pairs:
    """What both sides measured, run by run.

    Attributes:
        ours: our figures, in the order in which they were taken.
        peer: the peer's.
    """

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    def median(self) -> Figure:
        """Return the median of each side."""
        return Figure(statistics.median(self.ours), statistics.median(self.peer))

    def p90(self) -> Figure:
        """Return the 90th percentile of each side."""
        return Figure(percentile_90(self.ours), percentile_90(self.peer))


def percentile_90(figures: Sequence[float]) -> float:
    """Return the 90th percentile, interpolated between the two figures that it lies between.

    Args:
        figures: at least one.
    """
    if len(figures) == 1:
        return figures[0]
    return statistics.quantiles(figures, n=10, method="inclusive")[-1]


def by_turns(ours: Run, peer: Run, *, rounds: int, warm_up: int, told: Callable[[str], None]) -> Pairs:
    """Measure ours, the peer, ours, the peer, ….

    Args:
        ours: measures our side.
        peer: measures the other.
        rounds: how many count.
        warm_up: how many before them do not.
        told: called after each round with a few words, for whoever waits.
    """
    kept: tuple[list[float], list[float]] = ([], [])
    for number in range(1 - warm_up, rounds + 1):
        found = (ours(), peer())
        for side, figures in zip(kept, found, strict=True):
            side.extend(figures if number > 0 else ())
        medians = "{:.4g} ours, {:.4g} peer".format(*map(statistics.median, found))
        told(f"{number} of {rounds}: {medians}" if number > 0 else f"warming up: {medians}")
    return Pairs(*map(tuple, kept))
