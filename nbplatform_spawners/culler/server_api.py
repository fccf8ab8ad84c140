"""Asking a server itself: directly, with a token that is good for it alone, and without counting as activity.

The server is under its user's control: whatever it answers is checked, bounded and never followed elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any

from ..hub_api import Door
from ..wire import Answer, NoAnswer, Wire
from .activity import Activity
from .answers import parse_activity, parse_jupyter

MAX_ANSWER = 256 * 1024
_OURS = "api/nbplatform/activity"
_NOTICE = "api/nbplatform/notice"
_AGENT = "nbplatform-culler"
_QUIET = "?no_track_activity=1"
_WORDS = {401: "it refuses the token", 403: "it refuses the token"}


@dataclass(frozen=True)
class Unanswered:
    """A server did not say how it is used.

    Attributes:
        why: one short sentence.
    """

    why: str


class ServerApi:
    """Asks servers; never raises for what they do.

    Args:
        timeout: seconds for all the questions to one server.
        concurrency: servers asked at once; the others wait, and that time is not theirs.
        ssl_options: of ``https`` addresses (the hub's internal certificates); None for the machine's own authorities.
    """

    def __init__(
        self, *, timeout: float = 5.0, concurrency: int = 50, ssl_options: ssl.SSLContext | None = None
    ) -> None:
        self._timeout = timeout
        self._turn = asyncio.Semaphore(concurrency)
        self._wire = Wire(MAX_ANSWER, ssl_options)

    async def ask(self, door: Door, now: Callable[[], datetime]) -> Activity | Unanswered:
        """Return how a server is used: by our extension, or where that is absent by Jupyter's own API.

        Args:
            door: how it is asked.
            now: called when the answer has come; returns an aware time.
        """
        async with self._turn:
            try:
                return await self._ask(_Questions(self._wire, door, self._timeout), now)
            except NoAnswer as error:
                return Unanswered(str(error))
            except (ValueError, ArithmeticError) as error:
                return Unanswered(f"its answer cannot be used: {error}")

    async def notify(self, door: Door, notice: Mapping[str, Any] | None) -> bool:
        """Put a notice up in a server, or take it away with None; tell whether the server took it."""
        questions = _Questions(self._wire, door, self._timeout)
        async with self._turn:
            try:
                answer = await questions.ask("DELETE" if notice is None else "PUT", _NOTICE, notice)
            except NoAnswer:
                return False
        return answer.status in (200, 204)

    async def is_there(self, door: Door) -> bool:
        """Tell whether a server still answers at its address.  No token is sent: another may have the address now."""
        url = door.url + "api"
        async with self._turn:
            try:
                answer = await self._wire.ask("GET", url, self._timeout, {"User-Agent": _AGENT})
            except NoAnswer:
                return False
        return answer.status in (200, 302, 401, 403)

    def close(self) -> None:
        """Close what is open."""
        self._wire.close()

    async def _ask(self, questions: _Questions, now: Callable[[], datetime]) -> Activity:
        ours = await questions.ask("GET", _OURS)
        if ours.status != 404:
            return parse_activity(_good(ours), now())
        status, kernels, terminals = await asyncio.gather(
            *(questions.ask("GET", f"api/{what}{_QUIET}") for what in ("status", "kernels", "terminals"))
        )
        told = _good(status)
        if isinstance(told, dict):
            told = {**told, "now": _date(status)}
        has_terminals = terminals.status != 404
        return parse_jupyter(told, _good(kernels), _good(terminals) if has_terminals else None, now())


class _Questions:
    """The questions to one server, which share their time."""

    def __init__(self, wire: Wire, door: Door, timeout: float) -> None:
        self._wire = wire
        self._door = door
        self._until = monotonic() + timeout

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        headers = {
            "Authorization": f"token {self._door.token}",
            "Accept": "application/json",
            "User-Agent": _AGENT,
        }
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode("ascii")
        return await self._wire.ask(method, self._door.url + path, self._until - monotonic(), headers, content)


def _good(answer: Answer) -> Any:
    """Return what an answer says.

    Raises:
        NoAnswer: its status says that it is none.
        ValueError: it is no JSON.
    """
    if answer.status != 200:
        raise NoAnswer(_WORDS.get(answer.status, f"it answers with status {answer.status}"))
    return answer.json()


def _date(answer: Answer) -> str | None:
    """Return the server's time as its web server tells it; None when it does not."""
    with suppress(TypeError, ValueError, OverflowError):
        return parsedate_to_datetime(answer.headers.get("Date", "")).isoformat()
    return None
