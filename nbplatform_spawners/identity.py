"""Who a server runs as: numeric, checked, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from .errors import Refusal
from .mounts import clean_path
from .names import bounded, is_safe

MAX_ID = 2**32 - 2
"""The largest uid or gid; 2**32 - 1 means "no change" to chown(2)."""


@dataclass(frozen=True)
class IdRange:
    """The uids and gids that a server may run with, both ends included.

    Attributes:
        uid_min, uid_max: range of the uid.
        gid_min, gid_max: range of the primary gid and of every supplementary gid.
    """

    uid_min: int = 1000
    uid_max: int = MAX_ID
    gid_min: int = 1000
    gid_max: int = MAX_ID


@dataclass(frozen=True)
class Identity:
    """An account as the spawner needs it.

    Attributes:
        name: the hub's name of the user.
        uid, gid: numeric user and primary group; never 0.
        groups: name to gid of the primary and the supplementary groups.
        primary_group: name of the primary group; None when that name is not a safe one.
        home: absolute path of HOME.
        shell: absolute path of the login shell of terminals.
        provider: alias of the identity provider that Keycloak brokered; None for a local login.
        unnamed_gids: gids of groups whose names are unsafe: they are kept, but match no rule and fill no placeholder.

    Raises:
        Refusal: with the label ``account`` when a value is not safe.
    """

    name: str
    uid: int
    gid: int
    groups: Mapping[str, int]
    primary_group: str | None
    home: str
    shell: str = "/bin/bash"
    provider: str | None = None
    unnamed_gids: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        groups = dict(sorted(self.groups.items()))
        object.__setattr__(self, "groups", MappingProxyType(groups))
        object.__setattr__(self, "unnamed_gids", tuple(sorted(set(self.unnamed_gids))))
        self._check_names()
        for what, number in self._numbers():
            _check_id(self.name, what, number)
        if self.primary_group is not None and groups.get(self.primary_group) != self.gid:
            raise _refused(self.name, f"the primary group {self.primary_group!r} does not have the gid {self.gid}")
        for what, path in (("home", self.home), ("shell", self.shell)):
            _check_path(self.name, what, path)

    def __hash__(self) -> int:
        return hash((self.name, self.uid, self.gids, self.provider))

    def __reduce__(self) -> tuple[Any, ...]:
        return (identity_from_dict, (self.to_dict(),))

    def _check_names(self) -> None:
        if not is_safe(self.name) or self.name == "root":
            raise _refused(self.name, "this user name is not allowed here")
        for group in self.groups:
            if not is_safe(group):
                raise _refused(self.name, f"the group name {bounded(group)} is not a safe one")
        if self.provider is not None and not is_safe(self.provider):
            raise _refused(self.name, f"the identity provider {bounded(self.provider)} is not a safe name")

    def _numbers(self) -> list[tuple[str, int]]:
        named = [(f"gid of group {name}", gid) for name, gid in self.groups.items()]
        return [("uid", self.uid), ("gid", self.gid), *named, *(("gid", gid) for gid in self.unnamed_gids)]

    @property
    def gids(self) -> tuple[int, ...]:
        """The primary gid first, then every supplementary gid once, in ascending order."""
        others = {*self.groups.values(), *self.unnamed_gids} - {self.gid}
        return (self.gid, *sorted(others))

    def check(self, allowed: IdRange) -> None:
        """Check uid and gids against a range.

        Raises:
            Refusal: with the label ``account``, naming the number and the range.
        """
        refusal = self.outside(allowed)
        if refusal is not None:
            raise refusal

    def outside(self, allowed: IdRange) -> Refusal | None:
        """Return the refusal that ``check`` raises, or None when uid and gids are inside the range."""
        for what, number in self._numbers():
            low, high = (allowed.uid_min, allowed.uid_max) if what == "uid" else (allowed.gid_min, allowed.gid_max)
            if not low <= number <= high:
                return _refused(self.name, f"the {what}, {number}, is outside the allowed range {low} to {high}")
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the plain dict that is kept in ``auth_state["identity"]`` and in a server's state."""
        return {
            "name": self.name,
            "uid": self.uid,
            "gid": self.gid,
            "groups": dict(self.groups),
            "primary_group": self.primary_group,
            "home": self.home,
            "shell": self.shell,
            "provider": self.provider,
            "unnamed_gids": list(self.unnamed_gids),
        }


@dataclass(frozen=True)
class Account:
    """What an account directory says of one account.

    Attributes:
        identity: who it is.
        valid_until: the account ends at this time (aware); None when it has no end.
        as_of: when the directory said so (aware); None for just now.
    """

    identity: Identity
    valid_until: datetime | None = None
    as_of: datetime | None = None

    def refusal(self, now: datetime) -> Refusal | None:
        """Return why the account may not be used at the aware time ``now``, or None."""
        if self.valid_until is not None and now >= self.valid_until:
            ended = self.valid_until.isoformat(timespec="minutes")
            return _refused(self.identity.name, f"it ended on {ended}")
        return None


def identity_from_dict(plain: object) -> Identity:
    """Return the identity that ``Identity.to_dict`` made plain.

    Raises:
        Refusal: with the label ``account``, when anything is missing or has the wrong type.
    """
    if not isinstance(plain, Mapping):
        raise Refusal("account", "your stored identity is unreadable; log in again")
    try:
        return Identity(
            name=plain["name"],
            uid=plain["uid"],
            gid=plain["gid"],
            groups=dict(plain["groups"]),
            primary_group=plain["primary_group"],
            home=plain["home"],
            shell=plain["shell"],
            provider=plain.get("provider"),
            unnamed_gids=tuple(plain.get("unnamed_gids", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refusal("account", "your stored identity is incomplete; log in again") from error


def _refused(name: object, why: str) -> Refusal:
    return Refusal("account", f"account {bounded(name)}: {why}")


def _check_id(name: str, what: str, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= MAX_ID:
        raise _refused(name, f"the {what}, {bounded(number)}, is not a number from 1 to {MAX_ID}")


def _check_path(name: str, what: str, path: object) -> None:
    try:
        clean = clean_path(path) if isinstance(path, str) else None
    except ValueError as error:
        raise _refused(name, f"the {what} {bounded(path)} is refused: {error}") from None
    if clean is None or clean != path or clean == "/":
        raise _refused(name, f"the {what} {bounded(path)} is not an absolute path in its shortest form")
