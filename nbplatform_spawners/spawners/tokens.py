"""Tokens of servers that have ended."""

from __future__ import annotations

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_escape_path, url_path_join


def revoke_tokens(spawner: Spawner) -> None:
    """Delete the API tokens that the hub made for a server, found by their note.

    The hub itself deletes the token that it remembers; after a restart it remembers none.

    Args:
        spawner: of the server.
    """
    note = f"Server at {url_path_join(spawner.user.base_url, url_escape_path(spawner.name), '/')}"
    for token in spawner.user.db.query(orm.APIToken).filter_by(user=spawner.user.orm_user, note=note):
        spawner.user.db.delete(token)
    spawner.user.db.commit()
