"""``nbplatform accounts guests``: who has which guest account, until when, and for how much longer."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import BadFile, DirectoryUnavailable
from ..names import bounded
from ..rules.units import parse_duration, parse_time
from .guest_file import make_record
from .guest_record import Guest
from .guests import GuestPool

OK, BAD, USAGE = 0, 1, 2

GUESTS_HELP = """\
The accounts that guests get: FILE is the settings file that c.KeycloakAuthenticator.guest_pool names.

examples:
  nbplatform accounts guests init /etc/jupyterhub/guests.yaml
  nbplatform accounts guests list /etc/jupyterhub/guests.yaml
  nbplatform accounts guests prolong /etc/jupyterhub/guests.yaml guest7 --by 90d
"""
INIT_HELP = """\
Make the empty record of who has which account; done once, before the first guest.
A record that is missing later was lost: bring it back from a backup, or a guest gets another guest's files.
exit status: 0 made, 1 there is one, or it cannot be written, or the settings are bad

examples:
  nbplatform accounts guests init /etc/jupyterhub/guests.yaml
"""
LIST_HELP = """\
List the guest accounts that are given out: name, uid, end, identity provider and subject.
exit status: 0 listed, 1 the settings or the record are bad

examples:
  nbplatform accounts guests list /etc/jupyterhub/guests.yaml
"""
PROLONG_HELP = """\
Give a guest's account another end, also one that has ended; a time that has passed ends it.
--by counts from the account's end, or from now where that has passed.
exit status: 0 done, 1 the settings or the record are bad, 2 wrong use or no such guest

examples:
  nbplatform accounts guests prolong guests.yaml guest7 --by 90d
  nbplatform accounts guests prolong guests.yaml guest7 --until 2027-12-31T00:00+01:00
  nbplatform accounts guests prolong guests.yaml guest7 --until never
"""


def add_guest_commands(commands: Any) -> None:
    """Add ``guests`` and its sub-commands to the parsers of ``nbplatform accounts``."""
    text = argparse.RawDescriptionHelpFormatter
    guests = commands.add_parser("guests", help="accounts for guests", description=GUESTS_HELP, formatter_class=text)
    inner = guests.add_subparsers(required=True, metavar="COMMAND")
    for name, short, told, run in (
        ("init", "make the empty record, once", INIT_HELP, run_init),
        ("list", "who has which account, until when", LIST_HELP, run_list),
        ("prolong", "give an account another end", PROLONG_HELP, run_prolong),
    ):
        parser = inner.add_parser(name, help=short, description=told, formatter_class=text)
        parser.set_defaults(run=run)
        parser.add_argument("file", metavar="FILE", type=Path, help="the settings file of the pool")
        if run is run_prolong:
            parser.add_argument("name", metavar="NAME", help="name of the account")
            end = parser.add_mutually_exclusive_group(required=True)
            end.add_argument("--by", metavar="DURATION", type=_duration, help="how much longer, such as 90d")
            end.add_argument("--until", metavar="TIME", type=_end, help="the new end, date, time and offset, or never")


def run_init(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform accounts guests init``; return the exit status."""
    try:
        path = GuestPool(arguments.file).record_path
        make_record(path)
    except (BadFile, DirectoryUnavailable) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or arguments.file}: {error.strerror}")
    print(f"made {path}; it and {path.name}.mark belong into the backup")  # noqa: T201
    return OK


def run_list(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform accounts guests list``; return the exit status."""
    try:
        pool = GuestPool(arguments.file)
        guests = pool.record().guests.values()
    except (BadFile, DirectoryUnavailable) as error:
        return _fail(str(error))
    now = datetime.now(UTC)
    for guest in guests:
        pair = f"{guest.provider} {guest.subject}"
        print(f"{guest.name:<12} {guest.uid:>10}  {_ends(guest, now):<22}  {pair}")  # noqa: T201
    print(f"{len(guests)} of {pool.settings.count} accounts are given out")  # noqa: T201
    return OK


def run_prolong(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform accounts guests prolong``; return the exit status."""
    now = datetime.now(UTC)
    try:
        pool = GuestPool(arguments.file)
        known = {guest.name: guest for guest in pool.record().guests.values()}
        if arguments.name not in known:
            return _fail(f"no guest has an account {bounded(arguments.name)}", USAGE)
        guest = known[arguments.name]
        if arguments.by is not None:
            until = None if guest.until is None else max(guest.until, now) + timedelta(seconds=arguments.by)
        else:
            until = arguments.until[0]
        guest = pool.prolong(guest.name, until, now)
    except (BadFile, DirectoryUnavailable) as error:
        return _fail(str(error))
    print(f"{guest.name} {_ends(guest, now)}")  # noqa: T201
    return OK


def _ends(guest: Guest, now: datetime) -> str:
    if guest.until is None:
        return "has no end"
    return f"{'ended' if guest.until <= now else 'ends'} {guest.until:%Y-%m-%dT%H:%MZ}"


def _duration(text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("a duration such as 90d is expected; --until never takes the end away")
    return seconds


def _end(text: str) -> tuple[datetime | None]:
    """Return the time in a tuple, since None means ``never`` here and no flag elsewhere."""
    try:
        return (None if text == "never" else parse_time(text).astimezone(UTC),)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _fail(text: str, status: int = BAD) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return status
