"""Plans of one made-up user, alice, as the local backend's tests need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbplatform_spawners.hosts.admit import Placement
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.mounts import Mount, parents_first
from nbplatform_spawners.plan import SpawnPlan

GROUPS = {"physics": 61000, "atlas": 61100, "ml-2026": 61200}
ALICE = Identity(
    "alice", 61001, 61000, GROUPS, primary_group="physics", home="/home/alice", unnamed_gids=(61300,), shell="/bin/bash"
)


def server_plan(
    command: Sequence[str],
    mounts: Sequence[Mount] = (),
    *,
    hidden: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    gpus: Sequence[str] = (),
    **more: Any,
) -> SpawnPlan:
    """Return the plan of a server of alice; ``more`` may have ``memory``, ``cpu`` and ``identity``."""
    return SpawnPlan(
        identity=more.get("identity", ALICE),
        server="",
        profile="cpu",
        command=tuple(command),
        image=None,
        memory=more.get("memory"),
        cpu=more.get("cpu"),
        mounts=parents_first(mounts),
        hidden=tuple(hidden),
        env=dict(env or {}),
        placement=Placement(gpus=tuple(gpus)),
        reasons={},
        generation="0",
    )
