"""What the hub itself writes to the audit file: servers started, refused, and stopped since their account ended."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from ..errors import Refusal
from ..event_file import EventFile
from ..events import Event, refusal_event, spawn_event
from ..plan import SpawnPlan


def audit(spawner: Any, event: Event) -> None:
    """Write an event to the file of a spawner's ``audit_file``; nothing where none is set.  Never raises for the file.

    Args:
        spawner: any; one that is not ours has no such file.
        event: as ``nbplatform_spawners.events`` makes it.
    """
    path = getattr(spawner, "audit_file", "")
    if path:
        _file(path, spawner.log).write(event)


def audited(spawner: Any, plan: SpawnPlan, url: str) -> str:
    """Write the event of a server that was started; return its URL."""
    state = spawner.get_state()
    audit(spawner, spawn_event(datetime.now(UTC), spawner.user.name, spawner.name, state, plan.allowed_by))
    return url


def audit_refusal(spawner: Any, refusal: Refusal) -> None:
    """Write the event of a start that was refused; called before what was asked for is forgotten."""
    options = spawner.user_options
    profile = options.get("profile") if isinstance(options, dict) else None
    shown = profile if isinstance(profile, str) else None
    identity = getattr(spawner, "_identity", None)
    audit(spawner, refusal_event(datetime.now(UTC), spawner.user.name, spawner.name, shown, refusal, identity))


@cache
def _file(path: str, log: Any) -> EventFile:
    """Return the one file of a path, so that a failure is logged once."""
    return EventFile(path, log)
