"""Benchmarks of a hub's restart with hundreds of running servers: how long it takes, and which servers it costs.

The hub and its own proxy are stopped and started again; each call to a daemon takes 100 ms longer meanwhile.  The time
ends when every server has been checked and the new proxy has a route to each that is left.  A server is lost when the
hub does not know it any more, or it is not reached through the proxy.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import requests

from tests.components.images import BASE, TINY

from .docker_sides import DELAY, DockerSide, Fleet, fleet_of
from .runner import CannotRun, Figure, benchmark, tell

HOSTS, SERVERS, REAL = 4, 200, 5
AT_ONCE = 12  # starts that are under way at a time while all is prepared
LIMIT = 300.0  # seconds until everything must be settled
LOOK = 0.1
_WHAT = (
    f"a hub's restart with {SERVERS} running servers, {REAL} of them real, each call to a daemon 100 ms slower:"
    " nbplatform-docker on 4 hosts, stock on 1: {}"
)


@dataclass(frozen=True)
class Restart:
    """What one restart took.

    Attributes:
        seconds: from the hub's SIGTERM until every server was checked and routed.
        lost: servers that ran before and are not reached after it.
    """

    seconds: float
    lost: int


@benchmark("restart", unit="s", about=_WHAT.format("until every server is checked and routed"))
def restart() -> Figure:
    """Measure the time of one restart on each side."""
    ours, peer = _session()
    return Figure(ours.seconds, peer.seconds)


@benchmark("restart_lost", unit="servers", about=_WHAT.format("servers lost"))
def restart_lost() -> Figure:
    """Return what the same restarts cost."""
    ours, peer = _session()
    return Figure(ours.lost, peer.lost)


@functools.cache
def _session() -> tuple[Restart, Restart]:
    return measure_restarts(hosts=HOSTS, servers=SERVERS, real=REAL)


def measure_restarts(*, hosts: int, servers: int, real: int) -> tuple[Restart, Restart]:
    """Return what a restart takes: ours, and the peer's; one after the other, each on a fleet of its own.

    Args:
        hosts: how many we have.
        servers: how many run.
        real: how many of them have the base image; the others the tiny one.
    """
    return (
        _measure(Fleet.ours, hosts, servers, real),
        _measure(Fleet.peer, 1, servers, real),
    )


def _measure(
    side_of: Callable[[Fleet], AbstractContextManager[DockerSide]], hosts: int, servers: int, real: int
) -> Restart:
    with fleet_of(hosts, users=servers, delay=0.0) as there:
        there.offer("tiny", TINY)
        if real:
            there.offer("base", BASE, there.first)
        with side_of(there) as side:
            took = side.start_all(there.users[:real], "base") if real else 0.0
            took += side.start_all(there.users[real:], "tiny", AT_ONCE)
            tell(f"restart: {side.name}: {servers} servers started in {took:.0f} s")
            found = _restarted(there, side)
            tell(f"restart: {side.name}: {found.seconds:.4g} s, {found.lost} servers lost")
            return found


def _restarted(there: Fleet, side: DockerSide) -> Restart:
    before = _reached(side, there.users)
    if len(before) < len(there.users):
        raise CannotRun(f"{len(there.users) - len(before)} servers do not answer before the restart ({side.name})")
    begin = time.perf_counter()
    side.hub.stop()
    took = time.perf_counter() - begin
    there.delay(DELAY)
    begin = time.perf_counter()
    side.hub.restart()
    _wait_until_settled(side, len(before), begin + LIMIT)
    took += time.perf_counter() - begin
    return Restart(took, len(before) - len(_reached(side, there.users)))


def _wait_until_settled(side: DockerSide, servers: int, limit: float) -> None:
    """Wait until the hub has checked all servers and its proxy has the routes of those that are left.

    The routes are counted first: the list of all users takes the hub itself some time to make.

    Raises:
        CannotRun: it does not come to an end.
    """
    seen = begin = time.perf_counter()
    while time.perf_counter() < limit:
        routes = side.hub.api("GET", "proxy?limit=1000").json
        routed = sum(path.startswith("/user/") for path in routes)
        if routed >= servers or time.perf_counter() - seen > 20 * LOOK:
            seen = time.perf_counter()
            states = side.servers()
            if states and all(states.values()) and routed == len(states):
                return
        time.sleep(LOOK)
    raise CannotRun(f"servers are still not checked after {limit - begin:.0f} s ({side.name})")


def _reached(side: DockerSide, users: Sequence[str]) -> set[str]:
    """Return whose server the hub calls ready, and is reached through the proxy."""
    ready = {user for user, is_ready in side.servers().items() if is_ready}
    with requests.Session() as session:
        session.trust_env = False
        found = set()
        for user in ready.intersection(users):
            answer = session.get(f"{side.hub.url}/user/{user}/api", timeout=10, allow_redirects=False)
            if answer.status_code in (200, 404):  # JupyterLab's own, or busybox's; the hub answers 424 or 503
                found.add(user)
    return found
