"""Names that come from outside: which are safe, and how others become safe.

A *safe* name may stand in a path, a label, a log line or a host name's part without harm:
ASCII letters, digits, ``_``, ``.``, ``@`` and ``-``; it begins with a letter, a digit or ``_``;
it has at most 64 characters.
"""

from __future__ import annotations

import hashlib
import re
import string

import escapism

MAX_NAME = 64
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
_SLUG_SAFE = frozenset(string.ascii_lowercase + string.digits)
_HASH_LENGTH = 8


def is_safe(name: object) -> bool:
    """Tell whether ``name`` is a safe name (see the module's text)."""
    return isinstance(name, str) and _SAFE.fullmatch(name) is not None


def bounded(text: object, limit: int = 80) -> str:
    """Return ``text`` fit for a log line: quoted, control characters escaped, cut to ``limit`` characters."""
    shown = ascii(text if isinstance(text, str) else str(text))
    return shown if len(shown) <= limit else shown[: limit - 4] + "..." + shown[0]


def slug(name: str, max_length: int = 48) -> str:
    """Return a name for a path, a container or a pod: ``[a-z0-9-]``, letter first, at most ``max_length`` characters.

    A name that is already of that form is returned as it is.  Any other is escaped with escapism and
    gets the first 8 hex digits of its SHA-256, so that two names never share a slug by escaping or cutting.

    Raises:
        ValueError: ``max_length`` leaves no room for the hash.
    """
    if max_length < _HASH_LENGTH + 4:
        raise ValueError(f"max_length must be at least {_HASH_LENGTH + 4}, got {max_length}")
    if re.fullmatch(r"[a-z](?:[a-z0-9]|-(?!-))*", name) and not name.endswith("-") and len(name) <= max_length:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    printable = name.encode("utf-8", "replace").decode("utf-8")
    escaped = escapism.escape(printable, safe=_SLUG_SAFE, escape_char="-").lower()
    kept = escaped[: max_length - _HASH_LENGTH - 4].strip("-")
    return f"n-{kept}--{digest}" if kept else f"n--{digest}"
