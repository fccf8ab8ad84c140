"""The network that Docker hosts for tests are plugged into: a bridge in a namespace of its own.

The machine, and so the hub, has one address there.  Nothing leads from it to any other network.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from .docker_pki import Authority
from .keeper import Keeper

LAN_PROGRAM = Path(__file__).with_name("docker_host_main.py")
FIRST_HOST = 11
ROOMY = "8g"
PLENTY = 6 << 30  # bytes


class Lan:
    """One network, its certificate authority and what its hosts share.

    Attributes:
        pid: of the process that holds it.
        number: the N of its addresses, 10.233.N.0/24.
        hub_ip: the machine's address.
        authority: issues the certificates of hosts and clients.
        client: folder with ca.pem, cert.pem and key.pem of a client that every host lets in.
        folder: holds a folder for each host.
    """

    def __init__(self, keeper: Keeper, folder: Path, pid: int, number: int) -> None:
        self.keeper = keeper
        self.folder = folder
        self.pid = pid
        self.number = number
        self.hub_ip = f"10.233.{number}.1"
        self.authority = Authority(folder / "pki")
        self.client = self.authority.client()
        self._hosts = 0

    def next_address(self) -> str:
        """Return an address that no host has yet."""
        self._hosts += 1
        return f"10.233.{self.number}.{FIRST_HOST + self._hosts - 1}"

    def make_disk(self, folder: Path, size: str) -> None:
        """Give a host a disk, in memory: one on the machine's disk takes seconds to fill, and again to remove.

        Args:
            folder: where it is mounted; only hosts see it.
            size: such as ``60m``; without one it is in memory only where there is plenty.
        """
        if size or memory_available() > PLENTY:
            options = f"mode=711,size={size or ROOMY}"
            subprocess.run([*self.with_disks(), "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)

    def with_disks(self) -> list[str]:
        """Return the command that another follows to see the hosts' disks."""
        return ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--"]

    def ip(self, *arguments: str) -> None:
        """Run the command ``ip`` inside the network."""
        subprocess.run(["nsenter", f"--net=/proc/{self.pid}/ns/net", "ip", *arguments], check=True)


def memory_available() -> int:
    """Return how many bytes of memory the machine could give."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024
