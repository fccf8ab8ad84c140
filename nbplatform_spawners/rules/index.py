"""Which rules are worth a look for whom, found by the beginnings of names instead of by a look at every rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .patterns import Patterns


@dataclass(frozen=True)
class Shelf:
    """Positions of rules under what they demand of one kind of name.  Not hashable: it holds mappings.

    Attributes:
        exact: name to positions.
        starts: what stands before the first wildcard, to positions.
        lengths: the lengths that the keys of ``starts`` have.
    """

    exact: Mapping[str, tuple[int, ...]]
    starts: Mapping[str, tuple[int, ...]]
    lengths: tuple[int, ...]

    def collect(self, name: str, positions: set[int]) -> None:
        """Add the positions of all rules that may demand this name."""
        positions.update(self.exact.get(name, ()))
        for length in self.lengths:
            positions.update(self.starts.get(name[:length], ()))


@dataclass(frozen=True)
class RuleIndex:
    """Every rule under one of the kinds of names that its match demands.  Not hashable: it holds mappings.

    Attributes:
        shelves: kind of name (a key of the match) to its shelf.
        others: positions of the rules that demand no name at all.
    """

    shelves: Mapping[str, Shelf]
    others: tuple[int, ...]

    def candidates(self, names: Mapping[str, Iterable[str]]) -> list[int]:
        """Return the positions, in order, of all rules that may hold and of few others.

        Args:
            names: kind of name to the names that somebody has.
        """
        positions = set(self.others)
        for key, shelf in self.shelves.items():
            for name in names.get(key, ()):
                shelf.collect(name, positions)
        return sorted(positions)


def make_index(demands: Iterable[Mapping[str, Patterns]]) -> RuleIndex:
    """Return the index of rules.

    Args:
        demands: for each rule, in order: kind of name to the patterns one of which must hold; the kind that
            leaves the fewest candidates first.
    """
    exact: dict[str, dict[str, list[int]]] = {}
    starts: dict[str, dict[str, list[int]]] = {}
    others = []
    for position, demanded in enumerate(demands):
        if not demanded:
            others.append(position)
            continue
        key = next((key for key, patterns in demanded.items() if all(map(_start, patterns.wild))), next(iter(demanded)))
        for name in demanded[key].exact:
            exact.setdefault(key, {}).setdefault(name, []).append(position)
        for entry in demanded[key].wild:
            starts.setdefault(key, {}).setdefault(_start(entry), []).append(position)
    keys = dict.fromkeys([*exact, *starts])
    return RuleIndex({key: _shelf(exact.get(key, {}), starts.get(key, {})) for key in keys}, tuple(others))


def _shelf(exact: Mapping[str, list[int]], starts: Mapping[str, list[int]]) -> Shelf:
    lengths = tuple(sorted({len(start) for start in starts}))
    return Shelf(_frozen(exact), _frozen(starts), lengths)


def _frozen(positions: Mapping[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(found) for name, found in positions.items()}


def _start(entry: str) -> str:
    """Return what stands before the first wildcard."""
    return entry.partition("*")[0].partition("?")[0]
