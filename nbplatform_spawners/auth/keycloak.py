"""Logins through Keycloak: verified, refreshed, ended; identities from claims and the account directory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from jupyterhub.utils import maybe_future
from tornado import web

from ..accounts.directory import NotLinked
from ..accounts.guests import GuestsFull
from ..accounts.merge import CLAIMS, Disagreement
from ..errors import DirectoryUnavailable, NbplatformError, Refusal
from ..names import bounded
from ..oidc.claims import Claims, read_claims
from ..oidc.refusals import LoginProblem
from ..spawners.errors import refuse
from .errors import LoginProblemShown
from .keycloak_accounts import KeycloakAccounts, check_same_person, check_same_session, claims_in
from .keycloak_answers import GrantRefused, KeycloakUnavailable
from .keycloak_handlers import KeycloakCallbackHandler, KeycloakLoginHandler, UsedStates
from .keycloak_logout import LOGOUT_HANDLERS, KeycloakLogoutHandler
from .keycloak_provider import Asking, Provider
from .keycloak_refresh import Refresher
from .keycloak_sessions import Sessions
from .lookup import UNAVAILABLE

FIRST_RETRY, LAST_RETRY = 2.0, 60.0
"""Seconds between two questions for discovery while Keycloak is down at the hub's start."""
STRICT = "when a login session ends, its user's servers can report no activity any more, and busy ones look idle"
SAYS_NO = "you may not use this service"


