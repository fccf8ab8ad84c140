"""One start on one host: create, record, start, wait."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..hosts.containers import Container
from ..hosts.docker_answers import Inspection
from ..hosts.docker_errors import ContainerGone, HostError, HostRefused, HostUnreachable
from ..hosts.docker_host import DockerHost
from ..hosts.docker_start import Names, Order, create
from ..hosts.leases import Lease
from ..plan import SpawnPlan
from ..render.docker import DockerView, container_config
from ..render.docker_site import under_plan
from .docker_certificates import waiting
from .docker_fleet import publish_address
from .docker_settings import NETWORK
from .errors import ServerFailedError
from .ready import wait_until_ready

_LOOK = 1.0
"""Seconds between two looks at a container whose server has not answered yet."""
_LOG_LIMIT = 2000
_KILLED = 128 + 9


class DockerStart:
    """Methods for ``DockerFleetSpawner``: what it does on the host that admission chose.

    Attributes:
        names: what images bring as users and groups; shared by all spawners.
    """

    names: ClassVar[Names] = Names()
    _lease: Lease | None
    _creation: asyncio.Future[str] | None
    _where: dict[str, Any]
    _looked: float
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    async def _create(self, host: DockerHost, plan: SpawnPlan) -> None:
        """Create the container, and record it at once."""
        self._steps.say(20, f"Preparing your server on {host.name}")
        site = await self.site()
        self.warn_of(under_plan(plan, site)[1])
        order = Order(
            plan=replace(plan, command=waiting(plan.command)) if self.internal_ssl else plan,
            render=partial(container_config, view=await self._view(host, plan), site=site),
            name=self._object_name_default(),
            hub_id=self.hub_id,
            pull=self.pull_policy,
            tell=partial(self._steps.pulling, self.image),
        )
        await self._check_network(host)
        gpus, memory = plan.placement.gpus, plan.memory or 0
        daemon = self.fleet[host.name].daemon
        owner = self.user.name, self.name
        self._lease = Lease(host.name, host.url, "", order.name, *owner, gpus, memory, daemon, started=False)
        self.fleet.take_name(host.name, order.name)
        self._creation = asyncio.ensure_future(create(host, order))
        try:
            self.object_id, self.object_name = await asyncio.shield(self._creation), order.name
        except asyncio.CancelledError:
            self._creation.cancel()
            raise
        self._lease = replace(self._lease, id=self.object_id)
        self._where = {"url": host.url, "daemon": daemon, "ip": self._publish, "port": 0}
        self._note("created")
        self.commit_state()

    async def _check_network(self, host: DockerHost) -> None:
        """Have the network that keeps servers apart.

        Raises:
            HostRefused: the platform's own network was made by somebody else, and does not keep them apart.
        """
        own = self.network_name == NETWORK
        network = await host.ensure_network(self.network_name, create=own)
        if network.icc and own:
            raise HostRefused(host.name, f"the network {NETWORK} of {host.name} lets servers reach each other")
        if network.icc:
            self.log.warning("servers on the network %s of %s can reach each other", self.network_name, host.name)

    async def _view(self, host: DockerHost, plan: SpawnPlan) -> DockerView:
        try:
            self._publish = await publish_address(host.address, self.host_ip)
        except OSError as error:
            raise HostUnreachable(host.name, f"host {host.name} cannot be asked: its name is not known") from error
        kind = self.gpu_runtime
        if kind == "auto":
            kind = "cdi" if plan.placement.gpus and (await host.info()).cdi else "nvidia"
        return DockerView(
            hub_id=self.hub_id,
            gpu=kind,
            network=self.network_name,
            port=self.port,
            publish="" if self.use_internal_ip else self._publish,
            pids=self.pids_limit,
            roots=tuple(self.mount_roots),
            secrets_tmpfs=self.internal_ssl,
        )

    async def _start(self, host: DockerHost, plan: SpawnPlan) -> None:
        """Start the created container, and note where its server will listen."""
        await self.names.give(host, self.object_id, plan.identity)
        self._steps.say(50, f"Starting your server on {host.name}")
        if self._lease is not None:
            self._lease = replace(self._lease, started=True)
        await host.start(self.object_id)
        found = await host.inspect(self.object_id)
        if not found.ended:  # this was the first look, see _look_at_start
            self._looked = asyncio.get_running_loop().time()
        self.note_address(found)
        if self.internal_ssl:
            await self.give_certificates(host, self.object_id, self._where["ip"], plan.identity)
        self._note(found.state)
        self.commit_state()
        if self.post_start_cmd:
            await self.post_start_exec()

    def note_address(self, found: Inspection) -> None:
        """Note where the server of a running container listens."""
        ip, port = (found.ip, self.port) if self.use_internal_ip else (self._where["ip"], found.port)
        self._where.update(ip=ip, port=port)

    def _note(self, state: str) -> None:
        """Tell the fleet at once what it would else see at its next look."""
        lease = self._lease
        if lease is not None:
            seen = Container(
                lease.host,
                lease.id,
                lease.name,
                lease.user,
                lease.server,
                state,
                gpus=lease.gpus,
                memory=lease.memory,
                port=self._where.get("port", 0),
            )
            self.fleet[lease.host].note(lease.id, seen)

    async def _wait_until_ready(self, host: DockerHost) -> None:
        self._steps.say(60, "Waiting for your server to answer")
        look = partial(self._look_at_start, host)
        try:
            async with asyncio.timeout(self.http_timeout):
                await wait_until_ready(
                    f"{self._url}{self.server.base_url}api", self.ready_interval, look, self.hub_context()
                )
        except TimeoutError:
            said = await self._log_tail(host)
            raise ServerFailedError(f"the server did not answer within {self.http_timeout} s", said) from None

    async def _look_at_start(self, host: DockerHost) -> bool:
        """Tell whether the server may be asked; its container is looked at once a second.

        Raises:
            ServerFailedError: it has ended.
            HostError: the host cannot be asked.
        """
        now = asyncio.get_running_loop().time()
        if now - self._looked >= _LOOK:
            self._looked = now
            found = await host.inspect(self.object_id)
            if found.ended:
                raise ServerFailedError(_how_it_ended(found), await self._log_tail(host))
        return True

    async def _log_tail(self, host: DockerHost) -> str:
        try:
            return await host.logs(self.object_id, _LOG_LIMIT)
        except HostError:
            return ""

    async def _abandon(self, cancelled: bool = False) -> None:
        """Leave no container and nothing held of a start that failed."""
        lease, self._lease = self._lease, None
        creation, self._creation = self._creation, None
        self.fleet.recorded.pop((self.user.name, self.name), None)
        self.object_id, self._where = "", {}
        if lease is not None and cancelled:
            await self.fleet.end_cancelled(lease, creation)
        elif lease is not None:
            await self.fleet.end(lease, 0)

    # For a site's own hooks

    async def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of docker-py's ``APIClient`` on the server's host, for a site's own hooks.

        Raises:
            HostError: the host refuses, or cannot be asked.
            RuntimeError: the server is on no host.
        """
        if self._lease is None:
            raise RuntimeError("this server is on no host yet")
        return await self.fleet[self._lease.host].door.call(method, *args, **kwargs)

    async def get_object(self) -> Any:
        """Return what ``docker inspect`` says of the container; None when it is gone."""
        try:
            return await self.docker("inspect_container", self.object_id)
        except ContainerGone:
            return None


def _how_it_ended(found: Inspection) -> str:
    if found.oom_killed or found.exit_code == _KILLED:
        return "the server was killed, most likely for want of memory"
    return f"the server ended with {found.exit_code}" + (f": {found.error}" if found.error else "")
