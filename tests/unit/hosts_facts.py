"""Values for the tests of ``nbplatform hosts``: a host that has nothing wrong, and ways to change it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from nbplatform_spawners.hosts.containers import Container
from nbplatform_spawners.hosts.docker_answers import HostInfo, ImageInfo, NetworkInfo
from nbplatform_spawners.hosts.judge import Expected, HostFacts
from nbplatform_spawners.hosts.probe import Sight
from nbplatform_spawners.hosts.report import HostStatus, Target
from nbplatform_spawners.hosts.uses import Source, Uses
from nbplatform_spawners.rules.model import Host, Pool

GIB = 1024**3
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
INFO = HostInfo(
    server_version="29.8.0",
    api_version="1.51",
    os="Debian",
    cpus=16,
    memory=32 * GIB,
    containers_running=0,
    cdi=True,
    devices=(),
    runtimes=("runc",),
    storage_driver="overlayfs",
    root_dir="/var/lib/docker",
    clock=NOW,
    warnings=(),
    live_restore=True,
)


def target_of(name: str = "cpu01", pool: str = "cpu", overcommit: float = 1.0, **host: Any) -> Target:
    """Return a host of the rules."""
    made = Host(name, f"tcp://{name}:2376", **{"memory": 32 * GIB, "cpus": 16.0, **host})
    return Target(Pool(pool, (made,), overcommit), made)


def container(user: str, server: str = "", **values: Any) -> Container:
    """Return a running server."""
    return Container(
        **{"host": "", "id": "abc" * 10, "name": f"hub-{user}", "state": "running", **values}, user=user, server=server
    )


def status_of(target: Target | None = None, *containers: Container, **info: Any) -> HostStatus:
    """Return a host that answers."""
    return HostStatus(target or target_of(), info=replace(INFO, **info), containers=containers)


def facts_of(status: HostStatus | None = None, **seen: Any) -> HostFacts:
    """Return what is seen of a host with nothing wrong, but for what is given."""
    good: dict[str, Any] = {
        "certificates": {"the certificate cert.pem": NOW + timedelta(days=200)},
        "images": {"scipy:1": ImageInfo("sha256:a", ("reg/scipy@sha256:d",), 1, "")},
        "networks": {"nbplatform": NetworkInfo("1", "nbplatform", "bridge", icc=False)},
        "sight": Sight(whole=True),
    }
    return HostFacts(status or status_of(), **{**good, **seen})


def expected(*sources: Source, host: str = "cpu01", roots: tuple[str, ...] = ("/home", "/cvmfs")) -> Expected:
    """Return what the rules say of one host."""
    return Expected(Uses({}, {host: sources}, {}), roots, NOW)
