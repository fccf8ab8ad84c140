"""Build the documents as HTML: every warning is an error, and nothing is asked of the network."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from steps import say

CHECKOUT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """Build, and print the path of the first page; returns the exit status."""
    options = parse(arguments)
    say("building the documents")
    status = build(CHECKOUT, options.to)
    if status:
        say("the documents hold mistakes; nothing above is to be ignored")
        return 1
    sys.stdout.write(f"{options.to / 'html' / 'index.html'}\n")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; ends the process with status 2 on bad ones."""
    parser = argparse.ArgumentParser(prog="scripts/docs", description=__doc__)
    parser.add_argument(
        "--to",
        type=lambda text: Path(text).absolute(),
        default=CHECKOUT / "docs" / "_build",
        metavar="DIR",
        help="where (default: docs/_build in the checkout, which git ignores)",
    )
    return parser.parse_args(arguments)


def build(source: Path, to: Path) -> int:
    """Build the pages of a checkout; returns Sphinx's status, 0 only when there was nothing to warn of.

    Args:
        source: the checkout, or a folder with ``docs/conf.py`` and pages.
        to: the pages come into its folder ``html``; what Sphinx remembers lies beside it.
    """
    strict = ["-W", "--keep-going", "-n", "-q"]
    places = ["-c", str(source / "docs"), "-d", str(to / "doctrees"), str(source), str(to / "html")]
    # --fresh-env: a docstring that changed is not noticed by what an earlier build remembers of a page.
    command = [sys.executable, "-m", "sphinx", "-b", "html", "--fresh-env", *strict, *places]
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
