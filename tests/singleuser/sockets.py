"""The options of another process's sockets, as its kernel has them: the process itself is not asked."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

PIDFD_GETFD = 438  # number of the system call, the same on every machine


def nodelay(pid: int, port: int) -> dict[int, bool]:
    """Return, for each client of a server, its port and whether the server's socket sends at once.

    Args:
        pid: process id of the server.
        port: where it listens.
    """
    found = {}
    for one in sockets_of(pid):
        with one:
            if one.family in (socket.AF_INET, socket.AF_INET6) and one.getsockname()[1] == port:
                try:
                    client = one.getpeername()[1]
                except OSError:  # the one that listens
                    continue
                found[client] = bool(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    return found


def sockets_of(pid: int) -> Iterator[socket.socket]:
    """Yield the open sockets of a process, as handles of this one."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.pidfd_open(pid)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if not os.readlink(entry).startswith("socket:"):
                continue
            number = libc.syscall(PIDFD_GETFD, handle, int(entry.name), 0)
            if number < 0:
                pytest.skip(f"this machine shows no other process's sockets: {os.strerror(ctypes.get_errno())}")
            yield socket.socket(fileno=number)
    finally:
        os.close(handle)
