"""Paths and mounts as values: no file is looked at here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Propagation = Literal["private", "rslave"]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHORTEST = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[^/\x00-\x1f\x7f]+)+")
"""Most paths are clean already, and thousands are looked at in each decision of a large site."""


@dataclass(frozen=True)
class Mount:
    """One bind mount of a plan.

    Attributes:
        source: absolute path on the host.
        target: absolute path inside the server's view.
        read_only: no writing through this mount.
        propagation: ``private``, or ``rslave``: what the host mounts below the source later appears inside as well.
        optional: left out when the source does not exist; otherwise a missing source refuses the spawn.
    """

    source: str
    target: str
    read_only: bool = False
    propagation: Propagation = "private"
    optional: bool = False


def clean_path(path: str) -> str:
    """Return an absolute path without repeated or trailing slashes.

    Raises:
        ValueError: the path is relative, holds ``.`` or ``..`` as a part, or a control character.
    """
    if _SHORTEST.fullmatch(path):
        return path
    if not path.startswith("/"):
        raise ValueError("the path is relative; it must begin with /")
    if _CONTROL.search(path):
        raise ValueError("the path holds a control character")
    parts = [part for part in path.split("/") if part]
    if ".." in parts or "." in parts:
        raise ValueError("the path holds '.' or '..' as a part")
    return "/" + "/".join(parts)


def is_below(path: str, parent: str) -> bool:
    """Tell whether the clean path ``path`` lies below (and is not) the clean path ``parent``."""
    return path != parent and path.startswith(parent.rstrip("/") + "/")


def parents_first(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Return the mounts in an order in which no mount covers an earlier one: parents before children, else by name."""
    return tuple(sorted(mounts, key=lambda mount: mount.target.split("/")))
