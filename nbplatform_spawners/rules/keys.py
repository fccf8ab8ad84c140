"""Keys of a mapping: one table says which there are, and reading a mapping is walking the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ..names import bounded
from ..yaml_nodes import Entry, YamlReader, suggestion
from .kinds import Kind, line_of

_MOST_SUGGESTIONS = 50
"""A suggestion costs time; somebody with more mistakes than this in one file needs none."""


@dataclass(frozen=True)
class Key:
    """One key of the language.

    Attributes:
        name: as it is written.
        places: where it may stand, as the language calls its places.
        kind: how its value is read, and its JSON Schema.
        help: one sentence for the reference and the editor.
        required: it must stand in each of its places.
    """

    name: str
    places: tuple[str, ...]
    kind: Kind
    help: str
    required: bool = False


@dataclass(frozen=True)
class Block:
    """One mapping whose keys were read.

    Attributes:
        what: what it is, for messages: ``rule 'gpu'``; empty for the file itself.
        line: its first line.
        values: key to what its kind made of it; a key that is not written is absent.
        lines: key to its line.
    """

    what: str
    line: int
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a key's value, or ``default`` when it is not written or could not be read."""
        value = self.values.get(key)
        return default if value is None else value


class Language:
    """A table of keys, by place.

    Args:
        places: every place, and how it is said in a sentence.
        table: every key; one name may have several rows with different places.
    """

    def __init__(self, places: Mapping[str, str], table: Iterable[Key]) -> None:
        self.places = places
        self.table = tuple(table)
        self.at: dict[str, dict[str, Key]] = {place: {} for place in places}
        for key in self.table:
            for place in key.places:
                self.at[place][key.name] = key
        self.required = {place: [key for key in keys.values() if key.required] for place, keys in self.at.items()}

    def read(self, reader: YamlReader, node: yaml.Node, what: str, place: str) -> Block:
        """Return a mapping's values; unknown and missing keys become mistakes.

        Args:
            reader: reads and collects mistakes.
            node: the mapping.
            what: what it is, for messages; empty for the file itself.
            place: which keys it may have.
        """
        prefix = f"{what}: " if what else ""
        known = self.at[place]
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        meant: set[str] = set()
        for entry in reader.entries(node, what or "the file"):
            key = known.get(entry.key)
            lines[entry.key] = entry.line
            if key is None:
                meant.add(self._unknown(reader, entry, prefix, place))
            else:
                values[entry.key] = key.kind.read(reader, entry.node, prefix + entry.key)
        if isinstance(node, yaml.MappingNode):
            for key in self.required[place]:
                if key.name not in lines and key.name not in meant:
                    reader.wrong(node, f"{prefix}the key '{key.name}' is missing ({_clause(key.help)})")
        return Block(what, line_of(node), values, lines)

    def read_list(self, reader: YamlReader, node: yaml.Node, what: str, place: str) -> tuple[Block, ...]:
        """Return the blocks of a list, never empty; each goes by its ``name`` in messages.

        Args:
            what: what the list is, for messages: a path whose last part is the list's own key.
            place: which keys each block may have.
        """
        nodes = reader.items(node, what)
        if not nodes and isinstance(node, yaml.SequenceNode):
            reader.wrong(node, f"{what}: the list is empty")
        outer = what.rpartition(": ")[0]
        found = []
        for number, item in enumerate(nodes, 1):
            name = _name_of(item)
            shown = f"{place} {bounded(name)}" if name else f"{place} number {number}"
            found.append(self.read(reader, item, f"{outer}: {shown}" if outer else shown, place))
        return tuple(found)

    def _unknown(self, reader: YamlReader, entry: Entry, prefix: str, place: str) -> str:
        """Note an unknown key; return the key that was probably meant, or an empty text."""
        message = f"{prefix}unknown key {bounded(entry.key)}"
        elsewhere = sorted({self.places[other] for key in self.table if key.name == entry.key for other in key.places})
        meant = ""
        if elsewhere:
            message += f" here, it may stand in {_any_of(elsewhere)}"
        elif len(reader.mistakes) < _MOST_SUGGESTIONS:
            hint = suggestion(entry.key, self.at[place])
            message, meant = message + hint, hint.rpartition(" '")[2].rstrip("'?")
        reader.wrong(entry.line, message)
        return meant


def _clause(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")


def _any_of(places: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(places[:-1]), places[-1])))


def _name_of(node: yaml.Node) -> str:
    """Return a block's name before the block is read, so that each of its mistakes can say it."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value == "name" and isinstance(value, yaml.ScalarNode):
            return str(value.value)
    return ""
