"""The networks of one host that servers join."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import docker.errors

from .docker_answers import ICC, PLATFORM_LABEL, NetworkInfo, network_info
from .docker_calls import Calls, object_of
from .docker_client import Client
from .docker_errors import HostRefused
from .docker_meanings import is_missing_network


class Networks:
    """What is known of the networks of one host.

    Args:
        calls: how it is asked.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._known: dict[str, NetworkInfo] = {}
        self._asking = asyncio.Lock()

    async def ensure(self, name: str, create: bool) -> NetworkInfo:
        """Return a network; asked once.

        Args:
            name: of the network.
            create: make it when it is missing: a bridge whose containers do not reach each other.

        Raises:
            HostRefused: there is no such network, and it is not to be made.
        """
        async with self._asking:  # two that make it at once would make two of one name
            if name not in self._known:
                self._known[name] = await self._calls.ask(lambda client: network_info(_ensured(client, name, create)))
            return self._known[name]

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Forget what is known when the host misses a network."""
        try:
            yield
        except HostRefused as error:
            if is_missing_network(error):
                self._known.clear()
            raise


def _ensured(client: Client, name: str, create: bool) -> Mapping[str, Any]:
    """Return what the daemon tells of a network, which is made when that is wanted."""
    try:
        return object_of(client.inspect_network(name))
    except docker.errors.NotFound:
        if not create:
            raise
    options, labels = {ICC: "false"}, {PLATFORM_LABEL: name}
    with suppress(docker.errors.APIError):  # another hub made it this moment; if not, the next line says so
        client.create_network(name, driver="bridge", options=options, labels=labels, check_duplicate=True)
        _remove_doubles(client, name)
    return object_of(client.inspect_network(name))


def _remove_doubles(client: Client, name: str) -> None:
    """Leave one network of a name: Docker may make two for two who ask at once, and then starts nothing in either."""
    same = [one for one in client.networks(names=[name]) if object_of(one).get("Name") == name]
    for double in sorted(same, key=lambda one: (str(one.get("Created")), str(one.get("Id"))))[1:]:
        with suppress(docker.errors.APIError):  # the other one has removed it
            client.remove_network(str(double.get("Id")))
