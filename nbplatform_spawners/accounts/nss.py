"""The machine's own accounts as an account directory: what the name service switch knows, LDAP and SSSD included."""

from __future__ import annotations

import ctypes
import grp
import logging
import pwd

from ..errors import DirectoryUnavailable, Refusal
from ..identity import Account, Identity, IdRange
from ..mounts import clean_path
from ..names import bounded, is_safe
from .directory import NotLinked, UnknownAccount
from .group_names import DroppedNames

_FIRST_ROOM = 64
_MOST_ROOM = 65536
"""Linux gives a process at most this many supplementary groups."""


class NSSDirectory:
    """Accounts as ``getent passwd NAME`` and ``id NAME`` show them.

    Supplementary groups whose gid is outside the range are left out, not refused: what ``docker``, ``sudo`` or
    ``adm`` mean on the hub's machine must not reach a notebook.  The end of an account is not known to NSS.

    Args:
        allowed: the gids that servers may have.
        log: told once of each group whose name is not safe; nobody is told when None.
    """

    absence_is_proof = False  # glibc tells "no such name" and "the directory server is down" apart nowhere

    def __init__(self, allowed: IdRange, log: logging.Logger | None = None) -> None:
        self.allowed = allowed
        self._dropped = DroppedNames(log)

    def lookup(self, name: str) -> Account:
        """Return the account of this name; see ``AccountDirectory.lookup``."""
        try:
            entry = pwd.getpwnam(name)
        except (KeyError, ValueError, UnicodeError):  # a NUL or a lone surrogate cannot be asked for
            raise UnknownAccount(name) from None
        except OSError as error:
            raise DirectoryUnavailable(f"the machine's accounts cannot be asked: {error.strerror}") from None
        if entry.pw_name != name:
            message = f"account {bounded(name)}: the machine knows it as {bounded(entry.pw_name)}; use that name"
            raise Refusal("account", message)
        named, unnamed = self._groups(name, entry.pw_gid)
        primary = next((group for group, gid in named.items() if gid == entry.pw_gid), None)
        identity = Identity(
            name=name,
            uid=entry.pw_uid,
            gid=entry.pw_gid,
            groups=named,
            primary_group=primary,
            home=_shortest(name, "home", entry.pw_dir),
            shell=_shortest(name, "shell", entry.pw_shell or "/bin/sh"),  # as passwd(5) says
            unnamed_gids=tuple(unnamed),
        )
        return Account(identity)

    def lookup_federated(self, provider: str, subject: str) -> Account:
        """Refuse: nothing links accounts of the machine; see ``AccountDirectory.lookup_federated``."""
        raise NotLinked(provider, subject)

    def _groups(self, name: str, primary: int) -> tuple[dict[str, int], list[int]]:
        named: dict[str, int] = {}
        unnamed = []
        others = [gid for gid in group_ids(name, primary) if gid != primary]
        kept = [gid for gid in others if self.allowed.gid_min <= gid <= self.allowed.gid_max]
        for gid in (primary, *sorted(kept)):  # the primary group first: it keeps its name when two share one
            group = _group_name(gid)
            if group is not None and is_safe(group) and group not in named:
                named[group] = gid
                continue
            unnamed.append(gid)
            if group is not None and not is_safe(group):
                self._dropped.tell(group, gid)
        return named, unnamed


def group_ids(name: str, primary: int) -> list[int]:
    """Return every gid of an account, ``primary`` included.

    ``os.getgrouplist`` does the same but holds the interpreter's lock meanwhile: a slow directory server would stop
    the whole hub.  ``ctypes`` gives the lock away.

    Args:
        name: the account.
        primary: its primary gid.

    Raises:
        DirectoryUnavailable: the answer does not fit.
    """
    libc = ctypes.CDLL(None)
    room = _FIRST_ROOM
    while room <= _MOST_ROOM:
        gids = (ctypes.c_uint32 * room)()
        count = ctypes.c_int(room)
        if libc.getgrouplist(name.encode(), ctypes.c_uint32(primary), gids, ctypes.byref(count)) >= 0:
            return list(gids[: count.value])
        room = max(count.value, room * 2)
    raise DirectoryUnavailable(f"account {bounded(name)} is in more than {_MOST_ROOM} groups")


def _group_name(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


def _shortest(name: str, what: str, path: str) -> str:
    try:
        return clean_path(path)
    except ValueError as error:
        raise Refusal("account", f"account {bounded(name)}: the {what} {bounded(path)} is refused: {error}") from None
