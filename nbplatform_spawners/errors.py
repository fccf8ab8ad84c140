"""The errors of nbplatform: one small family, imported by every other module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


class NbplatformError(Exception):
    """Base of every error this package raises on purpose."""


@dataclass(frozen=True)
class RefusalKind:
    """What a label says to a user.

    Attributes:
        meaning: what has happened.
        advice: what the user can do; ``{support}`` stands for whom to ask.
    """

    meaning: str
    advice: str


_AGAIN_LATER = "try again in a few minutes"
REFUSALS: Mapping[str, RefusalKind] = MappingProxyType(
    {
        "not-allowed": RefusalKind(
            "no rule lets you have this, or one says no", "choose something else, or ask {support}, with this sentence"
        ),
        "quota": RefusalKind("you hold as much as one person may", "stop another of your servers"),
        "full": RefusalKind(
            "it is all taken now; the numbers say by how much", "try later, or choose something smaller"
        ),
        "account": RefusalKind(
            "your account has ended or could not be looked up",
            "ask {support}, with this sentence, unless it says what else to do",
        ),
        "storage": RefusalKind(
            "a folder that belongs to your server is not there",
            "choose something else, and tell {support} this sentence",
        ),
        "unplaceable": RefusalKind(
            "no machine of the site could ever serve it", "choose something else, and tell {support} this sentence"
        ),
        "unreachable": RefusalKind("the machines that could serve it do not answer", _AGAIN_LATER),
        "options": RefusalKind(
            "the request asked for something that does not exist", "choose on the page, without a link or a script"
        ),
        "rules": RefusalKind("the site's rules cannot be read", "tell {support}, and try again later"),
    }
)
"""Every label there is, and what it says to a user.  ``docs/tutorials/your-server.md`` has the same table."""


class Refusal(NbplatformError):
    """A spawn or a login that is refused, with a label for machines and a sentence for people.

    Args:
        reason: stable label, one of :data:`REFUSALS`.  Never ``error`` or ``timeout``, which JupyterHub uses itself.
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
