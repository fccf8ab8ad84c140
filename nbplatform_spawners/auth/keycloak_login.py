"""What ``auth_state["keycloak"]`` keeps of a user's logins: pure functions from one state to the next.

``sessions`` holds, for each Keycloak session (``sid``), the hub's session ids that came out of it, newest last;
``sid``, ``id_token`` and ``refresh_token`` are of the last login.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

KEY = "keycloak"
MOST_SESSIONS = 20
"""Keycloak sessions of one user that are remembered, and hub sessions of one of them."""
_TOKENS = ("id_token", "refresh_token")

State = Mapping[str, Any]
Sessions = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Login:
    """What is stored of a user's logins through Keycloak, typed; what cannot be read is as if it were not there.

    Attributes:
        sub: the person at Keycloak, of the last login.
        subs: all that logged in to this account so far: somebody may have a local user and one of a home organisation.
        sid: the Keycloak session that the tokens belong to.
        id_token, refresh_token: of that session; empty when there are none.
        refreshed_at: when Keycloak last confirmed that session, aware.
        sessions: Keycloak session to the hub's session ids, newest last.
        provider, subject: the person at the identity provider that was brokered.
    """

    sub: str = ""
    subs: frozenset[str] = frozenset()
    sid: str = ""
    id_token: str = ""
    refresh_token: str = ""
    refreshed_at: datetime | None = None
    sessions: Sessions = field(default_factory=dict)
    provider: str | None = None
    subject: str | None = None

    def age(self, now: datetime) -> timedelta | None:
        """Return how long ago Keycloak last confirmed the session; None when that is not known."""
        return None if self.refreshed_at is None else now - self.refreshed_at


def read_login(state: State) -> Login:
    """Return what an ``auth_state`` says of a user's logins."""
    part = state.get(KEY)
    if not isinstance(part, Mapping):
        return Login()
    claims = part.get("claims")
    claims = claims if isinstance(claims, Mapping) else {}
    pins = part.get("pins")
    subs = {_text(part.get("sub")), *(map(_text, pins.values()) if isinstance(pins, Mapping) else ())}
    return Login(
        subs=frozenset(subs - {""}),
        **{key: _text(part.get(key)) for key in ("sub", "sid", *_TOKENS)},
        refreshed_at=_time(part.get("refreshed_at")),
        sessions=_sessions(part.get("sessions")),
        provider=_text(claims.get("provider")) or None,
        subject=_text(claims.get("subject")) or None,
    )


def put(state: State, **values: object) -> dict[str, Any]:
    """Return a state with other values under ``keycloak``; everything else stays."""
    part = state.get(KEY)
    return {**state, KEY: {**(part if isinstance(part, Mapping) else {}), **values}}


def with_sessions(state: State, sessions: Sessions) -> dict[str, Any]:
    """Return a state with these sessions."""
    return put(state, sessions={sid: list(ids) for sid, ids in sessions.items()})


def without_tokens(state: State) -> dict[str, Any]:
    """Return a state whose user must log in again: nothing is left that Keycloak could be asked with."""
    part = state.get(KEY)
    kept = {key: value for key, value in part.items() if key not in _TOKENS} if isinstance(part, Mapping) else {}
    return {**state, KEY: kept}


def noted(sessions: Sessions, sid: str, session_id: str) -> Sessions:
    """Return the sessions with one more login; a hub session belongs to the Keycloak session of its last login."""
    others = {
        other: tuple(known for known in ids if known != session_id) for other, ids in sessions.items() if other != sid
    }
    kept = {other: ids for other, ids in others.items() if ids}
    ids = (*(known for known in sessions.get(sid, ()) if known != session_id), session_id)
    newest = [*kept.items(), (sid, ids[-MOST_SESSIONS:])]
    return dict(newest[-MOST_SESSIONS:])


def ended(sessions: Sessions, sid: str | None) -> Sessions:
    """Return the sessions without one of them; without all of them when ``sid`` is None."""
    return {other: ids for other, ids in sessions.items() if sid is not None and other != sid}


def session_of(login: Login, session_id: str | None) -> str | None:
    """Return the Keycloak session that a hub session came out of; None when it cannot be told.

    Browsers forget the hub's session id when they are closed, and keep the login: a hub session that was never noted
    belongs to the user's only Keycloak session, if there is only one.
    """
    for sid, ids in login.sessions.items():
        if session_id in ids:
            return sid
    return login.sid if login.sid and set(login.sessions) <= {login.sid} else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _sessions(value: object) -> Sessions:
    found = {}
    for sid, ids in value.items() if isinstance(value, Mapping) else ():
        if isinstance(sid, str) and isinstance(ids, list):
            found[sid] = tuple(known for known in ids if isinstance(known, str))
    return found
