"""The fleet of one hub: its hosts as the rules name them, asked with the hub's certificates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from ..errors import Refusal
from ..hosts.admit import Holding
from ..hosts.containers import Container
from ..hosts.docker_host import DockerHost
from ..hosts.docker_tls import Certificates, find_certificates
from ..hosts.fleet import Fleet
from ..hosts.leases import Known, Lease, Owner, lease_from_dict, lease_of
from ..hosts.watched import WatchedHost
from ..rules.model import RuleBook
from .docker_reaper import Reaper, forget_note, known_servers, noted_leases
from .metrics import observe_host

if TYPE_CHECKING:
    from .docker import DockerFleetSpawner

_NO_HUB_ID = (
    "c.DockerFleetSpawner.hub_id is not set: give this hub a name of its own, such as 'jupyter-example-org'; it marks "
    "the containers that this hub may stop"
)


class HubFleet(Fleet):
    """All hosts of one hub, with what the hub's own books say of them.

    Args:
        settings: any spawner of the hub; its configuration holds for all.
    """

    def __init__(self, settings: DockerFleetSpawner) -> None:
        log = logging.getLogger(settings.log.name) if isinstance(settings.log, logging.Logger) else settings.log
        super().__init__(connector(settings), settings.refresh_interval, log)
        self.settings = settings
        self.recorded: dict[Owner, str] = {}
        self._rules: RuleBook | None = None
        self._reaper: Reaper | None = None
        self._db: Session | None = None
        self._late: set[asyncio.Task[None]] = set()

    def begin(self, db: Session, reservations: Iterable[Holding]) -> None:
        """Begin to look after containers that must end; beginning twice is no mistake.

        Args:
            db: the hub's database.
            reservations: what is being started.
        """
        if self._reaper is not None:
            return
        settings, self._db = self.settings, db

        def known(there: Iterable[Container]) -> Known:
            own = self.known()
            if all(map(own.counts, there)):
                return own  # every few seconds for each host: not thousands of rows for what is known here
            return known_servers(db, frozenset((held.user, held.server) for held in reservations))

        self._reaper = Reaper(self, known, settings.orphan_grace, settings.stop_grace, self._log)
        self.listeners.append(self._reaper.look)
        for lease in noted_leases(db):
            self.take_over(lease)
        self.know_rules(settings.book())

    async def _look(self, name: str, watched: WatchedHost) -> None:
        with suppress(Refusal):  # the rules never were good
            self.know_rules(self.settings.book())
        if self[name] is watched:  # else its address has just changed, and its successor is looked at
            await super()._look(name, watched)

    def _say(self, name: str, watched: WatchedHost, before: str, first: bool) -> None:
        super()._say(name, watched, before, first)
        observe_host(name, watched.answers)

    def know_rules(self, book: RuleBook) -> None:
        """Watch the hosts of the rules.  A host that they no longer name is watched on: servers may run there."""
        if self._rules is None or self._rules.generation != book.generation:
            self._rules = book
            self.know({host.name: host.url for pool in book.pools.values() for host in pool.hosts})

    def take_over(self, plain: object) -> None:
        """Take over a note of an earlier hub: a container that must end."""
        lease = plain if isinstance(plain, Lease) else lease_from_dict(plain)
        if lease is not None:
            self.leaving.setdefault((lease.host, lease.name), lease)
            self.know({lease.host: lease.url}, anew=False)

    async def end(self, lease: Lease, grace: int) -> bool:
        """Stop and remove a container (see the base class); once it is gone, no note of it stays in the database."""
        gone = await super().end(lease, grace)
        if gone and self._db is not None:
            forget_note(self._db, lease)
        return gone

    async def end_cancelled(self, lease: Lease, creation: asyncio.Future[str] | None) -> None:
        """End the container of a cancelled start; what takes longer than a moment goes on by itself.

        A hub that has cancelled a start looks after it one second later: a start that is not over by then stays in its
        books for ever, as a server that cannot be stopped.

        Args:
            lease: the container.
            creation: its creation, cancelled, while that is under way.
        """
        key = (lease.host, lease.name)
        self.leaving[key] = lease
        self._ending.add(key)  # not before its creation is over: else it would come into being thereafter

        async def job() -> None:
            if creation is not None:
                await asyncio.wait((creation,))
            self._ending.discard(key)
            if self.leaving.get(key) == lease:
                await self.end(lease, 0)

        task = asyncio.ensure_future(job())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        await asyncio.wait((task,), timeout=_MOMENT)

    async def make_room(self, owner: Owner) -> None:
        """End what is left of a server that is about to be started, on the hosts that answer.

        Args:
            owner: of a server that does not run.
        """
        left = [one for one in self.containers() if one.owner == owner and self.answers(one.host)]
        await asyncio.gather(*(self.end(lease_of(one, self[one.host].door.url), 0) for one in left))

    def known(self) -> Known:
        """Return what the hub's spawners know of their containers."""
        return Known(self.recorded)

    def counted_leases(self) -> list[Lease]:
        """Return the containers that must end and still count."""
        named = self._named()
        return [lease for lease in self.leaving.values() if lease.host in named or self.answers(lease.host)]

    def counted_containers(self) -> list[Container]:
        """Return the containers that the hosts told of last and that still count."""
        named = self._named()
        return [one for one in self.containers() if one.host in named or self.answers(one.host)]

    def _named(self) -> set[str]:
        """Return the hosts of the rules.

        A host that they no longer name and that does not answer is believed to be gone for good: a quota must not be
        held for ever by a machine that was scrapped.
        """
        pools = self._rules.pools.values() if self._rules else ()
        return {host.name for pool in pools for host in pool.hosts}

    def notes_of(self, owner: Owner, servers: Collection[str]) -> list[dict[str, Any]]:
        """Return what a server's state has to keep of containers that must end: its own.

        The default server's, which is there as long as its user is, keeps those of removed servers, too.

        Args:
            owner: the server.
            servers: names of all servers that its user has.
        """
        user, name = owner
        mine = [lease for lease in self.leaving.values() if lease.user == user]
        kept = [one for one in mine if one.server == name or (not name and one.server not in servers)]
        return [lease.to_dict() for lease in kept[:_MOST_NOTES]]

    @staticmethod
    def check(settings: DockerFleetSpawner) -> None:
        """Check what can be checked before any host is asked.

        Raises:
            ValueError: the hub has no id, or a host of the rules cannot be asked with these settings.
            CertificateProblem: certificates are missing or unreadable.
        """
        if not settings.hub_id:
            raise ValueError(_NO_HUB_ID)
        connect = connector(settings)
        for pool in settings.book().pools.values():
            for host in pool.hosts:
                connect(host.name, host.url).close()


