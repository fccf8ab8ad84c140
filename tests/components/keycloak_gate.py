"""A gate before Keycloak: it counts what comes, and holds, refuses, breaks or changes what a test names.

Hub and browsers meet Keycloak at the gate's address, which therefore is the issuer's.  It lives in the test's process.

    with gate(keycloak.url) as front:
        front.change(TOKEN, lambda answer: {**answer, "id_token": forged})
        ...
        front.clear()

A pattern is a regular expression that is searched in ``METHOD /path?query``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

AUTH = r"GET /realms/[^/]+/protocol/openid-connect/auth"
CERTS = r"GET /realms/[^/]+/protocol/openid-connect/certs"
DISCOVERY = r"GET /realms/[^/]+/\.well-known/openid-configuration"
TOKEN = r"POST /realms/[^/]+/protocol/openid-connect/token$"
USERINFO = r"/realms/[^/]+/protocol/openid-connect/userinfo"
HUB_ASKS = f"{DISCOVERY}|{CERTS}|{TOKEN}|{USERINFO}"
"""What a hub asks, and no browser."""

METHODS = ("POST", "PUT", "DELETE", "OPTIONS", "HEAD")
ANSWER_LIMIT = 60.0  # seconds that Keycloak has for an answer
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "upgrade")
)


@dataclass
class Fault:
    """What is done to the requests in which a pattern is found.

    Attributes:
        pattern: the regular expression.
        kind: ``hold``, ``answer``, ``drop``, ``cut`` or ``change``.
        times: how many requests are left that it is done to; None for all.
        status: of the answer in Keycloak's place.
        body: of that answer, or a function that changes Keycloak's own (JSON).
        came: set when the first of them has come.
        over: set when held ones are let go.
    """

    pattern: re.Pattern[str]
    kind: str
    times: int | None = None
    status: int = 503
    body: Any = None
    came: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def wait(self, limit: float = 30.0) -> None:
        """Wait until a request has come that it is for."""
        assert self.came.wait(limit), f"no request {self.pattern.pattern} came"

    def release(self) -> None:
        """Let go what is held, and what comes."""
        self.times = 0
        self.over.set()


class Gate:
    """One gate; made by :func:`gate`.

    Args:
        upstream: Keycloak's own address.

    Attributes:
        url: where it listens, without a trailing slash.
        seen: every request that came, as ``METHOD /path?query``.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.seen: list[str] = []
        self.broken: list[Exception] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.up()
        self.url = f"http://127.0.0.1:{self._port}"

    def issuer(self, realm: str = "site") -> str:
        """The issuer that a realm is through this gate."""
        return f"{self.url}/realms/{realm}"

    def count(self, pattern: str) -> int:
        """How many requests came in which a pattern is found, since :meth:`forget`."""
        return sum(re.search(pattern, request) is not None for request in tuple(self.seen))

    def forget(self) -> None:
        """Count from here."""
        self.seen.clear()

    def hold(self, pattern: str, times: int | None = None) -> Fault:
        """Let requests hang until :meth:`Fault.release` or :meth:`clear`; then Keycloak is asked."""
        return self._add(Fault(re.compile(pattern), "hold", times))

    def answer(self, pattern: str, status: int, body: Any = "", times: int | None = None) -> Fault:
        """Answer in Keycloak's place: text (as HTML), or anything else as JSON."""
        return self._add(Fault(re.compile(pattern), "answer", times, status, body))

    def drop(self, pattern: str, times: int | None = None) -> Fault:
        """Close the connection without an answer; Keycloak never hears of the request."""
        return self._add(Fault(re.compile(pattern), "drop", times))

    def cut(self, pattern: str, times: int | None = None) -> Fault:
        """Ask Keycloak and close the connection in the middle of its answer."""
        return self._add(Fault(re.compile(pattern), "cut", times))

    def change(self, pattern: str, body: Callable[[Any], Any], times: int | None = None) -> Fault:
        """Put through a function what Keycloak answers (JSON) with status 200."""
        return self._add(Fault(re.compile(pattern), "change", times, 200, body))

    def clear(self) -> None:
        """Let everything through as it is, and listen if :meth:`down` was called.

        Raises:
            Exception: what a function given to :meth:`change` has raised.
        """
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.release()
        self.up()
        broken, self.broken = self.broken, []
        if broken:
            raise broken[0]

    def down(self) -> None:
        """Refuse connections, as where Keycloak was killed, and break those that are open."""
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()
            for one in tuple(self._connections):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        """Listen (again)."""
        if self._server is None:
            self._server = Server(("127.0.0.1", self._port), handler_of(self))
            self._port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def fault_for(self, request: str) -> Fault | None:
        """The newest fault that is for a request, or None; it has come then."""
        with self._lock:
            self.seen.append(request)
            for fault in reversed(self._faults):
                if fault.times != 0 and fault.pattern.search(request):
                    fault.times = None if fault.times is None else fault.times - 1
                    fault.came.set()
                    return fault
        return None

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault


class Server(ThreadingHTTPServer):
    """Serves each connection in a thread that ends with the process."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the other side has gone."""


def handler_of(owner: Gate) -> type[BaseHTTPRequestHandler]:
    """The class that answers one gate's requests."""
    every = {f"do_{method}": Handler.do_GET for method in METHODS}
    return type("Handler", (Handler,), {"gate": owner, **every})


class Handler(BaseHTTPRequestHandler):
    """Passes one connection's requests on."""

    gate: Gate
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Note the connection, so that it can be broken."""
        super().setup()
        self.gate._connections.add(self.connection)

    def finish(self) -> None:
        """Forget it."""
        self.gate._connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write no log."""

    def do_GET(self) -> None:
        """Pass a request on, unless a fault is for it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.gate.fault_for(f"{self.command} {self.path}")
        kind = fault.kind if fault else ""
        if fault and kind == "hold":
            fault.over.wait()
        if kind == "drop":
            self.close_connection = True
        elif fault and kind == "answer":
            self.own_answer(fault)
        else:
            self.pass_on(body, fault)

    def own_answer(self, fault: Fault) -> None:
        """Answer in Keycloak's place."""
        html = isinstance(fault.body, str)
        kind = "text/html" if html else "application/json"
        body = fault.body if html else json.dumps(fault.body)
        self.send(fault.status, [("Content-Type", kind)], body.encode())

    def pass_on(self, body: bytes, fault: Fault | None) -> None:
        """Ask Keycloak, which sees the gate's own address as the host, and give its answer back."""
        asked = http.client.HTTPConnection(self.gate.upstream, timeout=ANSWER_LIMIT)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            headers.pop("Accept-Encoding", None)
            asked.request(self.command, self.path, body or None, headers)
            answer = asked.getresponse()
            content = answer.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            asked.close()
        if fault and fault.kind == "change" and answer.status == 200:
            try:
                content = json.dumps(fault.body(json.loads(content))).encode()
            except Exception as error:
                self.gate.broken.append(error)  # the test's own function: the test hears of it
                raise
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
        self.send(answer.status, kept, content, cut=bool(fault and fault.kind == "cut"))

    def send(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        """Send an answer, or its first half."""
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut


@contextmanager
def gate(upstream: str) -> Iterator[Gate]:
    """A gate that listens on a free port of the loopback address until the block ends.

    Args:
        upstream: Keycloak's own address.
    """
    one = Gate(upstream)
    try:
        yield one
    finally:
        one.clear()
        one.down()
