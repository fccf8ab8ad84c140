"""The benchmarks of Dask on Slurm, for real but once: how long anything takes, no test asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.dask_clusters import Side, measure_first, measure_scale, two_sides
from benchmarks.runner import CannotRun


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Side, Side]]:
    """Both sides on one Slurm."""
    with ExitStack() as stack:
        try:
            both = stack.enter_context(two_sides())
        except CannotRun as lacking:
            pytest.skip(str(lacking))
        yield both


def test_first_worker_and_scaling_of_both_sides_are_measured(sides: tuple[Side, Side]) -> None:
    """Each side gives its figures."""
    first = measure_first(*sides, rounds=1, warm_up=0)
    up, down = measure_scale(*sides, workers=2, rounds=1, warm_up=0)
    for pairs in (first, up, down):
        assert (len(pairs.ours), len(pairs.peer)) == (1, 1)
        assert min(*pairs.ours, *pairs.peer) > 0


def test_a_hundred_scale_calls_in_a_row_lose_and_leak_nothing(sides: tuple[Side, Side]) -> None:
    """After them the cluster has the size that the last one asked for, and after its end no job is left."""
    ours, _ = sides
    assert ours.measure("restless 100")["left"] == 0
