"""What a site set for dockerspawner: it holds underneath what the plan sets, and cannot loosen it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from traitlets.config import Config

from ..hosts.docker_kwargs import site_body
from ..names import bounded
from ..render.docker_site import site_config

_REFUSED_NETWORKS = ("host", "none", "container:")
_RULES = "the rules decide the image, and no user option changes it"
_ALWAYS = "an ended container is always removed"
_VOLUMES = "certificates never lie on a volume"
_TLS = "set c.DockerFleetSpawner.tls_directory"
_PROMISED = "memory is promised as the rules say, CPU is limited and not reserved"
_NO_EFFECT: Mapping[str, str] = {
    **dict.fromkeys(("image", "container_image", "allowed_images", "image_whitelist"), _RULES),
    **dict.fromkeys(("remove", "remove_containers"), _ALWAYS),
    **dict.fromkeys(("certs_volume_name", "move_certs_image"), _VOLUMES),
    **dict.fromkeys(("tls", "tls_assert_hostname", "tls_ca", "tls_cert", "tls_key", "tls_verify"), _TLS),
    **dict.fromkeys(("mem_guarantee", "cpu_guarantee"), _PROMISED),
    "use_docker_client_env": "hosts stand in the rules",
    "use_internal_hostname": "servers are reached through their host, or by use_internal_ip",
}
"""Settings without effect, and why."""
_OTHER_CLASSES = ("SystemUserSpawner", "SwarmSpawner")
_ORIGINS: Mapping[str, tuple[str, ...]] = {
    "Binds": ("volumes", "read_only_volumes"),
    "Links": ("links",),
    "Memory": ("mem_limit",),
    "Mounts": ("mounts", "volumes", "read_only_volumes"),
    "NanoCpus": ("cpu_limit",),
}
"""What a setting of dockerspawner is called in Docker's API."""


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
        """Say once what of the settings for containers has no effect.

        Args:
            ignored: in the words of Docker's API.
        """
        spawner: Any = self
        for name in ignored:
            if name not in self._warned:
                self._warned.add(name)
                said = f"{_origin(spawner, name)} {bounded(name)}"
                spawner.log.warning("c.DockerSpawner: %s has no effect, the platform decides it", said)

    def warn_of_settings(self) -> None:
        """Say which settings of the configuration have no effect, as they are written there; once for each.

        To be called at the hub's start, of a spawner that belongs to nobody.
        """
        spawner: Any = self
        for setting, why in ignored_settings(spawner.config, [cls.__name__ for cls in type(self).__mro__]):
            if setting not in self._warned:
                self._warned.add(setting)
                spawner.log.warning("%s has no effect: %s", setting, why)

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


def ignored_settings(config: Config, classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the settings of a configuration that have no effect, as ``c.CLASS.NAME``, and why.

    Args:
        config: the hub's.
        classes: names of the spawner's class and its bases.
    """
    for name in classes:
        if name in config:
            yield from ((f"c.{name}.{key}", why) for key, why in _NO_EFFECT.items() if key in config[name])
    for name in _OTHER_CLASSES:
        if name in config:
            yield from ((f"c.{name}.{bounded(key)[1:-1]}", f"the spawner is no {name}") for key in sorted(config[name]))


def _origin(spawner: Any, name: str) -> str:
    """Return the traits by which a name of Docker's API was set."""
    extra, _, key = f".{name.split(' ')[0]}".rpartition(".")
    traits = [trait for trait in _ORIGINS.get(key, ()) if getattr(spawner, trait)]
    named = spawner.extra_host_config if extra else spawner.extra_create_kwargs
    if not traits or callable(named) or key.lower() in named:
        traits.append("extra_host_config" if extra else "extra_create_kwargs")
    return ", ".join(traits)
