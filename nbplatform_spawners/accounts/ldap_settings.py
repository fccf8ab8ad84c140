"""The settings file of an LDAP directory as a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import yaml

from ..mounts import clean_path
from ..yaml_nodes import YamlReader
from .ends import END_KINDS
from .filters import LinkFilter, parse_attribute, parse_filter, parse_link_filter
from .settings_file import Section, one_of, parse_cache, parse_count, parse_file, parse_timeout, read_settings

_SERVER = re.compile(r"(?P<scheme>ldaps?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{1,5}))?/?")
_DN = re.compile(r"[^\x00-\x1f\x7f]*=[^\x00-\x1f\x7f]*")
_KEYS = (
    "servers",
    "encryption",
    "ca_file",
    "bind_dn",
    "bind_password_file",
    "timeout",
    "cache",
    "connections",
    "accounts",
    "groups",
)
_ACCOUNT_KEYS = (
    "base",
    "filter",
    "name",
    "uid",
    "gid",
    "home",
    "home_template",
    "shell",
    "valid_until",
    "locked",
    "federated",
)
_GROUP_KEYS = ("base", "filter", "name", "gid", "members")
ANY_VALUE = "*"
"""In ``locked``: the attribute locks, whatever it says."""


@dataclass(frozen=True)
class AccountSettings:
    """Where accounts are, and which attributes they have.

    Attributes:
        base: they are somewhere below this entry.
        filter: what an entry must be.
        name, uid, gid, home, shell: attributes.
        home_template: HOME of an entry without that attribute, with ``{name}``; None: it is refused.
        ends: attribute to the form in which it says when the account ends (``END_KINDS``).
        locks: attribute to the value that locks the account, or ``ANY_VALUE``.
        federated: who is linked to an identity provider and a subject; None: nobody is.
    """

    base: str = ""
    filter: str = "(objectClass=posixAccount)"
    name: str = "uid"
    uid: str = "uidNumber"
    gid: str = "gidNumber"
    home: str = "homeDirectory"
    home_template: str | None = None
    shell: str = "loginShell"
    ends: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"shadowExpire": "days"}))
    locks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    federated: LinkFilter | None = None


@dataclass(frozen=True)
class GroupSettings:
    """Where groups are, and which attributes they have.

    Attributes:
        base: they are somewhere below this entry.
        filter: what an entry must be.
        name, gid: attributes.
        members: attribute to what it holds of each member: ``name`` (RFC 2307) or ``dn`` (RFC 2307bis).
    """

    base: str = ""
    filter: str = "(objectClass=posixGroup)"
    name: str = "cn"
    gid: str = "gidNumber"
    members: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"memberUid": "name", "member": "dn"}))


@dataclass(frozen=True)
class LdapSettings:
    """How an LDAP directory is asked.

    Attributes:
        servers: addresses, tried in this order.
        encrypted: by TLS; False only where the file says ``encryption: none``.
        ca_file: who may have signed the servers' certificates; None: whom the machine's LDAP library trusts.
        bind_dn, bind_password_file: as whom to ask; None for anonymous.
        timeout: seconds for opening a connection, and for each question.
        cache: seconds for which an answer is kept; 0 for not at all.
        connections: how many are kept open for each server.
        accounts, groups: where they are.
    """

    servers: tuple[str, ...]
    encrypted: bool = True
    ca_file: str | None = None
    bind_dn: str | None = None
    bind_password_file: str | None = None
    timeout: int = 3
    cache: int = 300
    connections: int = 4
    accounts: AccountSettings = field(default_factory=AccountSettings)
    groups: GroupSettings = field(default_factory=GroupSettings)


def parse_ldap_settings(content: bytes, file: str) -> LdapSettings:
    """Return what the settings file of an LDAP directory says.

    Args:
        content: the file's bytes.
        file: its name, for mistakes.

    Raises:
        BadFile: with every mistake.
    """
    return read_settings(content, file, _read)


def _read(reader: YamlReader, root: yaml.Node) -> LdapSettings:
    top = Section(reader, root, "the settings", _KEYS)
    plain = LdapSettings(())
    settings = LdapSettings(
        servers=top.several("servers", _parse_server),
        encrypted=top.value("encryption", one_of("tls", "none"), "tls") == "tls",
        ca_file=top.value("ca_file", parse_file, None),
        bind_dn=top.value("bind_dn", _parse_dn, None),
        bind_password_file=top.value("bind_password_file", parse_file, None),
        timeout=top.value("timeout", parse_timeout, plain.timeout),
        cache=top.value("cache", parse_cache, plain.cache),
        connections=top.value("connections", parse_count, plain.connections),
        accounts=_accounts(top),
        groups=_groups(top),
    )
    if not settings.encrypted and any(server.startswith("ldaps:") for server in settings.servers):
        top.wrong("encryption", "'none' and a server with ldaps:// contradict each other")
    if (settings.bind_dn is None) != (settings.bind_password_file is None):
        top.wrong("bind_dn", "'bind_dn' and 'bind_password_file' belong together")
    return settings


def _part(top: Section, key: str, known: tuple[str, ...]) -> Section:
    top.need(key)
    return Section(top.reader, top.nodes.get(key), key, known)


def _accounts(top: Section) -> AccountSettings:
    part, plain = _part(top, "accounts", _ACCOUNT_KEYS), AccountSettings()
    ends = part.pairs("valid_until", one_of(*END_KINDS), plain.ends)
    locks = part.pairs("locked", _parse_lock, plain.locks)
    _check_attributes(part, "valid_until", ends)
    _check_attributes(part, "locked", locks)
    return AccountSettings(
        base=part.needed("base", _parse_dn, "") if "accounts" in top.nodes else "",
        filter=part.value("filter", parse_filter, plain.filter),
        name=part.value("name", parse_attribute, plain.name),
        uid=part.value("uid", parse_attribute, plain.uid),
        gid=part.value("gid", parse_attribute, plain.gid),
        home=part.value("home", parse_attribute, plain.home),
        home_template=part.value("home_template", _parse_home, None),
        shell=part.value("shell", parse_attribute, plain.shell),
        ends=MappingProxyType(ends),
        locks=MappingProxyType(locks),
        federated=part.value("federated", parse_link_filter, None),
    )


def _groups(top: Section) -> GroupSettings:
    part, plain = _part(top, "groups", _GROUP_KEYS), GroupSettings()
    members = part.pairs("members", one_of("name", "dn"), plain.members)
    _check_attributes(part, "members", members)
    if "members" in part.nodes and not members:
        part.wrong("members", "an attribute with 'name' or 'dn' is expected, such as memberUid: name")
    return GroupSettings(
        base=part.needed("base", _parse_dn, "") if "groups" in top.nodes else "",
        filter=part.value("filter", parse_filter, plain.filter),
        name=part.value("name", parse_attribute, plain.name),
        gid=part.value("gid", parse_attribute, plain.gid),
        members=MappingProxyType(members),
    )


def _check_attributes(part: Section, key: str, found: Mapping[str, str]) -> None:
    for name in found:
        try:
            parse_attribute(name)
        except ValueError as error:
            part.wrong(key, f"{name[:64]!a}: {error}")


def _parse_server(text: str) -> str:
    found = _SERVER.fullmatch(text)
    if found is None or not 0 < int(found["port"] or 1) < 65536:
        raise ValueError("ldaps://HOST, ldap://HOST or the same with :PORT is expected")
    return text.rstrip("/")


def _parse_dn(text: str) -> str:
    if not _DN.fullmatch(text) or len(text) > 1024:
        raise ValueError("a distinguished name is expected, such as ou=people,dc=example,dc=org")
    return text


def _parse_home(text: str) -> str:
    if "{name}" not in text or clean_path(text.replace("{name}", "x")) != text.replace("{name}", "x"):
        raise ValueError("an absolute path with {name} is expected, such as /home/{name}")
    return text


def _parse_lock(text: str) -> str:
    if not text.isprintable() or len(text) > 256:
        raise ValueError("printable text is expected, or '*' for any value")
    return text
