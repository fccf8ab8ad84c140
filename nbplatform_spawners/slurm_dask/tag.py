"""The tag that every job of a cluster carries in Slurm's ``comment``: which server of which hub it belongs to.

A tag is text that a user could write too: it names an owner, it proves none.  What acts on one compares the job's
Slurm user with the tag's as well.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass

MAX_TAG = 1024
"""Characters of a tag; Slurm keeps more, but shows every job's comment to every user."""
_VALUE = r"((?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})*)"
_TAG = re.compile(f"nbplatform/1 hub={_VALUE} user={_VALUE} server={_VALUE} run={_VALUE} cluster={_VALUE}")
_KEPT = re.compile(rb"[A-Za-z0-9_.~-]")
_QUOTED = re.compile(r"%([0-9A-F]{2})")


@dataclass(frozen=True)
class Tag:
    """Whose a job is.

    Attributes:
        hub: the hub's name, unique in the site; empty outside a hub.
        user: the user's name in the hub, which is the Slurm user's.
        server: the server's name in the hub; empty for the default server.
        run: one start of that server; empty when it is not known.
        cluster: the cluster's id.
    """

    hub: str
    user: str
    server: str
    run: str
    cluster: str

    def text(self) -> str:
        """Return the comment of the job.

        Raises:
            ValueError: a value is no Unicode text, or all of them are longer than ``MAX_TAG`` characters.
        """
        hub, user, server, run, cluster = (_quote(value) for value in astuple(self))
        text = f"nbplatform/1 hub={hub} user={user} server={server} run={run} cluster={cluster}"
        if len(text) > MAX_TAG:
            raise ValueError(f"the names of hub, user and server are too long for a job's comment of {MAX_TAG}")
        return text


def read_tag(text: object) -> Tag | None:
    """Return the tag that a comment holds; None for anything that ``Tag.text`` would not have written."""
    if not isinstance(text, str) or len(text) > MAX_TAG:
        return None
    found = _TAG.fullmatch(text)
    if found is None:
        return None
    try:
        tag = Tag(*(_unquote(value) for value in found.groups()))
        return tag if tag.text() == text else None
    except ValueError:
        return None


def _quote(value: str) -> str:
    """Return the value percent-encoded, as in a URL: what a shell, squeue's columns and JSON leave alone."""
    try:
        parts = (bytes([byte]) for byte in value.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError("a name in a job's tag is no Unicode text") from None
    return "".join(part.decode("ascii") if _KEPT.match(part) else f"%{part[0]:02X}" for part in parts)


def _unquote(value: str) -> str:
    raw = _QUOTED.sub(lambda found: chr(int(found[1], 16)), value).encode("latin-1")
    return raw.decode("utf-8")
