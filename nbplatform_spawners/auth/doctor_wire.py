"""The doctor's own requests: pages that a browser would see, and what each answer tells of Keycloak's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from ..names import bounded
from .keycloak_answers import KeycloakUnavailable

_MOST = 4 * 1024 * 1024
"""Bytes that an answer may have; a realm's clients and their mappers may be many."""


@dataclass(frozen=True)
class Page:
    """What Keycloak answered a browser that follows no redirect.

    Attributes:
        status: HTTP status.
        location: where it sends the browser; empty when nowhere.
        body: as text.
    """

    status: int
    location: str
    body: str

    @property
    def sent(self) -> Mapping[str, str]:
        """What the redirect's address carries."""
        parts = urlsplit(self.location)
        return {key: values[0] for key, values in parse_qs(parts.query or parts.fragment).items()}

    @property
    def words(self) -> str:
        """What a person reads on the page, bounded."""
        reader = _Reader()
        reader.feed(self.body)
        return bounded(" ".join(" ".join(reader.words).split()), 200)


class _Reader(HTMLParser):
    """Collects the words of what Keycloak's pages call their content."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._within = 0
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if dict(attrs).get("id") in _CONTENT or self._within:
            self._within += tag not in _EMPTY
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._within -= bool(self._within) and tag not in _EMPTY
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if self._within and not self._hidden:
            self.words.append(data)


_CONTENT = ("kc-content", "kc-error-message")  # pages of logins in older themes; Keycloak 26's pages of errors
_EMPTY = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})


@dataclass
class Wire:
    """Sends requests.

    Attributes:
        timeout: seconds that one may take.
        options: further arguments of each ``HTTPRequest``, such as ``ca_certs``.
        skews: seconds by which Keycloak's clock was ahead of this machine's, for each answer that told.
        last_error: OAuth's ``error`` and ``error_description`` of the last answer that had one, else empty.
    """

    timeout: float
    options: Mapping[str, Any] = field(default_factory=dict)
    skews: list[float] = field(default_factory=list)
    last_error: str = ""

    def __post_init__(self) -> None:
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=_MOST)

    async def fetch(self, request: HTTPRequest) -> Any:
        """Send a request as a ``Provider`` does, and remember what the answer tells."""
        begin = time.time()
        response = await self._client.fetch(request, raise_error=False)
        told = response.headers.get("Date")
        if told:
            self.note_clock(told, begin, time.time())
        return response

    def note_clock(self, date: str, begin: float, end: float) -> None:
        """Remember by how much a ``Date`` header differs from the time between two moments of this machine."""
        try:
            there = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        self.note_time(there, begin, end)

    def note_time(self, there: float, begin: float, end: float) -> None:
        """Remember a time of Keycloak, in whole seconds, told between two moments of this machine."""
        if there > end:
            self.skews.append(there - end)
        else:
            self.skews.append(min(0.0, there + 1 - begin))  # it was told as the whole second before

    async def page(self, url: str, **query: str) -> Page:
        """Get a page as a browser does that follows no redirect and has no cookies.

        Raises:
            KeycloakUnavailable: no answer.
        """
        return await self._send("GET", f"{url}?{urlencode(query)}" if query else url, {"Accept": "text/html"})

    async def json(self, url: str, token: str) -> Page:
        """Get JSON with a bearer token.

        Raises:
            KeycloakUnavailable: no answer.
        """
        return await self._send("GET", url, {"Accept": "application/json", "Authorization": f"Bearer {token}"})

    async def form(self, url: str, fields: Mapping[str, str]) -> Page:
        """Send a form.

        Raises:
            KeycloakUnavailable: no answer.
        """
        return await self._send("POST", url, {"Accept": "application/json"}, urlencode(fields))

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: str | None = None) -> Page:
        request = HTTPRequest(
            url,
            method=method,
            body=body,
            headers={"User-Agent": "nbplatform", **headers},
            **{
                "connect_timeout": self.timeout,
                "request_timeout": self.timeout,
                "follow_redirects": False,
                **self.options,
            },
        )
        try:
            async with asyncio.timeout(self.timeout + 1):
                response = await self.fetch(request)
        except (OSError, TimeoutError, HTTPClientError, ValueError) as error:
            place = url.partition("?")[0]
            why = bounded(str(error) or type(error).__name__, 200)
            raise KeycloakUnavailable(f"no answer from {place}: {why}") from None
        text = (response.body or b"").decode("utf-8", "replace")
        return Page(response.code, response.headers.get("Location", ""), text)
