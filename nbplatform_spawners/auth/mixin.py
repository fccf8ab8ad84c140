"""What makes any JupyterHub authenticator know who a user is on this site."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jupyterhub.utils import maybe_future
from tornado import web
from traitlets import TraitError

from ..errors import DirectoryUnavailable, NbplatformError, Refusal
from ..names import bounded, is_safe
from ..spawners.errors import refuse
from ..spawners.idle_board import Stop
from ..spawners.idle_handlers import IDLE_HANDLERS, stops_to_tell
from ..spawners.stop_form import STOP_HANDLERS
from .address import browser_address
from .ended import AccountCheck
from .errors import LoginRefused
from .key import warn_without_key
from .lookup import UNAVAILABLE, AccountLookup, to_store


class IdentityMixin(AccountLookup):
    """Gives an authenticator the identities of an account directory.

    Put it first: ``class SiteAuthenticator(IdentityMixin, GitHubAuthenticator)``.  The other class says that
    somebody is ``alice``; the directory says which uid, gid and groups ``alice`` has and whether the account is
    valid.  ``auth_state["identity"]`` holds ``Identity.to_dict()``: stored at login, asked afresh before each spawn.

    Overridable:

    - :meth:`identity_provider`: through which identity provider a login came; called at each login.
    - :meth:`look_up`: the blocking question itself; called in a thread at login, before each spawn, at refresh and
      in each account check.
    - :meth:`account_of`: the same, not blocking, with all that is stored of the user.

    A subclass that overrides ``run_post_auth_hook``, ``pre_spawn_start``, ``refresh_user`` or ``check_allow_config``
    calls ``super()``.
    """

    stops_by_form = True
    """Pages may stop a server by a form: :meth:`get_handlers` brings its address."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._account_check = AccountCheck(self)
        if self.parent is not None and self.enable_auth_state:
            warn_without_key(self.log)

    def get_handlers(self, app: Any) -> list[tuple[Any, ...]]:
        """Return the login's addresses, those of forms about servers, and the idle culler's.  Called at hub start."""
        if hasattr(app, "template_vars"):  # a page about somebody's server has its owner as ``user``, whoever looks
            app.template_vars.setdefault("nbplatform_viewer", lambda viewer: viewer)
        return [*super().get_handlers(app), *STOP_HANDLERS, *IDLE_HANDLERS]

    def stops_to_tell(self, user: Any, server: str | None = None) -> tuple[Stop, ...]:
        """Return which servers of a user, or which one, were stopped, when and why.  Called by pages that show it."""
        return stops_to_tell(user, server)

    # To override

    def identity_provider(self, auth_model: Mapping[str, Any]) -> str | None:
        """Return the alias of the identity provider of this login, None for a local one.

        Called at each login with what ``authenticate`` returned.  Do not call ``super()``.
        """
        return None

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

    # Called by the hub

    def check_allow_config(self) -> None:
        """Check what can be checked before any user is there.  Called by the hub at its start.

        A bad accounts file, or bad rules, end the start with every mistake and without a traceback.  The hub's loop
        runs here: the account check begins.
        """
        super().check_allow_config()
        try:
            _ = self.directory if self.accounts or self.needs_directory else None
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
        state = auth_model.get("auth_state") or {}
        try:
            account = await self._ask(name, state, await self.stored_state(name))
        except (Refusal, DirectoryUnavailable) as error:
            raise self.no_account(name, handler, error) from None
        identity = replace(account.identity, provider=self.identity_provider(auth_model))
        auth_model["auth_state"] = {**state, **to_store(replace(account, identity=identity))}
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
        return LoginRefused(status, message, self.support)

    def no_account(
        self, name: str, handler: web.RequestHandler | None, error: Refusal | DirectoryUnavailable
    ) -> LoginRefused:
        """Return the error that says why a login has no account, logged once."""
        if isinstance(error, Refusal):
            return self.login_refused(name, handler, error.message)
        self.log.error("account directory %s: %s", self.accounts, error)
        return self.login_refused(name, handler, UNAVAILABLE, status=503)

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
            account = await self._ask_for_spawn(user.name, await user.get_auth_state() or {})
        except Refusal as refusal:
            raise refuse(spawner, refusal) from None
        await self._store(user, account)
        await maybe_future(super().pre_spawn_start(user, spawner))

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
            account = await self.standing(user)
        except DirectoryUnavailable as error:
            self.log.warning("refresh of user=%s without the account directory: %s", user.name, error)
            return result
        if account is None:
            return result
        if isinstance(account, Refusal):
            self.log.warning("user=%s must log in again: %s", user.name, account.message)
            return False
        await self._store(user, account)  # so that the spawn page shows what the next spawn will decide on
        if isinstance(result, Mapping) and result.get("auth_state") is not None:
            state = await user.get_auth_state() or {}
            kept = {key: state.get(key) for key in to_store(account)}
            return {**result, "auth_state": {**result["auth_state"], **kept}}
        return result
