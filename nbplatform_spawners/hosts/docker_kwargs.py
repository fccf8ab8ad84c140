"""docker-py's keyword arguments as the JSON of the Docker Engine's API: sites write these, renderers make that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker.errors import DockerException
from docker.types import ContainerConfig, HostConfig

_VERSION = "1.41"
"""API version whose rules docker-py checks the arguments by; each host is asked in its own."""


def site_body(create: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of ``POST /containers/create`` that a site's own arguments make.

    Args:
        create: arguments of docker-py's ``create_container``.
        host: arguments of its ``create_host_config``.

    Raises:
        ValueError: docker-py does not know an argument, or its value.
    """
    try:
        made, usual = _body(create, host), _body({}, {})
    except (TypeError, ValueError, DockerException) as error:
        raise ValueError(f"c.DockerSpawner.extra_create_kwargs or extra_host_config: {error}") from error
    return {**_set(made, usual), "HostConfig": _set(made["HostConfig"], usual["HostConfig"])}


def _body(create: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {str(key): value for key, value in create.items()}
    more = arguments.pop("host_config", None) or {}
    body = dict(ContainerConfig(_VERSION, **{"image": "", "command": None, **arguments}))
    return {**body, "HostConfig": {**more, **HostConfig(_VERSION, **{str(key): value for key, value in host.items()})}}


def _set(made: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return what somebody has set: docker-py fills the rest in."""
    return {
        key: value
        for key, value in made.items()
        if value not in (None, False, "", [], {}) and value != usual.get(key) and key != "HostConfig"
    }
