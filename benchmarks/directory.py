"""Benchmarks of the account directory: what asking a real LDAP server of 10,000 accounts adds to a login or a spawn.

Each lookup is of another account, at random, in both searches that it takes.  The cache of answers is off: with it, a
lookup is a look into a table.
"""

from __future__ import annotations

import importlib.util
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from nbplatform_spawners.accounts.directory import AccountDirectory, open_directory
from tests.components import MissingComponent
from tests.components.slapd import BASE, SERVICE, Slapd, large_site, slapd

from .runner import CannotRun, Figure, benchmark

ACCOUNTS, GROUPS = 10_000, 500
LOOKUPS = 500
OPENINGS = 20


@benchmark(
    "directory",
    unit="ms",
    about=f"one account of {ACCOUNTS:,} in LDAP with its groups, over TLS on a kept connection, no answer is cached;"
    f" median of {LOOKUPS}",
)
def warm() -> Figure:
    """Measure lookups on a connection that is open; the median."""
    with _server() as server, _settings(server) as spec:
        directory = open_directory(spec)
        names = _names()
        directory.lookup(next(names))
        return Figure(statistics.median(_one(directory, next(names)) for _ in range(LOOKUPS)))


@benchmark(
    "directory_cold",
    unit="ms",
    about=f"the same with all that comes before the first: settings, connection, TLS, bind; median of {OPENINGS}",
)
def cold() -> Figure:
    """Measure first lookups of directories that were just opened; the median."""
    with _server() as server, _settings(server) as spec:
        names = _names()
        return Figure(statistics.median(_first(spec, next(names)) for _ in range(OPENINGS)))


def _first(spec: str, name: str) -> float:
    begin = time.perf_counter()
    open_directory(spec).lookup(name)
    return (time.perf_counter() - begin) * 1e3


def _one(directory: AccountDirectory, name: str) -> float:
    begin = time.perf_counter()
    directory.lookup(name)
    return (time.perf_counter() - begin) * 1e3


def _names() -> Iterator[str]:
    """Yield names at random, the same in every run."""
    choose = random.Random(ACCOUNTS)
    while True:
        yield f"user{choose.randrange(1, ACCOUNTS)}"  # the first one is in every group


@contextmanager
def _server() -> Iterator[Slapd]:
    if importlib.util.find_spec("ldap") is None:
        raise CannotRun("python-ldap is not installed (nbplatform-spawners[ldap])")
    try:
        with slapd(entries=large_site(ACCOUNTS, GROUPS)) as server:
            yield server
    except MissingComponent as lacking:
        raise CannotRun(str(lacking)) from None


@contextmanager
def _settings(server: Slapd) -> Iterator[str]:
    settings = {
        "servers": [server.ldaps],
        "ca_file": str(server.ca),
        "bind_dn": SERVICE,
        "bind_password_file": str(server.password_file),
        "cache": "0s",
        "accounts": {"base": f"ou=people,{BASE}"},
        "groups": {"base": f"ou=groups,{BASE}"},
    }
    with tempfile.TemporaryDirectory(prefix="nbplatform-bench-") as folder:
        path = Path(folder, "directory.yaml")
        path.write_text(yaml.safe_dump(settings))
        yield f"ldap:{path}"
