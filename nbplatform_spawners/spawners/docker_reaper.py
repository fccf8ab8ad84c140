"""What ends containers that must end: those whose stop failed, those that belong to no server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from jupyterhub import orm
from sqlalchemy.orm import Session, selectinload

from ..hosts.containers import Container
from ..hosts.fleet import Fleet
from ..hosts.leases import Known, Lease, Owner, lease_from_dict, lease_of, orphans

LEAVING = "leaving"
"""Key of a server's state: containers that the hub could not stop when it should have."""


class Reaper:
    """Looks at each host when it has told what it holds.

    Args:
        fleet: the hosts.
        known: takes containers, and returns what the hub itself knows of its servers; from its database, if there is
            one of them that is not in the books of its spawners.
        grace: seconds for which an orphan is left alone.
        stop_grace: seconds from SIGTERM to SIGKILL.
        log: takes what administrators should know.
    """

    def __init__(
        self,
        fleet: Fleet,
        known: Callable[[Sequence[Container]], Known],
        grace: float,
        stop_grace: int,
        log: logging.Logger,
    ) -> None:
        self._fleet = fleet
        self._known = known
        self._grace = grace
        self._stop_grace = stop_grace
        self._log = log
        self._since: dict[str, dict[str, float]] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def look(self, host: str) -> None:
        """Begin to end what must end on a host; returns at once.  Called by the fleet."""
        task = self._busy.get(host)
        if task is None or task.done():
            self._busy[host] = asyncio.ensure_future(self._end(host))

    async def _end(self, host: str) -> None:
        await self._fleet.end_leaving(host, self._stop_grace)
        for one in self.overdue(host, time.monotonic()):
            self._log.warning(
                "stopping the container %s on %s: no server of the hub, nor a start, has it (user=%s)",
                *(one.name, host, one.user),
            )
            await self._fleet.end(lease_of(one, self._fleet[host].door.url), self._stop_grace)

    def overdue(self, host: str, now: float) -> list[Container]:
        """Return the orphans of a host that have been seen for longer than the grace.

        Args:
            host: name of a host.
            now: seconds of the monotonic clock.
        """
        there = list(self._fleet[host].containers.values())
        found = {one.id: one for one in orphans(there, self._known(there))}
        before = self._since.get(host, {})
        since = self._since[host] = {container: before.get(container, now) for container in found}
        return [one for one in found.values() if now - since[one.id] >= self._grace]

    def close(self) -> None:
        """End what is under way."""
        for task in self._busy.values():
            task.cancel()


def known_servers(db: Session, starting: frozenset[Owner]) -> Known:
    """Return the hub's servers and their containers.

    Args:
        db: the hub's database.
        starting: owners of servers that are being started this moment.
    """
    rows = db.query(orm.Spawner).filter(orm.Spawner.server_id.is_not(None)).options(selectinload(orm.Spawner.user))
    recorded = {(row.user.name, row.name): str((row.state or {}).get("object_id") or "") for row in rows}
    return Known(recorded, starting)


def noted_leases(db: Session) -> list[Lease]:
    """Return the containers that the hub could not stop, as the states of all servers say, running or not."""
    found = [lease_from_dict(plain) for row in db.query(orm.Spawner) for plain in (row.state or {}).get(LEAVING) or ()]
    return [lease for lease in found if lease is not None]


def hand_on(removed: orm.Spawner) -> None:
    """Let the default server's record keep the notes of a server that is removed.

    Args:
        removed: its record, which is about to be deleted; the caller commits.
    """
    notes = (removed.state or {}).get(LEAVING)
    heir = removed.user.orm_spawners.get("")
    if notes and heir is not None and heir is not removed:
        state = heir.state or {}
        heir.state = {**state, LEAVING: [*(state.get(LEAVING) or ()), *notes]}


def forget_note(db: Session, lease: Lease) -> None:
    """Take a container that has ended out of its server's state; else it would be looked for again and again.

    Args:
        db: the hub's database.
        lease: the container.
    """
    rows = db.query(orm.Spawner).join(orm.User, orm.Spawner.user_id == orm.User.id)
    for row in rows.filter(orm.User.name == lease.user):  # a removed server's note is with another of its user
        state = dict(row.state or {})
        notes = state.pop(LEAVING, None) or ()
        kept = [note for note in notes if lease_from_dict(note) not in (None, lease)]
        if len(kept) < len(notes):
            row.state = {**state, LEAVING: kept} if kept else state
            db.commit()
