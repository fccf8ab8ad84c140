"""What each profile would meet if it were started this moment: what is free, or what is in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..errors import Refusal
from ..hosts.admit import Holding, LivePool, admit
from ..hosts.free import free_in_words, free_now
from ..rules.decision import Decision
from .ledger import demand_of, with_idle
from .page import Choice

if TYPE_CHECKING:
    from .base import NbplatformSpawner

PATIENCE = 3.0
"""Seconds that a spawn page waits for a backend to say what is live; what is not known by then is not shown."""
_PASSES = ("full", "quota", "unreachable")
"""Labels of what may be otherwise a moment later: such a profile may still be chosen."""


async def look(spawner: NbplatformSpawner, decisions: Sequence[Decision]) -> list[Choice]:
    """Return each decision with what the backend has for it now.

    The backend is asked once for each allowed decision, for all at the same time; the hub's records are read once.

    Args:
        spawner: whose page.
        decisions: one for each profile.
    """
    live = await asyncio.gather(*(_live(spawner, decision) for decision in decisions))
    held: tuple[Holding, ...] = ()
    if any(isinstance(found, tuple) for found in live):
        held = with_idle(spawner.holdings(), spawner.user.db, datetime.now(UTC))
    looks = [_choice(decision, spawner.name, found, held) for decision, found in zip(decisions, live, strict=True)]
    return [_without(spawner.ignored_fields, choice) for choice in looks]


async def _live(spawner: NbplatformSpawner, decision: Decision) -> tuple[LivePool, ...] | Refusal | None:
    """Return the pools as they are now, why the backend cannot serve this, or None: not asked, or too slow."""
    if not decision.allowed:
        return None
    try:
        async with asyncio.timeout(PATIENCE):
            return await spawner.live_pools(decision)
    except Refusal as refusal:
        return refusal
    except TimeoutError:
        spawner.log.info("the spawn page of %s does not say what is free: no answer in time", spawner.user.name)
        return None


def _choice(
    decision: Decision, server: str, found: tuple[LivePool, ...] | Refusal | None, held: tuple[Holding, ...]
) -> Choice:
    """Return one decision with what is free; refused where no moment would help."""
    if found is None:
        return Choice(decision)
    if isinstance(found, Refusal):
        return _hindered(decision, found, None)
    demand = demand_of(decision, server)
    free = free_now(demand, found, held)
    words = None if free is None else free_in_words(free, demand)
    try:
        admit(demand, found, held)
    except Refusal as refusal:
        return _hindered(decision, refusal, words)
    return Choice(decision, words)


def _hindered(decision: Decision, refusal: Refusal, free: str | None) -> Choice:
    if refusal.reason in _PASSES:
        return Choice(decision, free, refusal)
    return Choice(decision.refused(refusal))


def _without(ignored: frozenset[str], choice: Choice) -> Choice:
    """Return the choice without the fields that mean nothing to its backend."""
    fields = {key: found for key, found in choice.decision.fields.items() if key not in ignored}
    return replace(choice, decision=replace(choice.decision, fields=fields))
