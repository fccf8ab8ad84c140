"""All Docker hosts of a hub: what each told last, asked anew every few seconds, each in a task of its own.

Admission reads what is here and waits for no host.  A host that has not answered is *unknown*: nothing is started
there, and what it told before still counts as held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import cast

from ..errors import NbplatformError
from .containers import Container
from .docker_errors import ContainerGone, HostError, HostRefused
from .docker_host import DockerHost
from .leases import Lease
from .watched import ANOTHER, NoDoor, WatchedHost

Listener = Callable[[str], Awaitable[None]]
"""Called with a host's name each time that it has told what it holds."""


class Fleet:
    """The hosts of one hub.  Lives in the hub's event loop.

    Args:
        connect: makes the door of a host from its name and URL; opens no connection yet.
        interval: seconds between two looks at a host.
        log: takes what administrators should know.
    """

    def __init__(self, connect: Callable[[str, str], DockerHost], interval: float, log: logging.Logger) -> None:
        self._connect = connect
        self._interval = interval
        self._log = log
        self._hosts: dict[str, WatchedHost] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.listeners: list[Listener] = []
        self.leaving: dict[tuple[str, str], Lease] = {}
        self._ending: set[tuple[str, str]] = set()

    def know(self, hosts: Mapping[str, str], *, anew: bool = True) -> None:
        """Watch these hosts, too; one that is known already is not asked twice.  Nothing is ever forgotten here.

        Args:
            hosts: name to URL.
            anew: a known host whose URL differs moves to the new one; else the old one stays.
        """
        for name, url in hosts.items():
            known = self._hosts.get(name)
            if known is not None and (known.door.url == url or not anew):
                continue
            if known is not None:
                self._log.warning("host %s has a new address: %s", name, url)
                known.door.close()
                self._tasks.pop(name).cancel()
            watched = self._hosts[name] = WatchedHost(self._door(name, url))
            if known is not None:
                watched.containers = known.containers
                known.tell()  # who waits for it waits for its successor now
            self._tasks[name] = asyncio.ensure_future(self._watch(name, watched))

    def _door(self, name: str, url: str) -> DockerHost:
        try:
            return self._connect(name, url)
        except (NbplatformError, ValueError) as error:  # one host's certificates must not cost the others
            return cast("DockerHost", NoDoor(name, url, str(error)))

    async def _watch(self, name: str, watched: WatchedHost) -> None:
        while True:
            try:
                await self._look(name, watched)
            except Exception:  # noqa: BLE001 - a host that is watched no more is lost to the hub
                self._log.exception("looking at the host %s failed", name)
            await asyncio.sleep(self._interval)

    async def _look(self, name: str, watched: WatchedHost) -> None:
        before, first = watched.trouble, not watched.asked
        if isinstance(watched.door, NoDoor):
            watched.door = self._door(name, watched.door.url)
        await watched.refresh()
        self._say(name, watched, before, first)
        if watched.answers:
            for listener in self.listeners:
                await listener(name)

    def _say(self, name: str, watched: WatchedHost, before: str, first: bool) -> None:
        if watched.trouble and (first or not before):
            self._log.warning("host %s does not answer; its servers count as running: %s", name, watched.trouble)
        elif before and not watched.trouble and not first:
            self._log.warning("host %s answers again", name)

    def close(self) -> None:
        """Watch no longer."""
        for task in self._tasks.values():
            task.cancel()
        for watched in self._hosts.values():
            watched.door.close()
        self._tasks.clear()

    def __contains__(self, name: object) -> bool:
        return name in self._hosts

    def __getitem__(self, name: str) -> WatchedHost:
        return self._hosts[name]

    def answers(self, name: str) -> bool:
        """Tell whether a host answered when it was asked last."""
        return name in self._hosts and self._hosts[name].answers

    async def asked(self, names: Iterable[str], patience: float) -> None:
        """Wait until each of these hosts has been asked once, ``patience`` seconds at most."""
        new = [self._hosts[name].until_told() for name in names if name in self._hosts and not self._hosts[name].asked]
        if new:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await asyncio.gather(*new)

    async def until_answers(self, name: str, daemon: str = "") -> None:
        """Return when a host answers, and is the machine of that daemon; may wait for ever."""
        while not (self._hosts[name].answers and self._hosts[name].is_still(daemon)):
            await self._hosts[name].until_told()

    def containers(self) -> tuple[Container, ...]:
        """Return all containers that the hosts told of last, also of those that do not answer now."""
        return tuple(one for watched in self._hosts.values() for one in watched.containers.values())

    async def end(self, lease: Lease, grace: int) -> bool:
        """Stop and remove a container.  Never raises.

        Args:
            lease: which, and what it holds.
            grace: seconds from SIGTERM to SIGKILL.

        Returns:
            whether its host says that it is gone; if not, it is in :attr:`leaving`, holds what it held, and
            :meth:`end_leaving` tries again.
        """
        key = (lease.host, lease.name)
        noted, self.leaving[key] = key in self.leaving, lease
        self.know({lease.host: lease.url}, anew=False)
        watched = self._hosts[lease.host]
        if watched.asked and not (watched.answers and watched.is_still(lease.daemon)):
            if not noted:
                self._postponed(lease, watched.trouble or ANOTHER)
            return False
        self._ending.add(key)
        try:
            await self._remove(watched, lease, grace)
        except HostError as error:
            self._postponed(lease, str(error))
            return False
        finally:
            self._ending.discard(key)
        still = self.leaving.get(key) == lease
        if lease.id or still:  # else the name is that of a new start's container
            for container in [one for one in watched.containers.values() if lease.is_for(one)]:
                watched.note(container.id, None)
        if still:
            del self.leaving[key]
        return True

    def take_name(self, host: str, name: str) -> None:
        """Forget a container that has to end and is known by its name alone: a start is about to take the name.

        Docker lets one container alone have it, and the start removes what has it.
        """
        lease = self.leaving.get((host, name))
        if lease is not None and not lease.id:
            del self.leaving[host, name]

    def _postponed(self, lease: Lease, why: str) -> None:
        self._log.warning("the container %s is stopped when %s can do it: %s", lease.name, lease.host, why)

    async def _remove(self, watched: WatchedHost, lease: Lease, grace: int) -> None:
        ids = [lease.id]
        if not lease.id:  # a creation whose answer never came: a list that is begun now tells whether it was made
            listed = await watched.door.containers()
            if self.leaving.get((lease.host, lease.name)) != lease:
                return  # a new start has taken the name meanwhile
            ids = [one.id for one in listed if lease.is_for(one)]
        for container in ids:
            with suppress(ContainerGone):
                if grace:
                    await self._stop(watched.door, container, grace)
                await watched.door.remove(container)

    @staticmethod
    async def _stop(door: DockerHost, container: str, grace: int) -> None:
        try:
            await door.stop(container, grace)
        except ContainerGone:
            raise
        except HostRefused:  # it cannot be stopped, being frozen say; it can be removed by force
            return

    async def end_leaving(self, name: str, grace: int) -> None:
        """End the containers of a host that could not be ended before.

        Args:
            name: of the host.
            grace: seconds from SIGTERM to SIGKILL.
        """
        for key, lease in list(self.leaving.items()):
            if lease.host != name or key in self._ending or self.leaving.get(key) != lease:
                continue
            if await self.end(lease, grace):
                self._log.warning("the container %s on %s has ended, as was asked before", lease.name, name)
