"""How much GPUs were used, of the samples that the driver keeps.  Times are passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .times import iso, latest

CUDA, NVIDIA = "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"
USUAL = 0.2
"""Seconds between two samples, where there is but one."""
LONGEST = 1.0
"""Seconds for which a sample speaks at most: what lies before it is not known."""
REST = timedelta(minutes=10)
"""A use that has paused for so long has ended."""


@dataclass(frozen=True)
class Sample:
    """What the driver says of one moment.

    Attributes:
        at: microseconds by the driver's clock.
        percent: of the time in which the GPU worked.
    """

    at: int
    percent: int


def is_granted(environ: Mapping[str, str], nodes: int) -> bool:
    """Return whether a server was given GPUs.

    Args:
        environ: its environment.
        nodes: how many device nodes of NVIDIA GPUs there are.
    """
    if CUDA in environ:
        return bool(visible(environ))
    # A container that was given its GPUs through CDI reads "void", as one without any does, but has their nodes.
    return NVIDIA in environ and nodes > 0


def visible(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return what names the GPUs that the server sees, as UUIDs or indices; None: all that the driver shows it.

    CUDA ends such a list at the first name that is none.
    """
    if CUDA not in environ:
        named = tuple(name.strip() for name in environ.get(NVIDIA, "").split(","))
        # Indices are those of the machine: inside a container they mean nothing.
        return named if all(name.startswith(("GPU-", "MIG-")) for name in named) else None
    names = []
    for name in (part.strip() for part in environ[CUDA].split(",")):
        if not (name.isdecimal() or name.startswith(("GPU-", "MIG-"))):
            break
        names.append(name)
    return tuple(names)


def chosen(names: Sequence[str] | None, uuids: Sequence[str]) -> tuple[int, ...]:
    """Return the indices of the GPUs that are meant.

    Args:
        names: of :func:`visible`; a UUID may be cut short, as CUDA has it.
        uuids: of all GPUs that the driver shows, by their index.
    """
    if names is None:
        return tuple(range(len(uuids)))
    found = []
    for name in names:
        if name.isdecimal():
            found += [int(name)] if len(name) < 6 and int(name) < len(uuids) else []
        else:
            found += [index for index, uuid in enumerate(uuids) if uuid.startswith(name)][:1]
    return tuple(dict.fromkeys(found))


class GpuUse:
    """Adds up what was used of a server's GPUs since it began to look.

    Attributes:
        count: how many GPUs.
        seconds: of work of a whole GPU, all of them together.
        last_used: the last sample above 0; None: there was none.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.seconds = 0.0
        self.last_used: datetime | None = None
        self._since: datetime | None = None
        self._seen: dict[int, int] = {}

    def seen(self, index: int) -> int:
        """Return the time of the last sample known of a GPU, in microseconds; 0: none is."""
        return self._seen.get(index, 0)

    def add(self, index: int, samples: Iterable[Sample], now: datetime) -> None:
        """Add what the driver keeps of one GPU; what is known already is left out.

        Args:
            index: the GPU's.
            samples: in any order.
            now: the time, with an offset, at which the latest of them was made.
        """
        before = self._seen.get(index)
        new = sorted((one for one in samples if one.at > (before or 0)), key=lambda one: one.at)
        for one in new:
            took = USUAL if before is None else min((one.at - before) / 1e6, LONGEST)
            self.seconds += took * min(max(one.percent, 0), 100) / 100
            if one.percent > 0:
                self._used(now - timedelta(microseconds=new[-1].at - one.at))
            before = one.at
        if before is not None:
            self._seen[index] = before

    def as_json(self, now: datetime) -> dict[str, Any]:
        """Return it as the server's answer has it."""
        goes_on = self.last_used is not None and now - self.last_used <= REST
        return {
            "count": self.count,
            "last_used": iso(self.last_used),
            "used_since": iso(self._since if goes_on else None),
            "seconds_used": round(self.seconds, 3),
        }

    def _used(self, at: datetime) -> None:
        if self.last_used is None or at - self.last_used > REST:
            self._since = at
        self.last_used = latest(self.last_used, at)
