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


@pytest.fixture(autouse=True)
def _note_what_acts(request: pytest.FixtureRequest, _offer_to_each_server: None) -> None:
    """Note each server in which the connection of kernels is ours."""
    if "jp_serverapp" not in request.fixturenames:
        return
    connection = request.getfixturevalue("jp_serverapp").web_app.settings["kernel_websocket_connection_class"]
    with (NOTES / f"acting-{os.getpid()}").open("a") as file:
        file.write(f"{connection.__name__}\n")


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
