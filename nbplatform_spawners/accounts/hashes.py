"""Argon2 hashes as an accounts file may hold them; making and checking them is not done here."""

from __future__ import annotations

import re

MAX_MEMORY = 1024**2
"""KiB that checking one password may take."""
MAX_TIME = 100
"""Rounds that checking one password may take."""
_HASH = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=[0-9]{2})?\$m=([0-9]{1,7}),t=([0-9]{1,3}),p=([0-9]{1,3})"
    r"\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{16,256}"
)


def hash_problem(text: str) -> str | None:
    """Return why ``text`` is no acceptable Argon2 hash, or None.  The answer never shows the text."""
    found = _HASH.fullmatch(text)
    if not found and text.startswith("$argon2"):
        return "the Argon2 hash is cut or malformed; write it in quotes"
    if not found:
        return "an Argon2 hash is expected ($argon2id$…); 'nbplatform accounts hash' makes one"
    memory, time, lanes = (int(number) for number in found.groups())
    if not (8 * lanes <= memory <= MAX_MEMORY and 1 <= time <= MAX_TIME and lanes >= 1):
        return "the Argon2 parameters are out of bounds (at most 1 GiB of memory and 100 rounds)"
    return None
