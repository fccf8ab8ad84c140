"""Looking at a login session again: one refresh grant at a time for each user, and calm while Keycloak is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyterhub import roles

from ..errors import DirectoryUnavailable, Refusal
from ..names import bounded
from ..oidc.refusals import LoginProblem
from .auth_state import State, change_auth_state, read_auth_state
from .keycloak_answers import GrantRefused, KeycloakUnavailable
from .keycloak_login import Login, put, read_login, without_tokens

if TYPE_CHECKING:
    from jupyterhub.user import User

    from .keycloak import KeycloakAuthenticator

PAUSE = 10.0
"""Seconds after no answer for which nobody else waits for one: a hung Keycloak costs one page, not every page."""
PATIENCE = 120.0
"""Seconds to wait for the answer about a refresh token, long after the page that asked was served without it: Keycloak
may have replaced the token, and then the old one is worth nothing."""
_NOT_ABOUT_THE_USER = ("client", "unavailable", "directory")
_DISABLED = "User disabled"
"""Keycloak's own words about a refresh token; else it does not tell an account from a session that has ended."""
LOG_IN_AGAIN = "your login session has ended; log in again"


class Outage:
    """Whether Keycloak could be asked when it was asked last; told once when it begins, and once when it ends.

    Args:
        log: where it is told.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._quiet_until = 0.0
        self._told: str | None = None
        self._users: set[str] = set()

    @property
    def on(self) -> bool:
        """Whether Keycloak has given no usable answer since it was last asked."""
        return self._told is not None

    @property
    def fresh(self) -> bool:
        """Whether that was so short ago that asking again would only cost time."""
        return self.on and time.monotonic() < self._quiet_until

    def begins(self, why: str, grace: float) -> None:
        """Note that there was no usable answer.

        Args:
            why: in a few words, without a secret.
            grace: seconds for which sessions are kept.
        """
        self._quiet_until = time.monotonic() + PAUSE
        if self._told is None:
            self._told = why
            self._log.error("sessions are kept for %d seconds, Keycloak cannot be asked: %s", grace, why)

    def is_over(self) -> None:
        """Note that there was an answer."""
        if self._told is not None:
            self._log.warning("Keycloak can be asked again, it could not: %s", self._told)
            self._told = None
            self._users.clear()

    def first_time(self, user: str) -> bool:
        """Tell whether this user was not yet told of in this outage, and note them."""
        first = user not in self._users
        self._users.add(user)
        return first


class Refresher:
    """Asks Keycloak about login sessions with their refresh tokens.

    Args:
        authenticator: whose users, and whose settings hold.
    """

    def __init__(self, authenticator: KeycloakAuthenticator) -> None:
        self._authenticator = authenticator
        self._log = authenticator.log
        self._tasks: dict[str, asyncio.Task[bool]] = {}
        self._late: dict[str, asyncio.Task[bool]] = {}
        self.outage = Outage(authenticator.log)

    async def refresh(self, user: User, handler: Any = None) -> bool:
        """Tell whether a user may stay logged in; False: they must log in again.

        All who ask about one user at the same time share one refresh, which goes on when they are gone: a refresh
        token that Keycloak has replaced must be stored, or the session is lost.  What it finds is stored by itself.

        Args:
            user: of the hub.
            handler: of the request.
        """
        if handler is not None and not hasattr(handler, "_token_authenticated"):
            # JupyterHub 6.1 reads it unset when a refresh by cookie fails.
            setattr(handler, "_token_authenticated", False)  # noqa: B010 - no such attribute is declared
        task = self._tasks.get(user.name)
        if task is None:
            task = self._tasks[user.name] = asyncio.create_task(self._refresh(user))
            task.add_done_callback(partial(_done, self._tasks, user.name))
        return await asyncio.shield(task)

    async def refusal(self, user: User, handler: Any) -> Refusal | None:
        """Return why somebody may not start a server of their own: their login session has ended.

        JupyterHub lets requests by API token pass although the refresh said no.  Others who start the server, an
        administrator or a service, need no session of its owner.  Called before each spawn, after the refresh.

        Args:
            user: the owner.
            handler: of the request; None where there is none.
        """
        requester = getattr(handler, "_jupyterhub_user", None)
        if getattr(requester, "kind", "") != "user" or getattr(requester, "name", "") != user.name:
            return None
        login = read_login(await user.get_auth_state() or {})
        over = not login.refresh_token or (self.outage.on and not self._in_grace(login))
        return Refusal("account", LOG_IN_AGAIN) if over else None

    async def _refresh(self, user: User) -> bool:
        login = read_login(await user.get_auth_state() or {})
        if not login.refresh_token:
            self._log.debug("user=%s has no session that Keycloak could be asked about", user.name)
            return False
        if self.outage.fresh or user.name in self._late:
            return self._kept(user, login)
        asked = self._authenticator.provider.tokens(
            patience=PATIENCE, grant_type="refresh_token", refresh_token=login.refresh_token
        )
        grant, limit = asyncio.create_task(asked), self._authenticator.request_timeout
        await asyncio.wait({grant}, timeout=limit)
        if grant.done():
            return await self._settled(user, login, grant)
        task = self._late[user.name] = asyncio.create_task(self._settled(user, login, grant))
        task.add_done_callback(partial(_done, self._late, user.name))
        self.outage.begins(f"no answer within {limit:g} seconds", self._authenticator.outage_grace)
        return self._kept(user, login)

    async def _settled(self, user: User, login: Login, grant: asyncio.Task[dict[str, Any]]) -> bool:
        try:
            answer = await grant
        except GrantRefused as error:
            self.outage.is_over()
            why, everywhere = f"Keycloak ended the session: {error}", _DISABLED in error.description
            return await self._must_log_in(user, login.refresh_token, why, everywhere)
        except (KeycloakUnavailable, LoginProblem) as error:  # a problem: of the hub's own client or issuer
            self.outage.begins(str(error), self._authenticator.outage_grace)
            return self._kept(user, login)
        self.outage.is_over()
        return await self._granted(user, login, answer)

    async def _granted(self, user: User, login: Login, answer: Mapping[str, Any]) -> bool:
        """Store the new refresh token at once, then look at what the new id_token says."""
        token = str(answer.get("refresh_token") or login.refresh_token)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        state = await self._change(
            user, login.refresh_token, lambda old: put(old, refresh_token=token, refreshed_at=now)
        )
        if state is None:
            return await self._has_tokens(user)
        try:
            payload = await self._authenticator.provider.id_token(answer.get("id_token"), None)
            if payload.get("sub") != login.sub:
                raise LoginProblem("other-person", "the login service answered with the token of somebody else")
            model = await self._authenticator.build_auth_model(payload, {**answer, "refresh_token": token}, state)
            if model["name"] != user.name:
                raise LoginProblem("other-person", f"the login service calls them {bounded(model['name'])} now")
            await self._authenticator.check_permitted(model)
            stored = await self._change(user, token, lambda old: _merged(old, model["auth_state"]))
            if stored is None:
                return await self._has_tokens(user)
            self._apply(user, model)
            await self._look_at_account(user)
        except KeycloakUnavailable as error:
            self.outage.begins(str(error), self._authenticator.outage_grace)
        except DirectoryUnavailable as error:
            self._log.warning("refresh of user=%s without the account directory: %s", user.name, error)
        except (LoginProblem, Refusal) as refused:
            if refused.reason not in _NOT_ABOUT_THE_USER:
                return await self._must_log_in(user, token, refused.message, everywhere=True)
            self.outage.begins(str(refused), self._authenticator.outage_grace)
        user._auth_refreshed = time.monotonic()  # before the next request looks, which may be sooner than a waiting one
        return True

    async def _look_at_account(self, user: User) -> None:
        account = await self._authenticator.standing(user)
        if isinstance(account, Refusal):
            raise account
        if account is not None:
            await self._authenticator._store(user, account)

    def _apply(self, user: User, model: Mapping[str, Any]) -> None:
        """Do with rights and groups what the hub does at a login; it is not left to a request that may be gone."""
        admin = model.get("admin")
        if admin is not None and admin != user.admin:
            self._log.info("user=%s admin=%s, as their token says", user.name, admin)
            user.admin = admin
            roles.assign_default_roles(user.db, entity=user)
        if self._authenticator.manage_groups and model.get("groups") is not None:
            user.sync_groups(model["groups"])
        user.db.commit()

    # What a session is worth

    def _in_grace(self, login: Login) -> bool:
        age = login.age(datetime.now(UTC))
        return age is not None and age <= timedelta(seconds=self._authenticator.outage_grace)

    def _kept(self, user: User, login: Login) -> bool:
        if self._in_grace(login):
            return True
        if self.outage.first_time(user.name):
            why = "Keycloak has not confirmed the session for too long, and cannot be asked"
            self._log.warning("user=%s must log in again: %s", user.name, why)
        return False

    async def _must_log_in(self, user: User, token: str, why: str, everywhere: bool) -> bool:
        """Forget the tokens, so that nobody asks with them again; what is running runs on.

        Args:
            user: who.
            token: the refresh token that led here.
            why: for the log.
            everywhere: the person is refused, not one session: pages of servers ask for a login, too.
        """
        if await self._change(user, token, without_tokens) is None:
            return await self._has_tokens(user)
        self._log.warning("user=%s must log in again: %s", user.name, why)
        if everywhere:
            await self._authenticator.sessions.end_all(user)
        return False

    async def _has_tokens(self, user: User) -> bool:
        """Tell whether there was a new login meanwhile, and no logout."""
        return bool(read_login(await read_auth_state(user.encrypted_auth_state)).refresh_token)

    async def _change(self, user: User, token: str, change: Any) -> dict[str, Any] | None:
        """Change what is stored of a user, unless a login or a logout has replaced this refresh token."""
        return await change_auth_state(
            user, lambda state: change(state) if read_login(state).refresh_token == token else None
        )


def _done(tasks: dict[str, asyncio.Task[bool]], name: str, task: asyncio.Task[bool]) -> None:
    """Forget a task; its error is raised by those who wait, and is no news where nobody does."""
    tasks.pop(name, None)
    if not task.cancelled():
        task.exception()


def _merged(stored: State, fresh: State) -> dict[str, Any]:
    """Return what is stored with what a refresh has found; sessions were noted and ended meanwhile."""
    part = stored["keycloak"]
    kept = {"sessions": part["sessions"]} if "sessions" in part else {}
    return put(stored, **{**fresh["keycloak"], **kept})
