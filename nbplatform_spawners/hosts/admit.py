"""Admission: the user's quota, then the pools in order of preference, then the host.  Pure, on what is live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import Refusal
from ..rules.units import format_duration, format_size


@dataclass(frozen=True)
class Holding:
    """What one server holds, pending ones included.

    Attributes:
        user, server: whose.
        host: where; empty when the backend has no hosts.
        gpus: ids of its GPUs.
        memory: bytes promised to it.
        idle: seconds since its last activity; None when not known.
    """

    user: str
    server: str
    host: str = ""
    gpus: tuple[str, ...] = ()
    memory: int = 0
    idle: int | None = None


@dataclass(frozen=True)
class LiveHost:
    """A host as it is now.

    Attributes:
        memory: bytes that may be promised, overcommit included.
        answers: False when it cannot be asked now.
    """

    name: str
    memory: int
    gpus: tuple[str, ...] = ()
    gpu_model: str | None = None
    memory_per_gpu: int = 0
    answers: bool = True
    drain: bool = False


@dataclass(frozen=True)
class LivePool:
    """A pool as it is now; one without hosts leaves the choice of the host to the backend."""

    name: str
    hosts: tuple[LiveHost, ...] = ()
    strategy: Literal["spread", "pack"] = "spread"


@dataclass(frozen=True)
class Demand:
    """What one server asks for.

    Attributes:
        memory: bytes.
        gpus: how many.
        quota: limits of ``servers`` and ``gpus`` for the user; a missing key is no limit.
    """

    user: str
    server: str
    profile: str
    memory: int = 0
    gpus: int = 0
    gpu_model: str | None = None
    quota: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Placement:
    """The host and the GPU devices chosen; both empty where the backend chooses."""

    host: str = ""
    pool: str = ""
    gpus: tuple[str, ...] = ()


def admit(demand: Demand, pools: tuple[LivePool, ...], holdings: tuple[Holding, ...]) -> Placement:
    """Choose the host and the GPUs of one server.

    Args:
        demand: what it asks for.
        pools: in order of preference, each narrowed to the hosts that may serve.
        holdings: what every other server of the platform holds, this user's included.

    Raises:
        Refusal: ``quota``, ``full`` or ``unreachable``, with numbers.
    """
    others = tuple(held for held in holdings if (held.user, held.server) != (demand.user, demand.server))
    check_quota(demand, others)
    for pool in pools:
        if not pool.hosts:
            return Placement(pool=pool.name)
        fitting = [(free, host) for host in pool.hosts if (free := _free_memory(demand, host, others)) is not None]
        if fitting:
            free, host = _choose(fitting, pool.strategy)
            return Placement(host.name, pool.name, _free_gpus(host, others)[: demand.gpus])
    raise _nothing_free(demand, pools, others)


def check_quota(demand: Demand, holdings: tuple[Holding, ...]) -> None:
    """Check what the user holds and asks for against the quota.

    Raises:
        Refusal: with the label ``quota``, saying what is held and how much is allowed.
    """
    mine = [held for held in holdings if held.user == demand.user]
    limits = demand.quota or {}
    for key, held, more in (
        ("servers", len(mine), 1),
        ("gpus", sum(len(one.gpus) for one in mine), demand.gpus),
    ):
        limit = limits.get(key)
        if limit is not None and more and held + more > limit:
            what = "servers" if key == "servers" else "GPUs"
            running = ", ".join(repr(one.server) if one.server else "your default server" for one in mine)
            hint = f"; stop one of: {running}" if mine else ""
            raise Refusal("quota", f"you hold {held} and ask for {more} more, your quota is {limit} {what}{hint}")


def _free_gpus(host: LiveHost, holdings: tuple[Holding, ...]) -> tuple[str, ...]:
    taken = {gpu for held in holdings if held.host == host.name for gpu in held.gpus}
    return tuple(gpu for gpu in host.gpus if gpu not in taken)


def _free_memory(demand: Demand, host: LiveHost, holdings: tuple[Holding, ...]) -> int | None:
    """Return the bytes left on a host that is eligible, before this demand; None when it is not eligible."""
    if host.drain or not host.answers or (demand.gpu_model and host.gpu_model != demand.gpu_model):
        return None
    gpus = _free_gpus(host, holdings)
    if len(gpus) < demand.gpus:
        return None
    free = host.memory - sum(held.memory for held in holdings if held.host == host.name)
    kept = host.memory_per_gpu * (len(gpus) - demand.gpus)
    return free if free - kept >= demand.memory else None


def _choose(fitting: list[tuple[int, LiveHost]], strategy: str) -> tuple[int, LiveHost]:
    sign = 1 if strategy == "pack" else -1
    return min(fitting, key=lambda pair: (sign * pair[0], pair[1].name))


def _nothing_free(demand: Demand, pools: tuple[LivePool, ...], holdings: tuple[Holding, ...]) -> Refusal:
    hosts = [host for pool in pools for host in pool.hosts]
    answering = [host for host in hosts if host.answers and not host.drain]
    names = " and ".join(pool.name for pool in pools) or "(none)"
    if not answering:
        down = sum(not host.answers for host in hosts)
        return Refusal(
            "unreachable",
            f"no host of pool {names} takes servers now: {down} of {len(hosts)} do not answer,"
            f" {sum(host.drain for host in hosts)} are being drained; try again later",
        )
    parts = []
    if demand.gpus:
        total = sum(len(host.gpus) for host in answering)
        free = sum(len(_free_gpus(host, holdings)) for host in answering)
        parts.append(f"{total - free} of {total} GPUs of pool {names} are taken")
    if demand.memory:
        most = max(host.memory - sum(one.memory for one in holdings if one.host == host.name) for host in answering)
        parts.append(
            f"{format_size(demand.memory)} of memory are asked for, the emptiest host of pool {names} has {format_size(max(most, 0))} left"
        )
    idle = [held.idle for held in holdings if held.idle and held.host in {host.name for host in answering}]
    if idle:
        parts.append(f"the oldest has been idle {format_duration(max(idle) // 60 * 60)}")
    return Refusal("full", "; ".join(parts) or f"pool {names} is full")
