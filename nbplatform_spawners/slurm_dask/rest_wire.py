"""Questions to slurmrestd, each with a token in its header: renewed once when it is not accepted, never in an error."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..wire import NoAnswer
from .answers import NOT_FOUND, RestError, read_json, read_rest_errors, read_rest_versions
from .asks import Asks
from .errors import SlurmRefused, SlurmUnavailable
from .meanings import safe
from .token_api import SlurmToken, Tokens, check_url

VERSIONS = ("v0.0.40", "v0.0.39", "v0.0.38", "v0.0.41", "v0.0.42", "v0.0.43")
"""Versions of the interface, in the order in which one that is offered is used."""
MAX_ANSWER = 64 * 1024**2
_AT_ONCE = 8
_DOUBTFUL = frozenset({-1, 1007, 5005})
"""slurmrestd's numbers for an answer of slurmctld's that did not come.  That is all it says of a token, too."""
_QUICK = 3.0
"""Seconds within which slurmctld refuses a token; where it cannot be reached, slurmrestd tries for longer than this."""
_LARGE = 1024**2


@dataclass(frozen=True)
class Found:
    """An answer of slurmrestd's.

    Attributes:
        status: of HTTP.
        body: the object that it is.
        errors: what it says went wrong.
        user: for whom was asked.
        took: seconds.
    """

    status: int
    body: Mapping[str, Any]
    errors: tuple[RestError, ...]
    user: str
    took: float

    @property
    def good(self) -> bool:
        """Nothing went wrong."""
        return self.status == 200 and not self.errors

    @property
    def unknown(self) -> bool:
        """Slurm does not know the job, or it has ended."""
        return bool(self.errors) and all(error.number in NOT_FOUND for error in self.errors)

    @property
    def unheard(self) -> bool:
        """Slurmctld gave slurmrestd no answer."""
        return any(error.number in _DOUBTFUL for error in self.errors)

    @property
    def doubtful(self) -> bool:
        """The token may not have been accepted."""
        return self.status in (401, 403) or (self.unheard and self.took < _QUICK)

    @property
    def said(self) -> str:
        """What slurmrestd says."""
        return "; ".join(error.text for error in self.errors if error.text) or f"status {self.status}"


class RestWire:
    """Asks slurmrestd.  Belongs to one event loop.

    Args:
        url: of slurmrestd.
        tokens: where tokens come from; closed with this.
        timeout: seconds for one answer.
        support: whom users ask.
        ssl_options: of an ``https`` address; None for the machine's own authorities.

    Raises:
        ValueError: the address is none.
    """

    def __init__(
        self, url: str, tokens: Tokens, timeout: float, support: str, ssl_options: ssl.SSLContext | None = None
    ) -> None:
        check_url(url, "of slurmrestd")
        self.url = url.rstrip("/")
        self._tokens = tokens
        self._timeout = timeout
        self._support = support
        self._asks = Asks(MAX_ANSWER, ssl_options)
        self._version: str | None = None
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._finding = asyncio.Lock()

    async def version(self) -> str:
        """Return the version of the interface that is used, found out at the first question.

        Raises:
            SlurmUnavailable: slurmrestd does not answer, or offers none that is known here.
        """
        async with self._finding:
            if self._version is None:
                token = await self._tokens.token()
                status, body = await self._send("GET", "/openapi/v3", token)
                try:
                    offered = read_rest_versions(body)
                except ValueError as error:
                    raise self._unusable(f"{error}, status {status}") from None
                self._version = next((version for version in VERSIONS if version in offered), None)
                if self._version is None:
                    raise SlurmUnavailable(
                        f"slurmrestd at {self.url} offers none of the interfaces {', '.join(sorted(VERSIONS))}, only "
                        f"{', '.join(offered)[:200] or 'others'}: tell {self._support}"
                    )
            return self._version

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, twice: bool = True) -> Found:
        """Return what slurmrestd answers, an error of Slurm's included.

        Args:
            method: of HTTP.
            path: behind the version.
            body: JSON; None for none.
            twice: whether it is asked again with a new token when the first may not have been accepted; False for
                what must not happen twice.

        Raises:
            SlurmUnavailable: there is no answer, none of slurmrestd's, or none of slurmctld's.
            SlurmRefused: Slurm does not accept the token, not even a new one.
        """
        version = await self.version()
        async with self._turn:
            token = await self._tokens.token()
            found = await self._ask(method, f"/slurm/{version}/{path}", token, body)
            if found.doubtful:
                self._tokens.drop(token)
                if not twice:
                    return found
                token = await self._tokens.token()
                found = await self._ask(method, f"/slurm/{version}/{path}", token, body)
        self.demand_heard(found)
        return found

    def demand_heard(self, found: Found) -> None:
        """Check that slurmctld itself answered.

        Raises:
            SlurmUnavailable: it cannot be reached.
            SlurmRefused: it does not accept the token.
        """
        said = safe(found.said)
        if found.doubtful:
            raise SlurmRefused(
                f"Slurm does not accept the token of the user {found.user}, not even a new one ({said}): it may have "
                f"another key or clock, or not know this user; tell {self._support} this sentence"
            )
        if found.unheard:
            raise SlurmUnavailable(
                f"slurmrestd at {self.url} does not reach slurmctld ({said}): try again in a few minutes"
            )

    async def close(self) -> None:
        """Close what is open."""
        await self._asks.close()
        await self._tokens.close()

    async def _ask(self, method: str, path: str, token: SlurmToken, body: Mapping[str, Any] | None) -> Found:
        begun = time.monotonic()
        status, answer = await self._send(method, path, token, body)
        took = time.monotonic() - begun
        if status in (401, 403) and not answer:
            return Found(status, {}, (), token.user, took)
        try:
            errors = tuple(read_rest_errors(answer))
        except ValueError as error:
            raise self._unusable(f"{error}, status {status}") from None
        if status == 404 and not errors:
            self._version = None
            raise self._unusable("it has no such question, status 404")
        return Found(status, answer, errors, token.user, took)

    async def _send(
        self, method: str, path: str, token: SlurmToken, body: Mapping[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        headers = {
            "X-SLURM-USER-NAME": token.user,
            "X-SLURM-USER-TOKEN": token.text,
            "Accept": "application/json",
            "User-Agent": "nbplatform",
        }
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode("ascii")
        try:
            answer = await self._asks.ask(method, self.url + path, self._timeout, headers, content)
        except NoAnswer as error:
            raise SlurmUnavailable(
                f"slurmrestd does not answer at {self.url}: {error}; try again in a few minutes"
            ) from None
        if 300 <= answer.status < 400:
            raise self._unusable(f"it leads elsewhere (status {answer.status}), where no token is sent")
        parsed = await _parsed(answer.body)
        if parsed is not None:
            return answer.status, parsed
        if answer.status in (401, 403):
            return answer.status, {}  # in words, not in JSON
        if answer.status == 404:
            self._version = None
        raise self._unusable(f"it is no JSON object, status {answer.status}")

    def _unusable(self, why: str) -> SlurmUnavailable:
        return SlurmUnavailable(
            f"the answer of {self.url} cannot be used, so it may not be slurmrestd: {why}; tell {self._support}"
        )


async def _parsed(body: bytes) -> dict[str, Any] | None:
    """Return the object that a body is; None for anything else, whose text may repeat the token."""
    try:
        return await asyncio.to_thread(read_json, body) if len(body) > _LARGE else read_json(body)
    except ValueError:
        return None
