"""Placeholders in sources, targets and environment values: ``/sps/{group}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..names import bounded

PLACEHOLDERS = ("username", "uid", "gid", "home", "group", "primary_group")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Template:
    """Text with placeholders, already taken apart.

    Attributes:
        text: as written.
        literals: the text between the placeholders; always one more than ``names``.
        names: the placeholders, in order.
    """

    text: str
    literals: tuple[str, ...]
    names: tuple[str, ...]

    def fill(self, values: Mapping[str, str]) -> str | None:
        """Return the text with each placeholder filled in one pass, or None when ``values`` lacks one."""
        if not self.names:
            return self.literals[0]
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            value = values.get(name)
            if value is None:
                return None
            parts += (value, literal)
        return "".join(parts)


def parse_template(text: str) -> Template:
    """Take a text apart; ``{{`` and ``}}`` are braces.

    Raises:
        ValueError: an unknown placeholder or a brace that stands alone.
    """
    literals, names, start, current = [], [], 0, ""
    for piece in _PIECE.finditer(text):
        current += text[start : piece.start()]
        start = piece.end()
        if piece[0] in ("{{", "}}"):
            current += piece[0][0]
        elif piece[1] in PLACEHOLDERS:
            literals.append(current)
            names.append(piece[1])
            current = ""
        elif piece[1] is None:
            raise ValueError(f"a lone {piece[0]!r}; write {piece[0] * 2!r} for a brace")
        else:
            raise ValueError(unknown_placeholder(piece[1]))
    literals.append(current + text[start:])
    return Template(text, tuple(literals), tuple(names))


def unknown_placeholder(name: str) -> str:
    """Return the message for an unknown placeholder."""
    known = ", ".join("{" + known + "}" for known in PLACEHOLDERS)
    return f"unknown placeholder {bounded('{' + name + '}')}; known are {known}"
