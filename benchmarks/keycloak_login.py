"""Benchmarks of a login: from the first request to the hub's home page, by password, in a browser without cookies."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence

from .keycloak_sides import USER, LoginSide, login_sides
from .pairs import Pairs, by_turns
from .runner import CannotRun, Figure, benchmark, tell

RUNS = 25
HOME = "/hub/home"
_WHAT = "a login by password at Keycloak, from the first request to the hub's home page"


@benchmark("login", unit="ms", about=f"{_WHAT}: median of {RUNS}, ours less that of GenericOAuthenticator")
def login() -> Figure:
    """Return by how many milliseconds our median is larger than the stock hub's."""
    pairs = _session()
    return Figure(1000 * (statistics.median(pairs.ours) - statistics.median(pairs.peer)))


@benchmark("login_whole", unit="s", about=f"{_WHAT}: median of {RUNS}, ours and GenericOAuthenticator's")
def login_whole() -> Figure:
    """Return the medians of the same runs."""
    return _session().median()


@functools.cache
def _session() -> Pairs:
    with login_sides() as (ours, peer):
        return measure_logins(ours, peer, runs=RUNS)


def measure_logins(ours: LoginSide, peer: LoginSide, *, runs: int, warm_up: int = 2) -> Pairs:
    """Return the seconds that logins took, by turns."""
    return by_turns(
        functools.partial(one_login, ours),
        functools.partial(one_login, peer),
        rounds=runs,
        warm_up=warm_up,
        told=lambda words: tell(f"login: {words} (s)"),
    )


def one_login(side: LoginSide) -> Sequence[float]:
    """Return the seconds of one login; every request of it and every redirect count.

    Raises:
        CannotRun: it does not end at the home page.
    """
    visitor = side.site.visitor()
    begin = time.perf_counter()
    answer = visitor.arrive(visitor.authorise(USER, next_path=HOME))
    took = time.perf_counter() - begin
    if answer.status != 200 or not answer.url.endswith(HOME):
        raise CannotRun(f"the login ends at {answer.url.partition('?')[0]} with {answer.status} ({side.name})")
    visitor.close()
    return [took]
