"""Who holds what on the hosts, and which containers must end.  Pure, on what hosts and hub tell.

The hub knows its servers by their records and by what it is starting this moment; the hosts know containers by their
labels.  Where both speak of one container it counts once.  A container that the hub does not know any more still
holds its GPUs, its memory and its owner's quota until its host says that it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .admit import Holding
from .containers import Container

Owner = tuple[str, str]
"""A user's and a server's name."""


@dataclass(frozen=True)
class Lease:
    """A container that must end, and what it holds until then.

    Attributes:
        host, url: where it is; the address is kept because the rules may no longer name the host.
        id: of the container; empty when the answer to its creation never came.
        name: of the container.
        user, server: whose it was.
        gpus, memory: what it holds.
        daemon: id of the Docker daemon that made it; empty when it is not known.
        started: False when it was never told to start: then it counts against nobody's quota.
    """

    host: str
    url: str
    id: str
    name: str
    user: str
    server: str
    gpus: tuple[str, ...] = ()
    memory: int = 0
    daemon: str = ""
    started: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the plain dict that a server's state keeps."""
        return {**vars(self), "gpus": list(self.gpus)}

    def is_for(self, container: Container) -> bool:
        """Tell whether a container is the one meant: by id, or by name and owner where no id is known."""
        if self.id or container.host != self.host:
            return container.host == self.host and container.id == self.id
        return container.name == self.name and container.owner == (self.user, self.server)


def lease_from_dict(plain: object) -> Lease | None:
    """Return the lease that ``Lease.to_dict`` made plain; None for anything else."""
    if not isinstance(plain, Mapping):
        return None
    texts = {key: plain.get(key) for key in ("host", "url", "id", "name", "user", "server")}
    gpus, memory = plain.get("gpus"), plain.get("memory")
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(gpus, list):
        return None
    return Lease(
        **{key: str(text) for key, text in texts.items()},
        gpus=tuple(map(str, gpus)),
        memory=memory if isinstance(memory, int) else 0,
        daemon=str(plain.get("daemon") or ""),
        started=plain.get("started") is not False,
    )


def lease_of(container: Container, url: str) -> Lease:
    """Return the lease of a container that must end."""
    return Lease(
        host=container.host,
        url=url,
        id=container.id,
        name=container.name,
        user=container.user,
        server=container.server,
        gpus=container.gpus,
        memory=container.memory,
        started=container.state != "created",
    )


@dataclass(frozen=True)
class Known:
    """What the hub itself knows of its servers.

    Attributes:
        recorded: owner to the id of the container in the server's record.
        starting: owners of servers that are being started, or stopped, this moment.
        ids: of the recorded containers.  An id is what counts: a user may have been renamed since the start.
    """

    recorded: Mapping[Owner, str]
    starting: frozenset[Owner] = frozenset()
    ids: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", frozenset(self.recorded.values()))

    def counts(self, container: Container) -> bool:
        """Tell whether the hub's own books hold what this container holds."""
        return container.id in self.ids


def unknown_holdings(
    containers: Iterable[Container], leaving: Iterable[Lease], known: Known, starting: Iterable[Holding]
) -> tuple[Holding, ...]:
    """Return what containers hold that the hub's own books do not count.

    Each gets a server name that no server can have, so that a new start of the same server does not replace it.

    Args:
        containers: as the hosts told last, also those that do not answer now.
        leaving: containers that must end.
        known: the hub's records.
        starting: what the hub has admitted and not yet recorded; a container of the same owner with the same GPUs on
            the same host is that start's own.
    """
    reserved = {(held.user, held.server, held.host, held.gpus) for held in starting}
    leaving = tuple(leaving)
    found: dict[tuple[str, str], Holding] = {}
    for one in containers:
        own = (one.user, one.server, one.host, one.gpus)
        if one.ended or known.counts(one):
            continue
        leases = [lease for lease in leaving if lease.is_for(one)]
        if leases or own not in reserved:  # its host may have told last before it was started
            started = one.state != "created" or any(lease.started for lease in leases)
            found[one.host, one.name] = _holding(replace(lease_of(one, ""), started=started))
    for lease in leaving:
        held = _holding(lease)
        if lease.id not in known.ids or not lease.id:
            found.setdefault((lease.host, lease.name), held)
    return tuple(found.values())


def _holding(lease: Lease) -> Holding:
    server = f"{lease.server or 'default server'} (being stopped on {lease.host})"
    return Holding(lease.user if lease.started else "", server, lease.host, lease.gpus, lease.memory)


def orphans(containers: Iterable[Container], known: Known) -> Iterator[Container]:
    """Yield the containers that belong to no server of the hub and to none that it is starting or stopping."""
    for one in containers:
        if not known.counts(one) and one.owner not in known.starting:
            yield one
