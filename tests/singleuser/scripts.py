"""Runs a few lines in a Python of their own, since what they look at can be imported once in a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HELP = """
import json, sys
def tell(**what): print("\\ntold:" + json.dumps(what))
"""


def run_lines(lines: str, folder: Path | None = None, env: Mapping[str, str] | None = None) -> tuple[Any, str]:
    """Run lines that call ``tell(name=value)`` once.

    Args:
        lines: Python.
        folder: put first on the path of imports, for modules that take others' places.
        env: the whole environment.

    Returns:
        What was told, and what was written to standard error.
    """
    first = f"sys.path.insert(0, {str(folder)!r})\n" if folder else ""
    ran = subprocess.run(
        [sys.executable, "-P", "-W", "error::ResourceWarning", "-c", HELP + first + lines],
        env=env if env is None else dict(env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.rpartition("\ntold:")[2]), ran.stderr
