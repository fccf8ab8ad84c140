"""What every server of this hub holds now: the hub's own records, and what is being started this moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm
from sqlalchemy.orm import Session

from ..hosts.admit import Demand, Holding
from ..plan import holding_from_state
from ..rules.decision import Decision


class Reservations:
    """What admitted but not yet recorded servers hold.  Lives in the hub's memory and dies with it, as they do."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Holding] = {}

    def hold(self, holding: Holding) -> None:
        """Note what a server that is being started holds."""
        self._held[holding.user, holding.server] = holding

    def release(self, user: str, server: str) -> None:
        """Forget a server: it is recorded now, or it failed.  Releasing twice is no mistake."""
        self._held.pop((user, server), None)

    def __iter__(self) -> Any:
        return iter(tuple(self._held.values()))


class Records:
    """What the running servers of this hub hold, as their states say.

    The hub makes the spawner of every running server at its start, so that these are complete without a look at its
    database: admission would otherwise read thousands of rows for each spawn.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Holding] = {}

    def note(self, user: str, server: str, state: Mapping[str, Any]) -> None:
        """Take over what a server's state says; a state that is not one of ours holds nothing."""
        held = holding_from_state(user, server, state)
        if held is None:
            self.forget(user, server)
        else:
            self._held[user, server] = held

    def forget(self, user: str, server: str) -> None:
        """Forget a server that has ended; forgetting twice is no mistake."""
        self._held.pop((user, server), None)

    def together(self, reservations: Iterable[Holding]) -> tuple[Holding, ...]:
        """Return what all servers hold, each once: a reservation counts before the record."""
        found = {(held.user, held.server): held for held in reservations}
        return tuple({**self._held, **found}.values())


def demand_of(decision: Decision, server: str) -> Demand:
    """Return what an allowed decision asks of admission.

    Args:
        decision: allowed.
        server: the server's name; empty for the default one.
    """
    return Demand(
        user=decision.user,
        server=server,
        profile=decision.profile or "",
        memory=decision.value("memory", 0),
        gpus=decision.gpus,
        gpu_model=decision.gpu_model,
        quota=decision.quota,
    )


def with_idle(held: Iterable[Holding], db: Session, now: datetime) -> tuple[Holding, ...]:
    """Return the holdings with how long each server has been idle, as far as the hub knows it.

    Args:
        held: what servers hold.
        db: the hub's database.
        now: aware time.
    """
    columns = (orm.User.name, orm.Spawner.name, orm.Spawner.last_activity)
    rows = db.query(*columns).join(orm.User, orm.Spawner.user_id == orm.User.id)
    last = {(user, server): activity for user, server, activity in rows.filter(orm.Spawner.server_id.is_not(None))}
    return tuple(_with_idle(one, last.get((one.user, one.server)), now) for one in held)


def _with_idle(held: Holding, last_activity: datetime | None, now: datetime) -> Holding:
    if last_activity is None:
        return held
    idle = now - last_activity.replace(tzinfo=UTC)
    return replace(held, idle=max(int(idle.total_seconds()), 0))
