"""Limits of memory, CPU and processes by control groups, version 1 or 2, where they can be written.

Each server gets a group of its own, below ``nbplatform`` in the hub's own group; on version 1 one in each hierarchy.
On version 2 a group that has processes cannot hand controllers down, so the hub's processes move to a leaf first.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import EBUSY
from pathlib import Path

CONTROLLERS = ("memory", "cpu", "pids")
GROUP = "nbplatform"
LEAF = "nbplatform-hub"
_PERIOD = 100_000  # microseconds
_MIN_QUOTA = 1_000  # microseconds, the kernel's own
_REMOVE_TRIES = 20
_SWEEP_AGE = 60  # seconds
_REMOVE_PAUSE = 0.005  # seconds


@dataclass(frozen=True)
class Hierarchy:
    """One tree of control groups.

    Attributes:
        version: 1 or 2.
        controllers: those of ``CONTROLLERS`` that it has.
        base: absolute path of the hub's own group.
    """

    version: int
    controllers: tuple[str, ...]
    base: str


@dataclass(frozen=True)
class Limits:
    """What one server may use; None is no limit.

    Attributes:
        memory: bytes.
        cpu: CPUs.
        pids: processes and threads.
    """

    memory: int | None = None
    cpu: float | None = None
    pids: int | None = None


@dataclass(frozen=True)
class Setting:
    """A file of a group and what to write there; ``optional`` when not every kernel has it."""

    file: str
    value: str
    optional: bool = False


def find_hierarchies(own_groups: str, mounts: str) -> tuple[Hierarchy, ...]:
    """Return the hierarchies that have one of ``CONTROLLERS``, version 2 last and with all of them assumed.

    Args:
        own_groups: text of ``/proc/self/cgroup``.
        mounts: text of ``/proc/self/mountinfo``.
    """
    own = _own_paths(own_groups)
    found: dict[tuple[int, tuple[str, ...]], Hierarchy] = {}
    for root, place, kind, options in _mounted(mounts):
        version = {"cgroup": 1, "cgroup2": 2}.get(kind)
        names = CONTROLLERS if version == 2 else tuple(name for name in CONTROLLERS if name in options)
        path = own.get("" if version == 2 else next(iter(names), "-"))
        below = None if path is None else _below(path, root)
        if version is not None and below is not None:
            base = (place + below).rstrip("/").removesuffix(f"/{LEAF}")
            found.setdefault((version, names), Hierarchy(version, names, base))
    return tuple(sorted(found.values(), key=lambda tree: (tree.version, tree.base)))


def settings(hierarchy: Hierarchy, limits: Limits) -> tuple[Setting, ...]:
    """Return what to write into a server's group, in order."""
    first = hierarchy.version == 1
    found: list[Setting] = []
    if limits.memory is not None and "memory" in hierarchy.controllers:
        found.append(Setting("memory.limit_in_bytes" if first else "memory.max", str(limits.memory)))
        swap = ("memory.memsw.limit_in_bytes", str(limits.memory)) if first else ("memory.swap.max", "0")
        found.append(Setting(*swap, optional=True))
    if limits.cpu is not None and "cpu" in hierarchy.controllers:
        quota = max(_MIN_QUOTA, round(limits.cpu * _PERIOD))
        if first:
            found += [Setting("cpu.cfs_period_us", str(_PERIOD)), Setting("cpu.cfs_quota_us", str(quota))]
        else:
            found.append(Setting("cpu.max", f"{quota} {_PERIOD}"))
    if limits.pids is not None and "pids" in hierarchy.controllers:
        found.append(Setting("pids.max", str(limits.pids)))
    return tuple(found)


def usable(hierarchies: Sequence[Hierarchy]) -> tuple[Hierarchy, ...]:
    """Return the hierarchies in which groups can be made, tried for real, each with the controllers it really has.

    On version 2 this moves the hub's processes to a leaf where that is needed.
    """
    found = []
    for tree in hierarchies:
        with suppress(OSError):
            named = Path(tree.base, "cgroup.controllers").read_text().split() if tree.version == 2 else tree.controllers
            real = Hierarchy(tree.version, tuple(name for name in CONTROLLERS if name in named), tree.base)
            if real.controllers:
                remove(create([real], "probe", Limits()))
                found.append(real)
    return tuple(found)


