"""The settings of the pool of guest accounts as a value: pure, strict, every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import yaml

from ..identity import MAX_ID, Account, Identity
from ..mounts import clean_path
from ..names import MAX_NAME, bounded, is_safe
from ..rules.units import parse_duration
from ..yaml_nodes import YamlReader
from .settings_file import Section, parse_file, read_settings

KEYS = ("prefix", "first_uid", "count", "gid", "groups", "home", "shell", "expires_after", "providers", "record")
MAX_COUNT = 10_000


@dataclass(frozen=True)
class GuestSettings:
    """Which accounts guests get.

    Attributes:
        prefix: account number N is called ``PREFIX`` and N, counted from 1, without zeros.
        first_uid: of account number 1; the others follow.
        count: how many accounts there are.
        gid: of the primary group of all.
        groups: name to gid of groups that all are in.
        home: path of HOME with the placeholder ``{name}``.
        shell: login shell of terminals.
        expires_after: seconds from the first login to the end of the account; None for no end.
        providers: aliases of the identity providers whose people may be guests.
        record: absolute path of the file that says who has which account; empty for one beside the settings.
    """

    prefix: str
    first_uid: int
    count: int
    gid: int
    expires_after: int | None
    providers: tuple[str, ...]
    groups: Mapping[str, int] = field(default_factory=dict)
    home: str = "/home/{name}"
    shell: str = "/bin/bash"
    record: str = ""

    def name(self, number: int) -> str:
        """Return the name of the account with this number."""
        return f"{self.prefix}{number}"

    def uid(self, number: int) -> int:
        """Return the uid of the account with this number."""
        return self.first_uid + number - 1

    def account(self, name: str, uid: int, provider: str, until: datetime | None) -> Account:
        """Return a recorded account with what the settings say of all.

        Raises:
            Refusal: ``account``: a value is not safe.
        """
        own = sorted(group for group, gid in self.groups.items() if gid == self.gid)
        identity = Identity(
            name=name,
            uid=uid,
            gid=self.gid,
            groups=dict(self.groups),
            primary_group=own[0] if own else None,
            home=self.home.replace("{name}", name),
            shell=self.shell,
            provider=provider,
        )
        return Account(identity, until)


def parse_guest_settings(content: bytes, file: str) -> GuestSettings:
    """Return what a settings file of a pool of guests says.

    Args:
        content: the file's bytes.
        file: its name, for mistakes.

    Raises:
        BadFile: with every mistake.
    """
    return read_settings(content, file, _read)


def _read(reader: YamlReader, root: yaml.Node) -> GuestSettings:
    top = Section(reader, root, "the settings", KEYS)
    settings = GuestSettings(
        prefix=top.needed("prefix", _parse_prefix, "guest"),
        first_uid=top.needed("first_uid", _parse_id, 1),
        count=top.needed("count", _parse_count, 1),
        gid=top.needed("gid", _parse_id, 1),
        expires_after=top.needed("expires_after", _parse_expiry, (None,))[0],
        providers=top.several("providers", _parse_alias),
        groups=MappingProxyType(top.pairs("groups", _parse_id, {})),
        home=top.value("home", _parse_home, "/home/{name}"),
        shell=top.value("shell", _parse_path, "/bin/bash"),
        record=top.value("record", parse_file, ""),
    )
    for group in settings.groups:
        if not is_safe(group):
            top.wrong("groups", f"the name {bounded(group)} is not a safe one")
    if settings.uid(settings.count) > MAX_ID:
        top.wrong("count", f"the last uid is more than {MAX_ID}")
    if len(settings.name(settings.count)) > MAX_NAME:
        top.wrong("prefix", f"the last name has more than {MAX_NAME} characters")
    return settings


def _parse_prefix(text: str) -> str:
    if not is_safe(text) or text != text.lower() or text[-1].isdigit():
        raise ValueError("a safe name in lower case that does not end with a digit is expected, such as guest")
    return text


def _parse_id(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID)) else 0
    if not 0 < number <= MAX_ID:
        raise ValueError(f"a number from 1 to {MAX_ID} is expected")
    return number


def _parse_count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_COUNT)) else 0
    if not 0 < number <= MAX_COUNT:
        raise ValueError(f"a number from 1 to {MAX_COUNT} is expected")
    return number


def _parse_expiry(text: str) -> tuple[int | None]:
    """Return the seconds in a tuple, since None means ``never`` here and a mistake elsewhere."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError("more than nothing is expected; write never for accounts without an end")
    return (seconds,)


def _parse_home(text: str) -> str:
    if "{name}" not in text:
        raise ValueError("a path with the placeholder {name} is expected: guests must not share a home")
    shown = _parse_path(text.replace("{name}", "name"))
    if "{" in shown or "}" in shown:
        raise ValueError("there is no other placeholder than {name}")
    return text


def _parse_path(text: str) -> str:
    if clean_path(text) != text or text == "/":
        raise ValueError("an absolute path without repeated or trailing slashes is expected")
    return text


def _parse_alias(text: str) -> str:
    if not is_safe(text):
        raise ValueError("the alias of an identity provider is expected, as Keycloak has it")
    return text
