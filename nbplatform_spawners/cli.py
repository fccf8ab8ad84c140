"""``nbplatform``: the command line.  Each feature adds its own commands."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from . import __version__
from .accounts.commands import add_commands as add_accounts
from .auth.doctor_command import add_commands as add_doctor
from .hosts.commands import add_commands as add_hosts
from .rules.commands import add_commands as add_rules
from .slurm_dask.site_command import add_commands as add_slurm

_INTERRUPTED = 130
_PIPE_CLOSED = 141
_HELP = """\
The command line of nbplatform, notebook servers as the users' own accounts, placed by rules.

examples:
  nbplatform rules check placement_rules
  nbplatform rules explain alice --profile gpu
  nbplatform hosts status
  nbplatform slurm check
  nbplatform doctor keycloak
  nbplatform COMMAND --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; None for those of the process.

    Returns:
        the exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a title in Greek must not fail on an ASCII terminal
    arguments = make_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # ``| head``: what is left must not fail again at the interpreter's end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return status


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; each sets ``run``, a function of the arguments that returns the status."""
    parser = argparse.ArgumentParser(
        prog="nbplatform", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"nbplatform {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    add_rules(subparsers)
    add_accounts(subparsers)
    add_hosts(subparsers)
    add_slurm(subparsers)
    add_doctor(subparsers)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
