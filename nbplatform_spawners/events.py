"""What the audit file says: one JSON object for each spawn, refusal, warning, extension, stop and job that was ended.

The names are those of the Elastic Common Schema, ours stand below ``nbplatform``.  What is not known is left out.  No
event holds a token, a password or a path of a user.  ``docs/reference/audit-event.schema.json`` is the contract.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from .errors import Refusal
from .identity import Identity
from .rules.model import Origin

ECS_VERSION = "8.11.0"
DATASET = "nbplatform.audit"
ACTIONS: Mapping[str, str] = MappingProxyType(
    {"spawn": "start", "refusal": "info", "warning": "info", "extension": "info", "stop": "end", "job_end": "end"}
)
"""Each action there is, and its ``event.type``."""
OUTCOMES = ("success", "failure", "unknown")
MAX_TEXT = 1024
MAX_LIST = 256
"""How many groups or GPUs an event names at most."""
Event = dict[str, Any]


@dataclass(frozen=True)
class Cause:
    """Why a server is warned, put off or stopped.  Not hashable: it holds a mapping.

    Attributes:
        reason: a label such as ``idle``, ``max_age``, ``account`` or ``not-allowed``.
        why: one sentence that the user may read.
        origin: of the rule that decided; None when no rule did, or it is not known.
        limits: the limits that hold now, key to seconds, None for never; None: those in the server's state.
        stop_at: aware time at which the server is, or was, to be stopped; None when no stop is planned.
        idle_seconds: how long nobody has used it; None when that is not known.
        outcome: one of :data:`OUTCOMES`; of a stop, whether it is done.

    Raises:
        ValueError: there is no such outcome.
    """

    reason: str
    why: str
    origin: Origin | None = None
    limits: Mapping[str, int | None] | None = field(default=None)
    stop_at: datetime | None = None
    idle_seconds: float | None = None
    outcome: str = "success"

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"an outcome is one of {', '.join(OUTCOMES)}, not {self.outcome!r}")
        if self.limits is not None:
            object.__setattr__(self, "limits", MappingProxyType(dict(self.limits)))


def spawn_event(now: datetime, user: str, server: str, state: Mapping[str, Any], rule: Origin | None = None) -> Event:
    """Return the event of a server that was started.

    Args:
        now: aware time.
        user: the hub's name of the user.
        server: the server's name; empty for the default server.
        state: what ``SpawnPlan.to_state`` gave; of another form, all of it that is usable is taken.
        rule: where the rule stands that allowed it; None when that is not known.
    """
    message = _text(state.get("reason")) or "started"
    event = _event(now, "spawn", "success", (user, server), message)
    _add_state(event, state)
    _add_origin(event, rule)
    return event


def refusal_event(
    now: datetime, user: str, server: str, profile: str | None, refusal: Refusal, identity: Identity | None = None
) -> Event:
    """Return the event of a start that was refused.

    Args:
        now: aware time.
        user: the hub's name of the user.
        server: the server's name; empty for the default server.
        profile: the one asked for; None when none was.
        refusal: label and sentence.
        identity: of the user, as far as it is known.
    """
    event = _event(now, "refusal", "failure", (user, server), refusal.message)
    event["event"]["reason"] = _text(refusal.reason)
    if profile is not None:
        event["nbplatform"]["profile"] = _text(profile)
    if identity is not None:
        _add_identity(event, identity.to_dict())
    return event


def warning_event(now: datetime, user: str, server: str, state: Mapping[str, Any], cause: Cause) -> Event:
    """Return the event of a user who was told that a server will be stopped; see :func:`stop_event`."""
    return _caused(now, "warning", (user, server), state, cause)


def extension_event(now: datetime, user: str, server: str, state: Mapping[str, Any], cause: Cause) -> Event:
    """Return the event of a stop that the user put off, to ``cause.stop_at``; see :func:`stop_event`."""
    return _caused(now, "extension", (user, server), state, cause)


def stop_event(now: datetime, user: str, server: str, state: Mapping[str, Any], cause: Cause) -> Event:
    """Return the event of a server that the platform stopped.

    Args:
        now: aware time.
        user: the hub's name of the user.
        server: the server's name; empty for the default server.
        state: the server's state, of any form; all of it that is usable is taken.
        cause: why.
    """
    return _caused(now, "stop", (user, server), state, cause)


def job_event(now: datetime, who: tuple[str, str], job: Mapping[str, str], outcome: str) -> Event:
    """Return the event of a job in Slurm that was told to end, since its server is gone.

    Args:
        now: aware time.
        who: the hub's name of the user, and the server's name; empty for the default server.
        job: ``job``, ``job_name`` and ``cluster`` as Slurm and the job's tag have them, and ``why``, one sentence.
        outcome: one of :data:`OUTCOMES`: whether Slurm took the order.
    """
    event = _event(now, "job_end", outcome, who, job["why"])
    event["event"]["reason"] = "orphan"
    event["nbplatform"].update({key: _text(job[key]) for key in ("job", "job_name", "cluster")})
    return event


def event_line(event: Event) -> bytes:
    """Return an event as one line of JSON, in ASCII, with its end."""
    return json.dumps(event, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def iso_time(time: datetime) -> str:
    """Return an aware time as every event writes it: UTC, milliseconds, ``Z``."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(now: datetime, action: str, outcome: str, who: tuple[str, str], message: str) -> Event:
    user, server = who
    return {
        "@timestamp": iso_time(now),
        "ecs": {"version": ECS_VERSION},
        "event": {
            "kind": "event",
            "category": ["session"],
            "type": [ACTIONS[action]],
            "action": action,
            "outcome": outcome,
            "dataset": DATASET,
        },
        "message": _text(message),
        "user": {"name": _text(user)},
        "nbplatform": {"server": _text(server)},
    }


