"""Files that asking a directory service needs: a secret, never part of a message, and certificates."""

from __future__ import annotations

import stat
from pathlib import Path

from ..errors import DirectoryUnavailable

MAX_SECRET = 4096


def read_secret(path: str) -> str:
    """Return the first line of a file that only its owner and group can read.

    It is read at each use, so that a new secret needs no restart.

    Raises:
        DirectoryUnavailable: it cannot be read, everybody can read it, or it holds no single line of printable text.
    """
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(Path(path).stat().st_mode)
            content = file.read(MAX_SECRET + 1)
    except OSError as error:
        raise DirectoryUnavailable(f"the secret in {path} cannot be read: {error.strerror}") from None
    if mode & 0o007:
        raise DirectoryUnavailable(f"{path} holds a secret and everybody can read or write it: chmod 600")
    try:
        secret = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        secret = ""
    if not secret or len(content) > MAX_SECRET or not secret.isprintable():
        raise DirectoryUnavailable(f"{path} must hold one line of text, the secret")
    return secret


def check_readable(path: str | None) -> None:
    """Check that a file, if one is named, can be read.

    Raises:
        DirectoryUnavailable: it cannot.
    """
    if path is None:
        return
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise DirectoryUnavailable(f"{path} cannot be read: {error.strerror}") from None
