"""The accounts file as a value: pure, strict, every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

import yaml

from ..errors import BadFile, Mistake, Refusal
from ..identity import MAX_ID, Account, Identity
from ..mounts import clean_path
from ..names import bounded, is_safe
from ..rules.units import parse_time
from ..yaml_nodes import Entry, YamlReader, suggestion
from .directory import UnknownAccount
from .hashes import hash_problem
from .pairs import normal_name, parse_provider, parse_subject

ACCOUNT_KEYS = ("uid", "group", "groups", "home", "shell", "valid_until", "password", "federated")
MAX_FILE = 16 * 1024**2
"""Bytes that an accounts file may have."""
_WORD = re.compile(r"[A-Za-z0-9_-]{0,40}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
T = TypeVar("T")


@dataclass(frozen=True)
class AccountsFile:
    """What one accounts file says.

    Attributes:
        accounts: by the hub's name of the user.
        refusals: accounts whose identity is not safe (uid 0, a hostile name), each with the reason; by name.
        groups: every group's gid by name.
        unsafe_groups: line of each group whose name is not safe: its gid is kept, its name matches nothing.
        federated: (identity provider, subject) to the name of the account.
        password_hashes: Argon2 hash by name, of those accounts that have one; kept out of the text form.
    """

    accounts: Mapping[str, Account]
    refusals: Mapping[str, Refusal]
    groups: Mapping[str, int]
    unsafe_groups: Mapping[str, int]
    federated: Mapping[tuple[str, str], str] = field(repr=False)
    password_hashes: Mapping[str, str] = field(repr=False)

    def lookup(self, name: str) -> Account:
        """Return the account of this name; case does not matter.

        Raises:
            UnknownAccount: there is none.
            Refusal: ``account``: its identity is not safe.
        """
        key = normal_name(name)
        if key in self.refusals:
            refusal = self.refusals[key]
            raise Refusal(refusal.reason, refusal.message)
        if key not in self.accounts:
            raise UnknownAccount(name)
        return self.accounts[key]


@dataclass(frozen=True)
class _Row:
    """One account as written; None where nothing (or nothing readable) is written."""

    name: str
    uid: int | None = None
    group: str | None = None
    groups: tuple[str, ...] = ()
    home: str | None = None
    shell: str | None = None
    valid_until: datetime | None = None
    password: str | None = None
    federated: tuple[tuple[str, str], ...] = ()


def parse_accounts(content: bytes, file: str) -> AccountsFile:
    """Return what an accounts file says.

    Names of accounts are lower-cased, as JupyterHub does.

    Args:
        content: the file's bytes.
        file: its name, for mistakes.

    Raises:
        BadFile: with every mistake.
    """
    if len(content) > MAX_FILE:
        raise BadFile([Mistake(file, 0, f"the file is larger than {MAX_FILE} bytes")])
    parser = _Parser(YamlReader(file))
    result = parser.read(content)
    if parser.reader.mistakes or result is None:
        raise BadFile(parser.reader.mistakes)
    return result


class _Parser:
    """Walks one accounts file; ``reader`` collects the mistakes."""

    def __init__(self, reader: YamlReader) -> None:
        self.reader = reader
        self.groups: dict[str, int] = {}
        self.unsafe_groups: dict[str, int] = {}
        self.uids: dict[int, str] = {}
        self.federated: dict[tuple[str, str], str] = {}
        self.rows: dict[str, _Row] = {}

    def read(self, content: bytes) -> AccountsFile | None:
        root = self.reader.compose(content)
        if root is None:
            if not self.reader.mistakes:
                self.reader.wrong(1, "the file is empty; it needs the keys 'groups' and 'accounts'")
            return None
        sections = {
            entry.key: entry for entry in self.reader.entries(root, "the accounts file", ("groups", "accounts"))
        }
        if "groups" in sections:
            self._read_groups(sections["groups"])
        if "accounts" in sections:
            self._read_accounts(sections["accounts"])
        elif isinstance(root, yaml.MappingNode):
            self.reader.wrong(root, "the key 'accounts' is missing")
        return None if self.reader.mistakes else self._result()

    def _read_groups(self, section: Entry) -> None:
        gids: dict[int, str] = {}
        for entry in self.reader.entries(section.node, "groups"):
            what = f"group {bounded(entry.key)}"
            gid = self.reader.convert(entry.node, what, _parse_id)
            self.groups[entry.key] = -1 if gid is None else gid
            if not is_safe(entry.key):
                self.unsafe_groups[entry.key] = entry.line
            if gid in gids:
                self.reader.wrong(entry.line, f"{what}: the gid {gid} is that of group {bounded(gids[gid])}")
            elif gid is not None:
                gids[gid] = entry.key

    def _read_accounts(self, section: Entry) -> None:
        found = False
        for entry in self.reader.entries(section.node, "accounts"):
            found = True
            name, what = normal_name(entry.key), f"account {bounded(entry.key)}"
            if name in self.rows:
                self.reader.wrong(entry.line, f"{what}: stands here twice (case does not matter)")
            else:
                self.rows[name] = self._read_account(name, what, entry)
        if not found and isinstance(section.node, yaml.MappingNode) and not section.node.value:
            self.reader.wrong(section.line, "accounts: there is no account")

    def _read_account(self, name: str, what: str, account: Entry) -> _Row:
        written = {entry.key: entry.node for entry in self._account_entries(account.node, what)}
        if isinstance(account.node, yaml.MappingNode):
            for key in ("uid", "group"):
                if key not in written:
                    self.reader.wrong(account.line, f"{what}: the key {key!r} is missing")
        uid = self._convert(written, "uid", what, _parse_id)
        if uid and self.uids.setdefault(uid, name) != name:
            owner = bounded(self.uids[uid])
            self.reader.wrong(written["uid"], f"{what}: the uid {uid} is that of account {owner}")
        return _Row(
            name=name,
            uid=uid,
            group=self._group(written["group"], f"{what}: group") if "group" in written else None,
            groups=self._groups(written["groups"], f"{what}: groups") if "groups" in written else (),
            home=self._convert(written, "home", what, _parse_path),
            shell=self._convert(written, "shell", what, _parse_path),
            valid_until=self._convert(written, "valid_until", what, parse_time),
            password=self._password(written["password"], f"{what}: password") if "password" in written else None,
            federated=self._pairs(written["federated"], what, name) if "federated" in written else (),
        )

    def _account_entries(self, node: yaml.Node, what: str) -> Iterable[Entry]:
        for entry in self.reader.entries(node, what):
            if entry.key in ACCOUNT_KEYS:
                yield entry
            else:
                self.reader.wrong(entry.line, f"{what}: unknown key {_shown_key(entry.key)}")

    def _convert(self, written: Mapping[str, yaml.Node], key: str, what: str, parser: Callable[[str], T]) -> T | None:
        return self.reader.convert(written[key], f"{what}: {key}", parser) if key in written else None

    def _group(self, node: yaml.Node, what: str) -> str | None:
        name = self.reader.text(node, what)
        if name is not None and name not in self.groups:
            self.reader.wrong(node, f"{what}: unknown group {bounded(name)}{suggestion(name, self.groups)}")
            return None
        return name

    def _groups(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        names = [self._group(item, what) for item in self.reader.items(node, what)]
        return tuple(name for name in names if name is not None)

    def _password(self, node: yaml.Node, what: str) -> str | None:
        text = self.reader.text(node, what)
        if text is None:
            return None
        problem = hash_problem(text)
        if problem:  # never shown: it may be the password itself
            self.reader.wrong(node, f"{what}: {problem}")
            return None
        return text

    def _pairs(self, node: yaml.Node, what: str, name: str) -> tuple[tuple[str, str], ...]:
        what = f"{what}: federated"
        pairs = []
        for item in self.reader.items(node, what):
            written = {entry.key: entry.node for entry in self.reader.entries(item, what, ("provider", "subject"))}
            if isinstance(item, yaml.MappingNode):
                for key in {"provider", "subject"} - set(written):
                    self.reader.wrong(item, f"{what}: the key {key!r} is missing")
            provider = self._convert(written, "provider", what, parse_provider)
            subject = self._convert(written, "subject", what, parse_subject)
            if provider is None or subject is None:
                continue
            owner = self.federated.setdefault((provider, subject), name)
            if owner != name or (provider, subject) in pairs:
                self.reader.wrong(item, f"{what}: this provider and subject are those of account {bounded(owner)}")
            pairs.append((provider, subject))
        return tuple(pairs)

    def _result(self) -> AccountsFile:
        accounts: dict[str, Account] = {}
        refusals: dict[str, Refusal] = {}
        for name, row in self.rows.items():
            try:
                accounts[name] = Account(self._identity(row), row.valid_until)
            except Refusal as refusal:
                refusals[name] = refusal
        return AccountsFile(
            accounts=MappingProxyType(accounts),
            refusals=MappingProxyType(refusals),
            groups=MappingProxyType(self.groups),
            unsafe_groups=MappingProxyType(self.unsafe_groups),
            federated=MappingProxyType(self.federated),
            password_hashes=MappingProxyType({row.name: row.password for row in self.rows.values() if row.password}),
        )

    def _identity(self, row: _Row) -> Identity:
        assert row.uid is not None  # noqa: S101 - both keys are required: their absence is a mistake
        assert row.group is not None  # noqa: S101
        names = {row.group, *row.groups}
        return Identity(
            name=row.name,
            uid=row.uid,
            gid=self.groups[row.group],
            groups={name: self.groups[name] for name in names if is_safe(name)},
            primary_group=row.group if is_safe(row.group) else None,
            home=f"/home/{row.name}" if row.home is None else row.home,
            shell="/bin/bash" if row.shell is None else row.shell,
            unnamed_gids=tuple(self.groups[name] for name in names if not is_safe(name)),
        )


def _shown_key(key: str) -> str:
    # Only its first word: {password:secret} without a space, or a hash without quotes, is one long key.
    word = _WORD.match(key)
    shown = word[0] if word else ""
    if shown == key:
        return bounded(key) + suggestion(key, ACCOUNT_KEYS)
    return f"that begins with {bounded(shown)}; is a space behind ':' missing, or are quotes?"


def _parse_id(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_ID:
        raise ValueError(f"a number from 1 to {MAX_ID} is expected")
    return int(text)  # 0 is a number: the account that has it is refused, the file is not


def _parse_path(text: str) -> str:
    clean = clean_path(text)
    if clean != text or clean == "/":
        raise ValueError("an absolute path without repeated or trailing slashes is expected")
    return text
