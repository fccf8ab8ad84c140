"""Who may have a Slurm token: read from what the hub says of a token's owner and of the owner's servers.

A notebook server's token opens exactly one server, which belongs to the token's owner: by that it is known.  Who holds
such a token could run anything in that server, so what it gets here is nothing that it could not have there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import NbplatformError, Refusal
from ..identity import IdRange, identity_from_dict
from ..names import bounded
from .orphans import ServerState

_OPENS = "access:servers"
_RUNS = (None, "check")
"""What may be pending of a server that runs: nothing, or the look of a hub that was restarted."""


class TokenRefused(NbplatformError):
    """No Slurm token is given; one sentence that whoever asked may read."""


@dataclass(frozen=True)
class Holder:
    """The server that asks, by the token that it shows.

    Attributes:
        user: whose.
        server: its name; empty for the default server.
    """

    user: str
    server: str


@dataclass(frozen=True)
class Allowed:
    """For whom tokens are made.

    Attributes:
        service: name of this service, which the token must be allowed to use.
        ids: uids that an account may have.
        never: accounts that never get one: those that are somebody special to Slurm.
    """

    service: str
    ids: IdRange
    never: Collection[str] = ("root", "slurm")


def read_holder(model: Mapping[str, Any], service: str) -> Holder:
    """Return which server a token belongs to.

    Args:
        model: the hub's model of the token's owner, as ``GET /user`` gives it to the token itself.
        service: name of this service.

    Raises:
        TokenRefused: it is no server's token, or one that may not use this service.
    """
    name, scopes = model.get("name"), model.get("scopes")
    if model.get("kind") != "user" or not isinstance(name, str) or not isinstance(scopes, list):
        raise TokenRefused("only the token of a user's notebook server gets a token for Slurm")
    if model.get("session_id") is not None:
        raise TokenRefused("the token of a browser's login gets no token for Slurm")
    opens = [scope for scope in scopes if isinstance(scope, str) and scope.split("!")[0] == _OPENS]
    before = f"{_OPENS}!server={name}/"
    if len(opens) != 1 or not opens[0].startswith(before):
        raise TokenRefused("only the token of a user's notebook server gets a token for Slurm")
    if f"access:services!service={service}" not in scopes:
        raise TokenRefused(f"this token may not use the service {service}: the hub's roles do not allow it")
    return Holder(name, opens[0].removeprefix(before))


def slurm_name(model: Mapping[str, Any], holder: Holder, allowed: Allowed) -> str:
    """Return the account in whose name the token is made: the one that the server runs as.

    Args:
        model: the hub's model of the user, with the state of the servers.
        holder: which server asks.
        allowed: for whom tokens are made.

    Raises:
        TokenRefused: the server does not run, or its account is not one for which tokens are made.
    """
    servers = model.get("servers")
    server = servers.get(holder.server) if isinstance(servers, Mapping) else None
    if not isinstance(server, Mapping) or server.get("pending") not in _RUNS or server.get("stopped") is True:
        raise TokenRefused("the server whose token this is does not run")
    state = server.get("state")
    plain = state.get("identity") if isinstance(state, Mapping) else None
    if plain is None:
        raise TokenRefused("the hub does not know as whom this server runs: its spawner is none of this platform's")
    try:
        identity = identity_from_dict(plain)
        if refusal := identity.outside(IdRange(allowed.ids.uid_min, allowed.ids.uid_max, 1)):
            raise refusal
    except Refusal as refusal:
        raise TokenRefused(refusal.message) from None
    if identity.name != holder.user:
        raise TokenRefused(f"this server runs as {bounded(identity.name)}, and the hub calls its user otherwise")
    if identity.name.isdecimal():
        raise TokenRefused(
            "Slurm would take this name, a number, for the uid of somebody else: no token is made for it"
        )
    if identity.name.casefold() in {name.casefold() for name in allowed.never}:
        raise TokenRefused(f"no token for Slurm is ever made for {bounded(identity.name)}")
    return identity.name


def read_servers(models: Collection[Mapping[str, Any]]) -> dict[tuple[str, str], ServerState]:
    """Return the state of every server in the hub's models of users.

    Raises:
        ValueError: a model does not say which servers its user has: the service may not read them.
    """
    found = {}
    for model in models:
        servers = model.get("servers")
        if not isinstance(servers, Mapping):
            raise ValueError("the hub does not say which servers its users have")
        for name, server in servers.items():
            state = server.get("state")
            run = state.get("run") if isinstance(state, Mapping) else None
            pending = server.get("pending") is not None or server.get("ready") is not True
            found[(str(model["name"]), str(name))] = ServerState(
                run if isinstance(run, str) and run else None, pending, server.get("ready") is True
            )
    return found
