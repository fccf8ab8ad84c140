"""Who comes out of a login through Keycloak: what the token says, merged with what the account directory says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..accounts.directory import NotLinked
from ..accounts.guests import GuestPool
from ..accounts.merge import CLAIMS, groups_without_gid, merge, parse_sources
from ..errors import DirectoryUnavailable, Refusal
from ..identity import Account
from ..names import bounded
from ..oidc.claims import Claims, claims_from_dict
from ..oidc.refusals import LoginProblem
from .keycloak_settings import KeycloakSettings

MOST_PINS = 20
"""Ways to log in to one account that are remembered."""


class KeycloakAccounts(KeycloakSettings):
    """What ``KeycloakAuthenticator`` knows of accounts."""

    needs_directory = False
    sessions: Any
    """The index of who has logged in; see ``keycloak_sessions``."""

    @cached_property
    def guests(self) -> GuestPool | None:
        """The pool of accounts for guests, None where the site has none."""
        return GuestPool(Path(self.guest_pool), self.log) if self.guest_pool else None

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """``identity_sources``, whole."""
        return parse_sources(self.identity_sources)

    async def account_of(self, name: str, state: Mapping[str, Any]) -> Account:
        """Return the account of a user: what the last token said, and the directory; see ``IdentityMixin``.

        Raises:
            Refusal, DirectoryUnavailable: as ``IdentityMixin.account_of``.
        """
        try:
            claims = claims_in(state)
        except LoginProblem as problem:
            raise Refusal("account", problem.message) from None
        if claims is not None and claims.provider is not None:
            account: Account | None = await self._linked(claims)
        else:
            account = await super().account_of(name, state) if self.accounts else None
        if claims is not None:
            dropped = groups_without_gid(claims, self.group_gids) if CLAIMS in self.sources["groups"] else ()
            if dropped:
                self.log.debug("user=%s: groups without a gid in group_gids: %s", name, bounded(", ".join(dropped)))
        elif account is None:
            raise Refusal("account", "the hub does not know who you are on this site; log out and log in once")
        return merge(name, claims, account, self.sources, self.group_gids)

    def still_holding(self, account: Account, state: Mapping[str, Any]) -> Account:
        """Return what is remembered, merged with what the token says now; see ``AccountLookup``."""
        try:
            claims = claims_in(state)
        except LoginProblem as problem:
            raise Refusal("account", problem.message) from None
        return merge(account.identity.name, claims, account, self.sources, self.group_gids)

    async def _linked(self, claims: Claims, new: bool = False) -> Account:
        """Return the account that is linked to a brokered person, a guest's where there is a pool.

        Args:
            claims: of the person.
            new: whether a guest may be given an account: at a login alone.
        """
        assert claims.provider is not None  # noqa: S101 - only called then
        assert claims.subject is not None  # noqa: S101 - read_claims sees to it
        pair = (claims.provider, claims.subject)
        try:
            if not self.accounts:
                raise NotLinked(*pair)
            return await self._asker.ask(partial(self.directory.lookup_federated, *pair), self.directory_timeout)
        except NotLinked:
            if self.guests is None:
                raise
        return await self._asker.ask(
            partial(self.guests.account, *pair, datetime.now(UTC), new=new), self.directory_timeout
        )

    def identity_provider(self, auth_model: Mapping[str, Any]) -> str | None:
        """Return through which identity provider a login came; see ``IdentityMixin``."""
        claims = claims_in(auth_model["auth_state"])
        return claims.provider if claims else None

    async def name_of(self, claims: Claims, new: bool = False) -> str:
        """Return the hub's name of a person: a brokered one's is that of the account that is linked.

        Args:
            claims: of the person.
            new: whether a guest may be given an account: at a login alone.
        """
        if claims.provider is None:
            if claims.username is None:
                raise LoginProblem("claims", f"the claim {self.username_claim} is missing")
            name = self.normalize_username(claims.username)
            if not self.validate_username(name):
                raise LoginProblem("account", f"account {bounded(claims.username)}: this user name is not allowed here")
            return name
        try:
            return (await self._linked(claims, new)).identity.name
        except DirectoryUnavailable:
            known: str | None = (
                await self.sessions.name_of(claims.provider, claims.subject) if self.directory_grace else None
            )
            if known is None:
                raise
            return known


def claims_in(state: Mapping[str, Any]) -> Claims | None:
    """Return the claims that ``auth_state`` keeps, None where there are none.

    Raises:
        LoginProblem: ``claims``: they are unreadable.
    """
    kept = state.get("keycloak")
    return claims_from_dict(kept["claims"]) if isinstance(kept, Mapping) and "claims" in kept else None


def check_same_person(name: str, claims: Claims, stored: Mapping[str, Any]) -> dict[str, str]:
    """Return what pins a name to one person of the realm: a name, or a subject, that is given away is another person.

    Keycloak lower-cases subjects; its own ``sub`` tells two people apart whose subjects differ in nothing else.

    Args:
        name: the hub's.
        claims: of this login.
        stored: ``auth_state["keycloak"]`` of the last one.

    Raises:
        LoginProblem: ``other-person``.
    """
    key = " ".join((claims.provider or "", claims.subject or "")).strip()
    kept = stored.get("pins")
    pins = {str(known): str(sub) for known, sub in kept.items()} if isinstance(kept, Mapping) else {}
    if pins.pop(key, claims.sub) != claims.sub:
        why = "the login service now has another person here; an administrator must remove the hub's user first"
        raise LoginProblem("other-person", f"account {bounded(name)}: {why}")
    return dict([*pins.items(), (key, claims.sub)][-MOST_PINS:])


def check_same_session(name: str, claims: Claims, stored: Mapping[str, Any]) -> None:
    """Check that a refreshed session is still that of the person who logged in.

    Raises:
        LoginProblem: ``other-person``: somebody else has come through a broker in it.
    """
    before = claims_in({"keycloak": stored})
    if before is not None and (before.provider, before.subject) != (claims.provider, claims.subject):
        raise LoginProblem("other-person", f"account {bounded(name)}: the session is somebody else's now; log in again")
