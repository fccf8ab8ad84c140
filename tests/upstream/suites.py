"""Runs upstream's own tests with the speed-ups, and tells what they break: what fails with them and passes without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .environment import Upstream

INSIDE = Path(__file__).with_name("inside")
LIMIT = 600.0  # seconds for one run
FEW = 40  # more failures than that are not tried one by one
NOISE = 3  # tests beside the known ones that may fail on stock, too, for reasons of the machine
LAUNCH = "it starts a server without --allow-root, which root may not"
EXPECTED = {
    "tests/extension/test_app.py::test_stop_extension": "it demands the exact set of extensions; ours is one more",
    "tests/extension/test_launch.py::test_launch_instance": LAUNCH,
    "tests/extension/test_launch.py::test_base_url": LAUNCH,
    "tests/extension/test_launch.py::test_token_file": LAUNCH,
}
"""Upstream's tests that may fail, and why."""


@dataclass(frozen=True)
class Ran:
    """One run of upstream's pytest.

    Attributes:
        outcomes: ``passed``, ``skipped`` or ``failed``, by test.
        acting: names of the classes that connected kernels, one for each server that a test used.
        output: the end of what pytest printed.
    """

    outcomes: dict[str, str]
    acting: list[str]
    output: str

    def failed(self) -> list[str]:
        """The tests that failed."""
        return sorted(name for name, outcome in self.outcomes.items() if outcome == "failed")

    def passed(self) -> int:
        """How many passed."""
        return sum(outcome == "passed" for outcome in self.outcomes.values())


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one run, with a short path: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="nbp-up-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_tests(environment: Upstream, folder: Path, arguments: Sequence[str], *, speedups: str | None = None) -> Ran:
    """Run pytest in upstream's environment.

    Args:
        environment: upstream's.
        folder: working directory.
        arguments: what to run.
        speedups: value of ``NBPLATFORM_SPEEDUPS``; None: all; empty: a stock server.
    """
    with scratch() as notes:
        env = environment.variables(notes)
        env["PYTHONPATH"] += f"{os.pathsep}{INSIDE}"
        env |= {"NBPLATFORM_NOTES": str(notes), "TMPDIR": str(notes), "PYTHONDONTWRITEBYTECODE": "1"}
        env |= {} if speedups is None else {"NBPLATFORM_SPEEDUPS": speedups}
        command = [environment.python, "-m", "pytest", "-q", "-p", "speedups_plugin", "-p", "no:cacheprovider"]
        # Warnings that became errors between two releases of others are not what is tested here.
        command += [
            "--continue-on-collection-errors",
            "-o",
            "addopts=",
            "-o",
            "log_cli_level=CRITICAL",
            "-W",
            "ignore::DeprecationWarning",
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=LIMIT, check=False,
        )  # fmt: skip
        output = done.stdout.decode(errors="replace")[-5000:]
        assert (notes / "outcomes.json").exists(), output
        acting = [line for path in notes.glob("acting-*") for line in path.read_text().splitlines()]
        return Ran(json.loads((notes / "outcomes.json").read_text()), acting, output)


def broken_by_us(environment: Upstream, folder: Path, ran: Ran, options: Sequence[str]) -> list[str]:
    """The tests that fail with the speed-ups and pass without: what a run found, tried again twice.

    One that passes at its second try was disturbed by the machine.  One that fails without the speed-ups, too, is
    upstream's own, or the harness breaks it: a few are let pass, more are not.

    Args:
        environment: upstream's.
        folder: working directory of the run.
        ran: the run with the speed-ups.
        options: those of the run that are not names of tests.

    Raises:
        AssertionError: so many tests fail that this is not about one or two; the message names them.
    """
    failed = [name for name in ran.failed() if name not in EXPECTED]
    assert len(failed) <= FEW, f"{len(failed)} tests fail:\n{ran.output}"
    if failed:
        stock = run_tests(environment, folder, [*options, *failed], speedups="")
        everybodys = [name for name in failed if not passes(stock, name)]
        assert len(everybodys) <= NOISE, f"these fail on a stock server, too; the harness may break them: {everybodys}"
        failed = [name for name in failed if name not in everybodys]
    if failed:
        again = run_tests(environment, folder, [*options, *failed])
        failed = [name for name in failed if not passes(again, name)]
    return failed


def passes(ran: Ran, name: str) -> bool:
    """Tell whether a test passed; a module that could not be imported, when all of its tests passed.

    Args:
        ran: a run that had it.
        name: of the test, or of the module.
    """
    outcomes = [found for test, found in ran.outcomes.items() if test == name or test.startswith(f"{name}::")]
    return bool(outcomes) and "failed" not in outcomes and "passed" in outcomes
