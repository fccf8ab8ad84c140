"""Real Docker hosts on one machine: each a network, mount and PID namespace with a real ``dockerd`` reached over TLS.

    with docker_fleet({"wn1": Settings(), "wn2": Settings("modern", gpus=2)}) as fleet:
        fleet["wn1"].url, fleet.certificates
        fleet["wn2"].crash()

    with docker_host(engine="modern") as host:
        host.client().info()

Everything ends when the block or the owner ends, even by ``kill -9``: a host's end ends every process in its PID
namespace, and its mounts and interfaces go with the last of them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .docker_engine import engine
from .docker_host import DockerHost, Settings
from .docker_lan import LAN_PROGRAM, Lan
from .docker_wait import HostDied, wait_for
from .keeper import Keeper, keeper

__all__ = ["DockerFleet", "DockerHost", "HostDied", "Settings", "docker_fleet", "docker_host"]

LONGEST_FOLDER = 60  # characters: the path of a Unix socket holds 108


class DockerFleet(Mapping[str, DockerHost]):
    """Several hosts on one network, by name.

    Attributes:
        hub_ip: the machine's address on their network: where a hub listens for containers.
        certificates: folder with ca.pem, cert.pem and key.pem of a client that every host lets in.
        authority: issues more certificates, good and bad ones.
        folder: a temporary folder that every host sees, mode 0711.
    """

    def __init__(self, lan: Lan) -> None:
        self._hosts: dict[str, DockerHost] = {}
        self.lan = lan
        self.hub_ip = lan.hub_ip
        self.certificates = lan.client
        self.authority = lan.authority
        self.folder = lan.folder

    def add(self, hosts: Mapping[str, Settings]) -> None:
        """Add hosts and wait until all of them answer.

        Raises:
            MissingComponent: this machine cannot run one of their engines; none has been added then.
            HostDied: one does not come up.
        """
        engines = {name: engine(settings.engine) for name, settings in hosts.items()}
        for name, settings in hosts.items():
            self._hosts[name] = DockerHost(name, settings, engines[name], self.lan.keeper, self.lan)
        for name in hosts:
            self._hosts[name].launch()
        for name in hosts:
            self._hosts[name].wait()

    def __getitem__(self, name: str) -> DockerHost:
        return self._hosts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)


@contextmanager
def docker_fleet(hosts: Mapping[str, Settings]) -> Iterator[DockerFleet]:
    """Docker hosts that answer; up in a second or two.

    Args:
        hosts: what each is like, by its name: letters, digits and ``-``, 15 characters at most.

    Raises:
        MissingComponent: this machine cannot run one of their engines.
        HostDied: one does not come up.
    """
    for settings in hosts.values():
        engine(settings.engine)
    with keeper("dk", grace=8.0) as one:
        fleet = DockerFleet(local_network(one))
        fleet.add(hosts)
        yield fleet


@contextmanager
def docker_host(name: str = "wn1", **settings: Any) -> Iterator[DockerHost]:
    """One Docker host; the keywords are :class:`Settings`'s."""
    with docker_fleet({name: Settings(**settings)}) as fleet:
        yield fleet[name]


def local_network(one: Keeper) -> Lan:
    """Make the hosts' network."""
    folder = one.folder
    if len(str(folder)) > LONGEST_FOLDER:
        folder = Path(tempfile.mkdtemp(prefix="nbplatform-dk-", dir="/tmp"))
        one.remove(folder)
    folder.chmod(0o711)
    log = folder / "lan.log"
    command = [sys.executable, "-I", "-S", LAN_PROGRAM, "lan", folder]
    process = one.start(command, cwd=Path("/"), log=log)
    wait_for((folder / "lan").exists, process.alive, "the hosts' network", log)
    return Lan(one, folder, process.pid, int((folder / "lan").read_text()))
