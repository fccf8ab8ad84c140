"""The small files of a server's own ``/etc``: names resolve inside, and nobody needs an account on the machine."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Refusal
from ..identity import Identity
from ..names import bounded

GENERATED = ("passwd", "group", "nsswitch.conf")
NOBODY = 65534
_NO_LOGIN = "/usr/sbin/nologin"
_NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"


def etc_files(identity: Identity) -> Mapping[str, str]:
    """Return name (one of ``GENERATED``) to text.

    Raises:
        Refusal: with the label ``account``, when a path of the account cannot stand in ``passwd``.
    """
    return {"passwd": _passwd(identity), "group": _group(identity), "nsswitch.conf": _NSSWITCH}


def _passwd(identity: Identity) -> str:
    for what, path in (("home", identity.home), ("shell", identity.shell)):
        if ":" in path:
            raise Refusal("account", f"account {bounded(identity.name)}: the {what} {bounded(path)} holds a colon")
    lines = [f"{identity.name}:x:{identity.uid}:{identity.gid}:{identity.name}:{identity.home}:{identity.shell}"]
    lines.append(f"root:x:0:0:root:/root:{_NO_LOGIN}")
    if identity.uid != NOBODY and identity.name != "nobody":
        lines.append(f"nobody:x:{NOBODY}:{NOBODY}:nobody:/nonexistent:{_NO_LOGIN}")
    return "\n".join(lines) + "\n"


def _group(identity: Identity) -> str:
    """Return one line a group, the primary one first, so that its name is the one found for its gid."""
    groups = sorted(identity.groups.items(), key=lambda item: (item[0] != identity.primary_group, item))
    named = set(identity.groups.values())
    groups += [(f"gid{gid}", gid) for gid in identity.gids if gid not in named]
    lines = [f"{name}:x:{gid}:{identity.name}" for name, gid in groups]
    used = {name for name, _ in groups} | {str(gid) for _, gid in groups}
    for name, gid in (("root", 0), ("nogroup", NOBODY)):
        if name not in used and str(gid) not in used:
            lines.append(f"{name}:x:{gid}:")
    return "\n".join(lines) + "\n"
