"""One real Slurm for all tests here; each begins and ends without jobs."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.components import MissingComponent
from tests.components.need import need
from tests.components.slurm import Slurm, running_slurm


@pytest.fixture(scope="session")
def slurm_once() -> Iterator[Slurm]:
    """The cluster; up in seconds."""
    with need(running_slurm()) as one:
        yield one


@pytest.fixture
def slurm(slurm_once: Slurm) -> Iterator[Slurm]:
    """The cluster without jobs, whole again after the test whatever it did."""
    slurm_once.mend()
    yield slurm_once
    slurm_once.mend()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Skip a test for what its fixtures cannot have here, such as an image that cannot be built."""
    try:
        return (yield)
    except MissingComponent as lacking:
        pytest.skip(str(lacking))
