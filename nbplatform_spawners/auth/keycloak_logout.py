"""Logout in both directions: of the hub, which ends the Keycloak session, and of Keycloak, which ends the hub's."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from jupyterhub.handlers import BaseHandler
from jupyterhub.utils import url_path_join
from oauthenticator.oauth2 import OAuthLogoutHandler
from tornado import web
from tornado.httputil import url_concat

from ..names import bounded
from ..oidc.refusals import LoginProblem
from .ended import ready_servers
from .errors import LEAVE_KEYCLOAK
from .keycloak_answers import KeycloakUnavailable
from .keycloak_sessions import Left

COOKIE = "nbplatform-logout"
LOGOUT_TIME = 900.0
"""Seconds that the browser may stay at Keycloak during a logout."""
MOST_BYTES = 64 * 1024 + 1024
"""Bytes that the body of a back-channel logout may have: a token at its largest, and the form around it."""
STILL_AT_KEYCLOAK = (
    "You are logged out of this hub, but Keycloak does not answer: your session there may go on, and whoever uses this "
    "browser could log in as you.  On a shared machine close the browser."
)
_stops: set[asyncio.Task[None]] = set()


class KeycloakLogoutHandler(OAuthLogoutHandler):  # type: ignore[misc]
    """``/hub/logout``: ends the session here, then sends the browser to Keycloak to end the one there.

    OpenID Connect RP-Initiated Logout 1.0.  ``next`` says where the browser goes in the end: a place of this hub.
    """

    left: Left | None = None

    async def refresh_auth(self, user: Any, force: bool = False) -> Any:
        """Return the user as they are: Keycloak need not confirm somebody who leaves."""
        return user

    @property
    def shutdown_on_logout(self) -> bool:
        """Whether the user's servers stop."""
        return bool(self.authenticator.stop_servers_on_logout or super().shutdown_on_logout)

    async def default_handle_logout(self) -> None:
        """Do what the hub does, then end the session: its cookies, its tokens, and what is stored of it."""
        user, session_id = self.current_user, self.get_session_cookie()
        await super().default_handle_logout()
        if user:
            self.left = await self.authenticator.sessions.leave(user, session_id)

    async def render_logout_page(self) -> None:
        """Send the browser to Keycloak; where that does not answer, say so."""
        if self.left is None and self.get_argument(LEAVE_KEYCLOAK, ""):  # refused here, and known at Keycloak
            self.left = Left()
        if self.left is None:  # nobody was logged in
            await super().render_logout_page()
            return
        address = await self._address_at_keycloak(self.left)
        if address is None:
            self.finish(await self.render_template("logout.html", announcement_logout=STILL_AT_KEYCLOAK))
        else:
            self.redirect(address)

    async def _address_at_keycloak(self, left: Left) -> str | None:
        authenticator = self.authenticator
        try:
            if authenticator.refresher.outage.fresh:
                raise KeycloakUnavailable("it did not answer a moment ago")
            endpoint = (await authenticator.provider.probe()).end_session_endpoint
        except (KeycloakUnavailable, LoginProblem) as error:
            authenticator.log.warning("a logout left the session at Keycloak as it is: %s", error)
            return None
        if not endpoint:
            authenticator.log.warning("a logout left the session at Keycloak as it is: %s", "it has no logout address")
            return None
        state = secrets.token_hex(16)
        note = json.dumps({"state": state, "next": self._validate_next_url(self.get_argument("next", ""))})
        self._set_cookie(COOKIE, note, expires_days=LOGOUT_TIME / 86400, path=self.hub.base_url, samesite="Lax")
        parameters = {
            "client_id": authenticator.client_id,
            "post_logout_redirect_uri": logged_out_address(authenticator.get_callback_url(self), self.hub.base_url),
            "state": state,
        }
        return str(url_concat(endpoint, {**({"id_token_hint": left.id_token} if left.id_token else {}), **parameters}))


class KeycloakLoggedOutHandler(BaseHandler):  # type: ignore[misc]
    """``/hub/keycloak/logged_out``: where Keycloak sends the browser after a logout."""

    async def get(self) -> None:
        """Go where the logout was to end; to nowhere with another state than that of this browser's logout."""
        address = self._wanted() or self.authenticator.logout_redirect_url
        if address:
            self.redirect(address)
        else:
            self.finish(await self.render_template("logout.html"))

    def _wanted(self) -> str:
        cookie = self.get_secure_cookie(COOKIE, max_age_days=LOGOUT_TIME / 86400)
        self.clear_cookie(COOKIE, path=self.hub.base_url)
        note = json.loads(cookie) if cookie else {}
        if not secrets.compare_digest(str(note.get("state", "")).encode(), self.get_argument("state", "").encode()):
            return ""
        return str(self._validate_next_url(note.get("next", "")))


