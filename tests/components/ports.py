"""Free ports of the loopback address."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Ports:
    """Free ports on the loopback address: of the proxy, of the hub behind it and of the proxy's own API."""

    public: int
    hub: int
    proxy_api: int


def free_ports(public: int = 0) -> Ports:
    """Three ports nobody listens on.

    They lie below the range from which the kernel takes ports for connections, which could otherwise take one before
    its server binds it.

    Args:
        public: the first of them, if it is decided; else 0.
    """
    ports = [public] if public else []
    while len(ports) < 3:
        port = random.randrange(20000, 32000)
        if port not in ports and bindable(port):
            ports.append(port)
    return Ports(*ports)


def bindable(port: int) -> bool:
    """Whether a server could bind a port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on a port of an address of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
