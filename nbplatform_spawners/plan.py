"""The plan: a decision made concrete for one spawn.  Every backend renders the same plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from .hosts.admit import Holding, Placement
from .identity import Identity
from .mounts import Mount, parents_first
from .rules.decision import Decision
from .rules.model import Origin
from .server_env import RUN_ENV

STATE_VERSION = 1
PLANNED_KEYS = (
    *("version", "identity", "profile", "generation", "host", "pool"),
    *("gpus", "gpu_count", "memory", "cpu", "idle", "started", "reason", "run"),
)
"""What ``SpawnPlan.to_state`` gives."""
STATE_KEYS = (*PLANNED_KEYS, "extend_asked", "ends")
"""What the hub keeps of every server of ours; a backend keeps its own keys beside these.

``run``: which start of the server this is.  ``extend_asked``: when its owner last put off a stop on the hub's pages,
ISO 8601.  ``ends``: the owner's account has ended and the server is stopped at ``{"at": ISO 8601, "why": sentence}``.
"""
_IDLE = "idle."


@dataclass(frozen=True)
class SpawnPlan:
    """Everything a backend needs to start one server, and nothing it has to decide.  Not hashable: it holds mappings.

    Attributes:
        identity: who the server runs as.
        server: the server's name; empty for the user's default server.
        profile: the profile that was granted.
        command: program and arguments.
        image: what to run; None when nothing decides it (the local backend needs none).
        memory: limit in bytes; None for no limit.
        cpu: limit in CPUs; None for no limit.
        mounts: parents first.
        hidden: targets that must not be visible, whatever is mounted above them.
        env: the whole environment; holds the server's token, so it is never shown or kept.
        placement: the host and the GPUs.
        reasons: field to ``who decided it (file:line)``, and ``allow`` to the decision's sentence; for log and state.
        generation: of the rule book.
        gpus: how many GPUs were granted; ``placement.gpus`` names them, unless the backend chooses the devices.
        idle: the decided limits of ``idle``, key to seconds, None for never; what nothing decides is absent.
        allowed_by: where it is said that this may be had.
    """

    identity: Identity
    server: str
    profile: str
    command: tuple[str, ...]
    image: str | None
    memory: int | None
    cpu: float | None
    mounts: tuple[Mount, ...]
    hidden: tuple[str, ...]
    env: Mapping[str, str]
    placement: Placement
    reasons: Mapping[str, str]
    generation: str
    gpus: int = 0
    idle: Mapping[str, int | None] = field(default_factory=dict)
    allowed_by: Origin | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "idle", MappingProxyType(dict(self.idle)))
        object.__setattr__(self, "env", MappingProxyType(dict(self.env)))
        object.__setattr__(self, "reasons", MappingProxyType(dict(self.reasons)))

    def __repr__(self) -> str:
        """Return a text without the environment, which holds the server's token."""
        return f"<SpawnPlan {self.identity.name}/{self.server} {self.profile} on {self.placement.host}>"

    def to_state(self, now: datetime) -> dict[str, Any]:
        """Return what the hub keeps of a started server: versioned, small, without a secret.

        Args:
            now: aware time of the start.
        """
        return {
            "version": STATE_VERSION,
            "identity": self.identity.to_dict(),
            "profile": self.profile,
            "generation": self.generation,
            "host": self.placement.host,
            "pool": self.placement.pool,
            "gpus": list(self.placement.gpus),
            "gpu_count": self.gpus,
            "memory": self.memory or 0,
            "cpu": self.cpu,
            "idle": dict(self.idle),
            "started": now.isoformat(timespec="seconds"),
            "reason": self.reasons.get("allow", ""),
            "run": self.env.get(RUN_ENV, ""),
        }


def make_plan(
    decision: Decision,
    identity: Identity,
    placement: Placement,
    *,
    server: str,
    command: tuple[str, ...],
    env: Mapping[str, str],
) -> SpawnPlan:
    """Return the plan of an allowed and admitted decision.

    Args:
        decision: allowed, with a profile.
        identity: the one it was decided for.
        placement: what admission chose.
        server: the server's name.
        command: program and arguments.
        env: the platform's own variables (the hub's address, the server's token).  They win over the rules'.

    Raises:
        ValueError: the decision is a refusal.
    """
    if not decision.allowed or decision.profile is None:
        raise ValueError(f"a refused decision has no plan: {decision.reason}")
    return SpawnPlan(
        identity=identity,
        server=server,
        profile=decision.profile,
        command=command,
        image=decision.value("image"),
        memory=decision.value("memory"),
        cpu=decision.value("cpu"),
        mounts=parents_first(decided.mount for decided in decision.mounts),
        hidden=decision.hidden,
        env={**{found.name: found.value for found in decision.env}, **env},
        placement=placement,
        reasons=_reasons(decision),
        generation=decision.generation,
        gpus=decision.gpus,
        idle=_idle(decision),
        allowed_by=decision.fields["allow"].origin if "allow" in decision.fields else None,
    )


def holding_from_state(user: str, server: str, state: Mapping[str, Any]) -> Holding | None:
    """Return what a server holds, read back from its state; None when the state is not one of ours."""
    if state.get("version") != STATE_VERSION:
        return None
    return Holding(
        user=user,
        server=server,
        host=str(state.get("host", "")),
        gpus=tuple(map(str, state.get("gpus", ()))),
        memory=int(state.get("memory", 0)),
        gpu_count=int(state.get("gpu_count", 0)),
    )


def _idle(decision: Decision) -> dict[str, int | None]:
    keys = (key for key in decision.fields if key.startswith(_IDLE))
    return {key.removeprefix(_IDLE): decision.fields[key].value for key in keys}


def _reasons(decision: Decision) -> dict[str, str]:
    origins = {key: f"{found.origin.by} ({found.origin.where})" for key, found in decision.fields.items()}
    return {**origins, "allow": decision.reason}
