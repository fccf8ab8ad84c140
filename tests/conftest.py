"""The suite's own rules: ``--require all`` fails what is skipped, and the last lines count every test.

Each test ends as exactly one of passed, failed or skipped.  An error in its setup or teardown is a failure, an expected
failure (xfail) counts as skipped, and so does a module that is skipped, or fails, while tests are collected.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

import pytest

pytest_plugins = ["pytester"]

WORST_FIRST = ("failed", "skipped", "passed")


@dataclass
class Tally:
    """What became of each test (or module that gave none), by node id.

    Attributes:
        collected: ids of the tests that were selected.
        outcomes: the worst outcome of any phase.
        reasons: why it was skipped, also where that was made a failure.
    """

    collected: set[str] = field(default_factory=set)
    outcomes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Take one report into account."""
        now = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = min(now, report.outcome, key=WORST_FIRST.index)
        if report.skipped:
            self.reasons[report.nodeid] = reason_of(report)

    def count(self, outcome: str) -> int:
        """How many ended so."""
        return sum(found == outcome for found in self.outcomes.values())


TALLY = pytest.StashKey[Tally]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--require all``."""
    parser.addoption("--require", choices=["all"], help="all: whatever is skipped, or expected to fail, is a failure")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count; a module that --require made fail must not hide the other modules' tests."""
    config.stash[TALLY] = Tally()
    if everything_required(config):
        config.option.continue_on_collection_errors = True


def everything_required(config: pytest.Config) -> bool:
    """Whether the run was started with ``--require all``."""
    return bool(config.getoption("--require") == "all")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why something was skipped, or is expected to fail."""
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}".rstrip(": ")
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def must_not_skip(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn the report of something skipped into that of a failure, where everything is required."""
    if not (report.skipped and everything_required(config)):
        return
    reason = reason_of(report)
    config.stash[TALLY].reasons[report.nodeid] = reason
    report.outcome = "failed"
    report.longrepr = f"skipped, but --require all was given: {reason}"
    vars(report).pop("wasxfail", None)  # else the terminal would still count it as an expected failure


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Outermost, so that it sees what pytest's own plugins made of skips and expected failures."""
    report = yield
    must_not_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for modules and classes that are skipped while tests are collected."""
    report = yield
    must_not_skip(collector.config, report)
    return report


class Counter:
    """Listens to the reports of one run."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of one test; one that was interrupted has a setup that passed, and no more."""
        if report.when == "call" or not report.passed:
            self.tally.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a module that gave no tests."""
        if not report.passed:
            self.tally.note(report)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Reports carry no configuration, so the listener is made with this run's tally."""
    session.config.pluginmanager.register(Counter(session.config.stash[TALLY]), "nbplatform-counter")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note what is left to run, after -k and -m."""
    config.stash[TALLY].collected.update(item.nodeid for item in items)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is required, a run that left tests out did not succeed, whatever ended it."""
    tally = session.config.stash[TALLY]
    if everything_required(session.config) and not session.config.option.collectonly:
        left_out = tally.collected - tally.outcomes.keys()
        if session.exitstatus == pytest.ExitCode.OK and (left_out or tally.count("passed") < len(tally.outcomes)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line of counts, then what was skipped and why."""
    tally = config.stash[TALLY]
    counts = ", ".join(f"{outcome} {tally.count(outcome)}" for outcome in ("passed", "failed", "skipped"))
    terminalreporter.write_line(f"collected {len(tally.collected | tally.outcomes.keys())}, {counts}")
    for line in skipped_lines(tally.reasons.items()):
        terminalreporter.write_line(line)


def skipped_lines(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each skipped test."""
    return [f"skipped {nodeid}: {' '.join(reason.split())}" for nodeid, reason in sorted(reasons)]
