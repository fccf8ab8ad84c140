"""May two matches hold for the same user, profile and time?  Exact where names can tell; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, product

from .model import Match
from .patterns import Patterns, globs_overlap

_MOST_CASES = 2000
"""Combinations of names tried for two matches; with more of them they are taken to overlap."""


@dataclass(frozen=True)
class _Facts:
    """What is known of somebody for whom both matches hold.

    Attributes:
        profile: the profile asked for.
        users, providers: entries that the name all fits.
        groups: each is an entry that one of the groups fits.
        starts, ends: the time lies in between.
    """

    profile: str
    users: tuple[str, ...]
    providers: tuple[str, ...]
    groups: tuple[str, ...]
    starts: datetime | None
    ends: datetime | None


def may_overlap(one: Match, other: Match, profiles: Iterable[str]) -> bool:
    """Tell whether both matches may hold at once.

    Args:
        profiles: the profiles that exist.
    """
    starts = max(filter(None, (one.starts, other.starts)), default=None)
    ends = min(filter(None, (one.ends, other.ends)), default=None)
    if starts and ends and starts >= ends:
        return False
    asked = [name for name in profiles if _may(one.profiles, name) and _may(other.profiles, name)]
    users = _joint(one.users, other.users)
    providers = _joint(one.providers, other.providers)
    if not (asked and users and providers):
        return False
    never = (*one.never, *other.never)
    if not never:
        return True
    groups = product(_entries(one.groups), _entries(other.groups))
    cases = list(islice(product(asked, users, providers, (tuple(filter(None, pair)) for pair in groups)), _MOST_CASES))
    if len(cases) == _MOST_CASES:
        return True
    return any(not any(_implied(match, _Facts(*case, starts, ends)) for match in never) for case in cases)


def _may(patterns: Patterns | None, name: str) -> bool:
    return patterns is None or patterns.holds(name)


def _entries(patterns: Patterns | None) -> tuple[str, ...]:
    return patterns.entries if patterns else ("",)


def _joint(one: Patterns | None, other: Patterns | None) -> list[tuple[str, ...]]:
    """Return the ways in which one name may fit both: the entries that it fits."""
    if one is None or other is None:
        return [(entry,) if entry else () for entry in _entries(one or other)]
    return list(_pairs(one, other))


def _pairs(one: Patterns, other: Patterns) -> Iterator[tuple[str, ...]]:
    yield from ((name,) for name in sorted(one.exact & other.exact))
    for wild, entries in ((one.wild, other.entries), (other.wild, tuple(one.exact))):
        yield from ((entry, against) for entry in wild for against in entries if globs_overlap(entry, against))


def _implied(match: Match, facts: _Facts) -> bool:
    """Tell whether a match surely holds."""
    return (
        (match.profiles is None or match.profiles.holds(facts.profile))
        and _covers(match.users, facts.users)
        and _covers(match.providers, facts.providers)
        and _covers(match.groups, facts.groups)
        and (match.starts is None or (facts.starts is not None and facts.starts >= match.starts))
        and (match.ends is None or (facts.ends is not None and facts.ends <= match.ends))
        and all(_impossible(other, facts) for other in match.never)
    )


def _impossible(match: Match, facts: _Facts) -> bool:
    """Tell whether a match surely does not hold."""
    return (
        not _may(match.profiles, facts.profile)
        or _apart(match.users, facts.users)
        or _apart(match.providers, facts.providers)
        or bool(match.starts and facts.ends and facts.ends <= match.starts)
        or bool(match.ends and facts.starts and facts.starts >= match.ends)
        or any(_implied(other, facts) for other in match.never)
    )


def _covers(patterns: Patterns | None, facts: tuple[str, ...]) -> bool:
    """Tell whether what fits one of the entries in ``facts`` surely fits the patterns."""
    if patterns is None:
        return True
    return any(_includes(wider, entry) for entry in facts for wider in patterns.entries)


def _apart(patterns: Patterns | None, facts: tuple[str, ...]) -> bool:
    """Tell whether what fits all entries in ``facts`` surely fits none of the patterns."""
    if patterns is None:
        return False
    return any(not any(globs_overlap(entry, other) for other in patterns.entries) for entry in facts)


def _includes(wider: str, entry: str) -> bool:
    """Tell whether everything that fits ``entry`` fits ``wider``; False where that is not easily seen."""
    if "*" not in entry and "?" not in entry:
        return globs_overlap(wider, entry)
    return _glob_includes(wider, entry)


def _glob_includes(wider: str, entry: str) -> bool:
    """Match the entry's text, its wildcards as letters that only a ``*`` (or ``?`` for ``?``) takes."""
    reachable = {0}
    for letter in entry:
        reachable = _after_stars(wider, reachable)
        reachable = {position for old in reachable for position in _step(wider, old, letter)}
    return len(wider) in _after_stars(wider, reachable)


def _after_stars(wider: str, reachable: set[int]) -> set[int]:
    found = set(reachable)
    for position in sorted(reachable):
        while wider[position : position + 1] == "*":
            position += 1
            found.add(position)
    return found


def _step(wider: str, position: int, letter: str) -> tuple[int, ...]:
    """Return where a matcher at ``position`` may stand after one letter of the entry."""
    here = wider[position : position + 1]
    if here == "*":
        return (position,)
    takes = here == letter if letter != "?" else here == "?"
    return (position + 1,) if takes or (here == "?" and letter != "*") else ()
