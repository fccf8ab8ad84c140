"""What a site set for dockerspawner: it holds underneath what the plan sets, and cannot loosen it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..hosts.docker_kwargs import site_body
from ..names import bounded
from ..render.docker_site import site_config

_REFUSED_NETWORKS = ("host", "none", "container:")


class DockerSite:
    """Methods for a spawner that has dockerspawner's traits."""

    _warned: set[str] = set()  # noqa: RUF012 - of the process: each is said once

    async def site(self) -> dict[str, Any]:
        """Return what holds underneath, in the terms of the Docker Engine's API.

        Raises:
            ValueError: docker-py does not know what was set.
        """
        spawner: Any = self
        create = await _value(spawner.extra_create_kwargs, spawner)
        host = await _value(spawner.extra_host_config, spawner)
        binds = spawner._volumes_to_binds(
            spawner.read_only_volumes, spawner._volumes_to_binds(spawner.volumes, {}), "ro"
        )
        own: dict[str, Any] = {"binds": binds, "mounts": spawner.mount_binds, "links": spawner.links}
        for key, value in (("mem_limit", spawner.mem_limit), ("nano_cpus", spawner.cpu_limit)):
            if value:
                own[key] = value if key == "mem_limit" else int(value * 1e9)
        rendered = spawner._render_templates(dict(create)), spawner._render_templates(dict(host))
        body = site_body(rendered[0], {**own, **rendered[1]})
        kept, ignored = site_config(body, body.pop("HostConfig"))
        self.warn_of(ignored)
        return kept

    def warn_of(self, ignored: tuple[str, ...]) -> None:
        """Say once which settings have no effect."""
        spawner: Any = self
        for name in ignored:
            if name not in self._warned:
                self._warned.add(name)
                spawner.log.warning("c.DockerSpawner: %s has no effect, the platform decides it", bounded(name))

    def check_network(self) -> None:
        """Check the network's name.

        Raises:
            ValueError: on it servers could reach each other, or the host.
        """
        spawner: Any = self
        if spawner.network_name.startswith(_REFUSED_NETWORKS):
            raise ValueError(
                f"c.DockerSpawner.network_name must be a network that keeps containers apart, got "
                f"{bounded(spawner.network_name)}; leave it out to have one made on each host"
            )

    def _render_templates(self, obj: Any, ns: Any = None) -> Any:
        """Fill dockerspawner's placeholders in; a text that is no template stays as it is."""
        try:
            return super()._render_templates(obj, ns)  # type: ignore[misc]
        except IndexError:  # "{}": dockerspawner lets it through
            return obj

    @property
    def client(self) -> Any:
        """Refused: there is a client for each host, and none for all.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            "nbplatform-docker has no single client: await spawner.docker(method, ...) asks the server's host"
        )


async def _value(setting: Mapping[str, Any] | Callable[[Any], Any], spawner: Any) -> Mapping[str, Any]:
    """Return a trait's value: itself, or what it gives when it is called; never to be changed."""
    value = setting(spawner) if callable(setting) else setting
    found: Mapping[str, Any] = await value if inspect.isawaitable(value) else value
    return found
