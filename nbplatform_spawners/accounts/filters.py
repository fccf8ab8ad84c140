"""LDAP filters: checked when the settings are read, filled in with escaped values, and compared exactly afterwards."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

MAX_FILTER = 4096
_MAX_DEPTH = 16
_ESCAPED = {letter: f"\\{ord(letter):02x}" for letter in "\\*()\0"}
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_ITEM = re.compile(r"(?P<attribute>[A-Za-z0-9.;:-]+?)(?P<operator>=|~=|>=|<=|:=)(?P<value>[^()\0]*)")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = ("provider", "subject")


def escape(text: str) -> str:
    """Return ``text`` as a value in a filter: no character of it means anything (RFC 4515)."""
    return "".join(_ESCAPED.get(letter, letter) for letter in text)


def parse_attribute(text: str) -> str:
    """Return the name of an attribute.

    Raises:
        ValueError: it is none.
    """
    if not _ATTRIBUTE.fullmatch(text):
        raise ValueError("the name of an attribute is expected: letters, digits and '-'")
    return text


def parse_filter(text: str) -> str:
    """Return a filter such as ``(objectClass=posixAccount)``.

    Raises:
        ValueError: it is none; says where it stops being one.
    """
    list(_items(text))
    return text


@dataclass(frozen=True)
class LinkFilter:
    """A filter with ``{provider}`` and ``{subject}``: who is linked to that pair.

    Attributes:
        text: the filter as written.
        compared: attribute and value of each comparison that holds a placeholder.
    """

    text: str
    compared: tuple[tuple[str, str], ...]

    def filled(self, provider: str, subject: str) -> str:
        """Return the filter for one pair, both escaped."""
        return _filled(self.text, escape(provider), escape(subject))

    def exact(self, provider: str, subject: str) -> tuple[tuple[str, str], ...]:
        """Return attribute and value that an entry must have letter by letter.

        The server compares as its schema says, mostly without regard to case; a subject is somebody else's in
        another case.
        """
        return tuple((name, _filled(value, provider, subject)) for name, value in self.compared)


def parse_link_filter(text: str) -> LinkFilter:
    """Return the filter for linked accounts.

    Raises:
        ValueError: it is no filter, lacks a placeholder or has an unknown one, or compares by anything but equality.
    """
    compared = []
    for item in _items(text):
        if not _PLACEHOLDER.search(item["value"]):
            continue
        if item["operator"] != "=" or "*" in item["value"] or not _ATTRIBUTE.fullmatch(item["attribute"]):
            raise ValueError("a comparison with a placeholder is ATTRIBUTE=VALUE, without '*'")
        if "\\" in item["value"]:
            raise ValueError("a value with a placeholder holds no '\\'")
        compared.append((item["attribute"], item["value"]))
    used = {found[1] for found in _PLACEHOLDER.finditer(text)}
    if unknown := used - set(_PLACEHOLDERS):
        raise ValueError(f"unknown placeholder {{{min(unknown)}}}; there are {{provider}} and {{subject}}")
    if missing := set(_PLACEHOLDERS) - used:
        raise ValueError(f"{{{min(missing)}}} is missing: an account is linked to a provider and a subject, to both")
    return LinkFilter(text, tuple(compared))


def _filled(template: str, provider: str, subject: str) -> str:
    """Fill in both placeholders in one pass: what is filled in is not looked at again."""
    values = {"provider": provider, "subject": subject}
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _items(text: str) -> Iterator[re.Match[str]]:
    """Yield the comparisons of a filter; raises ValueError where it is none."""
    if len(text) > MAX_FILTER:
        raise ValueError(f"a filter has at most {MAX_FILTER} characters")
    end = yield from _component(text, 0, 0)
    if end != len(text):
        raise ValueError(f"the filter ends at character {end}, and something follows")


def _component(text: str, at: int, depth: int) -> Generator[re.Match[str], None, int]:
    """Yield the comparisons of the component that begins at ``at``; return where it ends."""
    if text[at : at + 1] != "(" or depth > _MAX_DEPTH:
        raise ValueError(f"a filter stands in brackets, such as (objectClass=posixAccount); look at character {at + 1}")
    at += 1
    if text[at : at + 1] in ("&", "|", "!"):
        operator = text[at]
        at, count = at + 1, 0
        while text[at : at + 1] == "(":
            at = yield from _component(text, at, depth + 1)
            count += 1
        if count == 0 or (operator == "!" and count > 1):
            raise ValueError(f"{operator!r} is followed by {'one' if operator == '!' else 'a'} filter in brackets")
    else:
        item = _ITEM.match(text, at)
        if item is None:
            raise ValueError(f"ATTRIBUTE=VALUE is expected at character {at + 1}")
        yield item
        at = item.end()
    if text[at : at + 1] != ")":
        raise ValueError(f"a ')' is missing at character {at + 1}")
    return at + 1
