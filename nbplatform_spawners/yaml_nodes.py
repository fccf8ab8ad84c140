"""YAML read as it is written: every scalar is text, every mistake keeps its line.

PyYAML's constructors are not used: they turn ``no`` into false and ``010`` into 8, and they forget where a
value stood.  A reader walks the composed nodes of one file, converts each value by the field it is for, and
collects *all* mistakes instead of stopping at the first.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import yaml

from .errors import Mistake
from .names import bounded
from .yaml_compose import compose_text

T = TypeVar("T")
_TAGS: dict[type[yaml.Node], tuple[str, str]] = {
    kind: (f"tag:yaml.org,2002:{tag}", "!")
    for kind, tag in ((yaml.ScalarNode, "str"), (yaml.SequenceNode, "seq"), (yaml.MappingNode, "map"))
}
_SHOWN = {yaml.ScalarNode: "text", yaml.SequenceNode: "a list", yaml.MappingNode: "keys and values"}


@dataclass(frozen=True)
class Entry:
    """One ``key: value`` of a mapping.

    Attributes:
        key: the key's text.
        node: the value.
        line: the key's line, counted from 1.
    """

    key: str
    node: yaml.Node
    line: int


@dataclass
class YamlReader:
    """Reads the nodes of one file and collects its mistakes.

    Attributes:
        file: the file's name, for mistakes.
        mistakes: what was found so far.
    """

    file: str
    mistakes: list[Mistake] = field(default_factory=list)

    def compose(self, content: bytes) -> yaml.Node | None:
        """Return the root node of the only document; None when it is empty or not YAML (a mistake)."""
        try:
            return compose_text(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            self.mistakes.append(Mistake(self.file, line, "the file is not UTF-8 text"))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = ", ".join(filter(None, (error.context, error.problem)))
            if "cannot start any token" in problem:
                problem += "; put a text that begins with @, % or ` in quotes, and indent with spaces"
            self.mistakes.append(Mistake(self.file, mark.line + 1 if mark else 0, f"not valid YAML: {problem}"))
        except yaml.YAMLError as error:
            self.mistakes.append(Mistake(self.file, 0, f"not valid YAML: {bounded(error)}"))
        return None

    def wrong(self, where: yaml.Node | int, message: str) -> None:
        """Note a mistake at a node or at a line counted from 1."""
        line = where if isinstance(where, int) else where.start_mark.line + 1
        self.mistakes.append(Mistake(self.file, line, message))

    def entries(self, node: yaml.Node, what: str, known: Iterable[str] | None = None) -> Iterator[Entry]:
        """Yield the entries of a mapping, each key once.

        Args:
            node: the mapping; anything else is a mistake.
            what: what it is, for the message: ``rule 'gpu'``.
            known: the keys that may stand here; any other is a mistake with a suggestion.  None: any key.
        """
        if not self._is(node, yaml.MappingNode, what):
            return
        allowed = None if known is None else tuple(known)
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            key = self.text(key_node, f"a key of {what}")
            if key is None:
                continue
            if key in seen:
                self.wrong(line, f"{what}: the key {bounded(key)} stands here twice, first in line {seen[key]}")
                continue
            seen[key] = line
            if allowed is not None and key not in allowed:
                self.wrong(line, f"{what}: unknown key {bounded(key)}{suggestion(key, allowed)}")
                continue
            yield Entry(key, value, line)

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the entries of a list; anything else is a mistake."""
        return list(node.value) if self._is(node, yaml.SequenceNode, what) else []

    def text(self, node: yaml.Node, what: str) -> str | None:
        """Return a scalar's text as written; None after noting a mistake: another type, or nothing at all."""
        if not self._is(node, yaml.ScalarNode, what):
            return None
        if _is_nothing(node):
            self.wrong(node, f"{what}: a value is missing")
            return None
        return str(node.value)

    def convert(self, node: yaml.Node, what: str, parser: Callable[[str], T]) -> T | None:
        """Return ``parser`` of a scalar's text; its ValueError becomes a mistake that shows the text."""
        text = self.text(node, what)
        if text is None:
            return None
        try:
            return parser(text)
        except ValueError as error:
            self.wrong(node, f"{what}: {bounded(text)}: {error}")
            return None

    def _is(self, node: yaml.Node, kind: type[yaml.Node], what: str) -> bool:
        if not isinstance(node, kind):
            if _is_nothing(node):
                self.wrong(node, f"{what}: a value is missing, {_SHOWN[kind]} is expected")
            else:
                self.wrong(node, f"{what}: {_SHOWN[kind]} is expected, not {_SHOWN[type(node)]}{_braces(node)}")
            return False
        if node.tag not in _TAGS[kind]:
            self.wrong(node, f"{what}: the YAML tag {bounded(node.tag)} is not allowed")
            return False
        return True


def _braces(node: yaml.Node) -> str:
    """Return a hint for ``{home}`` without quotes, which YAML takes for a mapping with one key and no value."""
    if isinstance(node, yaml.MappingNode) and len(node.value) == 1:
        key, value = node.value[0]
        if isinstance(key, yaml.ScalarNode) and _is_nothing(value):
            return f'; put placeholders in quotes: "{{{bounded(key.value, 40)[1:-1]}}}"'
    return ""


def _is_nothing(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == "" and not node.style


def parse_bool(text: str) -> bool:
    """Return the truth of ``true`` or ``false``.

    Raises:
        ValueError: any other text.
    """
    if text not in ("true", "false"):
        raise ValueError("true or false is expected")
    return text == "true"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``, did you mean 'x'?`` for the nearest known name, or an empty text."""
    near = difflib.get_close_matches(name[:80], list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""
