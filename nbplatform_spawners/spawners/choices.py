"""What stands on the spawn page for one user now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..errors import Refusal
from ..rules.decision import Decision
from ..rules.engine import decide
from ..rules.units import format_count
from .page import render_choices

if TYPE_CHECKING:
    from .base import NbplatformSpawner


async def choices(spawner: NbplatformSpawner) -> str:
    """Return the spawn page's form: every profile, what it gives and why, or why not.  Never empty.

    Called by the hub for each spawn page, as ``Spawner.options_form``.

    Args:
        spawner: whose page.
    """
    try:
        identity = await spawner.find_identity()
        book = spawner.book()
    except Refusal as refusal:
        return render_choices(spawner.site_name, [], {}, str(refusal))
    now = datetime.now(UTC)
    decisions = [decide(book, identity, profile=name, now=now) for name in book.profiles]
    shown = [await _with_backend(spawner, decision) for decision in decisions]
    return render_choices(spawner.site_name, shown, book.profiles, _notice(spawner))


async def _with_backend(spawner: NbplatformSpawner, decision: Decision) -> Decision:
    """Return the decision as this backend sees it: refused where it could never serve it, without what it ignores."""
    if decision.allowed:
        try:
            await spawner.live_pools(decision)
        except Refusal as refusal:
            return decision.refused(refusal)
    fields = {key: found for key, found in decision.fields.items() if key not in spawner.ignored_fields}
    return replace(decision, fields=fields)


def _notice(spawner: NbplatformSpawner) -> str | None:
    """Return what administrators are told about the rule files; None when all is well, or for other users."""
    problem = spawner.rules.problem
    if problem is None or not spawner.user.admin:
        return None
    count = format_count(len(problem.mistakes), "mistake")
    return f"The rule files hold {count}, the last good rules stay in use: {problem.mistakes[0]}"
