"""Tests of GPUs: with stand-ins in every run of the suite, with real ones by ``./scripts/gpu-tests``.

The real ones are not collected with the suite: few machines have a GPU, and where there is none the command says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest

from tests.components import MissingComponent
from tests.components.docker_modern import modern_docker

HERE = Path(__file__).parent
collect_ignore = ["test_real_gpu.py"]
FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines that are printed after the tests."""
    return pytestconfig.stash.setdefault(FIGURES, [])


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured and with what."""
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(f"gpu: {line}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests last: the Docker that they need is built in the background of the others."""
    items.sort(key=lambda item: item.path.is_relative_to(HERE))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for that build before the time limit of a test begins to run."""
    wait_for_modern_docker()
    return (yield)


@cache
def wait_for_modern_docker() -> None:
    """Return once no build is under way; a test that lacks its result skips with the reason."""
    if os.geteuid() == 0:
        with contextlib.suppress(MissingComponent):
            modern_docker()
