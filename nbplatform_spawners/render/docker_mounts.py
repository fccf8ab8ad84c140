"""A plan's mounts and hidden targets in the words of Docker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..mounts import Mount, is_below
from ..plan import SpawnPlan
from .docker_roots import check_source
from .targets import check_target

_PROPAGATION = {"private": "rprivate", "rslave": "rslave"}
_CPUS = 512
_DOCKER_MASKS = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/devices/virtual/powercap", "/sys/firmware"),
    *(f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(_CPUS)),
)
"""What Docker masks by itself, of all its releases: a list of ours replaces Docker's.  What is missing is no error."""


def bind_mounts(plan: SpawnPlan, roots: Sequence[str]) -> list[dict[str, Any]]:
    """Return the plan's mounts, parents first.  A missing source is an error, nothing is created on the host.

    Raises:
        Refusal: with the label ``storage``, for a source outside the roots or a target that is a part of the system.
    """
    for mount in plan.mounts:
        check_target(mount)
        check_source(mount.source, roots)
    return [_bind(mount) for mount in plan.mounts]


def masks(
    plan: SpawnPlan, mounts: Sequence[Mapping[str, Any]], folders: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what hides the plan's hidden targets: mounts of empty folders, and paths that Docker masks.

    Masking serves files and folders, needs nothing to be there and creates nothing in the storage, but it comes after
    all mounts.  So a hidden folder in which something is mounted is covered by an empty one in its turn.

    Args:
        plan: whose hidden targets.
        mounts: all mounts that the container will have.
        folders: targets of other folders that it will have.

    Returns:
        Mounts, and the whole list of masked paths; empty when Docker's own list suffices.
    """
    shown = [*(mount["Target"] for mount in mounts), *folders]
    hidden = [target for target in sorted(set(plan.hidden)) if any(is_below(target, other) for other in shown)]
    covered = [target for target in hidden if any(is_below(other, target) for other in shown)]
    masked = [target for target in hidden if target not in covered]
    return [_empty(target) for target in covered], [*_DOCKER_MASKS, *masked] if masked else []


def _bind(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "BindOptions": {"Propagation": _PROPAGATION[mount.propagation]},
    }


def _empty(target: str) -> dict[str, Any]:
    return {"Type": "tmpfs", "Target": target, "ReadOnly": True, "TmpfsOptions": {"Mode": 0o555}}