class KeycloakAuthenticator(KeycloakAccounts):
    """JupyterHub's login through a Keycloak realm; people of home organisations come through its identity providers.

    Every token is verified; see ``oidc.tokens``.  What the token says of the account is merged with what the account
    directory says, as ``identity_sources`` tells.  A brokered user is found in the directory by identity provider and
    subject, never by a name or an address.  Nobody may log in until an allow rule says so.
    """

    login_handler = KeycloakLoginHandler
    callback_handler = KeycloakCallbackHandler
    logout_handler = KeycloakLogoutHandler

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.used_states = UsedStates()
        self.sessions = Sessions(self)
        self.refresher = Refresher(self)
        self._tasks: set[asyncio.Task[None]] = set()

    @cached_property
    def provider(self) -> Provider:
        """The realm."""
        options = {"validate_cert": self.validate_server_cert, **self.http_request_kwargs}
        asking = Asking(self.leeway, self.request_timeout, self.keys_age, options)
        return Provider(self.issuer, self.client_id, self.client_secret, asking)

    def get_handlers(self, app: Any) -> list[tuple[Any, ...]]:
        """Return the addresses of login, logout and back-channel logout.  Called at hub start."""
        return [*super().get_handlers(app), *LOGOUT_HANDLERS]

    def check_allow_config(self) -> None:
        """Check the settings, and begin to look for Keycloak.  Called by the hub at its start.

        The hub starts although Keycloak does not answer.
        """
        problems = self.setting_problems()
        try:
            _ = problems or self.guests
        except (NbplatformError, ValueError) as error:
            problems = [f"c.KeycloakAuthenticator.guest_pool: {line}" for line in str(error).splitlines()]
        for line in problems:
            self.log.critical("%s", line)
        if problems:
            self.log.critical("the hub does not start with this configuration")
            sys.exit(1)
        if self.auth_refresh_strict:
            self.log.warning("c.Authenticator.auth_refresh_strict is on: %s", STRICT)
        if not self.issuer.startswith("https://"):
            self.log.warning("issuer %s is not https: whoever is in between can be anybody", self.issuer)
        super().check_allow_config()
        self.sessions.begin()
        task = asyncio.ensure_future(self._discover())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _discover(self) -> None:
        pause = FIRST_RETRY
        while True:
            try:
                await self.provider.metadata()
            except KeycloakUnavailable as error:
                if pause == FIRST_RETRY:
                    self.log.warning("Keycloak cannot be asked; nobody can log in until it is back: %s", error)
            except LoginProblem as problem:
                self.log.error("Keycloak at %s is not usable: %s", self.issuer, problem.message)
                return
            else:
                self.log.info("Keycloak at %s answers", self.issuer)
                return
            await asyncio.sleep(pause)
            pause = min(LAST_RETRY, pause * 2)

    # The login

    async def authenticate(self, handler: Any, data: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Return the model of who comes back with a code.  Called by the hub.

        Raises:
            LoginProblemShown: with the label of what is wrong.
        """
        name = "-"
        try:
            tokens = await self.provider.tokens(
                grant_type="authorization_code",
                code=handler.get_argument("code"),
                redirect_uri=self.get_callback_url(handler),
                code_verifier=handler.attempt.verifier,
            )
            payload = await self.provider.id_token(tokens.get("id_token"), handler.attempt.nonce)
            model = await self.build_auth_model(payload, tokens, None)
            name, handler.sid = model["name"], payload.get("sid")
            await self.check_permitted(model)
        except GrantRefused as error:
            self.log.warning("Keycloak refused a code: %s", error)
            raise self.login_problem(name, handler, LoginProblem("code", "the login's code was not accepted")) from None
        except KeycloakUnavailable as error:
            raise self.unavailable(handler, error) from None
        except LoginProblem as problem:
            raise self.login_problem(name, handler, problem) from None
        except (Refusal, DirectoryUnavailable) as error:
            raise self.no_account(name, handler, error) from None
        return model

    async def build_auth_model(
        self, payload: Mapping[str, Any], tokens: Mapping[str, Any], before: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Return the hub's model of a person: ``name``, ``admin``, ``groups`` and ``auth_state``.

        Args:
            payload: of a verified id_token.
            tokens: what the token endpoint gave with it.
            before: the stored ``auth_state`` at a refresh; None at a login.

        Raises:
            LoginProblem, Refusal, DirectoryUnavailable: why there is none.
        """
        claims = self._read(payload)
        name = await self._name(claims, is_login=before is None)
        found = (await self.stored_state(name) if before is None else before).get("keycloak")
        stored = found if isinstance(found, Mapping) else {}
        pins = check_same_person(name, claims, stored)
        if before is not None:
            check_same_session(name, claims, stored)
        kept = {
            **stored,
            "pins": pins,
            "sub": claims.sub,
            "sid": claims.sid,
            "claims": claims.to_dict(),
            "refreshed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "id_token": tokens.get("id_token"),
            "refresh_token": tokens.get("refresh_token"),
        }
        model = {"name": name, "admin": None, "auth_state": {**(before or {}), "keycloak": kept}}
        return {**model, **self._rights(name, claims)}

    def _read(self, payload: Mapping[str, Any]) -> Claims:
        """Return the claims of a token, as far as the token alone can be judged."""
        claims = read_claims(payload, self.claim_names)
        if claims.valid_until is not None and datetime.now(UTC) >= claims.valid_until:
            ended = claims.valid_until.isoformat(timespec="minutes")
            raise LoginProblem("account", f"account {bounded(claims.username)}: it ended on {ended}")
        if claims.provider is None and claims.uid is None and CLAIMS in self.sources["uid"]:
            raise LoginProblem("claims", f"the claim {self.uid_claim or 'for the uid'} is missing")
        return claims

    async def _name(self, claims: Claims, is_login: bool) -> str:
        """Return the hub's name of a person; only a login, and only who may come in, takes an account for guests."""
        try:
            return await self.name_of(claims, new=is_login and self._lets_in(claims))
        except NotLinked as error:
            if self.guests is not None and self.guests.serves(error.provider) and not self._lets_in(claims):
                raise LoginProblem("not-allowed", f"{SAYS_NO}: no rule lets guests with your roles in") from None
            raise

    def _rights(self, name: str, claims: Claims) -> dict[str, Any]:
        """Return ``admin``, and ``groups`` where the hub takes them from here; who loses a role loses a right."""
        groups = {*self._hub_groups(claims)}
        by_group = self.manage_groups and groups & self.admin_groups
        admin = bool(name in self.admin_users or {*claims.roles} & self.admin_roles or by_group)
        asked = self.admin_roles or (self.manage_groups and self.admin_groups)
        rights: dict[str, Any] = {"admin": admin if admin or asked else None}
        return {**rights, "groups": sorted(groups)} if self.manage_groups else rights

    # Allow rules

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        """Tell whether an allow rule lets somebody in: oauthenticator's rules, or a role.  Called by the hub."""
        if auth_model is not None:
            claims = claims_in(auth_model.get("auth_state") or {})
            if claims is not None and {*claims.roles} & (self.allowed_roles | self.admin_roles):
                return True
        return bool(await super().check_allowed(username, auth_model))

    def _lets_in(self, claims: Claims) -> bool:
        """Tell whether a rule lets in whoever has these claims, whatever they are called: only they become guests."""
        roles, groups = {*claims.roles}, {*self._hub_groups(claims)}
        by_group = self.manage_groups and groups & (self.allowed_groups | self.admin_groups)
        return bool(self.allow_all or roles & (self.allowed_roles | self.admin_roles) or by_group)

    def _hub_groups(self, claims: Claims) -> tuple[str, ...]:
        return claims.roles if self.hub_groups_from == "roles" else claims.groups

    async def check_permitted(self, model: dict[str, Any]) -> None:
        """Look at the block and allow rules: at the login, at each refresh and before each spawn.

        Raises:
            LoginProblem: ``not-allowed``.
        """
        name = model["name"]
        passed = await maybe_future(self.check_blocked_users(name, model))
        if not passed or not (self.allow_all or await self.check_allowed(name, model)):
            raise LoginProblem("not-allowed", f"account {bounded(name)}: {SAYS_NO}")

    async def pre_spawn_start(self, user: Any, spawner: Any) -> None:
        """Look at the allow rules and the account again.  Called by the hub before each start.

        Raises:
            SpawnRefused: ``account``.
        """
        state = await user.get_auth_state() or {}
        model = {"name": user.name, "admin": user.admin, "groups": [group.name for group in user.groups]}
        try:
            ended = await self.refresher.refusal(user, spawner.handler)
            if ended is not None:
                raise ended
            if claims_in(state) is not None:
                await self.check_permitted({**model, "auth_state": state})
        except (LoginProblem, Refusal) as problem:
            raise refuse(spawner, Refusal("account", problem.message)) from None
        await super().pre_spawn_start(user, spawner)

    async def refresh_user(self, user: Any, handler: web.RequestHandler | None = None, **kwargs: Any) -> Any:
        """Tell whether a logged-in user may stay so.  Called by the hub; see ``Refresher``."""
        return await self.refresher.refresh(user, handler)

    # Pages

    def login_problem(self, name: str, handler: web.RequestHandler | None, problem: LoginProblem) -> LoginProblemShown:
        """Return the page of a refused login, logged once.

        Args:
            name: who tried, ``-`` where that is not known.
            handler: of the request.
            problem: why.
        """
        where = self.client_address(handler)
        self.log.warning(
            "login refused user=%s from=%s reason=%s: %s", bounded(name), where, problem.reason, problem.message
        )
        hub = getattr(handler, "hub", None)
        return LoginProblemShown(problem, self.support, hub.base_url if hub is not None else "/hub/")

    def no_account(
        self, name: str, handler: web.RequestHandler | None, error: Refusal | DirectoryUnavailable
    ) -> LoginProblemShown:
        """Return the page of a login that has no account; see ``IdentityMixin``."""
        if isinstance(error, Refusal):
            return self.login_problem(name, handler, as_problem(error))
        self.log.error("account directory %s: %s", self.accounts, error)
        sentence, _, _ = UNAVAILABLE.partition(";")  # the page gives the advice
        return self.login_problem(name, handler, LoginProblem("directory", sentence))

    def unavailable(self, handler: web.RequestHandler | None, error: KeycloakUnavailable) -> LoginProblemShown:
        """Return the page for a login while Keycloak cannot be asked."""
        self.log.error("Keycloak cannot be asked: %s", error)
        return self.login_problem("-", handler, LoginProblem("unavailable", "the login service does not answer"))


def as_problem(refusal: LoginProblem | Refusal) -> LoginProblem:
    """Return a refusal of the account as one of the login."""
    if isinstance(refusal, LoginProblem):
        return refusal
    kinds = ((NotLinked, "not-linked"), (Disagreement, "other-person"), (GuestsFull, "guests-full"))
    reason = next((label for kind, label in kinds if isinstance(refusal, kind)), "account")
    return LoginProblem(reason, refusal.message)
