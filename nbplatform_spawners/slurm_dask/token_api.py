"""Where a notebook server gets the tokens by which slurmrestd knows its user: from the hub's service, for minutes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit

from ..names import is_safe
from ..times import read_time
from ..wire import Answer, NoAnswer
from .asks import Asks
from .errors import SlurmRefused, SlurmUnavailable

MAX_ANSWER = 64 * 1024
MAX_TOKEN = 16 * 1024
RENEWED_BEFORE = timedelta(seconds=30)
"""How long before its end a token is no longer used."""


@dataclass(frozen=True)
class SlurmToken:
    """A token for Slurm.

    Attributes:
        user: for whom it speaks.
        text: the token; in no message and no ``repr``.
        expires_at: aware time of its end.
    """

    user: str
    text: str = field(repr=False)
    expires_at: datetime

    def fresh(self, now: datetime) -> bool:
        """Tell whether it may be used at an aware time."""
        return now < self.expires_at - RENEWED_BEFORE


class Tokens(Protocol):
    """Whoever has tokens for one user."""

    async def token(self) -> SlurmToken:
        """Return a token that is good now.

        Raises:
            SlurmUnavailable: there is none now.
            SlurmRefused: there will be none.
        """
        ...

    def drop(self, token: SlurmToken) -> None:
        """Forget a token that Slurm did not accept; the next one is new."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


class TokenSource:
    """Asks the hub's service, as the server that it is called from.  Belongs to one event loop.

    A token is kept in memory alone, until 30 seconds before its end.

    Args:
        url: where tokens are given, such as ``https://jupyter.example.org/services/nbplatform-slurm/token``.
        hub_token: the server's own token for the hub.
        timeout: seconds for one answer.
        ssl_options: of an ``https`` address; None for the machine's own authorities.

    Raises:
        ValueError: the address or the token is none.
    """

    def __init__(
        self, url: str, hub_token: str, *, timeout: float = 10.0, ssl_options: ssl.SSLContext | None = None
    ) -> None:
        check_url(url, "of the service for Slurm's tokens")
        if not (hub_token and hub_token.isascii() and hub_token.isprintable() and " " not in hub_token):
            raise ValueError("the server's token for the hub must be printable ASCII without spaces")
        self.url = url
        self._hub_token = hub_token
        self._timeout = timeout
        self._asks = Asks(MAX_ANSWER, ssl_options)
        self._turn = asyncio.Lock()
        self._kept: SlurmToken | None = None

    def __repr__(self) -> str:
        return f"<TokenSource {self.url}>"

    async def token(self) -> SlurmToken:
        """Return a token that is good now; those who ask at once share one question.

        Raises:
            SlurmUnavailable: the service does not answer, or not as it should.
            SlurmRefused: it gives this server none.
        """
        async with self._turn:
            if self._kept is None or not self._kept.fresh(datetime.now(UTC)):
                self._kept = None
                self._kept = await self._ask()
            return self._kept

    def drop(self, token: SlurmToken) -> None:
        """Forget a token that Slurm did not accept; the next one is new."""
        if self._kept is not None and self._kept.text == token.text:
            self._kept = None

    async def close(self) -> None:
        """Close what is open, and forget the token."""
        self._kept = None
        await self._asks.close()

    async def _ask(self) -> SlurmToken:
        headers = {
            "Authorization": f"token {self._hub_token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "nbplatform",
        }
        try:
            answer = await self._asks.ask("POST", self.url, self._timeout, headers, b"{}")
        except NoAnswer as error:
            raise SlurmUnavailable(
                f"the service that gives tokens for Slurm does not answer at {self.url}: {error}; try again in a minute"
            ) from None
        if answer.status != 200:
            raise self._refusal(answer)
        try:
            return read_token(answer.json())
        except ValueError as error:
            raise SlurmUnavailable(
                f"the answer of {self.url} is no token for Slurm: {error}; tell your administrators"
            ) from None

    def _refusal(self, answer: Answer) -> SlurmUnavailable | SlurmRefused:
        said = f"status {answer.status}{answer.message(self._hub_token)}"
        if answer.status in (400, 401, 403):
            return SlurmRefused(
                f"the service at {self.url} gives this server no token for Slurm: {said}; "
                "restart your server, and tell your administrators this sentence if that does not help"
            )
        if answer.status == 404:
            return SlurmUnavailable(f"nothing gives tokens for Slurm at {self.url}: {said}; tell your administrators")
        if 300 <= answer.status < 400:
            return SlurmUnavailable(
                f"{self.url} leads elsewhere ({said}), where no token is sent; tell your administrators"
            )
        return SlurmUnavailable(
            f"the service that gives tokens for Slurm answers at {self.url} with {said}; try again in a minute"
        )


def read_token(answer: Any) -> SlurmToken:
    """Return the token that an answer of the service holds.

    Args:
        answer: the JSON object ``{"token": ..., "user": ..., "expires_at": ISO 8601 text}``.

    Raises:
        ValueError: it holds none; the sentence names the field, and never its value.
    """
    if not isinstance(answer, Mapping):
        raise ValueError("it is no JSON object")
    text, user = answer.get("token"), answer.get("user")
    if not (isinstance(text, str) and 0 < len(text) <= MAX_TOKEN and text.isascii() and text.isprintable()):
        raise ValueError("its field 'token' is no printable ASCII text")
    if " " in text:
        raise ValueError("its field 'token' holds a space")
    if not (isinstance(user, str) and is_safe(user)):
        raise ValueError("its field 'user' is no name of a user")
    try:
        return SlurmToken(user, text, read_time(answer.get("expires_at")))
    except ValueError:
        raise ValueError("its field 'expires_at' is no ISO 8601 time") from None


def check_url(url: str, whose: str) -> None:
    """Check that an address can be asked and holds no secret.

    Args:
        url: the address.
        whose: for the sentence, such as ``of slurmrestd``.

    Raises:
        ValueError: it is no address, or has a name, a password, a query or a fragment in it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment or not (url.isascii() and url.isprintable()):
        raise ValueError(f"the address {whose} must be http:// or https:// with a host, and nothing but a path")


def crosses_readably(url: str) -> bool:
    """Tell whether what is sent to an address crosses a network as it is: without TLS, and to another machine.

    Args:
        url: one that :func:`check_url` lets pass.
    """
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and not ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname != "localhost"
