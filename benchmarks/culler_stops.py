"""Benchmarks of stops: idle servers whose stop takes a while, and the time between the second look and the stop."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tests.culler.hub_double import FakeServer, usual_servers

from .culler_sides import Asked, TimedHub, running
from .pairs import by_turns
from .runner import Figure, benchmark, tell

SERVERS = 100
STOP = 0.2  # seconds that each stop takes
IDLE = 1e6  # seconds
TIMEOUT = "--timeout=3600"
ROUNDS = 3


@dataclass(frozen=True)
class Culled:
    """What one round on one side measured, in seconds.

    Attributes:
        took: from the culler's first request until the last server had stopped.
        gaps: for each server from the end of the last look at it until its stop was asked for; empty where nobody
            looked at servers.
    """

    took: float
    gaps: tuple[float, ...]


@benchmark(
    "cull",
    unit="s",
    about=f"{SERVERS} idle servers whose stop takes {STOP} s each, from the culler's first request until the last one"
    f" has stopped: median of {ROUNDS}; ours asks each server twice before",
)
def cull() -> Figure:
    """Measure both sides by turns."""
    return _rounds()[0]


@benchmark(
    "second_look",
    unit="ms",
    about="from the end of a server's second look until its stop is asked for: the worst of"
    f" {SERVERS * ROUNDS}, from the same rounds as 'cull'",
)
def second_look() -> Figure:
    """Return the longest of all gaps."""
    return Figure(_rounds()[1] * 1e3)


@functools.cache
def _rounds() -> tuple[Figure, float]:
    gaps: list[float] = []

    def ours() -> list[float]:
        one = cull_once("ours", servers=SERVERS, stop=STOP)
        gaps.extend(one.gaps)
        return [one.took]

    def peer() -> list[float]:
        return [cull_once("peer", servers=SERVERS, stop=STOP).took]

    pairs = by_turns(ours, peer, rounds=ROUNDS, warm_up=0, told=lambda words: tell(f"cull: {words} (s)"))
    return pairs.median(), max(gaps)


def cull_once(side: str, *, servers: int, stop: float) -> Culled:
    """Let one culler stop idle servers.

    Args:
        side: ``ours`` or ``peer``.
        servers: how many, one a user.
        stop: seconds that each stop takes.

    Raises:
        CannotRun: it does not stop them all.
    """
    with TimedHub(idle_servers(servers), stop_delay=stop) as hub, running(side, hub, [TIMEOUT]) as process:
        process.wait_for(lambda: sum(one.method == "DELETE" for one in list(hub.answered)) == servers)
        answered = list(hub.answered)
    assert len(hub.stopped) == servers
    assert hub.first is not None
    stops = [one for one in answered if one.method == "DELETE"]
    return Culled(max(one.end for one in stops) - hub.first, tuple(_gaps(answered, stops)))


def idle_servers(count: int) -> list[FakeServer]:
    """Return servers that nobody uses, and about whose limits nothing is noted: those of the command hold."""
    servers = usual_servers(count, 1.0, IDLE)
    for server in servers:
        server.state = {}
    return servers


def _gaps(answered: list[Asked], stops: list[Asked]) -> list[float]:
    """Return for each stop how long before it the server's last answer was done; empty when none was asked."""
    found = []
    for stop in stops:
        user = stop.path.split("/")[-2]
        looks = [one.end for one in answered if one.path.startswith(f"/user/{user}/") and one.end <= stop.begin]
        if looks:
            found.append(stop.begin - max(looks))
    return found
