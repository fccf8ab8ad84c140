"""``nbplatform accounts``: check an accounts file, show an account, hash a password."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import BadFile, DirectoryUnavailable, Refusal
from ..id_options import HELP as _ID_RANGE
from ..id_options import add_id_range, id_range
from ..names import bounded
from .directory import SPECS, UnknownAccount, open_directory
from .guest_commands import add_guest_commands
from .link_command import add_link_commands
from .parse import AccountsFile, parse_accounts

OK, BAD, USAGE, REFUSED = 0, 1, 2, 3
_SHORTEST_PASSWORD = 8

CHECK_HELP = f"""\
Check an accounts file and name every mistake at once, one a line as FILE:LINE: MESSAGE.
Accounts that are refused for themselves (uid 0, a hostile name, a gid outside the range) are warnings,
and so are groups whose names are not safe: no rule can match them.
{_ID_RANGE}\
exit status: 0 good, 1 mistakes, 2 wrong use

examples:
  nbplatform accounts check /etc/jupyterhub/accounts.yaml
  nbplatform accounts check accounts.yaml --min-uid 60000 --min-gid 100
"""
SHOW_HELP = f"""\
Show one account as the hub will see it, as JSON: numbers, groups, and whether it is valid now.
as_of is when a directory service said so; null where the account was read just now.
{_ID_RANGE}\
With nss, ldap and http, supplementary groups outside it are left out instead.
ldap:FILE.yaml and http:FILE.yaml name a file that says how such a service is asked; what it has to say about
servers that do not answer and groups that are left out goes to the standard error.
exit status: 0 valid, 1 the directory is bad or cannot be asked, 2 wrong use or no such account, 3 refused

examples:
  nbplatform accounts show alice --accounts accounts.yaml
  nbplatform accounts show alice --accounts nss
  nbplatform accounts show alice --accounts ldap:/etc/jupyterhub/directory.yaml
"""
HASH_HELP = """\
Print the Argon2 hash of a password, for the key 'password' of an accounts file (write it in quotes).
The password is asked for on the terminal, or is the first line of the standard input.

examples:
  nbplatform accounts hash
  pass show notebooks/alice | nbplatform accounts hash
"""


def add_commands(subparsers: Any) -> None:
    """Add ``accounts`` and its sub-commands to the parser of ``nbplatform``.

    Args:
        subparsers: what ``ArgumentParser.add_subparsers`` returned; each command sets ``run``, a function of the
            parsed arguments that returns the exit status.
    """
    accounts = subparsers.add_parser("accounts", help="check an accounts file, show an account, hash a password")
    commands = accounts.add_subparsers(required=True, metavar="COMMAND")
    check = _command(commands, "check", "name every mistake of an accounts file", CHECK_HELP, run_check)
    check.add_argument("file", metavar="FILE", type=Path, help="the accounts file")
    add_id_range(check)
    show = _command(commands, "show", "show one account as the hub will see it", SHOW_HELP, run_show)
    show.add_argument("user", metavar="USER", help="name of the account")
    show.add_argument("--accounts", metavar="SPEC", default="accounts.yaml", help=f"{SPECS} (%(default)s)")
    add_id_range(show)
    _command(commands, "hash", "print the Argon2 hash of a password", HASH_HELP, run_hash)
    add_link_commands(commands)
    add_guest_commands(commands)


def _command(commands: Any, name: str, short: str, text: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=short, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def run_check(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform accounts check``; return the exit status."""
    path: Path = arguments.file
    try:
        allowed = id_range(arguments)
    except ValueError as error:
        return _fail(str(error), USAGE)
    try:
        found = parse_accounts(path.read_bytes(), path.name)
    except OSError as error:
        return _fail(f"{path}: {error.strerror}")
    except BadFile as error:
        return _fail(str(error))
    for name, line in found.unsafe_groups.items():
        kept = f"its members keep gid {found.groups[name]}, no rule can match it"
        print(f"{path.name}:{line}: warning: group {bounded(name)} has no safe name: {kept}")  # noqa: T201
    outside = {name: account.identity.outside(allowed) for name, account in found.accounts.items()}
    refusals = {**found.refusals, **{name: refusal for name, refusal in outside.items() if refusal is not None}}
    for name, refusal in sorted(refusals.items()):
        print(f"{path.name}: warning: {bounded(name)} is refused: {refusal.message}")  # noqa: T201
    print(_summary(path, found, len(refusals)))  # noqa: T201
    return OK


def _summary(path: Path, found: AccountsFile, refused: int) -> str:
    good = len(found.accounts) + len(found.refusals) - refused
    counts = f"{good} accounts in {len(found.groups)} groups"
    return f"{path.name}: {counts}, {len(found.password_hashes)} with a password, {refused} refused"


def run_show(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform accounts show``; return the exit status."""
    try:
        allowed = id_range(arguments)
    except ValueError as error:
        return _fail(str(error), USAGE)
    try:
        name = arguments.user.lower() if arguments.user.isascii() else arguments.user
        account = open_directory(arguments.accounts, allowed, _log(arguments.accounts)).lookup(name)
    except (BadFile, DirectoryUnavailable, ValueError) as error:
        return _fail(str(error))
    except UnknownAccount as refusal:
        return _fail(refusal.message, USAGE)
    except Refusal as refusal:
        return _fail(refusal.message, REFUSED)
    refused = account.refusal(datetime.now(UTC)) or account.identity.outside(allowed)
    shown = {
        **account.identity.to_dict(),
        "valid_until": account.valid_until.isoformat() if account.valid_until else None,
        "as_of": account.as_of.isoformat(timespec="seconds") if account.as_of else None,
        "refused": refused.message if refused else None,
    }
    print(json.dumps(shown, indent=2))  # noqa: T201
    return REFUSED if refused else OK


def _log(spec: str) -> logging.Logger | None:
    """Return who is told of what a service does; warnings go to the standard error."""
    return logging.getLogger(__name__) if spec.startswith(("ldap:", "http:")) else None


def run_hash(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform accounts hash``; return the exit status."""
    try:
        from argon2 import PasswordHasher
    except ImportError:
        return _fail("argon2-cffi is not installed; install nbplatform-spawners[hub]")
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            return _fail("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < _SHORTEST_PASSWORD:
        return _fail(f"a password has at least {_SHORTEST_PASSWORD} characters")
    print(PasswordHasher().hash(password))  # noqa: T201
    return OK


def _fail(text: str, status: int = BAD) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return status
