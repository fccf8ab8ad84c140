"""The two Docker engines that hosts for tests run: the machine's own, and a modern one built from Go modules."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import MissingComponent
from .docker_modern import modern_docker

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "tini": "tini",
    "iptables": "iptables",
}


@dataclass(frozen=True)
class Engine:
    """One engine.

    Attributes:
        name: ``debian`` or ``modern``.
        path: folders with its programs, in front of the system's; empty for the machine's own.
        cdi: whether it knows CDI devices.
    """

    name: str
    path: str = ""
    cdi: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)

    def search_path(self, *before: Path) -> str:
        """Return PATH for its daemon."""
        return ":".join([*map(str, before), *([self.path] if self.path else []), SYSTEM_PATH])


def engine(name: str) -> Engine:
    """Return an engine that this machine can run.

    Args:
        name: ``debian``, the ``dockerd`` that is installed; or ``modern``, one with CDI.

    Raises:
        MissingComponent: it cannot run here; says why, and how to get what is missing.
    """
    can_make_hosts()
    if name == "modern":
        return Engine(name, str(modern_docker()), cdi=True)
    if name != "debian":
        raise ValueError(f"no Docker engine is called {name!r}: debian, modern")
    lacking = [program for program in ("dockerd", "containerd", "runc") if not shutil.which(program, path=SYSTEM_PATH)]
    if lacking:
        raise MissingComponent(f"{lacking[0]} is not installed (as root: apt-get install docker.io)")
    return Engine(name)


def can_make_hosts() -> None:
    """Return if this machine can hold Docker hosts.

    Raises:
        MissingComponent: it cannot; says why.
    """
    if os.geteuid() != 0:
        raise MissingComponent("Docker hosts for tests need root")
    for program, package in TOOLS.items():
        if not shutil.which(program, path=SYSTEM_PATH):
            raise MissingComponent(f"{program} is not installed (as root: apt-get install {package})")
    tried = ["unshare", "--net", "--mount", "--pid", "--fork", "ip", "link", "add", "name", "one", "type", "veth"]
    done = subprocess.run(tried, capture_output=True, text=True)
    if done.returncode != 0:
        why = " ".join(done.stderr.split())
        raise MissingComponent(f"this machine lets nobody make network namespaces and interfaces: {why}")
