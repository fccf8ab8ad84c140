"""Plain text of an administrator as a page shows it: web and e-mail addresses become links, nothing else is markup."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

_PUNCTUATION = ".,;:!?'\"]}>"
_ADDRESS = re.compile(
    r"(?P<web>https?://[A-Za-z0-9\[][^\s<>\"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]*)"
    r"|(?P<mail>(?<![\w.!#$%&'*+/=?^{|}~-])[A-Za-z0-9][A-Za-z0-9._+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Part:
    """A piece of a text, and the address that it leads to; None for words."""

    text: str
    href: str | None = None


def linked(text: str, about: str = "") -> tuple[Part, ...]:
    """Return a text in pieces: words, ``http(s)`` addresses and e-mail addresses, in order and none lost.

    Args:
        text: plain text; whoever shows the pieces escapes them.
        about: the subject that a link to an e-mail address puts on the mail.
    """
    parts = []
    end = 0
    for found in _ADDRESS.finditer(text):
        address = _without_punctuation(found[0])
        if found.start() > end:
            parts.append(Part(text[end : found.start()]))
        subject = f"?subject={quote(about)}" if about else ""
        parts.append(Part(address, address if found["web"] else f"mailto:{address}{subject}"))
        end = found.start() + len(address)
    if end < len(text):
        parts.append(Part(text[end:]))
    return tuple(parts)


def paragraphs(text: str) -> list[tuple[Part, ...]]:
    """Return the paragraphs of a plain text, which blank lines part, each in pieces."""
    found = (one.strip() for one in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n")))
    return [linked(one) for one in found if one]


def _without_punctuation(address: str) -> str:
    """Return an address without what belongs to the sentence around it."""
    address = address.rstrip(_PUNCTUATION)
    while address.endswith(")") and address.count(")") > address.count("("):
        address = address[:-1].rstrip(_PUNCTUATION)
    return address
