"""A started server as a server's state keeps it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_STATE_NUMBERS = ("pid", "start_time", "server_pid", "server_start_time")
_STATE_KINDS = {**dict.fromkeys(_STATE_NUMBERS, int), "boot": str, "directory": str, "cgroups": list, "sandboxed": bool}
_MAX_PID, _MAX_TIME = 2**31, 2**63


@dataclass(frozen=True)
class LocalProcess:
    """A started server: enough to find it again after a restart of the hub.

    Start times are ticks from the boot; another one means that the process id was used again.

    Attributes:
        pid, start_time: the sandbox's first process (the supervisor where there is no sandbox).
        server_pid, server_start_time: the server, its child; both 0 when it ended at once.
        boot: id of the boot of the machine.
        directory: the server's private folder.
        cgroups: absolute paths of its control groups.
        sandboxed: ending ``pid`` ends all it started.
    """

    pid: int
    start_time: int
    server_pid: int
    server_start_time: int
    boot: str
    directory: str
    cgroups: tuple[str, ...] = ()
    sandboxed: bool = True

    def to_state(self) -> dict[str, Any]:
        """Return the plain dict that a server's state keeps."""
        return {**asdict(self), "cgroups": list(self.cgroups)}

    @classmethod
    def from_state(cls, state: object) -> LocalProcess | None:
        """Return the process that ``to_state`` made plain; None for anything else.  Never raises."""
        if not isinstance(state, Mapping):
            return None
        if any(type(state.get(key)) is not kind for key, kind in _STATE_KINDS.items()):
            return None
        limits = ((key, _MAX_TIME if key.endswith("time") else _MAX_PID) for key in _STATE_NUMBERS)
        numbers_fit = state["pid"] > 1 and all(0 <= state[key] < limit for key, limit in limits)
        if not numbers_fit or not all(map(_is_path, (state["directory"], *state["cgroups"]))):
            return None
        return cls(**{**{key: state[key] for key in _STATE_KINDS}, "cgroups": tuple(state["cgroups"])})


def _is_path(value: object) -> bool:
    """Tell whether the kernel can be asked about a value as a path."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False
