"""A plan as the body of Docker's ``POST /containers/create``.  Pure: no host is asked here.

What the plan and the platform say is written last.  Below it holds what of the site's own configuration may hold
(``docker_site.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import Refusal
from ..hosts.containers import labels_of
from ..names import bounded
from ..plan import SpawnPlan
from .docker_mounts import bind_mounts, masks
from .docker_sealed import NO_NEW_PRIVILEGES, sealed_container, sealed_host
from .docker_site import site_config, under_plan
from .login import login_env
from .targets import OWN_FOLDER

_PERIOD = 100_000
"""Microseconds over which a limit of CPUs is measured: Docker's own default."""
_NANO = 10**9
_GPU = re.compile(r"(?!(?:all|none|void)\Z)[A-Za-z0-9][A-Za-z0-9_.:-]*", re.IGNORECASE)
"""A GPU's id; these three words would grant all or none, and a comma several."""


@dataclass(frozen=True)
class DockerView:
    """What a host and the site give to every container.

    Attributes:
        hub_id: whose containers these are.
        gpu: how granted GPUs get in: ``cdi`` or ``nvidia``, the hook of NVIDIA's toolkit.
        network: name of the network.
        port: where servers listen inside.
        publish: IP address of the host to publish the port on; empty for nowhere.
        pids: most processes and threads of a server.
        roots: folders of the hosts below which the sources of mounts lie.
        secrets_tmpfs: whether the user gets a folder in memory for certificates, ``/run/nbplatform``.
    """

    hub_id: str
    gpu: Literal["cdi", "nvidia"]
    network: str
    port: int
    publish: str
    pids: int
    roots: tuple[str, ...]
    secrets_tmpfs: bool = False


def container_config(plan: SpawnPlan, view: DockerView, site: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the whole body of ``POST /containers/create``, made anew at each call.

    Args:
        plan: what to start.
        view: what host and site give.
        site: the site's own body, with ``HostConfig``, that holds underneath; what may not hold is left out.

    Raises:
        Refusal: ``storage`` for a source outside the roots or a target that is a part of the system; ``unplaceable``
            when no image is decided or a GPU's id cannot name one GPU; ``rules`` when a variable or an argument cannot
            be given to a program.
        ValueError: the plan has more GPUs than its placement names.
    """
    if plan.image is None:
        raise Refusal("unplaceable", f"nothing decides an image for the profile {bounded(plan.profile)}")
    given = site or {}
    kept, _ = site_config(given, given.get("HostConfig") or {})
    under, _ = under_plan(plan, kept)
    identity = plan.identity
    return {
        **under,
        **sealed_container(),
        **_working_dir(plan),
        "Image": plan.image,
        "Cmd": [_argument(word) for word in plan.command],
        "Env": _environment(plan, under.get("Env", ())),
        "User": f"{identity.uid}:{identity.gid}",
        "Labels": {**under.get("Labels", {}), **labels_of(plan, view.hub_id)},
        "ExposedPorts": {_port(view): {}},
        "HostConfig": _host_config(plan, view, under["HostConfig"]),
    }


def _working_dir(plan: SpawnPlan) -> dict[str, str]:
    """Return where the server starts.

    Docker makes the folder, as root, where it is missing: only a HOME that is mounted by itself is surely there.  The
    image's own folder could lie in what is mounted, too.
    """
    if any(mount.target == plan.identity.home for mount in plan.mounts):
        return {"WorkingDir": plan.identity.home}
    return {"WorkingDir": "/"} if plan.mounts else {}


def _host_config(plan: SpawnPlan, view: DockerView, site: Mapping[str, Any]) -> dict[str, Any]:
    identity = plan.identity
    binds = bind_mounts(plan, view.roots)
    covers, masked = masks(plan, [*site["Mounts"], *binds], [*site["Tmpfs"]])
    own = f"rw,nosuid,nodev,noexec,size=1m,mode=0700,uid={identity.uid},gid={identity.gid}"
    return {
        "LogConfig": {"Type": "json-file", "Config": {"max-file": "2", "max-size": "10m"}},
        **site,
        **sealed_host(),
        **_limits(plan, view, site),
        **({"MaskedPaths": masked} if masked else {}),
        "DeviceRequests": _device_requests(plan, view),
        "GroupAdd": [str(gid) for gid in identity.gids[1:]],
        "Mounts": [*site["Mounts"], *binds, *covers],
        "NetworkMode": view.network,
        "PortBindings": {_port(view): [{"HostIp": view.publish, "HostPort": ""}]} if view.publish else {},
        "SecurityOpt": [NO_NEW_PRIVILEGES, *site.get("SecurityOpt", ())],
        "Tmpfs": {**site["Tmpfs"], **({OWN_FOLDER: own} if view.secrets_tmpfs else {})},
    }


def _limits(plan: SpawnPlan, view: DockerView, site: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits: the plan's, the site's where the plan has none; of processes the smaller."""
    memory = plan.memory or site.get("Memory", 0)
    reservation = site.get("MemoryReservation", 0)
    pids = [number for number in (view.pids, site.get("PidsLimit", 0)) if number > 0]
    # as time in a period, since Docker refuses a number of CPUs that is greater than the host's
    period, quota = _PERIOD, round((plan.cpu or site.get("NanoCpus", 0) / _NANO) * _PERIOD)
    if not quota:
        period, quota = site.get("CpuPeriod", _PERIOD), site.get("CpuQuota", 0)
    return {
        "CpuPeriod": period if quota else 0,
        "CpuQuota": quota,
        "Memory": memory,
        "MemoryReservation": min(reservation, memory) if memory else reservation,
        "MemorySwap": memory,  # as much as memory alone: no swap
        "NanoCpus": 0,
        "PidsLimit": min(pids, default=0),
    }


def _port(view: DockerView) -> str:
    return f"{view.port}/tcp"


def _environment(plan: SpawnPlan, site: list[str]) -> list[str]:
    """Return ``NAME=value`` in name order.  NVIDIA's runtime reads a variable, which images set to ``all``."""
    own = {
        **login_env(plan, plan.identity.home),
        "NVIDIA_VISIBLE_DEVICES": ",".join(plan.placement.gpus) or "void",
    }
    for name, value in own.items():
        if not name or "=" in name or "\0" in name + value:
            raise Refusal(
                "rules", f"the variable {bounded(name)} cannot be set: its name or value is not a possible one"
            )
    theirs = {name: value for name, _, value in (entry.partition("=") for entry in site)}
    return [f"{name}={value}" for name, value in sorted({**theirs, **own}.items())]


def _argument(word: str) -> str:
    if "\0" in word:
        raise Refusal("rules", f"the argument {bounded(word)} holds a NUL character, which no program can be given")
    return word


def _device_requests(plan: SpawnPlan, view: DockerView) -> list[dict[str, Any]]:
    gpus = plan.placement.gpus
    if plan.gpus > len(gpus):
        raise ValueError(f"{plan!r} has {plan.gpus} GPUs and names {len(gpus)}")
    for gpu in gpus:
        if not _GPU.fullmatch(gpu):
            raise Refusal("unplaceable", f"{bounded(gpu)} is not the id of a GPU")
    if not gpus:
        return []
    if view.gpu == "cdi":
        return [{"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={gpu}" for gpu in gpus]}]
    return [{"Driver": "nvidia", "DeviceIDs": list(gpus), "Capabilities": [["gpu"]]}]
