"""From the entries of an LDAP directory to an account: pure, and nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..errors import Refusal
from ..identity import Account, Identity, IdRange
from ..mounts import clean_path
from ..names import bounded, is_safe
from .ends import END_KINDS
from .filters import escape
from .granted import Granted, granted
from .ldap_settings import ANY_VALUE, AccountSettings, GroupSettings

_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,19}")


@dataclass(frozen=True)
class LdapEntry:
    """One entry as a server gave it.

    Attributes:
        dn: its distinguished name.
        values: lower-cased name of an attribute to its values.
    """

    dn: str
    values: Mapping[str, tuple[bytes, ...]]

    @classmethod
    def of(cls, dn: str, attributes: Mapping[str, Sequence[bytes]]) -> LdapEntry:
        """Return the entry with these attributes; their names are compared without regard to case, as LDAP has it."""
        return cls(dn, {name.lower(): tuple(values) for name, values in attributes.items()})

    def texts(self, attribute: str) -> tuple[str, ...]:
        """Return an attribute's values.

        Raises:
            Refusal: ``account``: one of them is not UTF-8 text.
        """
        try:
            return tuple(value.decode("utf-8") for value in self.values.get(attribute.lower(), ()))
        except UnicodeDecodeError:
            raise refused(self.dn, f"the directory's attribute {attribute} is no text") from None


def account_filter(settings: AccountSettings, name: str) -> str:
    """Return the filter that finds the account of a name."""
    return f"(&{settings.filter}({settings.name}={escape(name)}))"


def anybody_filter(settings: AccountSettings) -> str:
    """Return the filter that finds every account with a name."""
    return f"(&{settings.filter}({settings.name}=*))"


def account_attributes(settings: AccountSettings) -> list[str]:
    """Return the attributes of an account that are asked for."""
    link = settings.federated.compared if settings.federated else ()
    named = (settings.name, settings.uid, settings.gid, settings.home, settings.shell)
    return list(dict.fromkeys((*named, *settings.ends, *settings.locks, *(attribute for attribute, _ in link))))


def group_filter(settings: GroupSettings, name: str, dn: str, gid: int) -> str:
    """Return the filter that finds the groups of an account, the primary one included."""
    of = {"name": escape(name), "dn": escape(dn)}
    members = "".join(f"({attribute}={of[kind]})" for attribute, kind in settings.members.items())
    return f"(&{settings.filter}(|({settings.gid}={gid}){members}))"


def name_of(entry: LdapEntry, settings: AccountSettings) -> str:
    """Return the one name of an account: its only value, or of several the one in its distinguished name.

    Raises:
        Refusal: ``account``: there is none, or none of several stands out.
    """
    names = entry.texts(settings.name)
    if len(names) > 1:
        first = re.match(rf"{re.escape(settings.name)}=([A-Za-z0-9_.@-]+)(?:,|\Z)", entry.dn, re.IGNORECASE)
        names = tuple(name for name in names if first is not None and name == first[1])
    if len(names) != 1:
        raise refused(entry.dn, f"its entry has no single {settings.name}")
    return names[0]


def check_name(entry: LdapEntry, settings: AccountSettings, name: str) -> None:
    """Check that an entry is that of exactly this name.

    Raises:
        Refusal: ``account``: the directory compares names without regard to case, and this is another one.
    """
    found = name_of(entry, settings)
    if found != name:
        raise refused(name, f"the directory knows it as {bounded(found)}; use that name")


def is_linked(entry: LdapEntry, compared: Iterable[tuple[str, str]]) -> bool:
    """Tell whether an entry has every one of these attributes and values, letter by letter."""
    return all(value in entry.texts(attribute) for attribute, value in compared)


def number_of(entry: LdapEntry, attribute: str, shown: str) -> int:
    """Return the only value of an attribute, a whole number as it is written without zeros before it.

    Raises:
        Refusal: ``account``: none, several, or no such number.
    """
    values = entry.texts(attribute)
    if len(values) != 1 or not _NUMBER.fullmatch(values[0]):
        what = f"is {bounded(values[0])}, no number" if len(values) == 1 else f"has {len(values)} values, not one"
        raise refused(shown, f"its {attribute} {what}")
    return int(values[0])


def account_of(
    entry: LdapEntry, groups: Iterable[tuple[str, int]], settings: AccountSettings, allowed: IdRange
) -> tuple[Account, Granted]:
    """Return the account that an entry describes, and what became of its groups.

    Args:
        entry: of the account.
        groups: name and gid of each of its groups; those with the primary gid may be among them.
        settings: which attribute is what.
        allowed: the gids that servers may have.

    Raises:
        Refusal: ``account``: it is locked, or a value is missing, ambiguous or not safe.
    """
    name = name_of(entry, settings)
    _check_lock(entry, settings, name)
    gid = number_of(entry, settings.gid, name)
    got = granted(_one_primary(groups, gid), gid, allowed)
    identity = Identity(
        name=name,
        uid=number_of(entry, settings.uid, name),
        gid=gid,
        groups=got.named,
        primary_group=got.primary,
        home=_home(entry, settings, name),
        shell=_path(name, settings.shell, _at_most_one(entry, settings.shell, name) or "/bin/sh"),  # as passwd(5) says
        unnamed_gids=got.unnamed,
    )
    return Account(identity, _end(entry, settings, name)), got


def groups_of(entries: Iterable[LdapEntry], settings: GroupSettings) -> tuple[list[tuple[str, int]], list[str]]:
    """Return name and gid of each group, and the distinguished names of those that have no single name or gid."""
    found, unusable = [], []
    for entry in entries:
        try:
            (name,) = entry.texts(settings.name)
            found.append((name, number_of(entry, settings.gid, name)))
        except (Refusal, ValueError):
            unusable.append(entry.dn)
    return found, unusable


def refused(name: str, why: str) -> Refusal:
    """Return a refusal of an account."""
    return Refusal("account", f"account {bounded(name)}: {why}")


def _one_primary(groups: Iterable[tuple[str, int]], gid: int) -> list[tuple[str, int]]:
    """Return the groups with one name for the primary gid: the first in name order of those that are safe."""
    groups = list(groups)
    primary = sorted((name, number) for name, number in groups if number == gid)
    safe = [pair for pair in primary if is_safe(pair[0])]
    return [*(safe or primary)[:1], *(pair for pair in groups if pair[1] != gid)]


def _check_lock(entry: LdapEntry, settings: AccountSettings, name: str) -> None:
    for attribute, locking in settings.locks.items():
        values = entry.texts(attribute)
        if values and (locking == ANY_VALUE or locking.lower() in (value.lower() for value in values)):
            raise refused(name, "it is locked in the directory")


def _home(entry: LdapEntry, settings: AccountSettings, name: str) -> str:
    written = _at_most_one(entry, settings.home, name)
    if written is None and settings.home_template is None:
        raise refused(name, f"its entry has no {settings.home}")
    return _path(name, settings.home, written or (settings.home_template or "").replace("{name}", name))


def _at_most_one(entry: LdapEntry, attribute: str, name: str) -> str | None:
    values = entry.texts(attribute)
    if len(values) > 1:
        raise refused(name, f"its {attribute} has {len(values)} values, not one")
    return values[0] if values else None


def _path(name: str, attribute: str, path: str) -> str:
    try:
        return clean_path(path)
    except ValueError as error:
        raise refused(name, f"its {attribute} {bounded(path)} is refused: {error}") from None


def _end(entry: LdapEntry, settings: AccountSettings, name: str) -> datetime | None:
    """Return the earliest end that any of the attributes says."""
    ends = []
    for attribute, kind in settings.ends.items():
        for text in entry.texts(attribute):
            try:
                ends.append(END_KINDS[kind](text))
            except ValueError as error:
                raise refused(name, f"its {attribute} {bounded(text)} cannot be read: {error}") from None
    return min((end for end in ends if end is not None), default=None)
