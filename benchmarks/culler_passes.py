"""Benchmarks of a pass over many servers: wall time and CPU seconds of the culler's process."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tests.culler.hub_double import FakeServer, usual_servers

from .culler_sides import TimedHub, running
from .culler_verdicts import SITE
from .pairs import by_turns
from .runner import Figure, benchmark, tell

SERVERS = 5000
ROUNDS = 3
DAY = 86400.0
YOUNG, OLD = 3600.0, 10 * DAY
"""Seconds since a server's start: it need not be asked yet; longer than its limit, and so it has to be."""
RULES = f"--rules-directory={SITE / 'placement_rules'}"
OPTIONS = {"ours": [RULES], "peer": [f"--timeout={3 * DAY:.0f}"]}


@dataclass(frozen=True)
class Cost:
    """What a pass cost, in seconds.

    Attributes:
        wall: from the first request until the culler rests.
        cpu: of its process in that time.
    """

    wall: float
    cpu: float


@benchmark(
    "pass",
    unit="s",
    about=f"a pass over {SERVERS:,} servers with nothing to do, from the first request until the culler rests: median"
    f" of {ROUNDS}; ours decides each by the example site's rules",
)
def pass_wall() -> Figure:
    """Measure both sides by turns."""
    return _sides()[0]


@benchmark("pass_cpu", unit="s", about="CPU seconds of the culler's process in the same passes")
def pass_cpu() -> Figure:
    """Return the same rounds' other figure."""
    return _sides()[1]


@benchmark(
    "pass_asking",
    unit="s",
    about=f"a pass in which ours has to ask each of {SERVERS:,} servers itself, and none is idle: nothing is known of"
    " them yet",
)
def pass_asking() -> Figure:
    """Measure our side once: nobody else asks servers."""
    cost = one_pass("ours", servers=SERVERS, age=OLD)
    tell(f"pass_asking: {cost.cpu:.3g} s of CPU time")
    return Figure(cost.wall)


@functools.cache
def _sides() -> tuple[Figure, Figure]:
    spent: dict[str, list[float]] = {"ours": [], "peer": []}

    def run(side: str) -> list[float]:
        cost = one_pass(side, servers=SERVERS, age=YOUNG)
        spent[side].append(cost.cpu)
        return [cost.wall]

    def told(words: str) -> None:
        tell(f"pass: {words} (s)")

    pairs = by_turns(lambda: run("ours"), lambda: run("peer"), rounds=ROUNDS, warm_up=0, told=told)
    cpu = by_turns(
        lambda: [spent["ours"].pop(0)], lambda: [spent["peer"].pop(0)], rounds=ROUNDS, warm_up=0, told=_quiet
    )
    return pairs.median(), cpu.median()


def one_pass(side: str, *, servers: int, age: float) -> Cost:
    """Let one culler make a pass over servers that are all in use.

    Args:
        side: ``ours`` or ``peer``.
        servers: how many, one a user.
        age: seconds since their start.

    Raises:
        CannotRun: it does not come to rest.
    """
    with TimedHub(used_servers(servers, age)) as hub, running(side, hub, OPTIONS[side]) as process:
        wall, cpu = process.rest()
    assert not hub.stopped
    return Cost(wall, cpu)


def used_servers(count: int, age: float) -> list[FakeServer]:
    """Return servers that were used a minute ago."""
    servers = usual_servers(count, 0.0, age - DAY)
    for server in servers:
        server.age = age
    return servers


def _quiet(_: str) -> None:
    """Say nothing: it was said before."""
