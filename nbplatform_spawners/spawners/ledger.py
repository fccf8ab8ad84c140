"""What every server of this hub holds now: the hub's own records, and what is being started this moment."""

from __future__ import annotations

from collections.abc import Iterable
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


def holdings(db: Session, reservations: Iterable[Holding], now: datetime) -> tuple[Holding, ...]:
    """Return what all servers hold, each once: a reservation counts before the record.

    Args:
        db: the hub's database.
        reservations: servers that are being started.
        now: aware time, for how long each has been idle.
    """
    found = {(held.user, held.server): held for held in reservations}
    for record in db.query(orm.Spawner).filter(orm.Spawner.server_id.is_not(None)):
        key = (record.user.name, record.name)
        held = holding_from_state(*key, record.state or {})
        if held is not None and key not in found:
            found[key] = _with_idle(held, record.last_activity, now)
    return tuple(found.values())


def _with_idle(held: Holding, last_activity: datetime | None, now: datetime) -> Holding:
    if last_activity is None:
        return held
    idle = now - last_activity.replace(tzinfo=UTC)
    return replace(held, idle=max(int(idle.total_seconds()), 0))
