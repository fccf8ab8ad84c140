"""What a login of a test user would end in, by the hub's own steps: claims, name, allow rules, directory, identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ..accounts.guests import GuestPool
from ..errors import BadFile, DirectoryUnavailable, NbplatformError, Refusal
from ..identity import Account
from ..names import bounded
from ..oidc.claims import Claims, read_claims
from ..oidc.refusals import LoginProblem
from .doctor_report import Finding, Verdict
from .keycloak import KeycloakAuthenticator, as_problem
from .lookup import AccountLookup


class GuestToBe(NbplatformError):
    """The person has no account yet and would be given one of the pool."""


class LookingGuests:
    """A pool of guests that gives nothing out: the doctor only looks.

    Args:
        pool: the real one.
    """

    def __init__(self, pool: GuestPool) -> None:
        self._pool = pool

    def serves(self, provider: str) -> bool:
        """Tell whether people of an identity provider may be guests."""
        return self._pool.serves(provider)

    @property
    def providers(self) -> tuple[str, ...]:
        """Whose people may be guests."""
        return tuple(self._pool.settings.providers)

    def record_problem(self) -> str:
        """Return why nobody can be a guest; empty where the record is well."""
        try:
            self._pool.record()
        except DirectoryUnavailable as error:
            return str(error)
        return ""

    def account(self, provider: str, subject: str, now: datetime, *, new: bool = True) -> Account:
        """Return the account of somebody who has one; see ``GuestPool.account``.

        Raises:
            GuestToBe: they have none yet, and would get one.
        """
        if new and provider in self._pool.settings.providers and self._pool.known(provider, subject) is None:
            raise GuestToBe(f"they would get a new account of the pool of guests, {self._pool.path}")
        return self._pool.account(provider, subject, now, new=False)


def only_look(authenticator: KeycloakAuthenticator) -> None:
    """Keep an authenticator from giving accounts of its pool to anybody, and from asking the hub's database.

    Raises:
        BadFile, DirectoryUnavailable: the pool's settings are bad.
    """
    authenticator.directory_grace = 0  # what the hub remembers of people is not here
    pool = authenticator.guests
    if isinstance(pool, GuestPool):
        authenticator.__dict__["guests"] = LookingGuests(pool)


async def judge_person(authenticator: KeycloakAuthenticator, user: str, payload: Mapping[str, Any]) -> Verdict:
    """Return what a login with this token would end in.

    Args:
        authenticator: the hub's; :func:`only_look` was called.
        user: the name that was asked about.
        payload: of the ID token.
    """
    verdict = Verdict(user)
    try:
        claims = read_claims(payload, authenticator.claim_names)
        verdict = replace(verdict, claims=_shown(claims))
        model = await authenticator.build_auth_model(payload, {}, None)
        await authenticator.check_permitted(model)
        account = await authenticator.account_of(model["name"], model["auth_state"])
        refusal = account.refusal(datetime.now(UTC)) or account.identity.outside(authenticator.allowed_ids)
        if refusal is not None:
            raise refusal
    except (LoginProblem, Refusal) as refusal:
        return replace(verdict, refused=str(as_problem(refusal)))
    except DirectoryUnavailable as error:
        return replace(verdict, refused=f"directory: {error}")
    except GuestToBe as guest:
        return replace(verdict, account={"guest": str(guest)})
    return replace(verdict, account=_account(account, claims, admin=bool(model["admin"])))


def _shown(claims: Claims) -> dict[str, Any]:
    """Return the claims without what belongs to one session."""
    return {name: value for name, value in claims.to_dict().items() if name != "sid"}


def _account(account: Account, claims: Claims, *, admin: bool) -> dict[str, Any]:
    ends = account.valid_until.isoformat() if account.valid_until else None
    identity = replace(account.identity, provider=claims.provider)
    return {**identity.to_dict(), "valid_until": ends, "admin": admin}


async def judge_directory(authenticator: KeycloakAuthenticator, user: str, claims: Claims | None) -> Finding:
    """Return the finding about the account directory: whether it opens, and what it says of the user.

    Args:
        authenticator: the hub's.
        user: the name that was asked about; empty for nobody.
        claims: of the user's token, where there is one.
    """
    if not authenticator.accounts:
        todo = "set c.KeycloakAuthenticator.accounts, unless all that counts is in the token"
        return Finding("skipped", "directory", "no account directory is set", todo)
    spec = bounded(authenticator.accounts, 200)
    try:
        directory = authenticator.directory
        if claims is not None and claims.provider is not None and claims.subject is not None:
            # A question of seconds, after which nothing else runs: no thread is worth it.
            account = directory.lookup_federated(claims.provider, claims.subject)
        elif user:
            name = authenticator.normalize_username(user)
            account = await AccountLookup.account_of(authenticator, name, {})
        else:
            return Finding("ok", "directory", f"{spec} opens")
    except (ValueError, BadFile) as error:
        lines = tuple(str(error).splitlines())
        return Finding("FAILED", "directory", f"{spec} is bad", "mend it; the hub does not start with it", lines)
    except DirectoryUnavailable as error:
        todo = "see whether it runs, and whether this machine may ask it"
        return Finding("FAILED", "directory", f"{spec} cannot be asked: {error}", todo)
    except Refusal as refusal:
        return Finding("warning", "directory", f"{spec} answers: {refusal.message}", "add the account, if it should be")
    return Finding("ok", "directory", f"{spec} answers: {_of(account)}")


def judge_guests(authenticator: KeycloakAuthenticator) -> list[Finding]:
    """Return the finding about who has which account of the pool of guests; none where there is no pool.

    Args:
        authenticator: the hub's; :func:`only_look` was called.
    """
    pool: Any = authenticator.guests
    if not isinstance(pool, LookingGuests):
        return []
    problem = pool.record_problem()
    if not problem:
        return [Finding("ok", "guests", f"the record of {bounded(authenticator.guest_pool, 200)} is whole")]
    todo = f"people of {', '.join(pool.providers)} whom nobody linked cannot log in until then"
    return [Finding("FAILED", "guests", problem, todo)]


def _of(account: Account) -> str:
    one = account.identity
    until = f", until {account.valid_until.isoformat(timespec='minutes')}" if account.valid_until else ""
    groups = ", ".join(f"{name} ({gid})" for name, gid in one.groups.items()) or "no named group"
    return f"{one.name} has uid {one.uid}, gid {one.gid}, groups {groups}, home {one.home}{until}"
