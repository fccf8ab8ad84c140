"""Where the idle culler asks the hub for a way to a server and tells it what will be stopped, and users put that off.

All below ``/hub``: ``api/nbplatform/ask`` and ``api/nbplatform/idle`` for the culler, ``extend-server/…`` and
``api/nbplatform/extend/…`` for users.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado import web

from .idle_board import HUB_BOARD, Notice, Stop, name_of, parse_message
from .tokens import forget_expired_doors, open_door

MOST_ASKED = 100
"""Servers that one request may ask for."""
MOST_BYTES = 16 * 1024**2
"""Bytes of a message of the culler: each of its entries has about 300."""


class ServiceHandler(APIHandler):  # type: ignore[misc]
    """Answers services alone: a token is made in the asker's name, and a person has pages for the rest."""

    def service(self) -> orm.Service:
        """Return who asks.

        Raises:
            HTTPError: 403: it is no service with a token.
        """
        if not isinstance(self.current_user, orm.Service):
            raise web.HTTPError(403, "only a service with a token of its own may ask this")
        return self.current_user

    def body(self) -> Any:
        """Return the request's JSON.

        Raises:
            HTTPError: 400, 413.
        """
        if len(self.request.body) > MOST_BYTES:
            raise web.HTTPError(413, f"the body must have at most {MOST_BYTES} bytes")
        return self.get_json_body()


class AskHandler(ServiceHandler):
    """``POST /hub/api/nbplatform/ask``: how each of some servers can be asked directly.

    The answer holds a token for each: good for that server alone and five minutes, since a server is under its user's
    control and must never see the service's own.
    """

    @needs_scope("access:servers")  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Answer with url, token and ``extend_asked`` of each server that runs; others are left out."""
        service = self.service()
        wanted = _or_400(_asked, self.body())
        forget_expired_doors(self.db)
        doors = []
        for user_name, server_name in wanted:
            user = self.find_user(user_name)
            spawner = user.spawners[server_name] if user is not None and server_name in user.spawners else None
            if spawner is not None and spawner.ready and spawner.server is not None:
                door = {"user": user_name, "server": server_name, "url": spawner.server.url}
                asked = spawner.get_state().get("extend_asked")
                doors.append({**door, "token": open_door(service, spawner), "extend_asked": asked})
            await asyncio.sleep(0)  # each token is a write to the database: others are served between them
        self.finish({"servers": doors})


class IdleHandler(ServiceHandler):
    """``PUT /hub/api/nbplatform/idle``: which servers will be stopped, and which were."""

    @needs_scope("delete:servers")  # type: ignore[untyped-decorator]
    async def put(self) -> None:
        """Take over the message; answer with the board's epoch, and whether the sender knew it."""
        self.service()
        message = _or_400(parse_message, self.body())
        known = HUB_BOARD.put(message, datetime.now(UTC))
        self.finish({"epoch": HUB_BOARD.epoch, "known": known})


class ExtendHandler(APIHandler):  # type: ignore[misc]
    """``POST /hub/api/nbplatform/extend/USER[/SERVER]``: puts the announced stop of a server off, for scripts."""

    @needs_scope("access:servers")  # type: ignore[untyped-decorator]
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Answer with the time of the stop; 409 when there is nothing to put off."""
        notice = extend(self, user_name, server_name)
        if notice is None or notice.stop_at is None:
            raise web.HTTPError(409, "no stop of this server can be put off now, or it was already")
        self.finish({"stop_at": notice.stop_at.isoformat(timespec="seconds")})


class ExtendFormHandler(BaseHandler):  # type: ignore[misc]
    """``POST /hub/extend-server/USER[/SERVER]``: the same by the form of the home page, and back to it.

    The hub checks the form's ``_xsrf`` before.
    """

    @web.authenticated
    @needs_scope("access:servers")  # type: ignore[untyped-decorator]
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Put it off; where there is nothing to put off, the home page says how things are."""
        extend(self, user_name, server_name)
        self.redirect(self.hub.base_url + "home")


def extend(handler: BaseHandler, user_name: str, server_name: str) -> Notice | None:
    """Put the stop of a server off and note it in its state, where the culler finds it.

    Returns:
        The notice that holds now; None when there is nothing to put off.

    Raises:
        HTTPError: 404: there is no such server.
    """
    user = handler.find_user(user_name)
    if user is None or server_name not in user.spawners:
        raise web.HTTPError(404, "there is no such server")
    spawner = user.spawners[server_name]
    if not spawner.ready or not hasattr(spawner, "change_state"):  # the latter: a spawner that is not ours
        return None
    notice = HUB_BOARD.extend(user.name, server_name, spawner.started_at())
    if notice is not None:
        # To the full: cut to the second it could lie before the warning that it answers, and would move nothing.
        spawner.change_state("extend_asked", datetime.now(UTC).isoformat())
        handler.log.info("the stop of %s is put off to %s", spawner._log_name, notice.stop_at)
    return notice


def stops_to_tell(user: Any, server: str | None = None) -> tuple[Stop, ...]:
    """Return which servers of a hub user were stopped, the latest first; who asks shows them.

    Args:
        user: the hub's.
        server: the name of the only one asked about; None for all of them.
    """
    spawners = ((name, spawner.orm_spawner.started) for name, spawner in user.spawners.items() if spawner.active)
    started = {name: time.replace(tzinfo=UTC) for name, time in spawners if time is not None}
    return HUB_BOARD.stops(user.name, started, datetime.now(UTC), server)


def _asked(body: object) -> list[tuple[str, str]]:
    """Return the owner and the name of each server asked for, none of them twice."""
    servers = body.get("servers") if isinstance(body, dict) else None
    if not isinstance(servers, list) or len(servers) > MOST_ASKED:
        raise ValueError(f"servers must be a list of at most {MOST_ASKED} entries")
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in servers):
        raise ValueError("each of servers must be a list of two texts")
    pairs = ((name_of(user, "user"), name_of(server, "server", empty=True)) for user, server in servers)
    return list(dict.fromkeys(pairs))


def _or_400(parse: Any, body: object) -> Any:
    try:
        return parse(body)
    except ValueError as error:
        raise web.HTTPError(400, str(error)) from None


IDLE_HANDLERS = [
    (r"/api/nbplatform/ask", AskHandler),
    (r"/api/nbplatform/idle", IdleHandler),
    (r"/api/nbplatform/extend/([^/]+)", ExtendHandler),
    (r"/api/nbplatform/extend/([^/]+)/([^/]+)", ExtendHandler),
    (r"/extend-server/([^/]+)", ExtendFormHandler),
    (r"/extend-server/([^/]+)/([^/]+)", ExtendFormHandler),
]
"""For ``Authenticator.get_handlers``; below ``/hub``."""
