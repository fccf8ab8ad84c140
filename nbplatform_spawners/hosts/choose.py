"""Which hosts a command of ``nbplatform hosts`` is about, how they are asked, and by what they are judged."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..accounts.yaml_file import parse_accounts
from ..errors import BadFile, Mistake
from ..id_options import add_id_range, id_range
from ..mounts import clean_path
from ..names import bounded
from ..render.docker_roots import check_roots
from ..rules.decision import Decision
from ..rules.model import RuleBook
from ..rules.parse import parse_rules
from ..rules.people import People
from ..rules.store import read_files
from ..rules.units import parse_number, parse_whole
from ..yaml_nodes import suggestion
from .report import Asking, Target

_MOUNT_ROOTS = ("/home", "/cvmfs")
_PULL_LIMIT = 1800.0


class WrongUse(Exception):
    """The command line names what does not exist, or the installation lacks what it needs."""


@dataclass(frozen=True)
class Site:
    """What every command reads first.

    Attributes:
        files: the rule files.
        book: what they say.
        targets: the hosts that are meant, in the order of the rules.
    """

    files: dict[str, bytes]
    book: RuleBook
    targets: list[Target]


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every command: where rules and certificates are, and how to answer."""
    parser.add_argument("--rules", metavar="DIR", type=Path, default=Path("placement_rules"), help="(%(default)s)")
    parser.add_argument(
        "--tls-directory", metavar="DIR", help="the client certificates (default: $DOCKER_CERT_PATH, if it is set)"
    )
    parser.add_argument(
        "--hub-id",
        metavar="ID",
        default="",
        help="count this hub's servers alone: c.DockerFleetSpawner.hub_id (default: those of all hubs)",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=10.0, help="for each call (%(default)g)")
    parser.add_argument("--json", action="store_true", help="one JSON object, for scripts")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add ``--pool`` and ``--host``."""
    parser.add_argument(
        "--pool", metavar="POOL", action="append", default=[], help="hosts of this pool alone; repeatable"
    )
    parser.add_argument("--host", metavar="HOST", action="append", default=[], help="this host alone; repeatable")


def add_check(check: argparse.ArgumentParser) -> None:
    """Add the flags of ``check``."""
    check.add_argument("--accounts", metavar="FILE", type=Path, help="also look for the mounts of these accounts")
    add_id_range(check)
    check.add_argument(
        "--mount-root",
        metavar="FOLDER",
        action="append",
        help="as in c.DockerFleetSpawner.mount_roots; repeatable (default: /home and /cvmfs)",
    )
    check.add_argument(
        "--certificate-days",
        metavar="DAYS",
        type=_days,
        default=30,
        help="how long certificates must still hold (%(default)s)",
    )
    check.add_argument(
        "--probe-image",
        metavar="IMAGE",
        default="",
        help="image of the container that looks (default: the first of the rules' images that the host has)",
    )


def add_pull(pull: argparse.ArgumentParser) -> None:
    """Add the flags of ``pull``."""
    pull.add_argument("images", metavar="IMAGE", nargs="*", help="what to fetch (default: the images of the rules)")
    pull.add_argument(
        "--pull-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=_PULL_LIMIT,
        help="for one image on one host (%(default)g)",
    )


def read_site(arguments: argparse.Namespace) -> Site:
    """Read the rules and choose the hosts.

    Raises:
        BadFile: the rules hold mistakes.
        WrongUse: a pool or host that does not exist, or none that fits.
    """
    files = read_files(arguments.rules)
    book = parse_rules(files)
    targets = [Target(pool, host) for pool in book.pools.values() for host in pool.hosts]
    pools, hosts = getattr(arguments, "pool", []), getattr(arguments, "host", [])
    for what, names, known in (
        ("pool", pools, list(book.pools)),
        ("host", hosts, [target.host.name for target in targets]),
    ):
        for name in names:
            if name not in known:
                raise unknown(what, name, known)
    chosen = [
        target
        for target in targets
        if (not pools or target.pool.name in pools) and (not hosts or target.host.name in hosts)
    ]
    if not chosen:
        raise WrongUse("none of the hosts is in these pools" if hosts else "no pool has hosts with a Docker daemon")
    return Site(files, book, chosen)


def read_asking(arguments: argparse.Namespace) -> Asking:
    """Return how the flags say that hosts are asked.

    Raises:
        WrongUse: the directory of certificates is none, or may not be looked into.
    """
    directory = arguments.tls_directory or os.environ.get("DOCKER_CERT_PATH", "")
    if directory:
        _demand_usable(directory, "--tls-directory" if arguments.tls_directory else "DOCKER_CERT_PATH")
    return Asking(directory, arguments.hub_id, arguments.timeout, getattr(arguments, "pull_timeout", _PULL_LIMIT))


def _demand_usable(directory: str, flag: str) -> None:
    """Check that a directory may be looked into; what is missing in it is told for each host.

    Raises:
        WrongUse: it may not, or the flag names no directory.
    """
    named = f"{flag} {bounded(directory, 200)}"
    try:
        Path(directory, "ca.pem").stat()
    except (FileNotFoundError, NotADirectoryError):
        if flag.startswith("--") and not Path(directory).is_dir():
            raise WrongUse(f"{named} is no directory") from None
    except PermissionError:
        raise WrongUse(f"{named} may not be looked into: run this as the hub's user") from None
    except OSError as error:
        raise WrongUse(f"{named} cannot be used: {error.strerror}") from None


def read_roots(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the mount roots that the flags name.

    Raises:
        WrongUse: one may never be a mount root.
    """
    try:
        check_roots(arguments.mount_root or ())
    except ValueError as error:
        raise WrongUse(str(error)) from None
    return tuple(dict.fromkeys(clean_path(root) for root in arguments.mount_root or _MOUNT_ROOTS))


def read_decisions(book: RuleBook, arguments: argparse.Namespace, now: datetime) -> list[Decision]:
    """Return the decision for every account and profile; none without accounts.

    Raises:
        BadFile: the accounts hold mistakes.
        WrongUse: the range of ids is empty.
    """
    path: Path | None = arguments.accounts
    if path is None:
        return []
    try:
        allowed = id_range(arguments)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    try:
        found = parse_accounts(path.read_bytes(), path.name)
    except OSError as error:
        shown = bounded(path, 200)[1:-1]
        raise BadFile([Mistake(shown, 0, f"the accounts file cannot be read: {error.strerror}")]) from None
    return list(People(found.accounts, found.refusals, allowed).decide_all(book, now=now))


def unknown(what: str, name: str, known: Iterable[str]) -> WrongUse:
    """Return the error for a name that nothing has, with the nearest one that something has."""
    return WrongUse(f"unknown {what} {bounded(name)}{suggestion(name, known)}")


def _seconds(text: str) -> float:
    try:
        return parse_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{bounded(text)}: {error}") from None


def _days(text: str) -> int:
    try:
        return parse_whole(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{bounded(text)}: {error}") from None
