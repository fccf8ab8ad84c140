"""Lists of names with wildcards: ``*`` and ``?``, and nothing else, are special."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Patterns:
    """An "any of these" list of a match.

    Attributes:
        exact: entries without a wildcard.
        wild: entries with one, as written.
    """

    exact: frozenset[str]
    wild: tuple[str, ...] = ()
    _line: re.Pattern[str] | None = None

    def holds(self, name: str) -> bool:
        """Tell whether one of the entries matches the whole of ``name``."""
        return name in self.exact or (self._line is not None and self._line.fullmatch(name) is not None)

    def holds_any(self, names: frozenset[str], joined: str) -> bool:
        """Tell whether one of the entries matches one of ``names``.

        Args:
            names: the names.
            joined: the same names, one a line.  One search over it is much cheaper than one match a name.
        """
        if not self.exact.isdisjoint(names):
            return True
        # An empty text has one line, which * would match: somebody without a group is in no group at all.
        return self._line is not None and bool(names) and self._line.search(joined) is not None

    def matched(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names`` that match, in name order."""
        return sorted(name for name in names if self.holds(name))

    @property
    def entries(self) -> tuple[str, ...]:
        """Every entry as written: exact ones in name order, then the wildcards."""
        return (*sorted(self.exact), *self.wild)


def make_patterns(entries: Iterable[str]) -> Patterns:
    """Return the patterns of a list's entries."""
    entries = tuple(dict.fromkeys(entries))
    wild = tuple(entry for entry in entries if "*" in entry or "?" in entry)
    exact = frozenset(entries) - frozenset(wild)
    line = re.compile("^(?:" + "|".join(map(_regex, wild)) + ")$", re.MULTILINE) if wild else None
    return Patterns(exact, wild, line)


def globs_overlap(one: str, other: str) -> bool:
    """Tell whether some text matches both of two entries; either may hold wildcards."""
    reached = {(0, 0)}
    todo = [(0, 0)]

    def go(i: int, j: int) -> None:
        if (i, j) not in reached:
            reached.add((i, j))
            todo.append((i, j))

    while todo:
        i, j = todo.pop()
        a, b = one[i : i + 1], other[j : j + 1]
        if not a and not b:
            return True
        if a == "*":
            go(i + 1, j)
        if b == "*":
            go(i, j + 1)
        if a and b:
            same = a == b or a in "*?" or b in "*?"
            if same:
                go(i + (a != "*"), j + (b != "*"))
    return False


def _regex(entry: str) -> str:
    """Return a regular expression that takes polynomial time, however many ``*`` there are.

    What stands between two stars may be taken at its first place for good (atomic groups): a later place
    could only leave less for the rest.
    """
    first, *others = (_literal(part) for part in re.sub(r"\*+", "*", entry).split("*"))
    if not others:
        return first
    *middle, last = others
    return first + "".join(f"(?>[^\\n]*?{part})" for part in middle) + "[^\\n]*" + last


def _literal(part: str) -> str:
    return "".join("[^\\n]" if character == "?" else re.escape(character) for character in part)
