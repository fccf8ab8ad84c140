"""``nbplatform slurm``: check the site file of Dask on Slurm."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BadFile
from ..rules.units import format_duration, format_size
from .models import SITE_ENV, SITE_FILE, Site
from .site_file import read_site

OK, BAD = 0, 1
_SHOWN: dict[str, Callable[[int], str]] = {"memory": format_size, "walltime": format_duration}
CHECK_HELP = f"""\
Check the site file of Dask on Slurm and name every mistake at once, one a line as FILE:LINE: MESSAGE.
A file with a mistake is not used: no cluster starts.  Nothing of Slurm is asked.
exit status: 0 good, 1 mistakes, or the file cannot be read, 2 wrong use

examples:
  nbplatform slurm check {SITE_FILE}
  {SITE_ENV}=slurm.yaml nbplatform slurm check
"""


def add_commands(subparsers: Any) -> None:
    """Add ``slurm`` and its sub-commands to the parser of ``nbplatform``.

    Args:
        subparsers: what ``ArgumentParser.add_subparsers`` returned; each command sets ``run``, a function of the
            parsed arguments that returns the exit status.
    """
    slurm = subparsers.add_parser("slurm", help="check the site file of Dask on Slurm")
    commands = slurm.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="name every mistake of a site file",
        description=CHECK_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = f"the site file (default: ${SITE_ENV}, else {SITE_FILE})"
    check.add_argument("file", metavar="FILE", type=Path, nargs="?", help=where)
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform slurm check``; return the exit status."""
    path: Path = arguments.file or Path(os.environ.get(SITE_ENV) or SITE_FILE)
    try:
        site = read_site(path.read_bytes(), path.name)
    except OSError as error:
        return _fail(f"{path}: {error.strerror}")
    except BadFile as error:
        return _fail(str(error))
    print(f"{path.name}: no mistake: {_summary(site)}")  # noqa: T201
    return OK


def _summary(site: Site) -> str:
    limits = [
        f"{name} {_SHOWN.get(name, str)(value)}" for name, value in vars(site.limits).items() if value is not None
    ]
    way = f"way {site.way}{f' at {site.rest_url}' if site.rest_url else ''}"
    return f"{way}, {'limits: ' + ', '.join(limits) if limits else 'no limits'}"


def _fail(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return BAD
