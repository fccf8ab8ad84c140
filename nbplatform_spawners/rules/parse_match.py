"""From the blocks of ``match`` to matches: lists are put in, names of profiles are checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..names import bounded
from ..yaml_nodes import YamlReader, suggestion
from .keys import Block
from .kinds import Located
from .model import Match
from .patterns import Patterns, globs_overlap, make_patterns


@dataclass(frozen=True)
class KnownNames:
    """The names that all files together define.

    Attributes:
        complete: False when a file could not be read at all: a name that is unknown then proves nothing.
        lists: name to entries.
        profiles, hosts: names.
        pools: name to whether it is reserved.
    """

    complete: bool
    lists: Mapping[str, tuple[str, ...]]
    profiles: frozenset[str]
    hosts: frozenset[str]
    pools: Mapping[str, bool]

    def check(self, reader: YamlReader, what: str, kind: str, name: Located, known: Iterable[str]) -> bool:
        """Tell whether a name is known; note a mistake if it is not."""
        if name.text in known:
            return True
        if self.complete:
            hint = suggestion(name.text, known)
            reader.wrong(name.line, f"{what}: unknown {kind} {bounded(name.text)}{hint}")
        return False


def make_match(reader: YamlReader, block: Block, known: KnownNames) -> Match:
    """Return the match of a block; unknown lists and profiles and an empty span of time become mistakes."""
    starts, ends = block.get("from"), block.get("until")
    if starts and ends and starts >= ends:
        reader.wrong(block.lines["until"], f"{block.what}: 'from' is not before 'until', so it never holds")
    patterns = {key: _patterns(reader, block, key, known) for key in ("users", "groups", "profiles", "providers")}
    never = tuple(make_match(reader, other, known) for other in block.get("not", ()))
    return Match(**patterns, starts=starts, ends=ends, never=never)


def _patterns(reader: YamlReader, block: Block, key: str, known: KnownNames) -> Patterns | None:
    written: tuple[Located, ...] | None = block.get(key)
    if written is None:
        return None
    entries = tuple(_expanded(reader, written, f"{block.what}: {key}", known))
    if key == "profiles":
        for entry in entries:
            _check_profile(reader, f"{block.what}: profiles", entry, known)
    return make_patterns(entry.text for entry in entries)


def _expanded(reader: YamlReader, written: Iterable[Located], what: str, known: KnownNames) -> Iterable[Located]:
    for entry in written:
        if not entry.text.startswith("@"):
            yield entry
        elif known.check(reader, what, "list", Located(entry.text[1:], entry.line), known.lists):
            for text in known.lists[entry.text[1:]]:
                yield Located(text, entry.line)


def _check_profile(reader: YamlReader, what: str, entry: Located, known: KnownNames) -> None:
    if "*" not in entry.text and "?" not in entry.text:
        known.check(reader, what, "profile", entry, known.profiles)
    elif known.complete and not any(globs_overlap(entry.text, name) for name in known.profiles):
        reader.wrong(entry.line, f"{what}: {bounded(entry.text)} fits no profile")
