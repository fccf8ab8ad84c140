"""Changing what the hub keeps of a user, without losing what somebody else changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jupyterhub.crypto import EncryptionUnavailable, InvalidToken, decrypt, encrypt

State = Mapping[str, Any]


async def read_auth_state(encrypted: bytes | None) -> dict[str, Any]:
    """Return an ``auth_state`` as the hub's database has it; empty when there is none, or no key fits any more."""
    if encrypted is None:
        return {}
    try:
        state = await decrypt(encrypted)
    except (ValueError, InvalidToken, EncryptionUnavailable):
        return {}
    return state if isinstance(state, dict) else {}


async def change_auth_state(user: Any, change: Callable[[State], State | None]) -> dict[str, Any] | None:
    """Change the stored ``auth_state`` of a user in one piece, and return what is stored then.

    Reading and writing take turns of the hub's loop, in between which somebody else may write: a login, a refresh,
    a logout.  What they wrote stays: the change is made anew on top of it.

    Args:
        user: of the hub.
        change: returns the new state, or None to leave all as it is.  It does not change what it is given, and may
            be called several times.

    Returns:
        What is stored; None when ``change`` left all as it was.
    """
    while True:
        before = user.encrypted_auth_state
        state = await read_auth_state(before)
        changed = change(state)
        if changed is None:
            return None
        encrypted = before if changed == state else await encrypt(dict(changed))
        if user.encrypted_auth_state == before:
            if encrypted != before:
                user.encrypted_auth_state = encrypted
                user.db.commit()
            return dict(changed)
