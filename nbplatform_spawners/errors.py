"""The errors of nbplatform: one small family, imported by every other module."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class NbplatformError(Exception):
    """Base of every error this package raises on purpose."""


class Refusal(NbplatformError):
    """A spawn or a login that is refused, with a label for machines and a sentence for people.

    Args:
        reason: stable label: ``not-allowed``, ``quota``, ``unplaceable``, ``account``, ``full``,
            ``unreachable``, ``storage``, ``options`` or ``rules``.  Never ``error`` or ``timeout``,
            which JupyterHub uses itself.
        message: one sentence that the user may read and act on.  Holds no secret.
    """

    def __init__(self, reason: str, message: str) -> None:
        if reason in ("error", "timeout"):
            raise ValueError(f"the label {reason!r} belongs to JupyterHub")
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class DirectoryUnavailable(NbplatformError):
    """The account directory cannot be asked now.  Says nothing about any account."""


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake (or warning) in a file that a person wrote.

    Attributes:
        file: name of the file, relative to the directory that was read.
        line: line number, counted from 1; 0 when the file as a whole is meant.
        message: what is wrong and, where it can be known, what was probably meant.
    """

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class BadFile(NbplatformError):
    """Files that a person wrote hold mistakes; carries all of them."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__(self.mistakes)

    def __str__(self) -> str:
        return "\n".join(str(mistake) for mistake in self.mistakes)
