"""``nbplatform accounts link`` and ``unlink``: which person of an identity provider has which account."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadFile
from ..names import bounded
from .ldap_settings import parse_ldap_settings
from .link_file import change_file
from .links import LinkRefused, UnknownUser, add_link, link_text, remove_link
from .pairs import check_pair
from .parse import MAX_FILE

OK, BAD, USAGE, REFUSED = 0, 1, 2, 3

LINK_HELP = """\
Link the account USER to a person of an identity provider, whom PROVIDER and SUBJECT name: both stand on the page that
this person got instead of the hub.  Ask the person by another way whether they sent them: who is linked, is USER here.
Written is into a YAML accounts file, whose comments and layout stay; the hub takes the change by itself.
For other directories it is said what to enter where.
exit status: 0 linked, 1 the file is bad or cannot be written, 2 wrong use or no such account,
3 linked to another account already, or the file must be changed by hand, or the directory cannot be written from here

examples:
  nbplatform accounts link gwen edugain 'https://idp.uni.example/idp!def456' --accounts accounts.yaml
  nbplatform accounts link gwen edugain 'https://idp.uni.example/idp!def456' --accounts ldap:/etc/jupyterhub/ldap.yaml
"""
UNLINK_HELP = """\
Take the link between the account USER and a person of an identity provider out of a YAML accounts file.
The person has no session and no new server from then on; the account stays, with its files.
For other directories it is said what to remove where.
exit status: 0 unlinked, 1 the file is bad or cannot be written, 2 wrong use or no such account,
3 there is no such link, or the file must be changed by hand, or the directory cannot be written from here

examples:
  nbplatform accounts unlink gwen edugain 'https://idp.uni.example/idp!def456' --accounts accounts.yaml
"""


def add_link_commands(commands: Any) -> None:
    """Add ``link`` and ``unlink`` to the parsers of ``nbplatform accounts``."""
    for name, short, told, change in (
        ("link", "link an account to a person of an identity provider", LINK_HELP, add_link),
        ("unlink", "take such a link out", UNLINK_HELP, remove_link),
    ):
        parser = commands.add_parser(
            name, help=short, description=told, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("user", metavar="USER", help="name of the account")
        parser.add_argument("provider", metavar="PROVIDER", help="alias of the identity provider in Keycloak")
        parser.add_argument("subject", metavar="SUBJECT", help="who the person is there, in quotes")
        parser.add_argument(
            "--accounts",
            metavar="SPEC",
            default="accounts.yaml",
            help="the account directory, as the hub is configured with it (%(default)s)",
        )
        parser.set_defaults(run=partial(run, change=change))


def run(arguments: argparse.Namespace, change: Callable[[bytes, str, str, tuple[str, str]], bytes]) -> int:
    """Run ``nbplatform accounts link`` or ``unlink``; return the exit status."""
    pair = (arguments.provider, arguments.subject)
    try:
        check_pair(*pair)
    except ValueError as error:
        return _fail(str(error), USAGE)
    spec: str = arguments.accounts
    if not spec.endswith(".yaml") or spec.startswith(("ldap:", "http:")):
        return _by_hand(spec, arguments.user, pair)
    path = Path(spec)
    try:
        change_file(path, lambda content: change(content, path.name, arguments.user, pair))
    except UnknownUser as error:
        return _fail(f"{path}: {error}", USAGE)
    except LinkRefused as error:
        by_hand = f"\nas a line of its key 'federated': - {link_text(*pair)}" if "by hand" in str(error) else ""
        return _fail(f"{path}: {error}{by_hand}", REFUSED)
    except BadFile as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{path}: {error.strerror}")
    done = "is linked to" if change is add_link else "is no longer linked to"
    print(f"{path.name}: {arguments.user} {done} provider {pair[0]}, subject {bounded(pair[1], 300)}")  # noqa: T201
    if change is add_link and pair[1] != pair[1].lower():
        print(_CAPITALS, file=sys.stderr)  # noqa: T201
    return OK


_CAPITALS = """\
note: the subject has capital letters.  What Keycloak passes on in identity_provider_identity is in lower case:
link exactly what stands on the page that the person got."""


def _by_hand(spec: str, user: str, pair: tuple[str, str]) -> int:
    """Say what to enter where; return the exit status."""
    provider, subject = pair
    kind, _, path = spec.partition(":")
    if kind == "ldap":
        try:
            with Path(path).open("rb") as file:
                found = parse_ldap_settings(file.read(MAX_FILE), Path(path).name).accounts.federated
        except BadFile as error:
            return _fail(str(error))
        except OSError as error:
            return _fail(f"{path}: {error.strerror}")
        if found is None:
            return _fail(f"{path}: there is no 'federated' in its accounts: nobody can be linked in this directory")
        values = "\n".join(f"  {attribute}: {value}" for attribute, value in found.exact(provider, subject))
        text = f"this directory is not written from here; the entry of {user} must have:\n{values}"
    elif kind == "http":
        text = (
            "this directory is not written from here; the service must answer with the account of "
            f"{user} when it is asked for\n  provider: {provider}\n  subject: {subject}"
        )
    elif spec == "nss":
        text = (
            "the machine's own accounts hold no links; keep accounts in LDAP, behind HTTP or in a YAML file,"
            f" where this would be linked to {user}\n  provider: {provider}\n  subject: {subject}"
        )
    else:
        return _fail(f"--accounts {bounded(spec)} is none of nss, PATH.yaml, ldap:PATH.yaml, http:PATH.yaml", USAGE)
    return _fail(text, REFUSED)


def _fail(text: str, status: int = BAD) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return status
