"""What no host could ever serve, however empty it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .model import Host, Pool, Profile, RuleBook
from .units import format_size


def usable_memory(host: Host, overcommit: float, gpus: int) -> int:
    """Return the bytes an empty host could promise to one server that takes ``gpus`` of its GPUs."""
    return int(host.memory * overcommit) - host.memory_per_gpu * (len(host.gpus) - gpus)


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
    wanted = fields.get("hosts")
    hosts = [(pool, host) for pool in pools for host in pool.hosts if wanted is None or host.name in wanted]
    if not hosts:
        return f"none of the hosts {', '.join(wanted or ())} is in pool {names}"
    with_model = [(pool, host) for pool, host in hosts if profile.gpu_model in (None, host.gpu_model)]
    if not with_model:
        return f"no host of pool {names} has GPUs of the model {profile.gpu_model}"
    with_gpus = [(pool, host) for pool, host in with_model if len(host.gpus) >= profile.gpus]
    if not with_gpus:
        most = max(len(host.gpus) for _, host in with_model)
        wanted_gpus = "1 GPU is" if profile.gpus == 1 else f"{profile.gpus} GPUs are"
        return f"{wanted_gpus} asked for, no host of pool {names} has more than {most}"
    return _too_large(with_gpus, profile, fields.get("memory", 0), names)


def _too_large(hosts: list[tuple[Pool, Host]], profile: Profile, memory: int, names: str) -> str | None:
    if any(usable_memory(host, pool.overcommit, profile.gpus) >= memory for pool, host in hosts):
        return None
    most = max(usable_memory(host, pool.overcommit, profile.gpus) for pool, host in hosts)
    offered = format_size(max(most, 0))
    return f"{format_size(memory)} of memory is asked for, no host of pool {names} can give more than {offered}"
