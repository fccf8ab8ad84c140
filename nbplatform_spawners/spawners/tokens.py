"""Tokens of servers that have ended, and tokens that are good for one server alone."""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_escape_path, url_path_join

DOOR_SECONDS = 300
"""How long a token for one server is good."""
_DOOR = "nbplatform asks the server at "
_MOST_NOTE = 1000


def revoke_tokens(spawner: Spawner) -> None:
    """Delete the API tokens that the hub made for a server, and those that open it alone; found by their notes.

    The hub itself deletes the server's own token if it remembers it; after a restart it remembers none.  A token
    that opens it must not outlive it: whoever gets its port next may be shown it.

    Args:
        spawner: of the server.
    """
    note = f"Server at {url_path_join(spawner.user.base_url, url_escape_path(spawner.name), '/')}"
    tokens = spawner.user.db.query(orm.APIToken)
    for token in tokens.filter_by(user=spawner.user.orm_user, note=note):
        spawner.user.db.delete(token)
    for token in tokens.filter_by(user=None, note=_door_note(spawner)):
        spawner.user.db.delete(token)
    spawner.user.db.commit()


def open_door(service: orm.Service, spawner: Spawner) -> str:
    """Return a new token of a service that opens one server, and nothing else, for :data:`DOOR_SECONDS`.

    Args:
        service: who has the scope ``access:servers``.
        spawner: of the server.
    """
    token: str = orm.APIToken.new(
        service=service,
        scopes=[f"access:servers!server={spawner.user.name}/{spawner.name}"],
        note=_door_note(spawner),
        expires_in=DOOR_SECONDS,
    )
    return token


def forget_expired_doors(db: Any) -> None:
    """Delete what :func:`open_door` made and is no longer good: the hub itself does so once an hour.

    Args:
        db: the hub's database session.
    """
    ours = db.query(orm.APIToken).filter(orm.APIToken.note.startswith(_DOOR, autoescape=True))
    for token in ours.filter(orm.APIToken.expires_at < orm.APIToken.now()):
        db.delete(token)
    db.commit()


def _door_note(spawner: Spawner) -> str:
    where = url_path_join(spawner.user.base_url, url_escape_path(spawner.name), "/")
    return f"{_DOOR}{where}"[:_MOST_NOTE]
