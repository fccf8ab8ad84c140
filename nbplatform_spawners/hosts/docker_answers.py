"""What a Docker daemon tells about itself, its containers, images and networks, as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..names import bounded
from .containers import ENDED, HUB_LABEL

_MOST = 300
"""Characters of an error that are kept."""
_FRACTION = re.compile(r"(\.\d{6})\d+")
PLATFORM_LABEL = "nbplatform.network"
"""The label of networks that the platform made."""
ICC = "com.docker.network.bridge.enable_icc"
"""The option of a bridge network that says whether its containers reach each other."""


@dataclass(frozen=True)
class HostInfo:
    """A Docker daemon and its machine.

    Attributes:
        server_version: of the daemon, as ``29.8.0``.
        api_version: which the hub and the daemon have agreed on.
        os: name of the operating system.
        cpus: number of CPUs.
        memory: bytes.
        containers_running: how many, foreign ones included.
        cdi: whether the daemon gives devices by CDI.
        devices: names of the CDI devices it found; empty where it does not tell (before Docker 28.2).
        runtimes: names of the OCI runtimes.
        storage_driver: of images and containers.
        root_dir: where the daemon keeps them.
        clock: the daemon's time, None when it tells none.
        warnings: the daemon's own.
        live_restore: whether containers outlive the daemon.
        id: of the daemon; stays with its data.
    """

    server_version: str
    api_version: str
    os: str
    cpus: int
    memory: int
    containers_running: int
    cdi: bool
    devices: tuple[str, ...]
    runtimes: tuple[str, ...]
    storage_driver: str
    root_dir: str
    clock: datetime | None
    warnings: tuple[str, ...]
    live_restore: bool
    id: str = ""


@dataclass(frozen=True)
class Inspection:
    """One container, looked at closely.

    Attributes:
        id: full id.
        name: without the leading slash.
        state: Docker's word, as ``running``.
        exit_code: of its first process; 0 while it runs.
        oom_killed: whether it was ended for lack of memory.
        error: why it could not be started; empty, or bounded.
        image_id: of the image it was made from.
        port: where its server is published on the host; 0 for nowhere.
        ip: its address in the first network that gave it one; empty when it has none.
        labels: all of them.
        networks: name of each network, and the container's address there.
    """

    id: str
    name: str
    state: str
    exit_code: int
    oom_killed: bool
    error: str
    image_id: str
    port: int
    ip: str
    labels: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)

    @property
    def hub(self) -> str:
        """Which hub it belongs to; empty for a foreign one."""
        return self.labels.get(HUB_LABEL, "")

    @property
    def ended(self) -> bool:
        """Whether nothing runs in it any more."""
        return self.state in ENDED


@dataclass(frozen=True)
class ImageInfo:
    """One image that a host has.

    Attributes:
        id: its own digest.
        repo_digests: the digests under which registries know it; empty for one that was built or loaded there.
        size: bytes.
        created: when, as the image says; empty when it does not.
    """

    id: str
    repo_digests: tuple[str, ...]
    size: int
    created: str


@dataclass(frozen=True)
class NetworkInfo:
    """One network of a host.

    Attributes:
        id: its id.
        name: its name.
        driver: as ``bridge``.
        icc: whether its containers reach each other.
    """

    id: str
    name: str
    driver: str
    icc: bool


def host_info(info: Mapping[str, Any], api_version: str) -> HostInfo:
    """Return what an answer of ``GET /info`` tells."""
    found = info.get("DiscoveredDevices") or []
    return HostInfo(
        server_version=_text(info, "ServerVersion"),
        api_version=api_version,
        os=_text(info, "OperatingSystem"),
        cpus=_number(info, "NCPU"),
        memory=_number(info, "MemTotal"),
        containers_running=_number(info, "ContainersRunning"),
        cdi=bool(info.get("CDISpecDirs")),
        devices=tuple(_text(one, "ID") for one in found if isinstance(one, Mapping) and one.get("Source") == "cdi"),
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        storage_driver=_text(info, "Driver"),
        root_dir=_text(info, "DockerRootDir"),
        clock=_time(_text(info, "SystemTime")),
        warnings=tuple(bounded(text, _MOST) for text in info.get("Warnings") or ()),
        live_restore=info.get("LiveRestoreEnabled") is True,
        id=_text(info, "ID"),
    )


def inspection(answer: Mapping[str, Any], port: int) -> Inspection:
    """Return what an answer of ``GET /containers/ID/json`` tells.

    Args:
        answer: the daemon's.
        port: where servers listen inside.
    """
    state = answer.get("State") or {}
    settings = answer.get("NetworkSettings") or {}
    joined = (settings.get("Networks") or {}).items()
    networks = {str(name): _text(one, "IPAddress") or _text(one, "GlobalIPv6Address") for name, one in joined}
    labels = (answer.get("Config") or {}).get("Labels") or {}
    error = _text(state, "Error")
    return Inspection(
        id=_text(answer, "Id"),
        name=_text(answer, "Name").removeprefix("/"),
        state=_text(state, "Status"),
        exit_code=_number(state, "ExitCode"),
        oom_killed=state.get("OOMKilled") is True,
        error=bounded(error, _MOST) if error else "",
        image_id=_text(answer, "Image"),
        port=_host_port((settings.get("Ports") or {}).get(f"{port}/tcp")),
        ip=next(filter(None, networks.values()), ""),
        labels={str(key): str(value) for key, value in labels.items()},
        networks=networks,
    )


def image_info(answer: Mapping[str, Any]) -> ImageInfo:
    """Return what an answer of ``GET /images/NAME/json`` tells."""
    digests = tuple(map(str, answer.get("RepoDigests") or ()))
    return ImageInfo(_text(answer, "Id"), digests, _number(answer, "Size"), _text(answer, "Created"))


def network_info(answer: Mapping[str, Any]) -> NetworkInfo:
    """Return what an answer of ``GET /networks/NAME`` tells."""
    icc = (answer.get("Options") or {}).get(ICC, "true")
    return NetworkInfo(_text(answer, "Id"), _text(answer, "Name"), _text(answer, "Driver"), str(icc).lower() != "false")


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    return value if isinstance(value, str) else ""


def _number(answer: Mapping[str, Any], key: str) -> int:
    value = answer.get(key)
    return value if isinstance(value, int) else 0


def _time(text: str) -> datetime | None:
    """Return an RFC 3339 time, whose fractions of a second may be finer than Python's."""
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r"\1", text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _host_port(published: object) -> int:
    """Return the first host port of an entry of ``Ports``; 0 when there is none."""
    for one in published if isinstance(published, list) else ():
        port = one.get("HostPort") if isinstance(one, Mapping) else None
        if isinstance(port, str) and port.isdecimal():
            return int(port)
    return 0
