"""A gate before a Docker daemon: it lets requests through, holds those that a test names, or answers them itself.

It listens on the host's own address, with the host's own certificate, so that nothing tells it from the daemon.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import socket
import ssl
import threading
from dataclasses import dataclass, field

from tests.components.docker_host import DockerHost

PORT = 2377
CLONE_NEWNET = 0x40000000
END_OF_HEAD = b"\r\n\r\n"
PIECE = 65536


@dataclass
class Hold:
    """Requests that are held.

    Attributes:
        pattern: found in ``METHOD /path?query``, the version of the API left out.
        answered: the daemon does what it is asked, and it is the answer that is held.
        came: set when the first of them is held.
        over: set when they are let go.
        dropped: they are never passed on.
        only_held: no more are held.
    """

    pattern: re.Pattern[str]
    answered: bool
    came: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False
    only_held: bool = False

    def wait(self, limit: float = 30.0) -> None:
        """Wait until a request is held."""
        assert self.came.wait(limit), f"no request {self.pattern.pattern} came"

    def takes(self, request: str) -> bool:
        """Tell whether a request is to be held."""
        return not self.only_held and self.pattern.search(request) is not None

    def forget(self) -> None:
        """Hold what is held, and let through what comes."""
        self.only_held = True

    def release(self) -> None:
        """Let go what is held, and what comes."""
        self.over.set()


class Gate:
    """Stands before one host's daemon.

    Args:
        host: whose daemon.

    Attributes:
        url: where it listens.
        seen: every request that came, as ``METHOD /path?query``.
    """

    def __init__(self, host: DockerHost) -> None:
        self._host = host
        self._holds: list[Hold] = []
        self._fails: list[tuple[re.Pattern[str], int, str]] = []
        self.url = f"tcp://{host.ip}:{PORT}"
        self.seen: list[str] = []
        told = json.loads((host.folder / "daemon.json").read_text())
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(told["tlscert"], told["tlskey"])
        self._tls.load_verify_locations(told["tlscacert"])
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._listener = listen_on(host.pid, host.ip)
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, pattern: str, *, answered: bool = False) -> Hold:
        """Hold the requests in which a pattern is found, from now until :meth:`Hold.release`.

        Args:
            pattern: such as ``POST /containers/create``.
            answered: hold the daemon's answer, and not the request.
        """
        hold = Hold(re.compile(pattern), answered)
        self._holds.append(hold)
        return hold

    def fail(self, pattern: str, status: int, message: str) -> None:
        """Answer such requests as a daemon in trouble does, until :meth:`release`."""
        self._fails.append((re.compile(pattern), status, message))

    def release(self) -> None:
        """Let everything through."""
        for hold in self._holds:
            hold.release()
        self._holds.clear()
        self._fails.clear()

    def drop(self) -> None:
        """Let everything through but what is held, which the daemon never hears of."""
        for hold in self._holds:
            hold.dropped = True
        self.release()

    def close(self) -> None:
        """Listen no longer."""
        self.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):  # the hub was killed, the daemon has gone
            try:
                client = self._tls.wrap_socket(plain, server_side=True)
            except OSError:
                plain.close()
                raise
            with client:
                head, body = read_request(client)
                self._pass(client, head, body)

    def _pass(self, client: ssl.SSLSocket, head: bytes, body: bytes) -> None:
        method, path = head.decode("latin-1").split(" ", 2)[:2]
        request = f"{method} {re.sub(r'^/v[0-9.]+', '', path)}"
        self.seen.append(request)
        for pattern, status, message in tuple(self._fails):
            if pattern.search(request):
                client.sendall(answer(status, message))
                return
        hold = next((one for one in self._holds if one.takes(request)), None)
        if hold is not None and not hold.answered:
            hold.came.set()
            hold.over.wait()
            if hold.dropped:
                return
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(str(self._host.socket))
            daemon.sendall(closing_head(head) + body)
            first = daemon.recv(PIECE)
            if hold is not None and hold.answered:
                hold.came.set()
                hold.over.wait()
            while first:
                client.sendall(first)
                first = daemon.recv(PIECE)


def listen_on(pid: int, address: str) -> socket.socket:
    """Return a socket that listens in the network of another process."""
    made: list[socket.socket] = []

    def job() -> None:  # a network namespace belongs to a thread
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)
        made.append(socket.create_server((address, PORT), backlog=64))

    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
    return made[0]


def read_request(client: ssl.SSLSocket) -> tuple[bytes, bytes]:
    """Return the head and the body of one request."""
    data = b""
    while END_OF_HEAD not in data:
        data += piece(client)
    head, _, body = data.partition(END_OF_HEAD)
    length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
    if length:
        while len(body) < int(length[1]):
            body += piece(client)
    elif re.search(rb"(?im)^transfer-encoding:\s*chunked", head):
        while not body.endswith(b"0" + END_OF_HEAD):
            body += piece(client)
    return head, body


def piece(client: ssl.SSLSocket) -> bytes:
    """Return what comes next.

    Raises:
        EOFError: nothing comes any more.
    """
    data = client.recv(PIECE)
    if not data:
        raise EOFError
    return data


def closing_head(head: bytes) -> bytes:
    """Return a request's head that asks the daemon to close the connection after its answer."""
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close"]) + END_OF_HEAD


def answer(status: int, message: str) -> bytes:
    """Return an answer as a daemon gives it that cannot do something."""
    body = json.dumps({"message": message}).encode()
    head = f"HTTP/1.1 {status} Error\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
