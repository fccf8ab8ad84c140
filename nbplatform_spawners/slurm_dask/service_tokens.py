"""Where a notebook server gets its token for Slurm: asked with its token for the hub, which opens this one server."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tornado.web import HTTPError, RequestHandler

from ..event_file import Logger
from ..hub_api import HubApi, HubError
from ..names import bounded
from .jwt_key import KeyProblem
from .service_bounds import Line, Throttle, TooMany
from .service_key import Key
from .service_metrics import ServiceMetrics
from .token_api import SlurmToken
from .token_holder import Allowed, TokenRefused, read_holder, slurm_name

MAX_BODY = 1024
_SHOWN = re.compile(r"(?:token|bearer) ([\x21-\x7e]{1,1024})", re.IGNORECASE)
_REFUSED = (401, 403)


class NotNow(Exception):
    """No token can be made now; one sentence."""


@dataclass(frozen=True)
class Minted:
    """A token for Slurm, and which server asked for it."""

    server: str
    token: SlurmToken


class Minter:
    """Makes a token for the user whose server asks, and for nobody else.

    The hub is asked each time: who has the token, and whether that server runs.  Tokens that were good before wait in a
    line of their own, so that a flood of made-up ones holds up none of them.

    Args:
        hub: with the service's token.
        as_owner: makes a door to the hub with somebody else's token.
        allowed: for whom tokens are made.
        key: how.
        throttle: see :class:`Throttle`.
    """

    def __init__(
        self, hub: HubApi, as_owner: Callable[[str], HubApi], allowed: Allowed, key: Key, throttle: Throttle
    ) -> None:
        self._hub, self._as_owner, self._allowed, self._key = hub, as_owner, allowed, key
        self._throttle = throttle
        self._strangers, self._familiar = Line(), Line()

    async def mint(self, shown: str) -> Minted:
        """Return a token for the user of the server that shows its token.

        Raises:
            TokenRefused: who asks gets none.
            TooMany: it asks too often, or too many ask at once.
            NotNow: the hub does not answer.
            KeyProblem: Slurm's key cannot be used.
        """
        digest = hashlib.sha256(shown.encode("ascii")).digest()
        self._throttle.count(digest)
        if self._throttle.is_unknown(digest):
            raise TokenRefused("the hub does not know this token")
        line = self._familiar if self._throttle.was_good(digest) else self._strangers
        try:
            async with line.turn():
                made = await self._mint(shown, digest)
        except HubError as error:
            raise NotNow(f"nobody can say whose token this is: {error}") from None
        self._throttle.note_good(digest)
        return made

    async def _mint(self, shown: str, digest: bytes) -> Minted:
        holder = read_holder(await self._owner(shown, digest), self._allowed.service)
        model = await self._hub.user(holder.user)
        if model is None:
            raise TokenRefused("the hub has no such user any more")
        user = slurm_name(model, holder, self._allowed)
        return Minted(holder.server, self._key.token(user))

    async def _owner(self, shown: str, digest: bytes) -> dict[str, Any]:
        hub = self._as_owner(shown)
        try:
            return await hub.owner()
        except HubError as error:
            if error.status in _REFUSED:
                self._throttle.note_unknown(digest)
                raise TokenRefused("the hub does not know this token") from None
            raise
        finally:
            hub.close()


class TokenHandler(RequestHandler):
    """``POST token`` with ``{}``.  No browser is answered: no cookie, no other origin, no token in an address."""

    def initialize(self, minter: Minter | None, metrics: ServiceMetrics, log: Logger) -> None:
        """Called by tornado.

        Args:
            minter: None where no key is set: then there is nothing here.
            metrics, log: whom it tells.
        """
        self.minter, self.metrics, self.log = minter, metrics, log

    def set_default_headers(self) -> None:
        """Called by tornado before each answer: nobody keeps it."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "application/json")
        self.set_header("X-Content-Type-Options", "nosniff")

    def check_xsrf_cookie(self) -> None:
        """Called by tornado: there is no cookie that could be misused."""

    async def post(self) -> None:
        """Answer with a token, its user and its end."""
        if self.minter is None:
            raise HTTPError(404, reason="no tokens for Slurm are made here")
        try:
            made = await self.minter.mint(self._shown())
        except TokenRefused as error:
            self.metrics.tokens.labels("refused").inc()
            self.log.info("no token for Slurm: %s", error)
            self._say(403, str(error))
        except TooMany as error:
            self.metrics.tokens.labels("too many").inc()
            self.set_header("Retry-After", str(error.seconds))
            self._say(429, str(error))
        except NotNow as error:
            self.metrics.tokens.labels("failed").inc()
            self.log.warning("no token for Slurm can be made now: %s", error)
            self._say(503, "the hub does not answer, so nobody can say whose token this is: try again")
        except KeyProblem as error:
            self.metrics.tokens.labels("failed").inc()
            self.log.error("no token for Slurm can be made: %s", error)
            self._say(503, "the service cannot make tokens for Slurm now: tell your administrators")
        else:
            self.metrics.tokens.labels("made").inc()
            self._give(made)

    def write_error(self, status_code: int, **_: Any) -> None:
        """Called by tornado for an error: a sentence, never a trace."""
        self.finish(json.dumps({"status": status_code, "message": self._reason}))

    def log_exception(self, *error: Any) -> None:
        """Called by tornado for an error: a wrong request is none of ours."""
        if not isinstance(error[1], HTTPError):
            self.log.error("a request for a token met an error that nobody thought of", exc_info=error)

    def _give(self, made: Minted) -> None:
        user, end = made.token.user, made.token.expires_at.isoformat()
        self.log.info("token for Slurm: user=%s server=%s until %s", user, bounded(made.server), end)
        self.finish(json.dumps({"token": made.token.text, "user": user, "expires_at": end}))

    def _say(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish(json.dumps({"status": status, "message": message}))

    def _shown(self) -> str:
        """Return the token that the request shows.

        Raises:
            HTTPError: it shows none, or is none that a server sends.
        """
        headers = self.request.headers
        if any(name in headers for name in ("Cookie", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode")):
            raise HTTPError(403, reason="no browser gets a token for Slurm")
        if self.request.query:
            raise HTTPError(400, reason="the address takes no arguments")
        found = [_SHOWN.fullmatch(text) for text in headers.get_list("Authorization")]
        if len(found) != 1 or found[0] is None:
            raise HTTPError(403, reason="show the server's token for the hub")
        self._check_body()
        return found[0][1]

    def _check_body(self) -> None:
        try:
            body = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise HTTPError(400, reason="the body must be {}") from None
        if body != {}:
            raise HTTPError(400, reason="the body must be {}: nobody can choose for whom the token is")


class Nothing(RequestHandler):
    """Any other address."""

    def set_default_headers(self) -> None:
        """Called by tornado before each answer."""
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")

    def prepare(self) -> None:
        """Called by tornado: there is nothing."""
        self.set_status(404)
        self.finish(json.dumps({"status": 404, "message": "there is nothing here"}))
