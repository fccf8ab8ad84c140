"""Which of the hub's sessions came out of which Keycloak session, and ending them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jupyterhub import orm
from jupyterhub.utils import new_token

from ..oidc.refusals import LoginProblem
from .auth_state import State, change_auth_state, read_auth_state
from .keycloak_login import Login, ended, noted, read_login, session_of, with_sessions, without_tokens

if TYPE_CHECKING:
    from jupyterhub.user import User

    from .keycloak import KeycloakAuthenticator

_AT_ONCE = 64
_MOST_SEEN = 10_000
_MOST_ENDED = 10_000


@dataclass(frozen=True)
class Left:
    """What a session that was left at the hub leaves behind.

    Attributes:
        sid: its Keycloak session; None when that cannot be told.
        id_token: shows Keycloak which session is meant; empty when it is not known.
    """

    sid: str | None = None
    id_token: str = ""


class SeenTokens:
    """Logout tokens that were obeyed once, until they have ended; bounded, those that end first forgotten first."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def check(self, jti: str) -> None:
        """Refuse a token that was obeyed before.

        Raises:
            LoginProblem: ``malformed``.
        """
        if jti in self._ends:
            raise LoginProblem("malformed", "the logout token was used before")

    def add(self, jti: str, end: float, now: float) -> None:
        """Remember a token.

        Args:
            jti: its ID.
            end: when it is refused anyway, seconds since 1970.
            now: seconds since 1970.
        """
        if len(self._ends) >= _MOST_SEEN:
            living = sorted((item for item in self._ends.items() if item[1] > now), key=lambda item: item[1])
            self._ends = dict(living[-_MOST_SEEN // 2 :])
        self._ends[jti] = end


class Sessions:
    """The sessions of all users.

    JupyterHub has one cookie id for each user and no list of sessions.  So the Keycloak session of each login is
    noted in ``auth_state``, which survives a restart, together with the hub's session id, which every OAuth token of
    that browser carries.  In memory, without tokens, the same stands for all users, so that who a ``sid`` belongs to
    is known without decrypting everything.

    Args:
        authenticator: whose users they are.
    """

    def __init__(self, authenticator: KeycloakAuthenticator) -> None:
        self.seen = SeenTokens()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._authenticator = authenticator
        self._logins: dict[str, Login] = {}
        self._reading: asyncio.Future[None] | None = None

    # Who is who

    def begin(self) -> None:
        """Read what is stored of all users, in the background.  Called at the hub's start, in its loop."""
        if self._reading is None:
            columns = (orm.User.name, orm.User.encrypted_auth_state)
            rows = self._authenticator.parent.db.query(*columns).filter(columns[1].isnot(None)).all()
            self._reading = asyncio.ensure_future(self._read([(name, encrypted) for name, encrypted in rows]))

    async def _read(self, rows: list[tuple[str, bytes]]) -> None:
        for first in range(0, len(rows), _AT_ONCE):
            some = rows[first : first + _AT_ONCE]
            states = await asyncio.gather(*(read_auth_state(encrypted) for _, encrypted in some))
            for (name, _), state in zip(some, states, strict=True):
                self._remember(name, state)

    async def _ready(self) -> None:
        self.begin()
        assert self._reading is not None  # noqa: S101 - begin sees to it
        await asyncio.shield(self._reading)

    def _remember(self, name: str, state: State) -> Login:
        login = read_login(state)
        self._logins[name] = replace(login, id_token="", refresh_token="")
        return login

    async def names(
        self, sub: str | None = None, provider: str | None = None, subject: str | None = None
    ) -> tuple[str, ...]:
        """Return the hub's names of a person, in name order; mostly one or none.

        Args:
            sub: the person at Keycloak; or
            provider, subject: the person at the identity provider that Keycloak brokered.
        """
        await self._ready()
        pair = (provider, subject)
        found = (
            name
            for name, login in self._logins.items()
            if (sub in login.subs if sub is not None else (login.provider, login.subject) == pair)
        )
        return tuple(sorted(name for name in found if self._user(name) is not None))

    def _user(self, name: str) -> User | None:
        """Return a user of the hub's database; ``name in hub.users`` only looks at who was seen since the start."""
        hub: Any = self._authenticator.parent
        found = orm.User.find(hub.db, name)
        return None if found is None else hub.users[found]

    async def name_of(self, provider: str | None, subject: str | None) -> str | None:
        """Return the hub's name of a person who came through an identity provider; None unless there is exactly one."""
        names = await self.names(provider=provider, subject=subject) if provider and subject else ()
        return names[0] if len(names) == 1 else None

    # Logins

    async def note_login(self, user: User, handler: Any, sid: str | None = None) -> None:
        """Note which Keycloak session a login came from.  Called after each login.

        Args:
            user: who has logged in; their ``auth_state`` is stored.
            handler: of the request that finished the login.
            sid: the Keycloak session; the one of the stored tokens when None.
        """
        await self._ready()
        session_id = handler.get_session_cookie()

        def change(state: State) -> State | None:
            login = read_login(state)
            known = self._logins.get(user.name, login)
            sessions = {**(known.sessions if known.subs & login.subs else {}), **login.sessions}
            session = sid or login.sid
            return with_sessions(state, noted(sessions, session, session_id)) if session and session_id else None

        state = await change_auth_state(user, change)
        if state is not None:
            self._remember(user.name, state)

    # The end

    def has_ended(self, sid: str) -> bool:
        """Tell whether Keycloak has told of the end of a session lately; a login may still be on its way then."""
        return sid in self._ended

    async def end(self, sid: str | None = None, sub: str | None = None) -> tuple[User, ...]:
        """End what came out of a Keycloak session that has ended, and return whose it was.

        Args:
            sid: the session; all sessions of the person when None.
            sub: the person; for where ``sid`` is None or may be unknown.
        """
        if sid is not None:
            self._ended[sid] = None
            while len(self._ended) > _MOST_ENDED:
                self._ended.popitem(last=False)
        await self._ready()
        names = [
            name
            for name, login in self._logins.items()
            if sid in login.sessions or (sub is not None and sub in login.subs)
        ]
        users = tuple(user for user in map(self._user, names) if user is not None)
        for user in users:
            await self._end(user, sid)
        return users

    async def end_all(self, user: User) -> None:
        """End all sessions of a user who may not use the hub any more."""
        await self._ready()
        await self._end(user, None)

    async def leave(self, user: User, session_id: str | None) -> Left:
        """End one session of the hub because its user has logged out of it.

        Args:
            user: who has.
            session_id: the hub's id of the session.
        """
        await self._ready()
        login = read_login(await user.get_auth_state() or {})
        sid = session_of(login, session_id)
        if sid is None:
            revoke(user, {known for ids in login.sessions.values() for known in ids if known != session_id})
            return Left()
        await self._end(user, sid)
        return Left(sid, login.id_token if sid == login.sid else "")

    async def _end(self, user: User, sid: str | None) -> None:
        known = self._logins.get(user.name, Login())
        remaining = ended(known.sessions, sid)
        self._logins[user.name] = replace(known, sessions=remaining)
        revoke(user, {session_id for ids in remaining.values() for session_id in ids})  # first: it cannot wait

        def change(state: State) -> State:
            login = read_login(state)
            fewer = with_sessions(state, ended(login.sessions, sid))
            return without_tokens(fewer) if sid is None or login.sid == sid else fewer

        state = await change_auth_state(user, change)
        if state is not None:
            self._remember(user.name, state)


def revoke(user: User, kept: Collection[str]) -> None:
    """End a user's logins: the hub's cookies of all browsers, and all tokens of browser sessions but some.

    The user's own API tokens and the tokens of running servers stay: they belong to no browser session.

    Args:
        user: whose logins.
        kept: ids of the hub sessions whose tokens stay.  A browser that was closed and opened again has an id that
            was never noted, so what is not known here is ended.
    """
    db = user.db
    for token in db.query(orm.APIToken).filter(orm.APIToken.user_id == user.id, orm.APIToken.session_id.isnot(None)):
        if token.session_id not in kept:
            db.delete(token)
    for code in db.query(orm.OAuthCode).filter(orm.OAuthCode.user_id == user.id):
        if code.session_id not in kept:
            db.delete(code)
    user.cookie_id = new_token()
    db.commit()