def _caused(now: datetime, action: str, who: tuple[str, str], state: Mapping[str, Any], cause: Cause) -> Event:
    event = _event(now, action, cause.outcome, who, cause.why)
    event["event"]["reason"] = _text(cause.reason)
    _add_state(event, state)
    _add_origin(event, cause.origin)
    ours = event["nbplatform"]
    if cause.limits is not None:
        ours["limits"] = _limits(cause.limits)
    if cause.stop_at is not None:
        ours["stop_at"] = iso_time(cause.stop_at)
    if cause.idle_seconds is not None:
        ours["idle_seconds"] = max(0, round(cause.idle_seconds))
    return event


def _add_state(event: Event, state: Mapping[str, Any]) -> None:
    """Add what a server is and holds; a value of another type than ours is left out."""
    ours = event["nbplatform"]
    for key in ("profile", "pool", "generation"):
        if isinstance(state.get(key), str) and state[key]:
            ours[key] = _text(state[key])
    for key in ("gpu_count", "memory"):
        if _is_whole(state.get(key)) and state[key]:  # 0: no GPU, no limit of memory
            ours[key] = state[key]
    if isinstance(state.get("gpus"), list | tuple) and state["gpus"]:
        ours["gpus"] = _texts(state["gpus"])
    if isinstance(state.get("idle"), Mapping):
        ours["limits"] = _limits(state["idle"])
    if isinstance(state.get("host"), str) and state["host"]:
        event["host"] = {"name": _text(state["host"])}
    if isinstance(state.get("identity"), Mapping):
        _add_identity(event, state["identity"])


def _add_identity(event: Event, identity: Mapping[str, Any]) -> None:
    if _is_whole(identity.get("uid")):
        event["user"]["id"] = str(identity["uid"])
    if isinstance(identity.get("groups"), Mapping):
        event["nbplatform"]["groups"] = _texts(sorted(identity["groups"], key=str))
    if isinstance(identity.get("provider"), str):
        event["nbplatform"]["provider"] = _text(identity["provider"])


def _add_origin(event: Event, origin: Origin | None) -> None:
    if origin is not None:
        event["nbplatform"].update(rule=_text(origin.by), where=_text(origin.where))


def _limits(limits: Mapping[Any, Any]) -> dict[str, int | None]:
    """Return the limits that are seconds, or never; anything else under that name is none."""
    kept = {key: value for key, value in limits.items() if value is None or _is_whole(value)}
    return {_text(key): value for key, value in list(kept.items())[:MAX_LIST]}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _texts(values: Iterable[Any]) -> list[str]:
    return [_text(value) for value in values][:MAX_LIST]


def _text(value: object) -> str:
    """Return a text of bounded length; JSON escapes what could end a line or colour a terminal."""
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
