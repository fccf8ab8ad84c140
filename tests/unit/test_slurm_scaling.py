"""How many jobs are asked for, by ``scale`` and ``adapt`` in all their words, and what the site allows of them."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.spec import SpecCluster

from nbplatform_spawners.slurm_dask.errors import ClusterRefused
from nbplatform_spawners.slurm_dask.limits import check
from nbplatform_spawners.slurm_dask.models import Limits, Site
from nbplatform_spawners.slurm_dask.request import make_request
from nbplatform_spawners.slurm_dask.scaling import ScalingCluster

GIB = 1024**3
PYTHON = "/home/a/bin/python"


class Counted(ScalingCluster):
    """A cluster that starts nothing and keeps what was asked for.

    Attributes:
        asked: jobs, call by call.
    """

    def __init__(self, limit: int | None, processes: int = 1) -> None:
        site = Site(limits=Limits(workers=limit), support="help@example.org")
        arguments = {"cores": 4, "memory": "8 GiB", "processes": processes}
        self.runtime: Any = SimpleNamespace(site=site, request=make_request(arguments, {}, site, [], PYTHON))
        self.asked: list[int] = []
        self.worker_spec: dict[int, Any] = {}
        self._refused_at = -math.inf

    def _scale_to(self, jobs: int) -> None:
        self.asked.append(jobs)

    def __del__(self) -> None:
        """There is nothing to close."""


@pytest.fixture
def adapted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Dask's own ``adapt`` was called with."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(SpecCluster, "adapt", lambda _self, **more: calls.append(more))
    return calls


@pytest.mark.parametrize(
    ("processes", "asked", "jobs"),
    [
        (1, {"n": 20}, 20),
        (2, {"n": 20}, 10),
        (2, {"n": 3}, 2),
        (2, {"jobs": 10}, 10),
        (2, {"cores": 5}, 2),
        (2, {"memory": "80 GiB"}, 10),
        (1, {"n": 1, "jobs": 2, "cores": 12}, 3),
        (1, {"n": 0}, 0),
        (1, {}, 0),
    ],
)
def test_workers_jobs_cores_and_memory_come_to_whole_jobs(processes: int, asked: dict[str, Any], jobs: int) -> None:
    """As in dask-jobqueue; the most of what is said counts, and the limit itself is allowed."""
    cluster = Counted(20, processes)
    cluster.scale(**asked)
    assert cluster.asked == [jobs]


@pytest.mark.parametrize(
    ("processes", "asked", "sentence"),
    [
        (1, {"n": 21}, "you asked for 21 workers, and this site allows 20 workers: ask for less with n="),
        (2, {"n": 21}, "you asked for 22 workers, and this site allows 20 workers: ask for less with n="),
        (2, {"jobs": 11}, "you asked for 22 workers, and this site allows 20 workers: ask for less with jobs="),
        (2, {"cores": 41}, "you asked for 22 workers, and this site allows 20 workers: ask for less with cores="),
        (2, {"memory": "81 GiB"}, "asked for 22 workers, and this site allows 20 workers: ask for less with memory="),
        (1, {"memory": "7 EiB"}, "memory="),
        (1, {"n": -1}, "n='-1' is no whole number from 0"),
        (1, {"jobs": -1}, "jobs='-1' is no whole number from 0"),
        (1, {"cores": -1}, "cores='-1' is no whole number from 0"),
        (1, {"memory": -1}, "memory='-1': memory is"),
        (1, {"n": True}, "n='True' is no whole number"),
        (1, {"n": 2.5}, "n='2.5' is no whole number"),
        (1, {"n": math.inf}, "n='inf' is no whole number"),
        (1, {"n": "2"}, "n='2' is no whole number"),
    ],
)
def test_scale_refuses_in_one_sentence(processes: int, asked: dict[str, Any], sentence: str) -> None:
    """The limit counts workers, whatever the user counts; the sentence has the argument that was written."""
    cluster = Counted(20, processes)
    with pytest.raises(ClusterRefused) as caught:
        cluster.scale(**asked)
    assert sentence in caught.value.message
    assert "n_workers" not in caught.value.message
    assert cluster.asked == []


@pytest.mark.parametrize(
    ("limit", "processes", "asked", "bounds"),
    [
        (20, 2, {}, (0, 20)),
        (21, 2, {}, (0, 20)),
        (None, 2, {}, (0, math.inf)),
        (None, 2, {"maximum": 8}, (0, 8)),
        (20, 2, {"minimum": 3, "maximum": 7}, (4, 6)),
        (20, 2, {"maximum": 1}, (0, 2)),
        (20, 2, {"maximum": 0}, (0, 0)),
        (20, 2, {"minimum_jobs": 2, "maximum_jobs": 10}, (4, 20)),
        (20, 2, {"minimum_cores": 8, "maximum_cores": 11}, (4, 4)),
        (20, 2, {"minimum_memory": "16 GiB", "maximum_memory": "30 GiB"}, (4, 6)),
        (20, 1, {"minimum": None, "maximum": math.inf}, (0, 20)),
    ],
)
def test_adapt_keeps_to_whole_jobs_within_the_limit(
    adapted: list[dict[str, Any]], limit: int | None, processes: int, asked: dict[str, Any], bounds: tuple[int, float]
) -> None:
    """Dask is told workers; what else it is told goes through."""
    Counted(limit, processes).adapt(interval="1s", **asked)
    [told] = adapted
    assert (told.pop("minimum"), told.pop("maximum")) == bounds
    assert told.keys() == {"Adaptive", "interval"}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"maximum": 23}, "you asked for 22 workers, and this site allows 20 workers: ask for less with maximum="),
        ({"minimum": 21}, "you asked for 22 workers, and this site allows 20 workers: ask for less with minimum="),
        ({"maximum_jobs": 11}, "ask for less with maximum_jobs="),
        ({"minimum_cores": 41}, "ask for less with minimum_cores="),
        ({"minimum_memory": "81 GiB"}, "ask for less with minimum_memory="),
        ({"minimum": -1}, "minimum='-1' is no whole number from 0"),
        ({"maximum": -1}, "maximum='-1' is no whole number from 0"),
        ({"minimum_jobs": -1}, "minimum_jobs='-1' is no whole number from 0"),
        ({"maximum": True}, "maximum='True' is no whole number"),
        ({"maximum": 2.5}, "maximum='2.5' is no whole number"),
    ],
)
def test_adapt_refuses_in_one_sentence(adapted: list[dict[str, Any]], asked: dict[str, Any], sentence: str) -> None:
    """Also the bounds that Dask itself would reckon out later."""
    with pytest.raises(ClusterRefused) as caught:
        Counted(20, 2).adapt(**asked)
    assert sentence in caught.value.message
    assert adapted == []


def test_the_constructor_counts_the_same_workers() -> None:
    """Three workers in jobs of two are four; jobs of more workers than the site allows are refused at once."""
    site = Site(limits=Limits(workers=3))
    arguments = {"cores": 4, "processes": 2, "n_workers": 3}
    with pytest.raises(ClusterRefused, match="you asked for 4 workers, and this site allows 3 workers"):
        check(make_request(arguments, {}, site, [], PYTHON).wish, site, 0)
    with pytest.raises(ClusterRefused, match=r"4 workers, and this site allows 3 workers.*processes="):
        make_request({"cores": 4, "processes": 4}, {}, site, [], PYTHON)


async def test_an_adaptive_cluster_does_not_ask_again_at_once_for_what_slurm_refused(
    adapted: list[dict[str, Any]],
) -> None:
    """Dask looks every second: the class that it is given asks by ``scale_up``, which waits after a refusal."""
    cluster = Counted(5, 2)
    cluster.adapt()
    await adapted[0]["Adaptive"].scale_up(SimpleNamespace(cluster=cluster), 9)
    assert cluster.asked == [2]
    cluster._refused_at = time.monotonic()
    await adapted[0]["Adaptive"].scale_up(SimpleNamespace(cluster=cluster), 4)
    assert cluster.asked == [2, 0]


def test_a_users_own_way_to_adapt_is_taken(adapted: list[dict[str, Any]]) -> None:
    """``Adaptive=`` is Dask's."""
    Counted(None).adapt(Adaptive=Adaptive)
    assert adapted[0]["Adaptive"] is Adaptive
