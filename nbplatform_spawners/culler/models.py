"""The hub's models of users and servers as values.  Pure: what its REST API answers comes in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ..plan import STATE_VERSION

YEARS = range(1970, 3000)
"""What lies beyond is no time: nothing can be added to it."""


@dataclass(frozen=True)
class Running:
    """A server as the hub describes it.

    Attributes:
        user, name: whose it is, and its name; empty for the default server.
        started: aware time; None when the hub does not say.
        last_activity: the hub's own figure; None when there is none.
        pending: what the hub is doing with it; None for nothing.
        ready: it runs and has a route.
        state: as the spawner noted it; empty for one that is not ours, or where the hub does not show it.
        shows_state: whether the hub shows the state, which takes a scope of its own.
        model: as the hub gave it, for the hook that upstream's culler has.
    """

    user: str
    name: str
    started: datetime | None
    last_activity: datetime | None
    pending: str | None
    ready: bool
    state: Mapping[str, Any] = field(default_factory=dict)
    shows_state: bool = True
    model: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def key(self) -> str:
        """This run of this server: another one of the same name has another key."""
        return f"{self.user}/{self.name}@{self.started.isoformat() if self.started else ''}"

    @property
    def gpu_count(self) -> int:
        """The GPUs that it holds, as its spawner noted it."""
        count, gpus = self.state.get("gpu_count"), self.state.get("gpus")
        return count if isinstance(count, int) else len(gpus) if isinstance(gpus, list) else 0

    def time_of(self, key: str) -> datetime | None:
        """Return a time that the state notes."""
        return time_of(self.state.get(key))

    @property
    def ends(self) -> tuple[datetime, str] | None:
        """When and why it ends with its account; None for an account that is good."""
        noted = self.state.get("ends")
        at = time_of(noted.get("at")) if isinstance(noted, Mapping) else None
        return (
            None
            if at is None or not isinstance(noted, Mapping)
            else (at, str(noted.get("why") or "the account has ended"))
        )


def running_servers(user: Mapping[str, Any]) -> Iterator[Running]:
    """Yield the servers of one user's model, the default server first."""
    servers = user.get("servers")
    if not isinstance(servers, Mapping):
        return
    for name, server in sorted(servers.items()):
        if isinstance(server, Mapping) and not server.get("stopped"):
            yield _running(str(user["name"]), str(name), server)


def find(user: Mapping[str, Any] | None, wanted: Running) -> Running | None:
    """Return the same run of a server in a fresher model of its user; None when that run is over."""
    found = running_servers(user) if user is not None else ()
    return next((one for one in found if one.key == wanted.key), None)


def _running(user: str, name: str, model: Mapping[str, Any]) -> Running:
    state = model.get("state")
    return Running(
        user=user,
        name=name,
        started=time_of(model.get("started")),
        last_activity=time_of(model.get("last_activity")),
        pending=str(model["pending"]) if model.get("pending") else None,
        ready=bool(model.get("ready", model.get("url"))),
        state=state if isinstance(state, Mapping) and state.get("version") == STATE_VERSION else {},
        shows_state="state" in model,
        model=model,
    )


def time_of(text: object) -> datetime | None:
    """Return an aware time; None for what is none.  A time without an offset is UTC, as the hub's are."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if found is None or found.year not in YEARS:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
