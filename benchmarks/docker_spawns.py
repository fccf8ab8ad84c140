"""Benchmarks of spawns on Docker hosts: many at once on a fleet, and one after the other with the real image.

On a fleet each call to a daemon takes 100 ms longer, on both sides: what is measured is who waits for whom.  The peer
has one host, and the same proxy in front of it.
"""

from __future__ import annotations

from functools import partial

from tests.components.images import BASE, TINY

from .docker_sides import DELAY, DockerSide, fleet_of
from .pairs import Pairs, by_turns
from .runner import Figure, benchmark, tell

HOSTS, SPAWNS, ROUNDS = 4, 20, 3
RUNS = 20
REAL_IMAGE = "base"
IMAGES = {"tiny": TINY, "base": BASE}
_FLEET = "20 users start servers at once, {}, each call to a daemon 100 ms slower: 4 hosts of ours, 1 of a stock hub"


@benchmark("fleet", unit="servers/s", about=_FLEET.format("a tiny image"))
def fleet() -> Figure:
    """Measure servers that answer at once; the median of three rounds."""
    return measure_fleet("tiny", hosts=HOSTS, spawns=SPAWNS, rounds=ROUNDS).median()


@benchmark("fleet_base", unit="servers/s", about=_FLEET.format("the real base image"))
def fleet_base() -> Figure:
    """Measure JupyterLab servers, for which this machine's processors are what is waited for; one round."""
    return measure_fleet(REAL_IMAGE, hosts=HOSTS, spawns=SPAWNS, rounds=1).median()


@benchmark(
    "spawn_docker",
    unit="s",
    about="from the POST of a spawn to a ready server of the real base image: nbplatform-docker and a stock"
    " DockerSpawner on the same host, median of 20 warm runs each",
)
def spawn_docker() -> Figure:
    """Measure spawns of one user, one after the other; the median."""
    return measure_spawns(REAL_IMAGE, runs=RUNS).median()


def measure_fleet(what: str, *, hosts: int, spawns: int, rounds: int) -> Pairs:
    """Return how many servers a second became ready, round by round; one round before them does not count.

    Args:
        what: ``tiny`` or ``base``.
        hosts: how many we have.
        spawns: how many are asked for at once.
        rounds: how many rounds count.
    """
    with fleet_of(hosts, users=spawns, delay=DELAY) as there:
        there.offer(what, IMAGES[what])

        def one_round(side: DockerSide) -> list[float]:
            took = side.start_all(there.users, what)
            side.stop_all()
            return [spawns / took]

        with there.ours() as ours, there.peer() as peer:
            return by_turns(
                partial(one_round, ours),
                partial(one_round, peer),
                rounds=rounds,
                warm_up=1,
                told=lambda words: tell(f"fleet, {what}: {words} (servers/s)"),
            )


def measure_spawns(what: str, *, runs: int, warm_up: int = 1) -> Pairs:
    """Return the seconds that starts took; each server has ended before the next one starts.

    Args:
        what: ``tiny`` or ``base``.
        runs: how many count.
        warm_up: how many before them do not.
    """
    with fleet_of(1) as there:
        there.offer(what, IMAGES[what])
        (user,) = there.users
        with there.ours() as ours, there.peer() as peer:
            return by_turns(
                partial(ours.start_and_stop, user, ours.options[what]),
                partial(peer.start_and_stop, user, peer.options[what]),
                rounds=runs,
                warm_up=warm_up,
                told=lambda words: tell(f"spawn_docker: {words} (s)"),
            )
