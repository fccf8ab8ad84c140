"""What of a site's own Docker configuration holds underneath the plan.

An allow list, in the words of the Docker Engine API: what is not named here is ignored and told, so that a new key of
a new Docker never loosens anything by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..plan import SpawnPlan
from . import docker_values as read
from .docker_sealed import NO_NEW_PRIVILEGES, sealed_container, sealed_host
from .docker_values import Keep
from .docker_volumes import bind_targets, tmpfs, volumes
from .targets import is_within

_RATES = read.entries(Path=read.text, Rate=read.whole(1))
_NANO = 10**9
_CREATE: Mapping[str, Keep] = {
    "Domainname": read.text,
    "Env": read.variables,
    "Healthcheck": read.healthcheck,
    "Hostname": read.text,
    "Labels": read.labels,
    "StopSignal": read.text,
    "StopTimeout": read.whole(0),
}
_HOST: Mapping[str, Keep] = {
    "BlkioDeviceReadBps": _RATES,
    "BlkioDeviceReadIOps": _RATES,
    "BlkioDeviceWriteBps": _RATES,
    "BlkioDeviceWriteIOps": _RATES,
    "BlkioWeight": read.whole(10, 1000),
    "BlkioWeightDevice": read.entries(Path=read.text, Weight=read.whole(10, 1000)),
    "CgroupParent": read.text,
    "CpuPeriod": read.whole(1000, 10**6),
    "CpuQuota": read.whole(1000),
    "CpuShares": read.whole(2),
    "CpusetCpus": read.text,
    "CpusetMems": read.text,
    "Dns": read.texts,
    "DnsOptions": read.texts,
    "DnsSearch": read.texts,
    "ExtraHosts": read.texts,
    "LogConfig": read.log_config,
    "Memory": read.whole(1),
    "MemoryReservation": read.whole(1),
    "NanoCpus": read.whole(_NANO // 100),
    "OomScoreAdj": read.whole(0, 1000),
    "PidsLimit": read.whole(1),
    "SecurityOpt": read.security_opt,
    "ShmSize": read.whole(1),
    "StorageOpt": read.text_map,
    "Sysctls": read.sysctls,
    "Tmpfs": tmpfs,
    "Ulimits": read.entries(Name=read.text, Soft=read.whole(-1), Hard=read.whole(-1)),
}
_SAME: Mapping[str, tuple[object, ...]] = {
    "NetworkMode": ("default",),
    "RestartPolicy": ({"Name": "no"}, {"Name": ""}),
    "SecurityOpt": (["no-new-privileges"], [NO_NEW_PRIVILEGES]),
}
"""Other ways to say what holds anyway."""


def site_config(create: Mapping[str, Any], host: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what of a site's configuration may hold, and the names of what is ignored, in name order.

    What is kept shares nothing with what was given, and is kept whole when it is given again.

    Args:
        create: body of ``POST /containers/create``, without ``HostConfig``.
        host: ``HostConfig``.
    """
    body, ignored = _kept(create, _CREATE, "", sealed_container())
    settings, more = _kept(host, _HOST, "HostConfig.", sealed_host(), ("Mounts", "Binds"))
    mounts, lost = volumes(host.get("Mounts"), host.get("Binds"))
    if mounts:
        settings["Mounts"] = mounts
    ignored = [*ignored, *more, *(f"HostConfig.{key}" for key in lost)]
    named = set(bind_targets(host.get("Binds")))
    if "Volumes" in ignored and isinstance(create["Volumes"], Mapping) and create["Volumes"].keys() <= named:
        ignored.remove("Volumes")  # docker-py names there what Binds mount
    return {**body, "HostConfig": settings}, tuple(sorted(ignored))


def under_plan(plan: SpawnPlan, kept: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what of a kept configuration holds under one plan, and the names of what the plan replaces.

    Nothing is mounted on or in what the plan mounts or hides, and no variable of the plan is changed.

    Args:
        plan: of one server.
        kept: from ``site_config``.
    """
    planned = [*(mount.target for mount in plan.mounts), *plan.hidden]
    host = dict(kept.get("HostConfig", {}))
    replaced: list[str] = []

    def is_free(key: str, target: str) -> bool:
        if any(is_within(target, folder) for folder in planned):
            replaced.append(f"HostConfig.{key} {target}")
            return False
        return True

    mounted = [mount for mount in host.get("Mounts", ()) if is_free("Mounts", mount["Target"])]
    taken = {mount["Target"] for mount in mounted}
    host["Mounts"] = mounted
    host["Tmpfs"] = {
        target: options
        for target, options in host.get("Tmpfs", {}).items()
        if target not in taken and is_free("Tmpfs", target)
    }
    return {**kept, "HostConfig": host}, tuple(replaced)


def _kept(
    given: Mapping[str, Any], known: Mapping[str, Keep], prefix: str, sealed: Mapping[str, Any], others: Any = ()
) -> tuple[dict[str, Any], list[str]]:
    found = {key: known[key](given[key]) for key in sorted(known) if key in given}
    kept = {key: value for key, value in found.items() if value is not None}
    ignored = [key for key in _saying(given, sealed) if key not in others and not _holds(kept.get(key), given[key])]
    return kept, [prefix + key for key in ignored]


def _saying(given: Mapping[str, Any], sealed: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys whose values say something other than what holds anyway."""
    for key, value in given.items():
        same = key == "CapDrop" or value in _SAME.get(key, ()) or (key in sealed and value == sealed[key])
        if value and not same:
            yield str(key)


def _holds(kept: object, given: object) -> bool:
    return kept == (list(given) if isinstance(given, tuple) else given)
