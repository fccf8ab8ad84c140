"""Where the sources of mounts may lie on a Docker host.

Whoever may start a container on a host may mount any of its folders: what the rules may name is bounded here a second
time.  Symbolic links on the host cannot be seen from the hub; ``nbplatform hosts check`` looks for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from ..errors import Refusal
from ..mounts import clean_path
from ..names import bounded
from .targets import is_within

_NEVER = (
    *("/etc", "/proc", "/sys", "/dev", "/run", "/var/run", "/boot", "/root"),
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet"),
)
"""Folders of which neither a part nor something around them is mounted: system, sockets, other containers' storage."""
_SOCKETS = ("docker.sock", "containerd.sock", "podman.sock", "crio.sock", "buildkitd.sock")
_MOST_NAMED = 5


def check_roots(roots: Iterable[str]) -> None:
    """Check the folders below which the sources of mounts lie.

    Raises:
        ValueError: one is relative, or a part of the system, or holds one.
    """
    for root in roots:
        try:
            problem = _forbidden(clean_path(root))
        except ValueError as error:
            problem = str(error)
        if problem:
            raise ValueError(f"mount root {bounded(root)}: {problem}")


def check_source(source: str, roots: Iterable[str]) -> None:
    """Check a mount's source.

    Raises:
        Refusal: with the label ``storage``, when it lies outside the roots, or nobody may ever mount it.
    """
    allowed = tuple(clean_path(root) for root in roots)
    try:
        clean = clean_path(source)
    except ValueError as error:
        raise Refusal("storage", f"{bounded(source)} cannot be mounted: {error}") from None
    problem = _forbidden(clean)
    if problem is None and (clean != source or not any(is_within(clean, root) for root in allowed)):
        named = ", ".join(allowed[:_MOST_NAMED]) or "none"
        problem = f"it does not lie in one of the folders that the site lets the rules mount ({named})"
    if problem is not None:
        raise Refusal("storage", f"{bounded(source)} cannot be mounted: {problem}")


def _forbidden(path: str) -> str | None:
    """Return why a clean path may never be mounted, or None."""
    if PurePosixPath(path).name in _SOCKETS:
        return "it is a socket that commands the host"
    for folder in _NEVER:
        if is_within(path, folder):
            return f"{folder} is a part of the system"
        if is_within(folder, path):
            return f"it holds {folder}, a part of the system"
    return None
