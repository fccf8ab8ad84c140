"""The uids and gids that servers may have, as flags of a command: what the hub is configured with, said again."""

from __future__ import annotations

import argparse

from .identity import MAX_ID, IdRange
from .names import bounded

HELP = """\
Accounts with a uid or gid outside the range are refused, as the hub refuses them: name the same --min-uid,
--max-uid, --min-gid and --max-gid here as its c.IdentityMixin has.
"""
"""The paragraph for the help of a command that has these flags."""

_FLAGS = (("uid", "min", "smallest"), ("uid", "max", "largest"), ("gid", "min", "smallest"), ("gid", "max", "largest"))


def add_id_range(parser: argparse.ArgumentParser) -> None:
    """Add ``--min-uid``, ``--max-uid``, ``--min-gid`` and ``--max-gid``; the defaults are those of ``IdRange``."""
    for kind, end, word in _FLAGS:
        parser.add_argument(
            f"--{end}-{kind}",
            metavar="N",
            type=_number,
            default=getattr(IdRange(), f"{kind}_{end}"),
            help=f"the {word} {kind} that a server may have (%(default)s)",
        )


def id_range(arguments: argparse.Namespace) -> IdRange:
    """Return the range that the flags of ``add_id_range`` name.

    Raises:
        ValueError: a range is empty; the message names both flags.
    """
    for kind in ("uid", "gid"):
        low, high = getattr(arguments, f"min_{kind}"), getattr(arguments, f"max_{kind}")
        if low > high:
            raise ValueError(f"--min-{kind} {low} is more than --max-{kind} {high}")
    return IdRange(arguments.min_uid, arguments.max_uid, arguments.min_gid, arguments.max_gid)


def _number(text: str) -> int:
    short = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))
    if not short or not 0 < int(text) <= MAX_ID:
        raise argparse.ArgumentTypeError(f"{bounded(text)}: a number from 1 to {MAX_ID} is expected")
    return int(text)
