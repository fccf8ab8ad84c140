"""Slurm's key for JSON Web Tokens, and tokens made with it.

Who holds this key is any user to Slurm, its administrators included: only the service reads it, and nothing else of
this package imports this module.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import stat
from datetime import datetime

from ..errors import NbplatformError
from ..names import bounded, is_safe

MIN_KEY, MAX_KEY = 32, 65536
MAX_LIFESPAN = 3600
"""Seconds for which a token is good at most."""


class KeyProblem(NbplatformError):
    """The key cannot be used; one sentence says why.  Nothing of the key is in it."""


def read_key(path: str) -> bytes:
    """Return the key, byte for byte as Slurm reads it: a line's end at its end belongs to it.

    Args:
        path: the file that ``jwt_key=`` in ``slurm.conf`` names, or a copy of it.

    Raises:
        KeyProblem: it cannot be read, others than its owner can use it, or it is no key of 32 to 65536 bytes.
    """
    shown = bounded(path, 200)
    try:
        with open(path, "rb", opener=_opened) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise KeyProblem(f"Slurm's key must be a file, and {shown} is none")
            if about.st_mode & 0o077:
                mode = stat.S_IMODE(about.st_mode)
                raise KeyProblem(f"others than its owner can use Slurm's key {shown} (mode {mode:04o}): chmod 600")
            key = file.read(MAX_KEY + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise KeyProblem(f"Slurm's key {shown} cannot be read: {why}") from None
    if not MIN_KEY <= len(key) <= MAX_KEY:
        raise KeyProblem(f"Slurm's key {shown} has {len(key)} bytes, and must have {MIN_KEY} to {MAX_KEY}")
    return key


def mint(key: bytes, user: str, now: datetime, lifespan: int) -> str:
    """Return a token by which Slurm takes its bearer for the user.

    Signed with HS256 as RFC 7515 has it.  The library that knows every algorithm refuses keys that begin like a PEM
    file, and Slurm's own instructions had sites make such ones.

    Args:
        key: as :func:`read_key` returns it.
        user: login name; never ``root`` in whatever case, and no number: Slurm takes one for a uid.
        now: aware time at which the token begins to be good.
        lifespan: seconds, 1 to 3600.

    Raises:
        ValueError: the name is not safe, ``root`` or a number, the time is naive, or the lifespan out of its range.
    """
    if not is_safe(user) or user.isdecimal() or user.casefold() == "root":
        raise ValueError(f"no token is made for a user called {bounded(user)}")
    if not 1 <= lifespan <= MAX_LIFESPAN:
        raise ValueError(f"a token is good for 1 to {MAX_LIFESPAN} seconds, not for {lifespan}")
    if now.tzinfo is None:
        raise ValueError("the time at which a token begins needs an offset")
    begin = int(now.timestamp())
    claims = {"iat": begin, "exp": begin + lifespan, "sun": user}
    signed = b".".join(_part(json.dumps(one).encode("ascii")) for one in ({"alg": "HS256", "typ": "JWT"}, claims))
    return b".".join((signed, _part(hmac.new(key, signed, hashlib.sha256).digest()))).decode("ascii")


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _part(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
