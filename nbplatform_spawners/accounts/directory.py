"""What every account directory answers, and how one is opened."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from ..errors import Refusal
from ..identity import Account, IdRange
from ..names import bounded


class UnknownAccount(Refusal):
    """The directory has no account of this name.

    Args:
        name: the name that was asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__("account", f"account {bounded(name)}: this site has no such account")
        self.name = name

    def __reduce__(self) -> tuple[type[UnknownAccount], tuple[str]]:
        return (UnknownAccount, (self.name,))


class NotLinked(Refusal):
    """No account of the directory is linked to an identity provider and a subject.

    Args:
        provider: alias of the identity provider.
        subject: who the provider says somebody is.
    """

    def __init__(self, provider: str, subject: str) -> None:
        pair = f"identity provider {bounded(provider)}, subject {bounded(subject, 300)}"
        super().__init__("account", f"no account of this site is linked to you ({pair})")
        self.provider = provider
        self.subject = subject

    def __reduce__(self) -> tuple[type[NotLinked], tuple[str, str]]:
        return (NotLinked, (self.provider, self.subject))


class NotNow(Refusal):
    """The account may not be used now, and that is no proof of its end: a password to be changed, a closed door.

    It gets no session and no new server; its running servers are left alone.
    """


class AccountDirectory(Protocol):
    """Where accounts come from.

    Asked by the authenticators at each login, before each spawn and when the hub refreshes a user, in a thread and
    under a time limit: an implementation may block, and must be safe to call from several threads.
    """

    @property
    def absence_is_proof(self) -> bool:
        """Whether an unknown name proves that the account is gone.  False where an outage looks the same."""

    def lookup(self, name: str) -> Account:
        """Return the account of exactly this name, as it is now.

        The account may have ended, and its numbers may be outside the allowed range: the caller checks both.

        Args:
            name: the hub's name of the user, in lower case.

        Raises:
            UnknownAccount: there is none.
            Refusal: ``account``: the answer is ambiguous or not safe.
            DirectoryUnavailable: the directory cannot be asked now.
        """

    def lookup_federated(self, provider: str, subject: str) -> Account:
        """Return the account that is linked to exactly this pair, as it is now; otherwise as ``lookup``.

        Args:
            provider: alias of the identity provider.
            subject: who the provider says somebody is; never an e-mail address or a user name.

        Raises:
            NotLinked: there is none.
            Refusal: ``account``: the answer is ambiguous or not safe.
            DirectoryUnavailable: the directory cannot be asked now.
        """


SPECS = "'nss', the path of a .yaml file, ldap:FILE.yaml or http:FILE.yaml"
"""What may name a directory, for help texts."""


def open_directory(spec: str, allowed: IdRange | None = None, log: logging.Logger | None = None) -> AccountDirectory:
    """Return the directory that ``spec`` names.

    A directory service need not answer yet.

    Args:
        spec: ``nss``, the machine's own accounts; the path of a YAML file of accounts (``accounts.yaml``); or
            ``ldap:PATH`` or ``http:PATH``, the path of the YAML file that says how that service is asked.
        allowed: uids and gids that servers may have; all but YAML drop supplementary groups outside.  Default:
            ``IdRange()``.
        log: told when a file that changed is bad or cannot be read, of services that do not answer, and of groups
            that are left out or whose names are not safe.

    Raises:
        ValueError: ``spec`` names none of these, or what it needs is not installed.
        BadFile: the file holds mistakes; carries all of them.
        DirectoryUnavailable: the file, or a secret that it names, cannot be read.
    """
    # Imported here: each directory is a door of its own, and nobody pays for one that is not used.
    if spec == "nss":
        from .nss import NSSDirectory

        return NSSDirectory(allowed or IdRange(), log)
    kind, _, path = spec.partition(":")
    if kind == "ldap" and path.endswith(".yaml"):
        from .ldap import open_ldap

        return open_ldap(Path(path), allowed or IdRange(), log)
    if kind == "http" and path.endswith(".yaml"):
        from .http import open_http

        return open_http(Path(path), allowed or IdRange(), log)
    if spec.endswith(".yaml"):
        from .yaml_file import YamlDirectory

        return YamlDirectory(Path(spec), log=log)
    hint = "; the file's name must end in .yaml" if spec.endswith(".yml") else ""
    others = "nor ldap:FILE.yaml or http:FILE.yaml"
    raise ValueError(f"accounts {bounded(spec)} is neither 'nss' nor the path of a .yaml file, {others}{hint}")
