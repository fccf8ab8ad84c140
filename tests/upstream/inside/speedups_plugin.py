"""A plugin for upstream's own pytest: applies the speed-ups as the command does, and notes what became of each test.

The variable NBPLATFORM_SPEEDUPS chooses them, as ever; NBPLATFORM_NOTES names a folder for the notes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.singleuser import offer, start
from nbplatform_spawners.singleuser.__main__ import begin

NOTES = Path(os.environ["NBPLATFORM_NOTES"])
WORSE = {"passed": 0, "skipped": 1, "failed": 2}
outcomes: dict[str, str] = {}

begin(os.environ.get("NBPLATFORM_SPEEDUPS"))  # a plugin named by -p comes before those that import the server


@pytest.fixture(autouse=True)
def _offer_to_each_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """Many servers start in this process, one after the other: each is offered the extension as a first one is."""
    if start.chosen:
        offer.apply(os.environ)
    yield
    offer.withdraw()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Iterator[None]:
    """Note, after the test, by which class its server reached kernels; no fixture is asked for, and none comes earlier.

    Not in a fixture: what a fixture asks for is set up before the test's own fixtures, some of which prepare it.
    """
    try:
        yield
    finally:
        server = getattr(item, "funcargs", {}).get("jp_serverapp")
        if server is not None and server.web_app is not None:
            connection = server.web_app.settings.get("kernel_websocket_connection_class")
            with (NOTES / f"acting-{os.getpid()}").open("a") as file:
                file.write(f"{getattr(connection, '__name__', connection)}\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst outcome of a test's phases."""
    before = outcomes.get(report.nodeid, "passed")
    outcomes[report.nodeid] = max(before, report.outcome, key=lambda one: WORSE[one])


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A module that cannot be imported failed."""
    if report.failed:
        outcomes[report.nodeid] = "failed"


def pytest_sessionfinish(session: Any) -> None:
    """Leave the outcomes to whoever started this run; a worker's are its controller's, too."""
    if not hasattr(session.config, "workerinput"):
        (NOTES / "outcomes.json").write_text(json.dumps(outcomes))
