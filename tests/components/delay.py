"""Slow and broken connections: a proxy in front of a Docker daemon that adds time to every call.

with delayed(host, 0.1) as url: ...      # the daemon again, every call 100 ms later
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .docker_host import DockerHost

PROGRAM = Path(__file__).with_name("delay_main.py")
PORT = 2377
READY_LIMIT = 20.0


@contextmanager
def delayed(host: DockerHost, seconds: float, port: int = PORT) -> Iterator[str]:
    """A second address of a host's daemon, where each call takes longer; yields its URL.

    It has the host's own IP address and certificate.  It ends with the block, and when the host crashes.

    Args:
        host: whose daemon.
        seconds: added to each call.
        port: where it listens.
    """
    words = proxy_words(f"{host.ip}:{port}", host.url.removeprefix("tcp://"), delay=seconds)
    process = host.start_on_host(*words, log=host.folder / "delay.log")
    try:
        wait_until_listening(host.ip, port)
        yield f"tcp://{host.ip}:{port}"
    finally:
        host.end_on_host(process)


def proxy_words(listen: str, target: str, *, delay: float = 0, rate: float = 0, limit: int = 0) -> list[str | Path]:
    """Return the command of a proxy; see :mod:`tests.components.delay_main`."""
    return [sys.executable, "-I", "-S", PROGRAM, listen, target, str(delay), str(rate), str(limit)]


def wait_until_listening(ip: str, port: int) -> None:
    """Wait until something accepts connections.

    Raises:
        TimeoutError: nothing does.
    """
    limit = time.monotonic() + READY_LIMIT
    while True:
        with contextlib.suppress(OSError), socket.create_connection((ip, port), timeout=1):
            return
        if time.monotonic() > limit:
            raise TimeoutError(f"nothing listens at {ip}:{port}")
        time.sleep(0.02)
