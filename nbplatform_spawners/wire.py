"""One question over HTTP: bounded in time and size, never led elsewhere, its errors without a header of ours."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.iostream import UnsatisfiableReadError
from tornado.simple_httpclient import (
    HTTPStreamClosedError,
    HTTPTimeoutError,
    SimpleAsyncHTTPClient,
    _HTTPConnection,
)

from .names import bounded

MAX_TOLD = 200
"""Characters of somebody else's words in a sentence of ours."""
_MAX_HEADERS = 16 * 1024
_NO_QUEUE = 1_000_000
"""Who asks bounds how many questions are under way: time in tornado's own queue would count against an answer."""


class NoAnswer(Exception):
    """There was no whole answer; one sentence says why, without an address and without a header."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP; a redirect is an answer, too.
        headers: of the answer.
        body: bytes, as they came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return what the body says.

        Raises:
            ValueError: it is no JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise ValueError("it is no JSON") from None

    def message(self, secret: str) -> str:
        """Return the ``message`` of a refusal as the end of a sentence, empty when there is none.

        Args:
            secret: a token that was sent; it is never in what is returned.
        """
        try:
            said = self.json()
        except ValueError:
            return ""
        message = said.get("message") if isinstance(said, dict) else None
        if not isinstance(message, str) or not message:
            return ""
        return f": {bounded(message.replace(secret, '[token]'), MAX_TOLD)}"


class _Connection(_HTTPConnection):
    """A connection whose reset by the other side ends the question at once."""

    def on_connection_close(self) -> None:
        """Called when the connection ended.  With an error to raise here, tornado logs a trace and waits on."""
        self.stream.error = None
        super().on_connection_close()


class _Client(SimpleAsyncHTTPClient):
    def _connection_class(self) -> type:
        return _Connection


class Wire:
    """Asks, and waits for the whole answer.  Needs a running event loop from the first question on.

    Connections are not kept: each question has its own.

    Args:
        max_answer: bytes of a body that are read at most.
        ssl_options: of ``https`` addresses; None for the machine's own authorities.
    """

    def __init__(self, max_answer: int, ssl_options: ssl.SSLContext | None = None) -> None:
        self._max_answer = max_answer
        self._ssl = ssl_options
        self._client: SimpleAsyncHTTPClient | None = None

    async def ask(
        self, method: str, url: str, seconds: float, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Return the answer, whatever its status is.

        Args:
            method: of HTTP.
            url: absolute.
            seconds: for all of it.
            headers: sent as they are.
            body: None for none.

        Raises:
            NoAnswer: none came in time, or it is too large or no HTTP.
        """
        if seconds <= 0:
            raise NoAnswer("no time was left to ask")
        try:
            request = HTTPRequest(
                url,
                method,
                dict(headers),
                body,
                connect_timeout=seconds,
                request_timeout=seconds,
                follow_redirects=False,
                decompress_response=False,
                allow_nonstandard_methods=True,
                ssl_options=self._ssl,
            )
            found = await self._opened().fetch(request, raise_error=False)
            return Answer(found.code, found.headers, found.body)
        except Exception as error:  # noqa: BLE001 - the other side may be anybody: whatever it provokes is no answer
            why = self._cause(error, seconds)
        raise NoAnswer(why)  # outside: the error's context would carry the request, and with it the token

    def close(self) -> None:
        """Close what is open; questions under way end when their time is over."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _opened(self) -> SimpleAsyncHTTPClient:
        if self._client is None:
            self._client = _Client(
                force_instance=True,
                max_clients=_NO_QUEUE,
                max_buffer_size=max(self._max_answer, _MAX_HEADERS) + 65536,
                max_body_size=self._max_answer,
                max_header_size=_MAX_HEADERS,
            )
        return self._client

    def _cause(self, error: BaseException, seconds: float) -> str:
        if isinstance(error, HTTPTimeoutError | TimeoutError):
            return f"no whole answer within {seconds:.3g} seconds"
        if isinstance(error, UnsatisfiableReadError):
            return f"the head of its answer is longer than {_MAX_HEADERS} bytes"
        if isinstance(error, HTTPStreamClosedError):
            return f"the connection ended without a whole answer of at most {self._max_answer} bytes"
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror:
            return error.strerror[:MAX_TOLD]
        return bounded(str(error) or type(error).__name__, MAX_TOLD)
