"""Since when kernels are busy: Jupyter says only that they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .times import iso, latest, moment_of


@dataclass(frozen=True)
class Kernels:
    """A server's kernels at one moment.

    Attributes:
        count: how many there are.
        busy: how many of them work.
        busy_since: the latest begin among those that work.
        last_activity: the latest among those that do not.
        connections: WebSockets to them.
    """

    count: int = 0
    busy: int = 0
    busy_since: datetime | None = None
    last_activity: datetime | None = None
    connections: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as the server's answer has it."""
        return {
            "count": self.count,
            "busy": self.busy,
            "busy_since": iso(self.busy_since),
            "last_activity": iso(self.last_activity),
            "connections": self.connections,
        }


class BusyKernels:
    """Remembers from look to look which kernels work: one that does at two looks has not rested between them."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def look(self, models: Sequence[Mapping[str, Any]], now: datetime) -> Kernels:
        """Return what there is to say about some kernels.

        Args:
            models: all kernels, as ``GET api/kernels`` lists them.
            now: the time, with an offset.
        """
        busy = {str(one["id"]): one for one in models if one.get("execution_state") == "busy"}
        # First seen at work: the last thing heard of it is that it began, or what it has printed since.
        self._since = {
            name: self._since.get(name) or moment_of(one.get("last_activity")) or now for name, one in busy.items()
        }
        rest = [moment_of(one.get("last_activity")) for one in models if str(one["id"]) not in busy]
        counts = (one.get("connections") for one in models)
        return Kernels(
            count=len(models),
            busy=len(busy),
            busy_since=latest(*self._since.values()),
            last_activity=latest(*rest),
            connections=sum(count for count in counts if isinstance(count, int)),
        )
