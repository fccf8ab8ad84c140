"""One Docker host as the fleet knows it: what it told last, and whether it answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .containers import Container
from .docker_errors import HostError, HostUnreachable
from .docker_host import DockerHost

ANOTHER = "its address leads to another Docker daemon than the one that made the container"
"""Why a host that answers is not believed."""


class NoDoor:
    """Stands for a host that cannot even be asked: its address or its certificates are of no use.

    Args:
        name, url: of the host.
        why: one sentence.
    """

    def __init__(self, name: str, url: str, why: str) -> None:
        self.name = name
        self.url = url
        self._why = why

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def unreachable(*_: object, **__: object) -> None:
            raise HostUnreachable(self.name, self._why)

        return unreachable

    def close(self) -> None:
        """There is nothing to close."""


class WatchedHost:
    """One host, and what it told last.

    Attributes:
        door: how it is asked.
        trouble: why it cannot be asked now, one sentence; empty when it answers.
        asked: whether it has been asked at all, with whatever outcome.
        daemon: id of the Docker daemon that answers; empty until one did.
    """

    def __init__(self, door: DockerHost) -> None:
        self.door = door
        self.daemon = ""
        self.trouble = "it has not been asked yet"
        self.asked = False
        self.containers: dict[str, Container] = {}
        self._changes: list[tuple[float, str, Container | None]] = []
        self._told = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None

    @property
    def answers(self) -> bool:
        """Whether it answered when it was asked last."""
        return not self.trouble

    def is_still(self, daemon: str) -> bool:
        """Tell whether the daemon is the one of that id; true where an id is not known.

        A host whose address leads to another machine by mistake must not say that a server is gone.
        """
        return not daemon or not self.daemon or daemon == self.daemon

    async def refresh(self) -> None:
        """Ask now; whoever asks at the same time shares the answer.  Never raises on a host that does not answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        begun = time.monotonic()
        try:
            if self.trouble:  # at first, and after an outage: it may be another machine now
                self.daemon = (await self.door.info()).id
            found = {one.id: one for one in await self.door.containers()}
        except HostError as error:
            self.trouble = str(error)
        else:
            # What changed while the host was listing may or may not be in its list.
            self._changes = [change for change in self._changes if change[0] >= begun]
            self.containers = found
            for _, container, seen in self._changes:
                self._apply(container, seen)
            self.trouble = ""
        self.asked = True
        self.tell()

    def tell(self) -> None:
        """Wake who waits for news of this host."""
        told, self._told = self._told, asyncio.Event()
        told.set()

    def note(self, container: str, seen: Container | None) -> None:
        """Note a change of our own: a container as it is now, None for one that is gone."""
        self._changes.append((time.monotonic(), container, seen))
        self._apply(container, seen)

    def _apply(self, container: str, seen: Container | None) -> None:
        if seen is None:
            self.containers.pop(container, None)
        else:
            self.containers[container] = seen

    async def until_told(self) -> None:
        """Return when it has been asked once more."""
        await self._told.wait()
