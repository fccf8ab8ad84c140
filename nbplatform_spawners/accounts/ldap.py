"""An LDAP server's posixAccount and posixGroup entries as an account directory (RFC 2307 and RFC 2307bis)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..errors import BadFile, DirectoryUnavailable, Mistake, Refusal
from ..identity import Account, IdRange
from ..names import bounded
from . import ldap_entries
from .cached import CachedDirectory
from .directory import AccountDirectory, NotLinked, UnknownAccount
from .group_names import DroppedNames
from .ldap_entries import LdapEntry
from .ldap_settings import LdapSettings, parse_ldap_settings
from .secret_file import check_readable, read_secret

try:
    from .ldap_connection import Connection, Found
    from .ldap_servers import Servers
except ModuleNotFoundError as error:
    if error.name != "ldap":
        raise
    raise ValueError("accounts in LDAP need python-ldap; install nbplatform-spawners[ldap]") from None

_ENOUGH = 8
"""Entries that are looked at to find the one: a server that ignores case finds those of others, too."""


def open_ldap(path: Path, allowed: IdRange, log: logging.Logger | None) -> AccountDirectory:
    """Return the directory that a settings file describes, with its cache; no server is asked yet.

    Args:
        path: of the settings file; read once.
        allowed: the gids that servers may have.
        log: see :class:`LdapDirectory`.

    Raises:
        BadFile: it holds mistakes or cannot be read.
        DirectoryUnavailable: the password's file, or that of the authority's certificates, cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFile([Mistake(str(path), 0, f"cannot be read: {error.strerror}")]) from None
    settings = parse_ldap_settings(content, path.name)
    if settings.bind_password_file:
        read_secret(settings.bind_password_file)
    check_readable(settings.ca_file)
    directory = LdapDirectory(settings, allowed, log)
    return CachedDirectory(directory, settings.cache) if settings.cache else directory


class LdapDirectory:
    """Accounts of an LDAP server.

    Each lookup is two searches on one connection: for the account, of which there must be exactly one, and for its
    groups, the primary one included.  Every value in a filter is escaped, and what comes back is compared letter by
    letter with what was asked for: the server itself mostly compares without regard to case.  Referrals are never
    followed.

    Args:
        settings: where and what.
        allowed: the gids that servers may have; supplementary groups outside are left out.
        log: told of servers that fail and of groups that are left out or have no safe name; nobody when None.
    """

    absence_is_proof = True

    def __init__(self, settings: LdapSettings, allowed: IdRange, log: logging.Logger | None = None) -> None:
        self.settings = settings
        self.allowed = allowed
        self._servers = Servers(settings, log)
        self._dropped = DroppedNames(log)
        if not settings.encrypted and log is not None:
            log.warning(
                "LDAP servers %s are asked without encryption: who reads the network reads the accounts and the"
                " password, and who changes it chooses anybody's uid",
                ", ".join(settings.servers),
            )

    def lookup(self, name: str) -> Account:
        """Return the account of this name; see ``AccountDirectory.lookup``."""
        if not _is_text(name):
            raise UnknownAccount(name)
        accounts = self.settings.accounts

        def question(connection: Connection) -> Account:
            filter_ = ldap_entries.account_filter(accounts, name)
            found = self._search(connection, filter_)
            entry = self._one(connection, found, name, lambda: UnknownAccount(name))
            ldap_entries.check_name(entry, accounts, name)
            return self._account(connection, entry, name)

        return self._servers.ask(question)

    def lookup_federated(self, provider: str, subject: str) -> Account:
        """Return the account linked to this pair; see ``AccountDirectory.lookup_federated``."""
        accounts, link = self.settings.accounts, self.settings.accounts.federated
        if link is None or not (provider and subject and _is_text(provider) and _is_text(subject)):
            raise NotLinked(provider, subject)

        exact = link.exact(provider, subject)

        def question(connection: Connection) -> Account:
            filter_ = f"(&{accounts.filter}{link.filled(provider, subject)})"
            found = self._search(connection, filter_)
            linked = replace(found, entries=tuple(one for one in found.entries if ldap_entries.is_linked(one, exact)))
            shown = f"{provider} {subject}"
            entry = self._one(connection, linked, shown, lambda: NotLinked(provider, subject))
            return self._account(connection, entry, ldap_entries.name_of(entry, accounts))

        return self._servers.ask(question)

    def _search(self, connection: Connection, filter_: str) -> Found:
        accounts = self.settings.accounts
        return connection.search(accounts.base, filter_, ldap_entries.account_attributes(accounts), most=_ENOUGH)

    def _one(self, connection: Connection, found: Found, shown: str, missing: Callable[[], Refusal]) -> LdapEntry:
        """Return the only entry that was found.

        Raises:
            Refusal: ``account``: there are several, or what ``missing`` returns.
            DirectoryUnavailable: there is none, and that proves nothing.
        """
        accounts = self.settings.accounts
        if found.more or len(found.entries) > 1:
            raise ldap_entries.refused(
                shown, "the directory has several entries for it, and does not say which is meant"
            )
        if found.entries:
            return found.entries[0]
        if found.referred:
            raise DirectoryUnavailable(
                "it refers to another server, which is not asked; name that one, or a lower base"
            )
        # An empty answer is what a server gives, too, that was filled anew or does not let us see its accounts.
        seen = connection.search(accounts.base, ldap_entries.anybody_filter(accounts), [accounts.name], most=1)
        if not seen.entries and not seen.more:
            base = bounded(accounts.base)
            raise DirectoryUnavailable(f"it shows no account at all below {base}: is it empty, or may we not look?")
        raise missing()

    def _account(self, connection: Connection, entry: LdapEntry, name: str) -> Account:
        accounts, groups = self.settings.accounts, self.settings.groups
        gid = ldap_entries.number_of(entry, accounts.gid, name)
        filter_ = ldap_entries.group_filter(groups, name, entry.dn, gid)
        found = connection.search(groups.base, filter_, [groups.name, groups.gid])
        pairs, unusable = ldap_entries.groups_of(found.entries, groups)
        account, got = ldap_entries.account_of(entry, pairs, accounts, self.allowed)
        for dn in unusable:
            self._dropped.tell_unusable(dn)
        self._dropped.tell_all(got)
        return account


def _is_text(text: str) -> bool:
    """Tell whether a text can be sent: a lone surrogate cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
