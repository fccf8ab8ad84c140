"""Benchmark of a slow pull: how much longer others wait while one host fetches an image for a minute.

Ours has the pull on one host and the spawns on another.  A stock DockerSpawner knows one host: both are there.
"""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import Future, ThreadPoolExecutor

from tests.components import MissingComponent
from tests.components.docker_host import DockerHost
from tests.components.hub import stop_server
from tests.components.images import TINY
from tests.components.registry import registry

from .docker_sides import DELAY, DockerSide, Fleet, fleet_of
from .runner import CannotRun, Figure, benchmark, tell

PULL = 60.0  # seconds that the pull takes
SIZE = 6 << 20  # bytes
SPAWNS = (10, 3)
"""How often each side spawns before the pull, and again after it; during the pull, as often as it can."""


@benchmark(
    "slow_pull",
    unit="x",
    about="the median spawn while another user's 60 s pull goes on, divided by the median without it: nbplatform-docker"
    " with the pull on another host, stock on its one host",
)
def slow_pull() -> Figure:
    """Measure spawns of a tiny image during the pull, and as many before and after it."""
    return measure_pull(seconds=PULL, spawns=SPAWNS)


def measure_pull(*, seconds: float, spawns: tuple[int, int]) -> Figure:
    """Return by how much longer spawns take.

    Args:
        seconds: that a pull takes.
        spawns: how often ours and the peer spawn before a pull, and again after it.
    """
    with fleet_of(2, users=2, delay=DELAY) as there:
        there.offer("tiny", TINY, "wn2")
        try:
            with registry(there.hosts) as shelf:
                for name in ("ours", "peer"):
                    there.offer(name, shelf.publish(f"{name}:1", padding=os.urandom(SIZE)), "wn1")
                shelf.slow(seconds, shelf.size("ours:1"))
                with there.ours() as side:
                    ours = _slower(there, side, spawns[0])
                with there.peer() as side:
                    peer = _slower(there, side, spawns[1])
        except MissingComponent as lacking:
            raise CannotRun(str(lacking)) from None
    return Figure(ours, peer)


def _slower(there: Fleet, side: DockerSide, spawns: int) -> float:
    """Return the median of spawns during a pull divided by the median of those without it."""
    user, other = there.users
    tiny, fetched = side.options["tiny"], side.options[side.name]
    side.start_and_stop(user, tiny)  # finds nothing in the caches
    without = [side.start_and_stop(user, tiny)[0] for _ in range(spawns)]
    during = []
    with ThreadPoolExecutor(1) as pool:
        pull = pool.submit(side.start, other, fetched)
        _wait_for_pull(there.hosts[there.first], pull)
        while not pull.done():
            during += side.start_and_stop(user, tiny)
        took = pull.result()
    if not during:
        raise CannotRun(f"the pull is over before anything can be measured ({side.name})")
    stop_server(side.hub, other)
    without += [side.start_and_stop(user, tiny)[0] for _ in range(spawns)]
    medians = statistics.median(during), statistics.median(without)
    words = f"{medians[0]:.4g} in {len(during)} spawns during a pull of {took:.0f} s, {medians[1]:.4g} without"
    tell(f"slow_pull: {side.name}: {words} (s)")
    return medians[0] / medians[1]


def _wait_for_pull(host: DockerHost, pull: Future[float]) -> None:
    """Wait until a host has begun to fetch the layers of an image, or the start that needs it is over."""
    while not pull.done() and "GetImageBlob" not in host.run_on_host("ls", host.folder / "data" / "tmp"):
        time.sleep(0.05)
