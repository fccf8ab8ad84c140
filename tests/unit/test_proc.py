"""What ``/proc`` says, read from the kernel's own texts and from real processes."""

import os
import socket
import subprocess
import sys

import pytest

from nbplatform_spawners.hosts.proc import boot_id, children, find_listener, listener_uid, process_info

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def line(address: str, port: int, state: str, uid: int) -> str:
    """Return one line of ``/proc/net/tcp``."""
    return f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid} 0 1 1\n"


LOOPBACK, ANY, ANY6 = "0100007F", "00000000", "0" * 32
MAPPED = "0000000000000000FFFF00000100007F"

LISTENERS = {
    "on the loopback": (line(LOOPBACK, 8888, "0A", 61001), "", 61001),
    "on every address": (line(ANY, 8888, "0A", 61001), "", 61001),
    "the exact address comes first": (line(ANY, 8888, "0A", 1) + line(LOOPBACK, 8888, "0A", 2), "", 2),
    "on every address of version 6": ("", line(ANY6, 8888, "0A", 61001), 61001),
    "on the loopback, as version 6 writes it": ("", line(MAPPED, 8888, "0A", 61001), 61001),
    "another port": (line(LOOPBACK, 8889, "0A", 61001), "", None),
    "a connection, not a listener": (line(LOOPBACK, 8888, "01", 61001), "", None),
    "another address": (line("0200007F", 8888, "0A", 61001), "", None),
    "half a line": ("   0: 0100007F:22B8 00000000:0000 0A\n", "", None),
}


@pytest.mark.skipif(sys.byteorder != "little", reason="the texts are those of a little-endian machine")
@pytest.mark.parametrize(("tcp", "tcp6", "expected"), LISTENERS.values(), ids=LISTENERS)
def test_the_listener_that_a_connection_would_reach_is_found(tcp: str, tcp6: str, expected: int | None) -> None:
    """By the kernel's own rule: the exact address before any address."""
    assert find_listener({"tcp": HEAD + tcp, "tcp6": HEAD + tcp6}, 8888) == expected


def test_a_real_listener_is_found_with_its_uid() -> None:
    """And nobody listens once it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listener_uid(port) == os.geteuid()
    assert listener_uid(port) is None


def test_a_process_is_told_by_pid_and_start_time() -> None:
    """The name in ``/proc/PID/stat`` may hold blanks and parentheses."""
    script = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'a) Z 1 (b'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        info = process_info(child.pid)
        own = process_info(os.getpid())
        assert info is not None
        assert own is not None
        assert info.parent == os.getpid()
        assert info.state in "SR"
        assert info.start_time >= own.start_time
        assert child.pid in children(os.getpid())
        child.communicate()
    assert process_info(child.pid) is None


def test_this_boot_has_an_id() -> None:
    """It tells a process of now from one of before a restart of the machine."""
    assert len(boot_id()) == 36
