"""The two addresses of a login through Keycloak: where it begins, and where the browser comes back."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

from jupyterhub.handlers import BaseHandler
from jupyterhub.utils import url_path_join
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler
from tornado import web
from tornado.httputil import url_concat

from ..names import bounded
from ..oidc.refusals import LoginProblem
from .keycloak_answers import KeycloakUnavailable

COOKIE = "nbplatform-login-"
LOGIN_TIME = 900.0
"""Seconds that somebody may take to log in."""
_PENDING = 8
"""Logins that one browser may have begun: each has a cookie."""
MOST_NEXT = 512
"""Characters of ``next`` that are kept: the cookies of all pending logins go into each request's header."""
_USED = 10_000
_ID = re.compile(r"[0-9a-f]{32}")
_OUTAGES = ("temporarily_unavailable", "server_error")
_UNFINISHED = "the login was not finished in time, or was begun in another browser"


@dataclass(frozen=True)
class Attempt:
    """One login that was begun; kept in a signed cookie of its own, so that two tabs do not disturb each other.

    Attributes:
        id: OAuth's ``state``.
        nonce: must come back in the id_token.
        verifier: PKCE's code verifier (RFC 7636).
        next: where to go afterwards; empty for the usual page.
        begun: seconds since 1970.
    """

    id: str
    nonce: str
    verifier: str
    next: str
    begun: float

    @classmethod
    def new(cls, next_url: str) -> Attempt:
        """Return a new one, with random secrets."""
        return cls(secrets.token_hex(16), secrets.token_urlsafe(32), secrets.token_urlsafe(48), next_url, time.time())

    @property
    def challenge(self) -> str:
        """PKCE's code challenge, method S256."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class UsedStates:
    """States that have come back once; bounded, oldest forgotten first: by then their cookies have ended."""

    def __init__(self) -> None:
        self._used: OrderedDict[str, None] = OrderedDict()

    def use(self, state: str) -> bool:
        """Note a state; False when it was used before."""
        if state in self._used:
            return False
        self._used[state] = None
        while len(self._used) > _USED:
            self._used.popitem(last=False)
        return True


class _Quiet(BaseHandler):  # type: ignore[misc]
    """Keeps code and state out of the log: tornado writes the whole address of a request that failed."""

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log an error as tornado does, but of an unexpected one only the trace: the request would be shown whole."""
        if isinstance(value, web.HTTPError):
            super().log_exception(typ, value, tb)
        else:
            self.log.error("Uncaught exception %s", self._request_summary(), exc_info=(typ, value, tb))

    def _request_summary(self) -> str:
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"


class KeycloakLoginHandler(_Quiet, OAuthLoginHandler):  # type: ignore[misc]
    """``/hub/oauth_login``: sends the browser to Keycloak."""

    async def get(self) -> None:
        """Begin a login.

        Raises:
            LoginProblemShown: ``unavailable``.
        """
        authenticator = self.authenticator
        try:
            metadata = await authenticator.provider.alive()
        except KeycloakUnavailable as error:
            raise authenticator.unavailable(self, error) from None
        except LoginProblem as problem:
            raise authenticator.login_problem("-", self, problem) from None
        wanted = self.get_argument("next", "")
        attempt = Attempt.new(wanted if len(wanted) <= MOST_NEXT else "")
        for old in sorted(name for name in self.request.cookies if name.startswith(COOKIE))[: -_PENDING + 1]:
            self._forget(old)
        self._set_cookie(
            COOKIE + attempt.id,
            json.dumps(asdict(attempt)),
            expires_days=LOGIN_TIME / 86400,
            samesite="Lax",
            path=self.hub.base_url,  # users' servers must not see it
        )
        parameters = {
            **authenticator.extra_authorize_params,
            "response_type": "code",
            "client_id": authenticator.client_id,
            "redirect_uri": authenticator.get_callback_url(self),
            "scope": " ".join(authenticator.scope),
            "state": attempt.id,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        self.redirect(url_concat(metadata.authorization_endpoint, parameters))

    def _forget(self, cookie: str) -> None:
        self.clear_cookie(cookie, path=self.hub.base_url)


class KeycloakCallbackHandler(_Quiet, OAuthCallbackHandler):  # type: ignore[misc]
    """``/hub/oauth_callback``: where Keycloak sends the browser with a code."""

    attempt: Attempt
    sid: str | None = None
    """The session at Keycloak, once the login is verified."""

    async def get(self) -> None:
        """Finish a login.

        Raises:
            LoginProblemShown: with the label of what is wrong.
        """
        authenticator = self.authenticator
        try:
            self.attempt = self._take_attempt()
            self.check_error()
            user = await self.login_user()
        except LoginProblem as problem:
            raise authenticator.login_problem("-", self, problem) from None
        if user is None:  # a hook of the site's said no
            raise authenticator.login_problem("-", self, LoginProblem("not-allowed", "you may not use this service"))
        await authenticator.sessions.note_login(user, self, self.sid)
        if self.sid and authenticator.sessions.has_ended(self.sid):  # while this login was on its way
            await authenticator.sessions.end(sid=self.sid)
            late = LoginProblem("code", "the session was ended at Keycloak before this login was finished")
            raise authenticator.login_problem(user.name, self, late)
        self.redirect(self.get_next_url(user))

    def _take_attempt(self) -> Attempt:
        """Return the login that this browser has begun with this state, which holds once."""
        states = self.get_arguments("state")
        state = states[0] if len(states) == 1 else ""
        if not _ID.fullmatch(state):
            raise LoginProblem("state", "the address has no usable state")
        cookie = self.get_secure_cookie(COOKIE + state, max_age_days=LOGIN_TIME / 86400)
        if cookie is None:
            raise LoginProblem("state", _UNFINISHED)
        self.clear_cookie(COOKIE + state, path=self.hub.base_url)
        attempt = Attempt(**json.loads(cookie))
        if attempt.id != state or not 0 <= time.time() - attempt.begun <= LOGIN_TIME:
            raise LoginProblem("state", _UNFINISHED)
        if not self.authenticator.used_states.use(state):
            raise LoginProblem("state", "this login was finished before")
        return attempt

    def check_error(self) -> None:
        """Look for an error in place of a code.

        Raises:
            LoginProblem: ``denied``, ``unavailable`` or ``code``.
        """
        error = self.get_argument("error", "")
        description = self.get_argument("error_description", "")
        if description == "authentication_expired":
            raise LoginProblem("code", "the login was not finished in time")
        if error in _OUTAGES:
            raise LoginProblem("unavailable", "Keycloak cannot log anybody in now")
        if error:
            self.log.warning("Keycloak answered a login with error=%s: %s", bounded(error), bounded(description, 200))
            raise LoginProblem("denied", f"Keycloak did not log you in: {bounded(error)}")
        if not self.get_argument("code", ""):
            raise LoginProblem("code", "the address has no code")

    def get_next_url(self, user: Any = None) -> str:
        """Return where to go after the login: a place of this hub, whatever was asked for."""
        usable = self.attempt.next.isprintable()  # a line break would end in a header
        wanted = self._validate_next_url(self.attempt.next) if self.attempt.next and usable else ""
        if wanted:
            return str(wanted)
        home = url_path_join(self.hub.base_url, "home")
        return str(BaseHandler.get_next_url(self, user, default=None) if not self.get_argument("next", "") else home)
