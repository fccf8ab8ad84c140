"""Why a login through an identity provider is refused: a label for machines, a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import NbplatformError


@dataclass(frozen=True)
class LoginRefusalKind:
    """What a label says to somebody who wants to log in.

    Attributes:
        status: HTTP status of the page.
        meaning: what has happened.
        advice: what the person can do; ``{support}`` stands for whom to ask.
    """

    status: int
    meaning: str
    advice: str


_SUPPORT = "tell {support} this sentence"
_AGAIN = "log in again; if it happens again, " + _SUPPORT
_ACCOUNT = "ask {support}, with this sentence"
_LATER = "try again in a few minutes; running servers are left alone meanwhile"
LOGIN_REFUSALS: Mapping[str, LoginRefusalKind] = MappingProxyType(
    {
        "unavailable": LoginRefusalKind(503, "the login service does not answer", _LATER),
        "directory": LoginRefusalKind(503, "the account directory does not answer", _LATER),
        "denied": LoginRefusalKind(403, "the login service said no, or you went back", _AGAIN),
        "state": LoginRefusalKind(400, "this login was not begun in this browser, or has been used", "log in again"),
        "code": LoginRefusalKind(400, "the login took too long, or its code has been used", "log in again"),
        "client": LoginRefusalKind(500, "the login service does not know this hub", _SUPPORT),
        "malformed": LoginRefusalKind(403, "the login service sent something that is no token", _SUPPORT),
        "algorithm": LoginRefusalKind(403, "the token is signed in a way that is not accepted", _SUPPORT),
        "signature": LoginRefusalKind(403, "the token was not signed by the login service", _SUPPORT),
        "issuer": LoginRefusalKind(403, "the token comes from another login service", _SUPPORT),
        "audience": LoginRefusalKind(403, "the token is for another service", _SUPPORT),
        "nonce": LoginRefusalKind(403, "the token belongs to another login", _AGAIN),
        "expired": LoginRefusalKind(403, "the token has ended; the clocks may differ", _AGAIN),
        "not-yet-valid": LoginRefusalKind(403, "the token is from the future; the clocks may differ", _AGAIN),
        "claims": LoginRefusalKind(403, "the token lacks what this site needs to know of you", _ACCOUNT),
        "account": LoginRefusalKind(403, "your account has ended, or is not a safe one", _ACCOUNT),
        "not-linked": LoginRefusalKind(
            403,
            "nobody has linked your home organisation's account to one of this site",
            "send this sentence to {support} and ask for a link to your account here; it holds nothing secret",
        ),
        "other-person": LoginRefusalKind(403, "this name belongs to somebody else here", _ACCOUNT),
        "not-allowed": LoginRefusalKind(403, "you may not use this service", _ACCOUNT),
        "guests-full": LoginRefusalKind(403, "all accounts for guests are taken", _ACCOUNT),
    }
)
"""Every label there is.  ``docs/how-to/keycloak.md`` has the same table."""


class LoginProblem(NbplatformError):
    """A login, or a token, that is refused.

    Args:
        reason: stable label, one of :data:`LOGIN_REFUSALS`.
        message: one sentence that the person may read, without a full stop.  Holds no secret.
    """

    def __init__(self, reason: str, message: str) -> None:
        if reason not in LOGIN_REFUSALS:
            raise ValueError(f"there is no login refusal {reason!r}")
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
