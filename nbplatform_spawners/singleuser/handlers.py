"""What the server answers below ``api/nbplatform/``, to whoever may use it; nothing of it counts as activity."""

from __future__ import annotations

import json
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import HTTPError, authenticated, stream_request_body

from .notice import parse_notice
from .watch import Watch

LIMIT = 8192
"""Bytes of a body."""


class OwnHandler(APIHandler):
    """What ours share."""

    auth_resource = "nbplatform"
    _track_activity = False

    def initialize(self, watch: Watch) -> None:
        """Know the server's watch.  Called by Tornado."""
        self.watch = watch

    def check_xsrf_cookie(self) -> None:
        """Check as Jupyter does, once it is known who asks: a token needs no cookie.

        JupyterHub's older application would check too early.  Jupyter's ``prepare`` checks in any case.
        """
        if hasattr(self, "_jupyter_current_user"):
            super().check_xsrf_cookie()

    def answer(self, body: Any, status: int = 200) -> None:
        """Send JSON, which nobody keeps."""
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(body))


@stream_request_body
class BodyHandler(OwnHandler):
    """One that has the size of a body looked at before it is read, and nobody's but a known user's read at all."""

    async def prepare(self) -> None:  # type: ignore[override]  # as Jupyter's own APIHandler has it
        """Refuse who is not known, and what is too large.  Called by Tornado before it reads the body."""
        self.body = b""
        connection: Any = self.request.connection
        connection.set_max_body_size(LIMIT)
        await super().prepare()
        if self.current_user is None:
            raise HTTPError(403)
        length = self.request.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length[:9]) > LIMIT:
            raise HTTPError(413, f"the body must not have more than {LIMIT} bytes")

    def data_received(self, chunk: bytes) -> None:
        """Take a part of the body.  Called by Tornado."""
        if len(self.body) <= LIMIT:
            self.body += chunk


class ActivityHandler(OwnHandler):
    """``api/nbplatform/activity``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Say what goes on here."""
        try:
            found = await self.watch.activity()
        except TimeoutError:
            self.answer({"message": "the kernels cannot be listed in time"}, 503)
        else:
            self.answer(found)


class NoticeHandler(BodyHandler):
    """``api/nbplatform/notice``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Show the notice."""
        self.answer(await self.watch.shown())

    @authenticated
    @authorized
    async def put(self) -> None:
        """Take a notice in place of the one there."""
        try:
            notice = parse_notice(self.body, self.watch.clock())
        except ValueError as error:
            self.answer({"message": str(error)}, 400)
            return
        self.watch.put(notice)
        self.set_status(204)
        self.finish()

    @authenticated
    @authorized
    async def delete(self) -> None:
        """Take the notice away."""
        self.watch.take_away()
        self.set_status(204)
        self.finish()


class ExtendHandler(BodyHandler):
    """``api/nbplatform/extend``."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """Put the stop off.  Whatever the body says is not read."""
        refused = self.watch.extend()
        if refused is None:
            self.answer(await self.watch.shown())
        else:
            self.answer({"message": refused}, 409)


HANDLERS = {"activity": ActivityHandler, "notice": NoticeHandler, "extend": ExtendHandler}


def add_handlers(serverapp: Any, watch: Watch) -> None:
    """Have a server answer."""
    paths = [
        (url_path_join(serverapp.base_url, "api", "nbplatform", name), handler, {"watch": watch})
        for name, handler in HANDLERS.items()
    ]
    serverapp.web_app.add_handlers(".*$", paths)
