"""What no host could ever serve, however empty it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .model import Host, Pool, Profile, RuleBook
from .units import format_size


def usable_memory(host: Host, overcommit: float, gpus: int) -> int:
    """Return the bytes an empty host could promise to one server that takes ``gpus`` of its GPUs."""
    return int(host.memory * overcommit) - host.memory_per_gpu * (len(host.gpus) - gpus)


def sole_host(pools: Iterable[tuple[str, Iterable[str]]]) -> str | None:
    """Return the host that users know by its own name alone, None where there is more to tell apart.

    Args:
        pools: name of each pool and names of its hosts; a single pool whose only host has the pool's own name (the
            local backend's) is a machine to users, not a pool.
    """
    named = [(pool, tuple(hosts)) for pool, hosts in pools]
    return named[0][0] if len(named) == 1 and named[0][1] == (named[0][0],) else None


def why_unplaceable(book: RuleBook, profile: Profile, fields: Mapping[str, Any]) -> str | None:
    """Return why no host of the decided pools and hosts could ever serve the profile, or None.

    Pools without hosts (Kubernetes, the local backend) are not asked.

    Args:
        book: the rules, for the pools.
        profile: what is asked for.
        fields: the decided values of ``pool``, ``hosts`` and ``memory``.
    """
    pools = [book.pools[name] for name in fields.get("pool", ())]
    if not pools or any(not pool.hosts for pool in pools):
        return None
    names = ", ".join(pool.name for pool in pools)
    machine = sole_host((pool.name, (host.name for host in pool.hosts)) for pool in pools)
    wanted = fields.get("hosts")
    hosts = [(pool, host) for pool in pools for host in pool.hosts if wanted is None or host.name in wanted]
    if not hosts:
        return f"none of the hosts {', '.join(wanted or ())} is in pool {names}"
    with_model = [(pool, host) for pool, host in hosts if profile.gpu_model in (None, host.gpu_model)]
    if not with_model:
        has = f"{machine} has no GPU" if machine else f"no host of pool {names} has GPUs"
        return f"{has} of the model {profile.gpu_model}"
    with_gpus = [(pool, host) for pool, host in with_model if len(host.gpus) >= profile.gpus]
    if not with_gpus:
        most = max(len(host.gpus) for _, host in with_model)
        wanted_gpus = "1 GPU is" if profile.gpus == 1 else f"{profile.gpus} GPUs are"
        has = f"{machine} has {most or 'none'}" if machine else f"no host of pool {names} has more than {most}"
        return f"{wanted_gpus} asked for, {has}"
    none_can = f"{machine} cannot" if machine else f"no host of pool {names} can"
    return _too_large(with_gpus, profile, fields.get("memory", 0), none_can)


def _too_large(hosts: list[tuple[Pool, Host]], profile: Profile, memory: int, none_can: str) -> str | None:
    most = max(usable_memory(host, pool.overcommit, profile.gpus) for pool, host in hosts)
    if most >= memory:
        return None
    return f"{format_size(memory)} of memory is asked for, {none_can} give more than {format_size(max(most, 0))}"
