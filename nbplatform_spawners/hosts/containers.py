"""A server's container as a value, and the labels that tell what it is and holds.

Labels are where the ledger of a fleet is kept: they live on the host as long as the container does, so that a hub that
starts anew learns from the hosts themselves who holds what.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..plan import SpawnPlan

PREFIX = "nbplatform."
HUB_LABEL = f"{PREFIX}hub"
"""Which hub a container belongs to: it has the value of ``DockerFleetSpawner.hub_id``; all others are foreign."""
OWNER_LABELS = (HUB_LABEL, f"{PREFIX}user", f"{PREFIX}server")
"""Labels that say whose server a container is."""
ENDED = frozenset({"exited", "dead"})
"""States, as Docker calls them, in which nothing runs and nothing is held."""
_ID = re.compile(r"[0-9A-Za-z]{1,128}")
_LONGEST = 20
"""Digits of the largest number of bytes that is believed."""


@dataclass(frozen=True)
class Container:
    """One container of this hub, as its host told.

    Attributes:
        host: name of the host that told.
        id: full id.
        name: without the leading slash.
        user, server: whose server; ``server`` is empty for the default one.
        state: Docker's word: ``created``, ``running``, ``paused``, ``restarting``, ``removing``, ``exited``, ``dead``.
        gpus: ids of the GPUs granted to it.
        memory: bytes promised to it.
        port: where its server is published on the host; 0 for nowhere.
    """

    host: str
    id: str
    name: str
    user: str
    server: str
    state: str
    gpus: tuple[str, ...] = ()
    memory: int = 0
    port: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing runs in it any more."""
        return self.state in ENDED

    @property
    def owner(self) -> tuple[str, str]:
        """The user's and the server's name."""
        return self.user, self.server


def labels_of(plan: SpawnPlan, hub_id: str) -> dict[str, str]:
    """Return the labels of a plan's container; they hold no secret."""
    return {
        HUB_LABEL: hub_id,
        f"{PREFIX}user": plan.identity.name,
        f"{PREFIX}server": plan.server,
        f"{PREFIX}profile": plan.profile,
        f"{PREFIX}gpus": json.dumps(list(plan.placement.gpus)),
        f"{PREFIX}memory": str(plan.memory or 0),
        f"{PREFIX}generation": plan.generation,
    }


def containers_of(
    host: str, listed: Iterable[Mapping[str, object]], port: int, hub_id: str | None = None
) -> tuple[Container, ...]:
    """Return the containers of one answer of ``GET /containers/json``; what has no id is left out.

    Labels that cannot be read count as nothing held: only who made a container of ours could have written them.

    Args:
        host: who answered.
        listed: the answer, filtered by :data:`HUB_LABEL`.
        port: where servers listen inside.
        hub_id: only this hub's; None for those of every hub.
    """
    found = (entry for entry in listed if _ID.fullmatch(str(entry.get("Id"))))
    return tuple(_container(host, entry, port) for entry in found if hub_id in (None, _labels(entry).get(HUB_LABEL)))


def _labels(entry: Mapping[str, object]) -> Mapping[str, object]:
    labels = entry.get("Labels")
    return labels if isinstance(labels, Mapping) else {}


def _container(host: str, entry: Mapping[str, object], port: int) -> Container:
    labels = _labels(entry)
    names = entry.get("Names")
    name = str(names[0]) if isinstance(names, list) and names else ""
    memory = str(labels.get(f"{PREFIX}memory", ""))
    return Container(
        host=host,
        id=str(entry.get("Id", "")),
        name=name.removeprefix("/"),
        user=str(labels.get(f"{PREFIX}user", "")),
        server=str(labels.get(f"{PREFIX}server", "")),
        state=str(entry.get("State", "")),
        gpus=_gpus(str(labels.get(f"{PREFIX}gpus", ""))),
        memory=int(memory) if memory.isdecimal() and len(memory) < _LONGEST else 0,
        port=_published(entry.get("Ports"), port),
    )


def _gpus(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _published(ports: object, private: int) -> int:
    """Return the first public port of a private one; 0 when there is none."""
    for entry in ports if isinstance(ports, list) else ():
        if isinstance(entry, Mapping) and entry.get("PrivatePort") == private and entry.get("Type") == "tcp":
            public = entry.get("PublicPort")
            return public if isinstance(public, int) else 0
    return 0