def create(hierarchies: Sequence[Hierarchy], name: str, limits: Limits) -> tuple[str, ...]:
    """Make a server's groups, limited, without a process; return their absolute paths.

    Args:
        hierarchies: where, as ``usable`` returned them.
        name: safe in a path; made unique here.
        limits: of this server.

    Raises:
        OSError: a group or a limit cannot be written; nothing is left.
    """
    unique = f"{name}-{secrets.token_hex(4)}"
    made: list[str] = []
    try:
        for tree in hierarchies:
            top = Path(tree.base, GROUP)
            top.mkdir(exist_ok=True)
            if tree.version == 2:
                _hand_down(Path(tree.base), tree.controllers)
                _hand_down(top, tree.controllers)
            group = top / unique
            group.mkdir()
            made.append(str(group))
            for setting in settings(tree, limits):
                if not setting.optional or (group / setting.file).exists():
                    (group / setting.file).write_text(setting.value)
    except OSError:
        remove(made)
        raise
    return tuple(made)


def remove(groups: Sequence[str]) -> None:
    """Remove a server's groups.  One that still has processes after 0.1 s is left; one that is gone is fine."""
    for group in groups:
        for _ in range(_REMOVE_TRIES):
            try:
                Path(group).rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(_REMOVE_PAUSE)
            else:
                break


def sweep(hierarchies: Sequence[Hierarchy], now: float) -> None:
    """Remove the empty groups that a hub left when it was killed; those younger than a minute may be starting.

    Args:
        hierarchies: where.
        now: seconds since the epoch.
    """
    for tree in hierarchies:
        with suppress(OSError):
            for group in Path(tree.base, GROUP).iterdir():
                with suppress(OSError):  # a file, gone meanwhile, or not empty, which the kernel refuses
                    if now - group.stat().st_mtime > _SWEEP_AGE:
                        group.rmdir()


def processes(groups: Sequence[str]) -> frozenset[int]:
    """Return the ids of the processes in a server's groups; none for groups that are gone."""
    found: set[int] = set()
    for group in groups:
        with suppress(OSError):
            found.update(map(int, Path(group, "cgroup.procs").read_text().split()))
    return frozenset(found)


def ran_out_of_memory(groups: Sequence[str]) -> bool:
    """Tell whether the kernel killed a process of these groups since they used all the memory they may."""
    for group in groups:
        for name in ("memory.oom_control", "memory.events"):
            with suppress(OSError):
                if re.search(r"^oom_kill [1-9]", Path(group, name).read_text(), re.MULTILINE):
                    return True
    return False


def memory_limit(hierarchies: Sequence[Hierarchy]) -> int | None:
    """Return the smallest memory limit, in bytes, of the hub's own group and those above it; None without one."""
    found = []
    for tree in hierarchies:
        if "memory" in tree.controllers:
            for folder in (Path(tree.base), *Path(tree.base).parents):
                for name in ("memory.limit_in_bytes", "memory.max"):
                    with suppress(OSError, ValueError):
                        found.append(int((folder / name).read_text()))
    return min(found, default=None)


def _own_paths(own_groups: str) -> dict[str, str]:
    """Return controller to path; the empty name is version 2."""
    found = {}
    for line in own_groups.splitlines():
        _, names, path = line.split(":", 2)
        found.update(dict.fromkeys(names.split(","), path))
    return found


def _mounted(mounts: str) -> list[tuple[str, str, str, list[str]]]:
    """Return (root, mount point, file system, its options) of each line of ``/proc/self/mountinfo``."""
    found = []
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        root, place = (_unescaped(text) for text in fields.split()[3:5])
        kind, _, options = rest.partition(" ")
        found.append((root, place, kind, options.split()[-1].split(",")))
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _below(path: str, root: str) -> str | None:
    """Return ``path`` as seen from a mount of ``root``; None when it lies outside, as in some containers."""
    if path.startswith("/.."):
        return None
    if root == "/":
        return path
    return path[len(root) :] if path == root or path.startswith(root + "/") else None


def _hand_down(group: Path, controllers: Sequence[str]) -> None:
    control = group / "cgroup.subtree_control"
    missing = [f"+{name}" for name in controllers if name not in control.read_text().split()]
    if not missing:
        return
    try:
        control.write_text(" ".join(missing))
    except OSError as error:
        if error.errno != EBUSY:
            raise
        leaf = group / LEAF
        leaf.mkdir(exist_ok=True)
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
        control.write_text(" ".join(missing))
