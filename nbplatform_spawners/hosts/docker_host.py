"""One Docker daemon: what a hub asks of it, each call bounded in time, none in the way of another host's.

This is the only way to a daemon.  All calls may raise :class:`~.docker_errors.HostUnreachable`, after which nobody can
tell what has happened, and :class:`~.docker_errors.HostRefused`, when the daemon said no.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import GeneratorType
from typing import Any, Unpack

import docker.errors

from .containers import HUB_LABEL, Container, containers_of
from .docker_answers import HostInfo, ImageInfo, Inspection, NetworkInfo, host_info, image_info, inspection
from .docker_calls import Calls, HostOptions, HostSettings, address_of, id_of, object_of
from .docker_client import Client, Endpoint
from .docker_errors import ContainerGone, ImageMissing
from .docker_exec import execute
from .docker_networks import Networks
from .docker_pull import Pulls
from .docker_streams import read_file, read_log
from .docker_tls import Certificates

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")
_OUTPUT = 1 << 16
"""Bytes that are kept of what a command wrote."""


class DockerHost:
    """One Docker daemon: its own clients, threads and time limits.  Lives in one event loop; nothing is connected yet.

    Args:
        name: of the host, in the rules.
        url: ``tcp://ADDRESS:PORT`` or ``unix://PATH``.
        certificates: by which host and hub know each other; needed for TCP.
        hub_id: required keyword: whose containers are meant; the value of :data:`~.containers.HUB_LABEL`.
        port: where servers listen inside their containers; 8888.
        limit: seconds that a call may take; 10.
        threads: how many calls run at once; more wait for their turn, within their limit; 8.
        pull_limit: seconds that fetching an image may take; 1800.
        client_kwargs: what docker-py's ``APIClient`` is given in addition; nothing.

    Raises:
        ValueError: the URL is none that can be used, or there are no certificates for TCP.
    """

    def __init__(
        self, name: str, url: str, certificates: Certificates | None = None, **options: Unpack[HostOptions]
    ) -> None:
        settings = HostSettings(**options)
        self.name = name
        self.url = url
        self.limit = settings.limit
        self._hub_id = settings.hub_id
        self._port = settings.port
        endpoint = Endpoint(name, url, certificates, dict(settings.client_kwargs or {}))
        self.address = address_of(endpoint)
        self._calls = Calls(endpoint, settings.limit, settings.threads)
        self._pulls = Pulls(endpoint, settings.pull_limit)
        self._networks = Networks(self._calls)

    def __repr__(self) -> str:
        return f"<DockerHost {self.name} at {self.url}>"

    async def info(self) -> HostInfo:
        """Return what the daemon tells about itself and its machine."""

        def job(client: Client) -> HostInfo:
            info = host_info(object_of(client.info()), client.api_version)
            if info.server_version != self._calls.clients.server_version:
                self._calls.clients.forget_version()  # it was replaced by another, which may speak more
            return info

        return await self._calls.ask(job)

    async def containers(self) -> tuple[Container, ...]:
        """Return all containers of this hub on the host, also those that do not run."""
        wanted = {"label": [f"{HUB_LABEL}={self._hub_id}"]}

        def job(client: Client) -> tuple[Container, ...]:
            listed = client.containers(all=True, filters=wanted)
            if not isinstance(listed, list):
                raise ValueError("no list of containers")
            return containers_of(self.name, map(object_of, listed), self._port, self._hub_id)

        return await self._calls.ask(job)

    async def create(self, config: Mapping[str, Any], name: str) -> str:
        """Create a container and return its id.

        A container that comes into being after its caller has left (cancelled, or told that the host does not answer)
        is removed again, as well as that can be done.

        Args:
            config: body of the request, in the Engine API's own terms.
            name: of the container.

        Raises:
            ImageMissing, SourceMissing, NameTaken: what their names say.
            HostUnreachable: it is not known whether the container was made.
        """
        _demand_name(name)

        def job(client: Client) -> str:
            return id_of(client.create_container_from_config(dict(config), name))

        with self._networks.noticing():
            return await self._calls.make(job, self.remove)

    async def put(self, container: str, path: str, archive: bytes) -> None:
        """Unpack a tar archive into a folder of a container, which need not run.

        Raises:
            ContainerGone: there is no such container.
            HostRefused: there is no such folder.
        """
        _demand_name(container)
        await self._calls.ask(lambda client: client.put_archive(container, path, archive))

    async def read(self, container: str, path: str, most: int = 1 << 20) -> bytes | None:
        """Return the first ``most`` bytes of a regular file of a container; one symbolic link is followed.

        Returns:
            None when there is no such file.

        Raises:
            ContainerGone: there is no such container.
        """
        _demand_name(container)
        return await self._calls.ask(lambda client: read_file(client, container, path, most))

    async def start(self, container: str) -> None:
        """Start a container; one that runs already is left alone.

        Raises:
            ContainerGone: there is no such container.
            SourceMissing: a mount's source has gone since it was created.
        """
        _demand_name(container)
        with self._networks.noticing():
            await self._calls.ask(lambda client: client.start(container))

    async def inspect(self, container: str) -> Inspection:
        """Return what there is to know about a container, by its id or name.

        Raises:
            ContainerGone: there is no such container.
        """
        _demand_name(container)
        return await self._calls.ask(
            lambda client: inspection(object_of(client.inspect_container(container)), self._port)
        )

    async def stop(self, container: str, grace: int) -> None:
        """End a container's processes; one that is stopped is left alone.

        Args:
            container: id or name.
            grace: seconds from SIGTERM to SIGKILL.

        Raises:
            ContainerGone: there is no such container.
        """
        _demand_name(container)
        await self._calls.ask(lambda client: client.stop(container, timeout=grace), limit=self.limit + grace)

    async def remove(self, container: str) -> None:
        """Remove a container and its anonymous volumes, by force; one that is gone or going is left alone."""
        _demand_name(container)

        def job(client: Client) -> None:
            try:
                client.remove_container(container, v=True, force=True)
            except docker.errors.APIError as error:
                if "is already in progress" not in str(error.explanation):
                    raise

        with suppress(ContainerGone):
            await self._calls.ask(job)

    async def logs(self, container: str, most: int = 2000) -> str:
        """Return the end of what a container wrote, at most ``most`` characters; odd bytes are replaced.

        Raises:
            ContainerGone: there is no such container.
        """
        _demand_name(container)
        return await self._calls.ask(lambda client: read_log(client, container, most))

    async def execute(self, container: str, command: Sequence[str], stdin: bytes, user: str = "") -> tuple[int, str]:
        """Run a command in a running container.

        Args:
            container: id or name.
            command: program and arguments; others on the host see them.
            stdin: the command's input.
            user: ``UID:GID`` or a name; empty for the container's own.

        Returns:
            exit code, and what it wrote, bounded.

        Raises:
            ContainerGone: there is no such container.
            HostRefused: it does not run.
        """
        _demand_name(container)
        job = partial(execute, container=container, command=command, stdin=stdin, user=user, most=_OUTPUT)
        return await self._calls.ask(job, repeatable=False)

    async def has_image(self, image: str) -> ImageInfo | None:
        """Return an image that the host has; None when it says that it does not have it."""
        try:
            return await self._calls.ask(lambda client: image_info(object_of(client.inspect_image(image))))
        except ImageMissing:
            return None

    async def pull(self, image: str, tell: Callable[[int, int], None]) -> None:
        """Fetch an image, beside all other calls; a fetch of it that is on its way is joined.

        Args:
            image: reference; without a tag ``latest`` is meant.
            tell: takes (bytes done, bytes in all) in the event loop, four times a second at most.

        Raises:
            PullFailed: the registry or the host's disk says no, or nothing came for too long.
        """
        await self._pulls.pull(image, tell)

    async def ensure_network(self, name: str, create: bool = False) -> NetworkInfo:
        """Return a network of the host; asked once, and again after the host missed it.

        Args:
            name: of the network.
            create: the network is the platform's own: a bridge whose containers do not reach each other is made when
                it is missing.

        Raises:
            HostRefused: there is no such network, and it is not to be made.
        """
        return await self._networks.ensure(name, create)

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call any other method of docker-py's ``APIClient`` and return what it returns; a stream as a list.

        Raises:
            ValueError: there is no such method.
        """
        if method.startswith("_") or not callable(getattr(Client, method, None)):
            raise ValueError(f"docker-py's APIClient has no method {method!r}")

        def job(client: Client) -> Any:
            result = getattr(client, method)(*args, **kwargs)
            return list(result) if isinstance(result, GeneratorType) else result

        return await self._calls.ask(job, repeatable=False)

    def close(self) -> None:
        """Ask nothing more.  What is on its way ends with its time limit; no thread keeps the program running."""
        self._calls.close()
        self._pulls.close()


def _demand_name(container: str) -> None:
    if not _NAME.fullmatch(container):
        raise ValueError(f"{container!r} is neither a container's id nor its name")
