"""What several modules of Docker tests share: the image that users get takes seconds to load on a host."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.components import MissingComponent
from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.docker_modern import modern_docker
from tests.components.images import load
from tests.components.need import need
from tests.docker.fleet_site import make_fleet_site
from tests.docker.shipped import Deployment, deployment

HERE = Path(__file__).parent
SHIPPED_HOSTS = {"wn1": Settings(disk="2g"), "wn2": Settings("modern", gpus=1, disk="2g")}
"""In memory: the image is thousands of files, which a disk takes long to remove."""


@pytest.fixture(scope="session")
def shipped() -> Iterator[Deployment]:
    """The deployment of ``hub_config/docker``: ``cpu`` runs on wn1, Debian's 20.10, ``gpu`` on wn2, a 29.8."""
    with need(docker_fleet(SHIPPED_HOSTS)) as fleet:
        for host in fleet.values():
            load(host, "base")
        site = make_fleet_site(fleet, {"cpu": ("wn1",), "gpu": ("wn2",)}, image=load(fleet["wn1"], "base"))
        with need(deployment(site)) as hub:
            yield hub


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests last: what they need is built in the background of the others."""
    items.sort(key=lambda item: item.path.is_relative_to(HERE))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for what is being built before the time limit of a test begins to run."""
    wait_for_modern_docker()
    return (yield)


@cache
def wait_for_modern_docker() -> None:
    """Return once no build is under way; a test that lacks its result skips with the reason."""
    if os.geteuid() == 0:
        with contextlib.suppress(MissingComponent):
            modern_docker()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Skip a test for what its fixtures cannot have here, such as an image that cannot be built."""
    try:
        return (yield)
    except MissingComponent as lacking:
        pytest.skip(str(lacking))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test for what it asks for itself and cannot have here."""
    try:
        return (yield)
    except MissingComponent as lacking:
        pytest.skip(str(lacking))
