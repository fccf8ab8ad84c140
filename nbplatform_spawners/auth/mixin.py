"""What makes any JupyterHub authenticator know who a user is on this site."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from jupyterhub.utils import maybe_future
from tornado import web
from traitlets import TraitError

from ..accounts.directory import UnknownAccount
from ..errors import DirectoryUnavailable, NbplatformError, Refusal
from ..identity import Account, Identity
from ..names import bounded, is_safe
from ..spawners.errors import refuse
from ..spawners.stop_form import STOP_HANDLERS
from .address import browser_address
from .asking import Asker
from .ended import AccountCheck
from .errors import LoginRefused
from .key import warn_without_key
from .settings import IdentitySettings

UNAVAILABLE = "the accounts of this site cannot be looked up now; try again in a few minutes"


class IdentityMixin(IdentitySettings):
    """Gives an authenticator the identities of an account directory.

    Put it first: ``class SiteAuthenticator(IdentityMixin, GitHubAuthenticator)``.  The other class says that
    somebody is ``alice``; the directory says which uid, gid and groups ``alice`` has and whether the account is
    valid.  ``auth_state["identity"]`` holds ``Identity.to_dict()``: stored at login, asked afresh before each spawn.

    Overridable:

    - :meth:`identity_provider`: through which identity provider a login came; called at each login.
    - :meth:`look_up`: the blocking question itself; called in a thread at login, before each spawn, at refresh and
      in each account check.

    A subclass that overrides ``run_post_auth_hook``, ``pre_spawn_start``, ``refresh_user`` or ``check_allow_config``
    calls ``super()``.
    """

    stops_by_form = True
    """Pages may stop a server by a form: :meth:`get_handlers` brings its address."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._asker = Asker()
        self._account_check = AccountCheck(self)
        if self.parent is not None and self.enable_auth_state:
            warn_without_key(self.log)

    def get_handlers(self, app: Any) -> list[tuple[Any, ...]]:
        """Return the login's addresses, and where pages without JavaScript stop a server.  Called at hub start."""
        return [*super().get_handlers(app), *STOP_HANDLERS]

    # To override

    def identity_provider(self, auth_model: Mapping[str, Any]) -> str | None:
        """Return the alias of the identity provider of this login, None for a local one.

        Called at each login with what ``authenticate`` returned.  Do not call ``super()``.
        """
        return None

    def look_up(self, name: str) -> Account:
        """Return the account of ``name``; blocks.

        Called in a thread at login, before each spawn, at refresh and in each account check.  Call ``super()``.

        Raises:
            Refusal, DirectoryUnavailable: see ``AccountDirectory.lookup``.
        """
        account = self.directory.lookup(name)
        if account.identity.name != name:
            shown = bounded(account.identity.name)
            raise Refusal("account", f"account {bounded(name)}: the directory answered with another one, {shown}")
        return account

    # Names

    def normalize_username(self, username: str) -> str:
        """Return the hub's name of a user: lower case, then ``username_map``.

        Only ASCII is lower-cased: the Kelvin sign would become a ``k``, and a look-alike somebody else.
        """
        if username.isascii():
            return str(super().normalize_username(username))
        return str(self.username_map.get(username, username))

    def validate_username(self, username: str) -> bool:
        """Tell whether this may be the name of a user; called by the hub wherever a name comes in."""
        return is_safe(username) and username != "root" and bool(super().validate_username(username))

    def check_name(self, name: str, handler: web.RequestHandler | None) -> None:
        """Refuse the login of somebody whose name is not safe, with the reason rather than as a wrong password.

        Raises:
            LoginRefused: 403.
        """
        if not self.validate_username(self.normalize_username(name)):
            message = f"account {bounded(name)}: this user name is not allowed here"
            raise self.login_refused(name, handler, message)

    # Asking the directory

    async def lookup_account(self, name: str) -> Account:
        """Return the account of ``name`` as it is now, checked: valid today, and its numbers in the allowed range.

        Called at login, before each spawn, and by spawners for a user whose identity is not stored.

        Raises:
            Refusal: ``account``, with the reason; also when the directory cannot be asked.
        """
        try:
            return await self._ask(name)
        except DirectoryUnavailable as error:
            self.log.error("account directory %s cannot be asked about %s: %s", self.accounts, bounded(name), error)
            raise Refusal("account", UNAVAILABLE) from None

    async def _ask(self, name: str) -> Account:
        account = await self._asker.ask(partial(self.look_up, name), self.directory_timeout)
        refusal = account.refusal(datetime.now(UTC))
        if refusal is not None:
            raise refusal
        account.identity.check(self.allowed_ids)
        return account

    async def standing(self, name: str) -> Account | Refusal | None:
        """Return the account of ``name`` as it is now, or why it is positively refused.

        None where the directory does not know the name and that proves nothing.  Called at refresh and by
        ``AccountCheck``.

        Raises:
            DirectoryUnavailable: the directory cannot be asked.
        """
        try:
            return await self._ask(name)
        except UnknownAccount as refusal:
            return refusal if self.directory.absence_is_proof else None
        except Refusal as refusal:
            return refusal

    # Called by the hub

    def check_allow_config(self) -> None:
        """Check what can be checked before any user is there.  Called by the hub at its start.

        A bad accounts file, or bad rules, end the start with every mistake and without a traceback.  The hub's loop
        runs here: the account check begins.
        """
        super().check_allow_config()
        try:
            _ = self.directory
            spawner_class: Any = getattr(self.parent, "spawner_class", None)
            if hasattr(spawner_class, "check_configuration"):  # one of ours
                spawner_class.check_configuration(self.parent.config)
                spawner_class.begin(self.parent)
        except (NbplatformError, TraitError, ValueError) as error:
            for line in str(error).splitlines():
                self.log.critical("%s", line)
            self.log.critical("the hub does not start with this configuration")
            sys.exit(1)
        self._account_check.start()

    async def authenticate(self, handler: web.RequestHandler | None, data: Any) -> Any:
        """Return what the other class says of a login.  Called by the hub.

        Raises:
            LoginRefused: 403 when the name of somebody who has proved to be them is not safe.
        """
        authenticated = await maybe_future(super().authenticate(handler, data))
        if authenticated:
            name = authenticated["name"] if isinstance(authenticated, Mapping) else authenticated
            self.check_name(name, handler)
        return authenticated

    async def run_post_auth_hook(self, handler: web.RequestHandler | None, auth_model: dict[str, Any]) -> Any:
        """Add the identity to a login that was found good.  Called by the hub after all its checks.

        Raises:
            LoginRefused: 403, or 503 when the directory cannot be asked; the login page shows the sentence.
        """
        auth_model = await super().run_post_auth_hook(handler, auth_model)
        if not auth_model:
            return auth_model
        name = auth_model["name"]
        try:
            account = await self._ask(name)
        except Refusal as refusal:
            raise self.login_refused(name, handler, refusal.message) from None
        except DirectoryUnavailable as error:
            self.log.error("account directory %s: %s", self.accounts, error)
            raise self.login_refused(name, handler, UNAVAILABLE, status=503) from None
        identity = replace(account.identity, provider=self.identity_provider(auth_model))
        auth_model["auth_state"] = {**(auth_model.get("auth_state") or {}), "identity": identity.to_dict()}
        return auth_model

    def login_refused(
        self, name: str, handler: web.RequestHandler | None, message: str, status: int = 403
    ) -> LoginRefused:
        """Return the error that shows ``message`` on the login page, logged once.

        Args:
            name: who tried.
            handler: of the request; None where there is none.
            message: one sentence for the user, without a secret.
            status: of the answer.
        """
        self.log.warning(
            "login refused user=%s from=%s reason=%s", bounded(name), self.client_address(handler), message
        )
        return LoginRefused(status, message)

    def client_address(self, handler: web.RequestHandler | None) -> str:
        """Return the address of the browser; ``-`` without a request.

        The last of ``X-Forwarded-For`` that is not in ``JupyterHub.trusted_downstream_ips``: a proxy of ours wrote
        it, unless somebody on the hub's machine asked the hub directly.  Not ``X-Real-Ip``, which the hub believes.
        """
        if handler is None:
            return "-"
        forwarded = handler.request.headers.get("X-Forwarded-For", "")
        connection: Any = handler.request.connection
        return browser_address(
            forwarded, getattr(self.parent, "trusted_downstream_ips", ()), connection.context.address
        )

    async def pre_spawn_start(self, user: Any, spawner: Any) -> None:
        """Ask the directory afresh and store the identity.  Called by the hub before each start.

        The identity is the owner's, whoever starts the server.

        Raises:
            SpawnRefused: ``account``: the account is unknown, ended or not safe, or the directory cannot be asked.
        """
        try:
            account = await self.lookup_account(user.name)
        except Refusal as refusal:
            raise refuse(spawner, refusal) from None
        await self._store(user, account.identity)
        await maybe_future(super().pre_spawn_start(user, spawner))

    async def _store(self, user: Any, fresh: Identity) -> None:
        if not self.enable_auth_state:
            return
        state = await user.get_auth_state() or {}
        identity = _keep_provider(fresh, state).to_dict()
        if identity != state.get("identity"):
            await user.save_auth_state({**state, "identity": identity})

    async def refresh_user(self, user: Any, handler: web.RequestHandler | None = None) -> Any:
        """Tell whether a logged-in user may stay so.  Called by the hub every ``auth_refresh_age`` seconds.

        No longer when the directory positively says that the account has ended, is gone or is not safe; an
        unreachable directory changes nothing.  Running servers are left to ``AccountCheck``.
        """
        if handler is not None and not hasattr(handler, "_token_authenticated"):
            # JupyterHub 6.1 reads it unset when a refresh by cookie fails.
            setattr(handler, "_token_authenticated", False)  # noqa: B010 - no such attribute is declared
        result = await super().refresh_user(user, handler)
        if not result:
            return result
        try:
            account = await self.standing(user.name)
        except DirectoryUnavailable as error:
            self.log.warning("refresh of user=%s without the account directory: %s", user.name, error)
            return result
        if account is None:
            return result
        if isinstance(account, Refusal):
            self.log.warning("user=%s must log in again: %s", user.name, account.message)
            return False
        if isinstance(result, Mapping) and result.get("auth_state") is not None:
            state = await user.get_auth_state() or {}
            identity = _keep_provider(account.identity, state).to_dict()
            return {**result, "auth_state": {**result["auth_state"], "identity": identity}}
        await self._store(user, account.identity)  # so that the spawn page shows what the next spawn will decide on
        return result


def _keep_provider(fresh: Identity, state: Mapping[str, Any]) -> Identity:
    """Return ``fresh`` with the identity provider of the last login, which no directory knows."""
    stored = state.get("identity")
    return replace(fresh, provider=stored.get("provider") if isinstance(stored, Mapping) else None)