@web.stream_request_body
class BackchannelLogoutHandler(BaseHandler):  # type: ignore[misc]
    """``/hub/keycloak/backchannel_logout``: Keycloak tells of a session that has ended.

    OpenID Connect Back-Channel Logout 1.0.  The logout token is all that counts: cookies and API tokens of the
    request are not looked at.
    """

    SUPPORTED_METHODS = ("POST",)

    def check_xsrf_cookie(self) -> None:
        """Demand no ``_xsrf``: the request comes from Keycloak, and proves it with a signature."""

    def prepare(self) -> None:
        """Bound the body before it is read."""
        self._jupyterhub_user = None
        self._body = bytearray()
        cast(Any, self.request.connection).set_max_body_size(MOST_BYTES)
        length = self.request.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self._refuse(LoginProblem("malformed", f"the request has more than {MOST_BYTES} bytes"))

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        self._body += chunk

    async def post(self) -> None:
        """End the session that the token names; one that is not known has ended already."""
        authenticator = self.authenticator
        try:
            payload = await authenticator.provider.logout_token(self._token())
            authenticator.sessions.seen.check(payload["jti"])
        except (LoginProblem, KeycloakUnavailable) as error:
            self._refuse(error)
            return
        sid, sub = payload.get("sid"), payload.get("sub")
        users = await authenticator.sessions.end(sid=sid, sub=sub)
        authenticator.sessions.seen.add(payload["jti"], payload["exp"] + authenticator.leeway, time.time())
        for user in users:
            self.log.info("user=%s was logged out at Keycloak", user.name)
            if authenticator.stop_servers_on_logout:
                self._stop_servers(user)
        if not users:
            self.log.debug("back-channel logout of somebody who is not logged in here")
        self._answer(200, {})

    def _token(self) -> str:
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise LoginProblem("malformed", f"the request is {bounded(kind)}, not a form")
        try:
            found = parse_qs(self._body.decode("ascii"), max_num_fields=10).get("logout_token", [])
        except ValueError:
            found = []
        if len(found) != 1:
            raise LoginProblem("malformed", "the form has no logout_token, or several")
        return found[0]

    def _refuse(self, error: LoginProblem | KeycloakUnavailable) -> None:
        reason, message = error.args if isinstance(error, LoginProblem) else ("unavailable", str(error))
        where = self.authenticator.client_address(self)
        self.log.warning("back-channel logout refused from=%s reason=%s: %s", where, reason, message)
        self._answer(400, {"error": "invalid_request", "error_description": message})

    def _answer(self, status: int, body: dict[str, str]) -> None:
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer without a page: nobody looks at it."""
        self._answer(status_code, {"error": "invalid_request"})

    def _stop_servers(self, user: Any) -> None:
        """Begin to stop a user's servers; Keycloak does not wait for it."""
        for name in ready_servers(user):
            self.log.warning("user=%s server=%s is stopped: %s", user.name, bounded(name), "logged out at Keycloak")
            task = asyncio.ensure_future(self.stop_single_user(user, name))
            _stops.add(task)
            task.add_done_callback(partial(self._stop_ended, user.name, name))

    def _stop_ended(self, user: str, name: str, task: asyncio.Task[None]) -> None:
        _stops.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            shown = bounded(repr(error), 300)
            self.log.error("user=%s server=%s: its stop met an error: %s", user, bounded(name), shown)


LOGOUT_HANDLERS = [
    ("/keycloak/backchannel_logout", BackchannelLogoutHandler),
    ("/keycloak/logged_out", KeycloakLoggedOutHandler),
]
"""For ``Authenticator.get_handlers``; below ``/hub``."""


def logged_out_address(callback: str, base_url: str) -> str:
    """Return the address that Keycloak sends the browser to after a logout.

    Args:
        callback: the address that it sends browsers to after a login.
        base_url: of the hub, such as ``/hub/``.
    """
    parts = urlsplit(callback)
    return f"{parts.scheme}://{parts.netloc}{url_path_join(base_url, 'keycloak/logged_out')}"
