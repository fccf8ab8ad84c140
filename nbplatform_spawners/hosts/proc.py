"""What ``/proc`` says about processes and listeners.  Reading it never raises for a process that ends meanwhile."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"
_FAMILIES = (("tcp", ("127.0.0.1", "0.0.0.0")), ("tcp6", ("::ffff:127.0.0.1", "::")))  # noqa: S104 - only compared


@dataclass(frozen=True)
class ProcessInfo:
    """One process as ``/proc/PID/stat`` shows it.

    Attributes:
        parent: process id of its parent.
        state: one letter; ``Z`` and ``X`` have ended.
        start_time: ticks since the boot; with the process id it names a process for good.
    """

    parent: int
    state: str
    start_time: int


def process_info(pid: int) -> ProcessInfo | None:
    """Return what runs (or ended unreaped) as ``pid``; None when nothing does."""
    try:
        # the name in parentheses may hold anything, parentheses too
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return ProcessInfo(int(fields[1]), fields[0].decode("ascii", "replace"), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def children(pid: int) -> tuple[int, ...]:
    """Return the ids of the processes whose parent is ``pid``, those that ended left out."""
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    found = ((other, process_info(other)) for other in pids)
    return tuple(other for other, info in found if info is not None and info.parent == pid and info.state not in "ZX")


def inner_pid(pid: int) -> int | None:
    """Return the id that a process has in its own process id namespace; None when it is gone."""
    with suppress(OSError, StopIteration, ValueError):
        lines = (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])
    return None


def boot_id() -> str:
    """Return the id of this boot of the machine; empty when it cannot be read."""
    with suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return ""


def listener_uid(port: int) -> int | None:
    """Return the uid of the process that listens where a connection to 127.0.0.1, ``port`` arrives; None for nobody."""
    tables = {}
    for family, _ in _FAMILIES:
        tables[family] = ""
        with suppress(OSError):
            tables[family] = (_PROC / "net" / family).read_text()
    return find_listener(tables, port)


def find_listener(tables: dict[str, str], port: int) -> int | None:
    """Return the uid of the listener in the texts of ``/proc/net/tcp`` and ``tcp6``: the exact address first."""
    for family, addresses in _FAMILIES:
        listeners = _listeners(tables.get(family, "").splitlines()[1:], port)
        for address in addresses:
            if _encoded(address) in listeners:
                return listeners[_encoded(address)]
    return None


def _listeners(lines: Sequence[str], port: int) -> dict[str, int]:
    found = {}
    for line in lines:
        fields = line.split()
        if len(fields) > 7 and fields[3] == _LISTENING and fields[1].endswith(f":{port:04X}"):
            found[fields[1].partition(":")[0]] = int(fields[7])
    return found


def _encoded(address: str) -> str:
    """Return an address as the kernel prints it: hexadecimal 32-bit words in the machine's byte order."""
    packed = ipaddress.ip_address(address).packed
    words = (packed[start : start + 4] for start in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
