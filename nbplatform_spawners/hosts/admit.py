"""Admission: the user's quota, then the pools in order of preference, then the host.  Pure, on what is live."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import Refusal
from ..names import bounded
from ..rules.units import format_count, format_duration, format_size
from ..rules.unplaceable import sole_host

_MOST_NAMED = 5
_SHORTEST_IDLE = 60


@dataclass(frozen=True)
class Holding:
    """What one server holds, pending ones included.

    Attributes:
        user, server: whose.
        host: where; empty when the backend has no hosts.
        gpus: ids of its GPUs.
        memory: bytes promised to it.
        idle: seconds since its last activity; None when not known.
        gpu_count: how many GPUs it holds where the backend chooses the devices, so that their ids are not known.
    """

    user: str
    server: str
    host: str = ""
    gpus: tuple[str, ...] = ()
    memory: int = 0
    idle: int | None = None
    gpu_count: int = 0

    @property
    def gpus_held(self) -> int:
        """How many GPUs it holds, known by id or not."""
        return max(len(self.gpus), self.gpu_count)


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
    """What one server asks for.  Not hashable when it has a quota.

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


class Taken:
    """What servers hold, added up once: with hundreds of hosts and thousands of servers it is asked again and again.

    Args:
        holdings: of the servers that count.

    Attributes:
        gpus: ids of all GPUs that are held.  Ids are unique over all hosts, so a renamed host frees nothing.
    """

    def __init__(self, holdings: Iterable[Holding]) -> None:
        self._memory: dict[str, int] = {}
        self.gpus: set[str] = set()
        for held in holdings:
            self._memory[held.host] = self._memory.get(held.host, 0) + held.memory
            self.gpus.update(held.gpus)

    def memory(self, host: str) -> int:
        """Bytes promised on a host."""
        return self._memory.get(host, 0)


def narrowed(pools: Iterable[LivePool], hosts: Collection[str] | None) -> tuple[LivePool, ...]:
    """Return the pools with the named hosts alone; a pool that loses its last host is left out.

    A pool that never had a host stays: the backend chooses there.

    Args:
        pools: in order of preference.
        hosts: names; None for all.
    """
    if hosts is None:
        return tuple(pools)
    kept = ((pool, tuple(host for host in pool.hosts if host.name in hosts)) for pool in pools)
    return tuple(replace(pool, hosts=left) for pool, left in kept if left or not pool.hosts)


def admit(demand: Demand, pools: tuple[LivePool, ...], holdings: tuple[Holding, ...]) -> Placement:
    """Choose the host and the GPUs of one server.

    Args:
        demand: what it asks for.
        pools: in order of preference, each narrowed to the hosts that may serve (see :func:`narrowed`).
        holdings: what every server of the platform holds, this user's included.  What this very server held
            before does not count: it is replaced.

    Raises:
        Refusal: ``quota``, ``full``, ``unreachable`` or, without any pool, ``unplaceable``; with numbers.
    """
    others = tuple(held for held in holdings if (held.user, held.server) != (demand.user, demand.server))
    check_quota(demand, others)
    taken = Taken(others)
    for pool in pools:
        if not pool.hosts:
            return Placement(pool=pool.name)
        fitting = [
            (_free_memory(host, taken), host)
            for host in pool.hosts
            if may_serve(demand, host) and _has_gpus(demand, host, taken) and _has_memory(demand, host, taken)
        ]
        if fitting:
            host = _choose(fitting, pool.strategy)
            return Placement(host.name, pool.name, free_gpus(host, taken)[: demand.gpus])
    raise _nothing_free(demand, pools, others)


def check_quota(demand: Demand, holdings: tuple[Holding, ...]) -> None:
    """Check what the user holds and asks for against the quota.

    Args:
        demand: what is asked for.
        holdings: what all *other* servers hold, pending ones included.

    Raises:
        Refusal: with the label ``quota``, saying what is held and how much is allowed.
    """
    mine = [held for held in holdings if held.user == demand.user]
    with_gpus = [held for held in mine if held.gpus_held]
    for key, what, holders, held, more in (
        ("servers", "server", mine, len(mine), 1),
        ("gpus", "GPU", with_gpus, sum(one.gpus_held for one in with_gpus), demand.gpus),
    ):
        limit = (demand.quota or {}).get(key)
        if limit is not None and more and held + more > limit:
            quota = format_count(limit, what)
            hint = f"; stop one of: {_server_names(holders)}" if holders else ""
            raise Refusal("quota", f"you hold {held} and ask for {more} more, your quota is {quota}{hint}")


def _server_names(holdings: list[Holding]) -> str:
    shown = [bounded(held.server) if held.server else "your default server" for held in holdings[:_MOST_NAMED]]
    more = len(holdings) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def free_gpus(host: LiveHost, taken: Taken) -> tuple[str, ...]:
    """Return the GPUs of a host that nobody holds."""
    return tuple(gpu for gpu in host.gpus if gpu not in taken.gpus)


def _free_memory(host: LiveHost, taken: Taken) -> int:
    return host.memory - taken.memory(host.name)


