"""The small files of a server's own ``/etc``: names resolve inside, and nobody needs an account on the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import Refusal
from ..identity import Identity
from ..names import bounded

GENERATED = ("passwd", "group", "nsswitch.conf")
NOBODY = 65534
_NO_LOGIN = "/usr/sbin/nologin"
_NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
_PASSWD = f"root:x:0:0:root:/root:{_NO_LOGIN}\nnobody:x:{NOBODY}:{NOBODY}:nobody:/nonexistent:{_NO_LOGIN}\n"
_GROUP = f"root:x:0:\nnogroup:x:{NOBODY}:\n"
_ID = 2
"""Field of the number in a line of ``passwd`` or ``group``."""


def etc_files(identity: Identity) -> Mapping[str, str]:
    """Return name (one of ``GENERATED``) to text.

    Raises:
        Refusal: with the label ``account``, when a path of the account cannot stand in ``passwd``.
    """
    return {"passwd": merged_passwd(identity), "group": merged_group(identity), "nsswitch.conf": _NSSWITCH}


def merged_passwd(identity: Identity, text: str = "") -> str:
    """Return ``text``, a ``passwd`` file, with the account's line first; it replaces lines of that name or number.

    Args:
        identity: whose account.
        text: of the file; empty for the least that a system has.

    Raises:
        Refusal: with the label ``account``, when a path of the account cannot stand in ``passwd``.
    """
    for what, path in (("home", identity.home), ("shell", identity.shell)):
        if ":" in path:
            raise Refusal("account", f"account {bounded(identity.name)}: the {what} {bounded(path)} holds a colon")
    line = f"{identity.name}:x:{identity.uid}:{identity.gid}:{identity.name}:{identity.home}:{identity.shell}"
    return _merged([line], text or _PASSWD)


def merged_group(identity: Identity, text: str = "") -> str:
    """Return ``text``, a ``group`` file, with one line for each group of the account before the others.

    The primary group comes first, so that its name is the one found for its gid.  Lines of the same name or number
    are replaced.

    Args:
        identity: whose groups.
        text: of the file; empty for the least that a system has.
    """
    groups = sorted(identity.groups.items(), key=lambda item: (item[0] != identity.primary_group, item))
    named = set(identity.groups.values())
    groups += [(f"gid{gid}", gid) for gid in identity.gids if gid not in named]
    return _merged([f"{name}:x:{gid}:{identity.name}" for name, gid in groups], text or _GROUP)


def _merged(own: Iterable[str], text: str) -> str:
    lines = list(own)
    names, numbers = ({line.split(":")[field] for line in lines} for field in (0, _ID))
    for line in text.split("\n"):
        fields = line.split(":")
        if line and fields[0] not in names and (len(fields) <= _ID or fields[_ID] not in numbers):
            lines.append(line)
    return "\n".join(lines) + "\n"
