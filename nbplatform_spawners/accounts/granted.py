"""Which of the groups that a directory names an account gets: those in the allowed range, by name where it is safe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..identity import IdRange
from ..names import is_safe


@dataclass(frozen=True)
class Granted:
    """The groups of one account.

    Attributes:
        named: name to gid; the primary group is one of them when its name is safe.
        unnamed: gids of groups that match no rule: the name is not safe, or another group has it too.
        primary: name of the primary group, None without a safe one.
        unsafe: name and gid of each group whose name is not safe.
        outside: name and gid of each supplementary group that is left out.
    """

    named: Mapping[str, int]
    unnamed: tuple[int, ...]
    primary: str | None
    unsafe: tuple[tuple[str, int], ...]
    outside: tuple[tuple[str, int], ...]


def granted(groups: Iterable[tuple[str, int]], gid: int, allowed: IdRange) -> Granted:
    """Return what an account gets of its groups.

    A supplementary group outside the range is left out, not refused: a directory that a whole centre shares has
    groups that mean nothing here, or too much.  The primary group is left for the check of the range to refuse.

    Args:
        groups: name and gid of each; the primary group may be among them.
        gid: of the primary group.
        allowed: the gids that servers may have.
    """
    named: dict[str, int] = {}
    unnamed: list[int] = []
    unsafe: list[tuple[str, int]] = []
    outside: list[tuple[str, int]] = []
    for name, number in sorted(set(groups), key=lambda pair: (pair[1] != gid, pair[1], pair[0])):
        if number != gid and not allowed.gid_min <= number <= allowed.gid_max:
            outside.append((name, number))
        elif not is_safe(name):
            unsafe.append((name, number))
            unnamed.append(number)
        elif name in named:
            unnamed.append(number)
        else:
            named[name] = number
    primary = next((name for name, number in named.items() if number == gid), None)
    return Granted(named, tuple(unnamed), primary, tuple(unsafe), tuple(outside))
