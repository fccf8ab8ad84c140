"""What is free now of what a server asks for, for people who choose.  Pure, on what is live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..rules.units import format_count, format_size
from .admit import Demand, Holding, LiveHost, LivePool, Taken, free_gpus, left_for, may_serve

_GIB = 1024**3


@dataclass(frozen=True)
class Free:
    """What the hosts that may serve one demand have left, all together.

    Attributes:
        gpus, all_gpus: how many GPUs nobody holds, of how many.
        memory, all_memory: bytes that this demand may have, of what it may have on empty hosts: what is kept for
            GPUs that it does not ask for counts in neither.
        hosts: how many hosts could serve it, those that take no servers now included.
        serving: how many of these take servers now; only what they have is counted.
        silent: how many do not answer.  What they have is unknown.
    """

    gpus: int
    all_gpus: int
    memory: int
    all_memory: int
    hosts: int
    serving: int
    silent: int


def free_now(demand: Demand, pools: Iterable[LivePool], holdings: tuple[Holding, ...]) -> Free | None:
    """Return what is free now for one demand; None where the backend chooses the host, or no host could serve it.

    Args:
        demand: what is asked for; hosts without the model or with too few GPUs are not looked at.
        pools: as for :func:`admit.admit`.
        holdings: what every server of the platform holds.  What this very server held before does not count.
    """
    pools = tuple(pools)
    if not all(pool.hosts for pool in pools):
        return None
    suited = [host for pool in pools for host in pool.hosts if _is_suited(demand, host)]
    if not suited:
        return None
    taken = Taken(held for held in holdings if (held.user, held.server) != (demand.user, demand.server))
    serving = [host for host in suited if may_serve(demand, host)]
    memory = [(left_for(demand, host, taken), left_for(demand, host, Taken(()))) for host in serving]
    return Free(
        gpus=sum(len(free_gpus(host, taken)) for host in serving),
        all_gpus=sum(len(host.gpus) for host in serving),
        memory=sum(min(max(left, 0), most) for left, most in memory),
        all_memory=sum(most for _, most in memory),
        hosts=len(suited),
        serving=len(serving),
        silent=sum(not host.answers for host in suited),
    )


def _is_suited(demand: Demand, host: LiveHost) -> bool:
    return demand.gpu_model in (None, host.gpu_model) and len(host.gpus) >= demand.gpus


def free_in_words(free: Free, demand: Demand) -> str:
    """Return what is free for people: ``1 of 2 GPUs, 12 of 32 GiB of memory``; never a number for what is unknown.

    Args:
        free: of :func:`free_now`.
        demand: the same; GPUs are said where it asks for some.
    """
    if not free.serving:
        return "not known" if free.silent else "nothing"
    parts = [f"{free.gpus} of {format_count(free.all_gpus, 'GPU')}"] if demand.gpus else []
    parts.append(f"{_of(free.memory, free.all_memory)} of memory")
    if free.silent:
        verb = "does" if free.silent == 1 else "do"
        parts.append(f"{free.silent} of {format_count(free.hosts, 'host')} {verb} not answer")
    return ", ".join(parts)


def _of(size: int, whole: int) -> str:
    """Return ``12 of 32 GiB``, or both with their units where these differ."""
    number, _, unit = format_size(_floored(size)).partition(" ")
    shown = format_size(_floored(whole))
    return f"{number} of {shown}" if size == 0 or shown.endswith(f" {unit}") else f"{number} {unit} of {shown}"


def _floored(size: int) -> int:
    """Return bytes cut to a tenth of a GiB: nobody chooses by less."""
    return size * 10 // _GIB * _GIB // 10 if size >= _GIB else size
