"""The settings file of a directory service: sections of known keys, every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import yaml

from ..errors import BadFile, Mistake
from ..mounts import clean_path
from ..names import bounded
from ..rules.units import parse_duration, parse_whole
from ..yaml_nodes import YamlReader, suggestion

MAX_SETTINGS = 1024**2
"""Bytes that a settings file may have."""
_LONGEST_TIMEOUT = 60
_LONGEST_CACHE = 3600
_SECRET = re.compile(r"pass|secret|token", re.IGNORECASE)
T = TypeVar("T")
D = TypeVar("D")


class Section:
    """One mapping of a settings file.

    Args:
        reader: collects the mistakes.
        node: the mapping; None where it is not written: every key is missing then.
        what: what it is, for mistakes.
        keys: the keys that may stand in it.
    """

    def __init__(self, reader: YamlReader, node: yaml.Node | None, what: str, keys: Iterable[str]) -> None:
        self.reader, self.what = reader, what
        self.line = 1 if node is None else node.start_mark.line + 1
        self.is_there = node is None or isinstance(node, yaml.MappingNode)
        self.nodes: dict[str, yaml.Node] = {}
        known = tuple(keys)
        for entry in reader.entries(node, what) if node is not None else ():
            if entry.key in known:
                self.nodes[entry.key] = entry.node
            else:
                reader.wrong(entry.line, f"{what}: unknown key {bounded(entry.key)}{_advice(entry.key, known)}")

    def value(self, key: str, parser: Callable[[str], T], default: D) -> T | D:
        """Return the value of a key; ``default`` where it is not written, or wrong (a mistake)."""
        if key not in self.nodes:
            return default
        found = self.reader.convert(self.nodes[key], f"{self.what}: {key}", parser)
        return default if found is None else found

    def needed(self, key: str, parser: Callable[[str], T], default: D) -> T | D:
        """Return the value of a key whose absence is a mistake."""
        self.need(key)
        return self.value(key, parser, default)

    def need(self, key: str) -> None:
        """Note the absence of a key as a mistake, unless the whole section is one already."""
        if self.is_there and key not in self.nodes:
            self.reader.wrong(self.line, f"{self.what}: the key {key!r} is missing")

    def several(self, key: str, parser: Callable[[str], T]) -> tuple[T, ...]:
        """Return the values of a list that must have one at least."""
        what = f"{self.what}: {key}"
        self.need(key)
        if key not in self.nodes:
            return ()
        items = self.reader.items(self.nodes[key], what)
        if isinstance(self.nodes[key], yaml.SequenceNode) and not items:
            self.reader.wrong(self.nodes[key], f"{what}: the list is empty")
        found = [self.reader.convert(item, what, parser) for item in items]
        return tuple(item for item in found if item is not None)

    def pairs(self, key: str, parser: Callable[[str], T], default: Mapping[str, T]) -> dict[str, T]:
        """Return a mapping of free keys; ``default`` where it is not written."""
        if key not in self.nodes:
            return dict(default)
        what = f"{self.what}: {key}"
        found = {
            entry.key: self.reader.convert(entry.node, f"{what}: {bounded(entry.key)}", parser)
            for entry in self.reader.entries(self.nodes[key], what)
        }
        return {name: value for name, value in found.items() if value is not None}

    def wrong(self, key: str, message: str) -> None:
        """Note a mistake in the value of a key, or, where it is not written, in the section."""
        self.reader.wrong(self.nodes.get(key, self.line), f"{self.what}: {key}: {message}")


def read_settings(content: bytes, file: str, read: Callable[[YamlReader, yaml.Node], T]) -> T:
    """Return what ``read`` makes of a settings file.

    Args:
        content: the file's bytes.
        file: its name, for mistakes.
        read: walks the root node; notes mistakes in the reader.

    Raises:
        BadFile: with every mistake.
    """
    if len(content) > MAX_SETTINGS:
        raise BadFile([Mistake(file, 0, f"the file is larger than {MAX_SETTINGS} bytes")])
    reader = YamlReader(file)
    root = reader.compose(content)
    if root is None and not reader.mistakes:
        reader.wrong(1, "the file is empty")
    found = read(reader, root) if root is not None else None
    if reader.mistakes or found is None:
        raise BadFile(reader.mistakes)
    return found


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that takes one of these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{' or '.join(words)} is expected{suggestion(text, words)}")
        return text

    return parse


def parse_file(text: str) -> str:
    """Return the absolute path of a file.

    Raises:
        ValueError: it is relative, or not in its shortest form.
    """
    if clean_path(text) != text or text == "/":
        raise ValueError("an absolute path without repeated or trailing slashes is expected")
    return text


def parse_timeout(text: str) -> int:
    """Return the seconds of a time limit, 1 to 60.

    Raises:
        ValueError: no duration, or outside.
    """
    seconds = parse_duration(text)
    if seconds is None or not 1 <= seconds <= _LONGEST_TIMEOUT:
        raise ValueError(f"a duration from 1s to {_LONGEST_TIMEOUT}s is expected")
    return seconds


def parse_cache(text: str) -> int:
    """Return the seconds for which an answer is kept: up to an hour; ``0s`` for not at all.

    Raises:
        ValueError: no duration, or longer.
    """
    seconds = parse_duration(text)
    if seconds is None or seconds > _LONGEST_CACHE:
        raise ValueError("a duration of at most 1h is expected, 0s for no cache")
    return seconds


def parse_count(text: str) -> int:
    """Return a number from 1 to 64.

    Raises:
        ValueError: anything else.
    """
    count = parse_whole(text)
    if not 1 <= count <= 64:
        raise ValueError("a number from 1 to 64 is expected")
    return count


def _advice(key: str, known: Iterable[str]) -> str:
    near = suggestion(key, known)
    if not near and _SECRET.search(key):
        return "; a secret stands in a file of its own"
    return near
