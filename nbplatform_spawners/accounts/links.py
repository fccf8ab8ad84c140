"""Writing a link into the text of an accounts file, and taking it out: pure, and nothing else in the text changes.

The place is found by the marks of the parsed YAML.  What comes out is parsed and compared before it is returned, so a
file that is written in a way that was not thought of is refused and never damaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from ..errors import NbplatformError
from ..names import bounded
from .pairs import normal_name
from .parse import AccountsFile, parse_accounts

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml: slower, the same marks
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

_BYTE_ORDER_MARK = "\ufeff"


class LinkRefused(NbplatformError):
    """The link cannot be written, or taken out; says why."""


class UnknownUser(LinkRefused):
    """The file has no account of this name."""


def link_text(provider: str, subject: str) -> str:
    """Return a link as YAML in one line, as it stands in a list."""
    return f"{{provider: {provider}, subject: {json.dumps(subject, ensure_ascii=False)}}}"


def add_link(content: bytes, file: str, user: str, pair: tuple[str, str]) -> bytes:
    """Return the text of an accounts file with one link more.

    Args:
        content: the file's bytes.
        file: its name, for mistakes.
        user: name of the account.
        pair: identity provider and subject.

    Raises:
        BadFile: the file holds mistakes before; carries all of them.
        LinkRefused: the pair is linked already, or the text is written in a way that is not understood.
    """
    before = parse_accounts(content, file)
    owner = before.federated.get(pair)
    if owner is not None:
        raise LinkRefused(f"this provider and subject are linked to the account {bounded(owner)} already")
    text = _Text(content, user)
    written = text.value("federated")
    if written is None:
        text.add_key("federated", f"[{link_text(*pair)}]")
    else:
        text.add_item(written, link_text(*pair))
    return _checked(text, before, {**before.federated, pair: normal_name(user)}, file)


def remove_link(content: bytes, file: str, user: str, pair: tuple[str, str]) -> bytes:
    """Return the text of an accounts file without one link.

    Args:
        content: the file's bytes.
        file: its name, for mistakes.
        user: name of the account.
        pair: identity provider and subject.

    Raises:
        BadFile: the file holds mistakes before; carries all of them.
        LinkRefused: the account does not have this link, or the text is written in a way that is not understood.
    """
    before = parse_accounts(content, file)
    text = _Text(content, user)
    owner = before.federated.get(pair)
    if owner != normal_name(user):
        whose = f"linked to the account {bounded(owner)}" if owner else "not linked"
        raise LinkRefused(f"this provider and subject are {whose}")
    written = text.value("federated")
    assert written is not None  # noqa: S101 - the pair stands there
    text.remove_item(written, lambda item: {key.value: value.value for key, value in item.value} == _plain(pair))
    return _checked(text, before, {key: name for key, name in before.federated.items() if key != pair}, file)


def _plain(pair: tuple[str, str]) -> dict[str, str]:
    return dict(zip(("provider", "subject"), pair, strict=True))


def _checked(text: _Text, before: AccountsFile, links: Mapping[tuple[str, str], str], file: str) -> bytes:
    """Return the new text once it says what it said before, and exactly these links."""
    try:
        after = parse_accounts(text.content, file)
    except NbplatformError:
        after = None
    if after is None or _said(after) != _said(before) or dict(after.federated) != dict(links):
        raise LinkRefused("the text of this account is written in a way that cannot be changed safely; do it by hand")
    return text.content


def _said(file: AccountsFile) -> tuple[Any, ...]:
    refusals = {name: refusal.message for name, refusal in file.refusals.items()}
    return (dict(file.accounts), refusals, dict(file.groups), dict(file.unsafe_groups), dict(file.password_hashes))


class _Text:
    """The text of an accounts file around one account.

    Args:
        content: of a file that was parsed without a mistake, so it is not too deep to be composed.
        user: name of the account.
    """

    def __init__(self, content: bytes, user: str) -> None:
        decoded = content.decode("utf-8")
        self._begin = _BYTE_ORDER_MARK if decoded.startswith(_BYTE_ORDER_MARK) else ""
        self._text = decoded.removeprefix(_BYTE_ORDER_MARK)
        self._newline = "\r\n" if "\r\n" in self._text else "\n"
        root: Any = yaml.compose(self._text, Loader=_Loader)
        accounts = next(value for key, value in root.value if key.value == "accounts")
        found = [value for key, value in accounts.value if normal_name(key.value) == normal_name(user)]
        if not found:
            raise UnknownUser(f"there is no account {bounded(user)} in this file")
        self.account: yaml.MappingNode = found[0]

    @property
    def content(self) -> bytes:
        """The text as it is now."""
        return (self._begin + self._text).encode("utf-8")

    def value(self, key: str) -> Any:
        """Return the node of a key of the account, None where there is none."""
        return next((value for name, value in self.account.value if name.value == key), None)

    def add_key(self, key: str, value: str) -> None:
        """Add a key to the account: behind the last, or before it where its end cannot be told."""
        last_key, last = self.account.value[-1]
        if self.account.flow_style:
            self._insert(last.end_mark.index, f", {key}: {value}")
        else:
            self._add_line(last, last_key.start_mark, f"{key}: {value}")

    def add_item(self, items: Any, item: str) -> None:
        """Add an item to a list: behind the last, or before it where its end cannot be told."""
        if not items.flow_style:
            first = items.start_mark
            self._add_line(items.value[-1], first, f"- {item}")
        elif items.value:
            self._insert(items.value[-1].end_mark.index, f", {item}")
        else:
            self._insert(items.start_mark.index + 1, item)

    def remove_item(self, items: Any, is_it: Callable[[Any], bool]) -> None:
        """Take an item out of a list; an empty list is left where it was the only one."""
        nodes = items.value
        number = next(number for number, item in enumerate(nodes) if is_it(item))
        begin, end = nodes[number].start_mark.index, _end(nodes[number])
        if end is None:
            raise LinkRefused("this link is written over several lines as a block; take it out by hand")
        if len(nodes) == 1:
            key = next(key for key, value in self.account.value if value is items)
            self._cut(key.end_mark.index, items.end_mark.index if items.flow_style else end, ": []")
        elif items.flow_style and number:
            self._cut(nodes[number - 1].end_mark.index, end)
        elif items.flow_style:
            self._cut(begin, nodes[1].start_mark.index)
        else:
            self._cut(self._text.rindex("\n", 0, begin) + 1, self._line_end(end) + 1)

    def _add_line(self, last: Any, column_of: Any, line: str) -> None:
        """Add a line of a block behind the node ``last``, or at the mark ``column_of``, in its column."""
        end = _end(last)
        indent = " " * column_of.column
        if end is None:
            self._insert(column_of.index, f"{line}{self._newline}{indent}")
        else:
            self._insert(self._line_end(end), f"{self._newline}{indent}{line}")

    def _line_end(self, index: int) -> int:
        """Return where the line that holds ``index`` ends, before its line break."""
        found = self._text.find(self._newline, index)
        return len(self._text) if found < 0 else found

    def _insert(self, index: int, added: str) -> None:
        self._text = self._text[:index] + added + self._text[index:]

    def _cut(self, begin: int, end: int, left: str = "") -> None:
        self._text = self._text[:begin] + left + self._text[end:]


def _end(node: Any) -> int | None:
    """Return the index behind the last character of a node; None for a block of text, whose end is not told."""
    if isinstance(node, yaml.ScalarNode):
        return None if node.style in ("|", ">") else node.end_mark.index
    if node.flow_style:
        return int(node.end_mark.index)
    return _end(node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1])
