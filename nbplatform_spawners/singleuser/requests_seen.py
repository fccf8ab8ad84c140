"""Sees each request of the server begin and end, through what Tornado has for that: transforms and a log function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jupyter_server.log import log_request
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

from . import start
from .activity import may_take_long, shows_person

WHAT = "the look at requests"
SETTING = "log_function"
LONGEST_DOWNLOAD = timedelta(hours=24)
"""A download that has stood still for so long, or takes so long, counts no more."""


@dataclass(eq=False)
class Download:
    """A request whose answer is under way.

    Attributes:
        stream: the connection it goes to, as Tornado has it; None where that shows none.
        begun: when it was asked for.
        written: whether all of the answer was handed to the connection, which may be slow.
    """

    stream: Any
    begun: datetime
    written: bool = False

    def goes_on(self, now: datetime) -> bool:
        """Return whether a part of the answer has still to reach the client."""
        if now - self.begun > LONGEST_DOWNLOAD or (self.stream is not None and self.stream.closed()):
            return False
        return not self.written or (self.stream is not None and bool(self.stream.writing()))


class RequestsSeen:
    """What the requests of a server say about the person who uses it.

    Attributes:
        last_action: end of the last request that a person caused; None before the first.
    """

    def __init__(self, base_url: str, clock: Callable[[], datetime], acted: Callable[[], None]) -> None:
        """Begin with nothing seen.

        Args:
            base_url: the server's, with a slash at both ends.
            clock: returns the time, with an offset.
            acted: called when a person did something.
        """
        self.last_action: datetime | None = None
        self._base = base_url.rstrip("/")
        self._clock = clock
        self._acted = acted
        self._downloads: list[Download] = []
        self._sockets: list[Any] = []

    def install(self, web_app: Any) -> None:
        """Have every request of an application seen, also where another log function has been set since."""
        before = web_app.settings.get(SETTING)
        if not isinstance(before, LogFunction):
            web_app.settings[SETTING] = LogFunction(self, before or log_request)
        if not any(getattr(one, "seen_by", None) is self for one in web_app.transforms):
            web_app.add_transform(transform_for(self))

    def finished(self, handler: Any) -> None:
        """Note the end of a request.

        Args:
            handler: its handler.
        """
        request = handler.request
        # A WebSocket opens by itself again, whenever a page has lost it.
        if handler.get_status() >= 400 or handler.get_status() == 101:
            return
        if not getattr(handler, "_track_activity", True) or not is_person(handler):
            return
        if shows_person(request.method, self._path(request), request.query_arguments):
            self.last_action = self._clock()
            self._acted()

    def begun(self, request: HTTPServerRequest) -> Download | None:
        """Note the begin of a request; returns what to keep of it, if anything."""
        if not may_take_long(request.method or "", self._path(request), request.query_arguments):
            return None
        download = Download(getattr(request.connection, "stream", None), self._clock())
        self.downloads()  # forgets those that have ended
        self._downloads.append(download)
        return download

    def opened(self, request: HTTPServerRequest) -> None:
        """Note that a request has become a WebSocket."""
        stream = getattr(request.connection, "stream", None)
        self.connections()
        if stream is not None:
            self._sockets.append(stream)

    def downloads(self) -> int:
        """Return how many downloads are under way."""
        now = self._clock()
        self._downloads = [one for one in self._downloads if one.goes_on(now)]
        return len(self._downloads)

    def note_downloads(self) -> None:
        """Count a download that is under way as something that the person does now: its end is not seen."""
        if self.downloads():
            self.last_action = self._clock()
            self._acted()

    def connections(self) -> int:
        """Return how many WebSockets are open, whatever they are for."""
        self._sockets = [stream for stream in self._sockets if not stream.closed()]
        return len(self._sockets)

    def _path(self, request: HTTPServerRequest) -> str:
        return request.path.removeprefix(self._base)


class LogFunction:
    """Takes the place of the server's log function, which it calls as ever."""

    def __init__(self, seen: RequestsSeen, before: Callable[[Any], None]) -> None:
        self._seen = seen
        self._before = before

    def __call__(self, handler: Any) -> None:
        """Log a request that has ended.  Called by Tornado."""
        self._before(handler)
        with start.harmless(WHAT):
            self._seen.finished(handler)


def transform_for(seen: RequestsSeen) -> type[OutputTransform]:
    """Return a class of which Tornado makes one for each request; it changes nothing of the answer."""

    class Seen(OutputTransform):
        seen_by = seen

        def __init__(self, request: HTTPServerRequest) -> None:
            self._request = request
            self._download: Download | None = None
            with start.harmless(WHAT):
                self._download = seen.begun(request)

        def transform_first_chunk(
            self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
        ) -> tuple[int, HTTPHeaders, bytes]:
            if status_code == 101:
                with start.harmless(WHAT):
                    seen.opened(self._request)
            return status_code, headers, self.transform_chunk(chunk, finishing)

        def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
            if finishing and self._download is not None:
                self._download.written = True
            return chunk

    return Seen


def is_person(handler: Any) -> bool:
    """Return whether a request came from somebody who has signed in, and not from a service of the hub.

    Args:
        handler: of a request that has ended.
    """
    user = getattr(handler, "_jupyter_current_user", None)
    if user is None:
        return False
    # What the hub says of it; JupyterHub's older application keeps that elsewhere.
    model = getattr(user, "hub_user", None) or getattr(handler, "_hub_auth_user_cache", None)
    return not (isinstance(model, dict) and model.get("kind") == "service")
