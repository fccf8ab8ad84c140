"""Where nothing may be mounted: what programs run by root, or the server's account, are taken from."""

from __future__ import annotations

from ..errors import Refusal
from ..mounts import Mount, is_below
from .etc_files import GENERATED

OWN_FOLDER = "/run/nbplatform"
"""The platform's own folder inside every server's view."""

_SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/dev", "/sys")
_MOUNTABLE = ("/usr/local", "/usr/share", "/usr/src", "/dev/shm")  # noqa: S108 - names, nothing is written
_MADE_WITHIN = ("/run", "/var")
"""Folders in which a view makes some of its own: root would make them in storage that is mounted there."""


def is_within(path: str, folder: str) -> bool:
    """Tell whether the clean path ``path`` is the clean path ``folder`` or lies below it."""
    return path == folder or is_below(path, folder)


def is_system(target: str) -> bool:
    """Tell whether a clean path is a part of the system; single files of ``/etc`` and software folders are not."""
    if target.startswith("/etc/ld.so") or target in (f"/etc/{name}" for name in GENERATED):
        return True
    if any(is_within(target, folder) for folder in _MOUNTABLE) or is_below(target, "/etc"):
        return False
    return target == "/" or any(is_within(target, folder) for folder in (*_SYSTEM_FOLDERS, OWN_FOLDER))


def check_target(mount: Mount) -> None:
    """Check where a plan mounts something.

    Raises:
        Refusal: with the label ``storage``, when the target is a part of the system.
    """
    target = mount.target
    if target in _MADE_WITHIN or is_system(target):
        raise Refusal("storage", f"{mount.source} cannot be mounted on {target}: that is a part of the system")