def left_for(demand: Demand, host: LiveHost, taken: Taken) -> int:
    """Return the bytes that this demand may have: the free ones less what is kept for GPUs not granted."""
    kept = host.memory_per_gpu * max(len(free_gpus(host, taken)) - demand.gpus, 0)
    return _free_memory(host, taken) - kept


def may_serve(demand: Demand, host: LiveHost) -> bool:
    """Tell whether a host takes servers now and has the model asked for; how full it is does not count."""
    return host.answers and not host.drain and demand.gpu_model in (None, host.gpu_model)


def _has_gpus(demand: Demand, host: LiveHost, taken: Taken) -> bool:
    return len(free_gpus(host, taken)) >= demand.gpus


def _has_memory(demand: Demand, host: LiveHost, taken: Taken) -> bool:
    return left_for(demand, host, taken) >= demand.memory


def _choose(fitting: list[tuple[int, LiveHost]], strategy: str) -> LiveHost:
    sign = 1 if strategy == "pack" else -1
    return min(fitting, key=lambda pair: (sign * pair[0], pair[1].name))[1]


def _nothing_free(demand: Demand, pools: tuple[LivePool, ...], holdings: tuple[Holding, ...]) -> Refusal:
    """Return why no host of the pools takes the demand: only what is short is named."""
    if not pools:
        return Refusal("unplaceable", f"nothing says in which pool the profile '{demand.profile}' runs")
    machine = sole_host((pool.name, (host.name for host in pool.hosts)) for pool in pools)
    where = machine or "pool " + " and ".join(pool.name for pool in pools)
    hosts = [host for pool in pools for host in pool.hosts]
    suited = [host for host in hosts if demand.gpu_model in (None, host.gpu_model) and len(host.gpus) >= demand.gpus]
    if not suited:
        return Refusal("unplaceable", _gpus_lacking(demand, hosts, where, bool(machine)))
    serving = [host for host in suited if may_serve(demand, host)]
    if not serving:
        takes = f"{where} takes no" if machine else f"no host of {where} takes"
        return Refusal("unreachable", f"{takes} servers now: {_absent(suited, bool(machine))}; try again later")
    taken = Taken(holdings)
    enough = [host for host in serving if _has_gpus(demand, host, taken)]
    short, there = (_memory_short, enough) if enough else (_gpus_short, serving)
    parts = [short(demand, there, where, bool(machine), taken)]
    names = {host.name for host in there}
    idle = [held.idle or 0 for held in holdings if held.host in names and (enough or held.gpus)]
    if idle and max(idle) >= _SHORTEST_IDLE:
        parts.append(f"the oldest has been idle {format_duration(max(idle) // 60 * 60)}")
    if absent := _absent(suited, bool(machine)):
        parts.append(absent)
    return Refusal("full", "; ".join(parts))


def _absent(hosts: list[LiveHost], alone: bool) -> str:
    """Return how many hosts take no servers now; empty when all do.  ``alone``: see ``_gpus_lacking``."""
    down = sum(not host.answers for host in hosts)
    draining = sum(host.answers and host.drain for host in hosts)
    of_all = f" of {format_count(len(hosts), 'host')}"
    parts = []
    if down:
        parts.append(f"{'it' if alone else f'{down}{of_all}'} {'does' if down == 1 else 'do'} not answer")
    if draining:
        parts.append(f"{'it' if alone else f'{draining}{of_all}'} {'is' if draining == 1 else 'are'} being drained")
    return " and ".join(parts)


def _gpus_lacking(demand: Demand, hosts: list[LiveHost], where: str, alone: bool) -> str:
    """Return that no host could ever give the GPUs.

    Args:
        demand, hosts: what is asked for, and of whom.
        where: the pools in words, or the machine.
        alone: it is a machine that users know by its own name, see :func:`sole_host`: there is no pool to speak of.
    """
    if not alone:
        model = f" of the model {demand.gpu_model}" if demand.gpu_model else ""
        return f"no host of {where} has {format_count(demand.gpus, 'GPU')}{model}"
    if demand.gpu_model not in (None, hosts[0].gpu_model):
        return f"{where} has no GPU of the model {demand.gpu_model}"
    asked = f"{format_count(demand.gpus, 'GPU')} {'is' if demand.gpus == 1 else 'are'} asked for"
    return f"{asked}, {where} has {len(hosts[0].gpus) or 'none'}"


def _gpus_short(demand: Demand, hosts: list[LiveHost], where: str, alone: bool, taken: Taken) -> str:
    total = sum(len(host.gpus) for host in hosts)
    free = [len(free_gpus(host, taken)) for host in hosts]
    said = f"{total - sum(free)} of {format_count(total, 'GPU')} of {where} {'is' if total == 1 else 'are'} taken"
    if not any(free):
        return said
    freest = ", it" if alone else " on one host, the freest"
    return f"{said}; you ask for {demand.gpus}{freest} has {max(free)} left"


def _memory_short(demand: Demand, hosts: list[LiveHost], where: str, alone: bool, taken: Taken) -> str:
    most = max(left_for(demand, host, taken) for host in hosts)
    emptiest = where if alone else f"the emptiest host of {where}"
    asked = format_size(demand.memory)
    return f"{asked} of memory is asked for, {emptiest} has {format_size(max(most, 0))} left"
