"""Who a server runs as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import Refusal
from ..identity import Identity, identity_from_dict
from ..names import bounded

if TYPE_CHECKING:
    from .base import NbplatformSpawner


async def find_identity(spawner: NbplatformSpawner) -> Identity:
    """Return the identity of a server's owner: stored at the login, else looked up where that is allowed.

    Args:
        spawner: of the server.

    Raises:
        Refusal: ``account``: nothing is stored and nobody may be asked, or what is stored is someone else's.
    """
    state = await spawner.user.get_auth_state()
    stored = state.get("identity") if isinstance(state, Mapping) else None
    if stored is not None:
        identity = identity_from_dict(stored)
    else:
        lookup_account = getattr(spawner.authenticator, "lookup_account", None)
        if lookup_account is None or not spawner.directory_lookup:
            raise Refusal("account", "the hub does not know who you are on this site; log out and log in once")
        identity = (await lookup_account(spawner.user.name)).identity
    if identity.name != spawner.user.name:
        raise Refusal("account", f"the stored identity is that of {bounded(identity.name)}; log in again")
    return identity
