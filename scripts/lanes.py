"""Two halves of the test suite side by side: most of its time is waiting for hubs, containers and browsers to start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from steps import say

CHECKOUT = Path(__file__).resolve().parent.parent
SECOND = ("browser", "components", "culler", "demo", "docker", "docs", "gpu", "slurm")
"""Folders of ``tests/`` in the second half; all others are in the first.  Both take about as long."""
WHOLE = ((), ("--require", "all"), ("--require=all",))
"""Arguments with which everything is run: any other choose tests, and then one process is clearer."""
_LOOK = 0.5


def halves(arguments: Sequence[str], cores: int) -> list[list[str]]:
    """Return the folders of both pytest processes; none at all where one process runs what the arguments say.

    Args:
        arguments: those of ``scripts/test``.
        cores: of this machine.
    """
    if tuple(arguments) not in WHOLE or cores < 2:
        return []
    tests = CHECKOUT / "tests"
    found = sorted({path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py")})
    sides = [name for name in found if name not in SECOND], [name for name in found if name in SECOND]
    return [[f"tests/{name}" for name in side] for side in sides]


def run_halves(sides: Sequence[Sequence[str]], arguments: Sequence[str], env: Mapping[str, str]) -> dict[str, int]:
    """Run one pytest for each half at the same time; the first one's output is shown, then the second's.

    Args:
        sides: what :func:`halves` gave.
        arguments: of each pytest.
        env: its environment.

    Returns:
        The status of each, by a name for the report.
    """
    say("pytest, in two halves side by side: what the second one prints comes after the first")
    with tempfile.TemporaryFile() as output:
        first = _start(1, sides[0], arguments, env, None)
        second = _start(2, sides[1], arguments, env, output)
        try:
            first.wait()
            say("the second half")
            _show(second, output)
        finally:
            for process in (first, second):
                process.terminate()  # has ended unless this run was cut short
                process.wait()
    return {"pytest, 1st half": first.returncode, "pytest, 2nd half": second.returncode}


def _start(
    number: int, side: Sequence[str], arguments: Sequence[str], env: Mapping[str, str], output: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", "-o", f"cache_dir=.pytest_cache/{number}", *arguments, *side]
    return subprocess.Popen(  # noqa: S603  an argument list of our own, no shell
        command, cwd=CHECKOUT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output and subprocess.STDOUT
    )


def _show(process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    """Show what a process has written so far and what it still writes, until it ends."""
    at = 0
    while True:
        ended = process.poll() is not None
        found = os.pread(output.fileno(), 1 << 20, at)
        at += len(found)
        sys.stdout.buffer.write(found)
        sys.stdout.buffer.flush()
        if not found:
            if ended:
                return
            time.sleep(_LOOK)