_MOMENT = 0.5
"""Seconds that a cancelled start waits for its container's end."""
_MOST_NOTES = 5
"""Containers of one server that its state names at most: each failed stop adds one, and quotas end that soon."""


def connector(settings: DockerFleetSpawner) -> Any:
    """Return what makes the door of a host."""

    def connect(name: str, url: str) -> DockerHost:
        certificates = find_certificates(settings.tls_directory, name) or _from_tls_config(settings.tls_config)
        return DockerHost(
            name,
            url,
            certificates,
            hub_id=settings.hub_id,
            port=settings.port,
            limit=settings.call_limit,
            client_kwargs=dict(settings.client_kwargs),
        )

    return connect


def _from_tls_config(tls_config: dict[str, Any]) -> Certificates | None:
    """Return the certificates that dockerspawner's own setting names.

    Raises:
        ValueError: it lacks one, or would not check the host.
    """
    if not tls_config:
        return None
    pair = tls_config.get("client_cert")
    ca = tls_config.get("ca_cert")
    if not ca or not isinstance(pair, (tuple, list)) or len(pair) != 2 or tls_config.get("verify", True) is False:
        raise ValueError(
            "c.DockerSpawner.tls_config must have ca_cert and client_cert=(certificate, key), and must not turn verify "
            "off; or set c.DockerFleetSpawner.tls_directory"
        )
    return Certificates(str(ca), str(pair[0]), str(pair[1]))


async def publish_address(address: str, configured: str) -> str:
    """Return the IP address on which a host publishes its servers, and where they are reached.

    Args:
        address: the host's name or IP address, as its URL has it.
        configured: ``c.DockerSpawner.host_ip``; empty, ``0.0.0.0`` or ``::`` for the host's own address.
    """
    if configured and not ip_address(configured).is_unspecified:
        return configured
    try:
        return str(ip_address(address))
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(address, None)
        return str(found[0][4][0])
