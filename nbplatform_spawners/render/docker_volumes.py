"""Named volumes and temporary folders of a site's own Docker configuration.

A folder of the host never comes from here: those come from the rules alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..mounts import clean_path
from .docker_values import text, whole
from .targets import is_system

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")
_BIND_OPTIONS = frozenset({"rw", "ro", "nocopy"})
_SIZE = whole(1)
_MODE = whole(0, 0o1777)


def volumes(mounts: object, binds: object) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the mounts that may hold, by target, and the names of the keys of which something is left out.

    Args:
        mounts: ``HostConfig.Mounts``.
        binds: ``HostConfig.Binds``; a named volume in it becomes a mount.
    """
    found: dict[str, dict[str, Any]] = {}
    ignored = set()
    for key, read in (("Mounts", map(_mount, _listed(mounts))), ("Binds", map(_bind, _listed(binds)))):
        for mount in read:
            if mount is None or mount["Target"] in found:
                ignored.add(key)
            else:
                found[mount["Target"]] = mount
    return [found[target] for target in sorted(found)], ignored


def tmpfs(value: object) -> dict[str, str] | None:
    """Return ``HostConfig.Tmpfs`` without what lies on a part of the system."""
    pairs = value.items() if isinstance(value, Mapping) else ()
    found = {
        target: options
        for target, options in pairs
        if _is_free(target) and isinstance(options, str) and "\0" not in options
    }
    return dict(sorted(found.items())) or None


def bind_targets(binds: object) -> Iterator[str]:
    """Yield where ``HostConfig.Binds`` mounts something."""
    for bind in _listed(binds):
        parts = bind.split(":") if isinstance(bind, str) else []
        yield from parts[1:2]


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _bind(bind: object) -> dict[str, Any] | None:
    """Return the mount of ``volume:target[:options]``; None for a folder of the host."""
    parts = bind.split(":") if isinstance(bind, str) else []
    if len(parts) not in (2, 3) or not _VOLUME.fullmatch(parts[0]) or not _is_free(parts[1]):
        return None
    options = set(parts[2].split(",")) if len(parts) == len(("volume", "target", "options")) else set()
    if not options <= _BIND_OPTIONS:
        return None
    return _volume(parts[0], parts[1], read_only="ro" in options, no_copy="nocopy" in options)


def _mount(mount: object) -> dict[str, Any] | None:
    if not isinstance(mount, Mapping) or not _is_free(mount.get("Target")):
        return None
    target = mount["Target"]
    read_only = mount.get("ReadOnly") is True
    if mount.get("Type") == "tmpfs":
        options = mount.get("TmpfsOptions")
        wanted = options if isinstance(options, Mapping) else {}
        sizes = {"SizeBytes": _SIZE(wanted.get("SizeBytes")), "Mode": _MODE(wanted.get("Mode"))}
        kept = {key: number for key, number in sizes.items() if number is not None}
        return {"Type": "tmpfs", "Target": target, "ReadOnly": read_only, "TmpfsOptions": kept}
    options = mount.get("VolumeOptions") or {}
    name = text(mount.get("Source"))
    # a driver's options may name a folder of the host
    known = isinstance(options, Mapping) and not options.keys() - {"NoCopy"}
    if mount.get("Type") != "volume" or not name or not _VOLUME.fullmatch(name) or not known:
        return None
    return _volume(name, target, read_only=read_only, no_copy=options.get("NoCopy") is True)


def _volume(name: str, target: str, *, read_only: bool, no_copy: bool) -> dict[str, Any]:
    return {
        "Type": "volume",
        "Source": name,
        "Target": target,
        "ReadOnly": read_only,
        "VolumeOptions": {"NoCopy": no_copy},
    }


def _is_free(target: object) -> bool:
    try:
        return isinstance(target, str) and clean_path(target) == target and not is_system(target)
    except ValueError:
        return False
