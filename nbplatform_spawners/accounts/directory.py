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


class NotNow(Refusal):
    """The account may not be used now, and that is no proof of its end: a password to be changed, a closed door.

    It gets no session and no new server; its running servers are left alone.
    """


class AccountDirectory(Protocol):
    """Where accounts come from.

    Asked by the authenticators at each login, before each spawn and when the hub refreshes a user, in a thread and
    under a time limit: an implementation may block, and must be safe to call from several threads.
    """

    absence_is_proof: bool
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


def open_directory(spec: str, allowed: IdRange | None = None, log: logging.Logger | None = None) -> AccountDirectory:
    """Return the directory that ``spec`` names.

    Args:
        spec: ``nss``, the machine's own accounts, or the path of a YAML file (``accounts.yaml``).
        allowed: uids and gids that servers may have; NSS drops supplementary groups outside.  Default: ``IdRange()``.
        log: told when a file that changed is bad or cannot be read, and of groups whose names are not safe.

    Raises:
        ValueError: ``spec`` names neither.
        BadFile: the file holds mistakes; carries all of them.
        DirectoryUnavailable: the file cannot be read.
    """
    # Imported here: each directory is a door of its own, and nobody pays for one that is not used.
    if spec == "nss":
        from .nss import NSSDirectory

        return NSSDirectory(allowed or IdRange(), log)
    if spec.endswith(".yaml"):
        from .yaml_file import YamlDirectory

        return YamlDirectory(Path(spec), log=log)
    hint = "; the file's name must end in .yaml" if spec.endswith(".yml") else ""
    raise ValueError(f"accounts {bounded(spec)} is neither 'nss' nor the path of a .yaml file{hint}")
