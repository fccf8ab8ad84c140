"""HTTP account services, one that is as it should be and others named for how they misbehave; real servers all."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "planted-token-of-the-service"
ADA: dict[str, Any] = {
    "name": "ada",
    "uid": 62001,
    "gid": 61000,
    "groups": {"users": 61000, "atlas": 61100, "Domain Users": 61200, "docker": 998},
    "home": "/home/ada",
    "shell": "/bin/bash",
    "valid_until": None,
}
UNKNOWN = {"error": "unknown account"}
PAIR = ("edugain", "https://idp.example.org!a&b=c/ü")


class AccountService(BaseHTTPRequestHandler):
    """What the documents describe: two routes, a token, JSON."""

    protocol_version = "HTTP/1.1"
    server: Server
    accounts: ClassVar[dict[str, dict[str, Any]]] = {"ada": ADA}

    def do_GET(self) -> None:
        """Answer one question."""
        self.server.asked.append(self.path)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "who are you?"})
        url = urlsplit(self.path)
        if url.path.startswith("/v1/accounts/"):
            found = self.accounts.get(unquote(url.path.removeprefix("/v1/accounts/")))
            return self.answer(200, found) if found else self.answer(404, UNKNOWN)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/v1/federated" and (query["provider"], query["subject"]) == PAIR:
            return self.answer(200, {**ADA, "provider": PAIR[0], "subject": PAIR[1]})
        return self.answer(404, UNKNOWN)

    def answer(self, status: int, content: Any) -> None:
        """Send JSON."""
        self.send(status, json.dumps(content).encode())

    def send(self, status: int, body: bytes, **headers: str) -> None:
        """Send bytes."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Redirects(AccountService):
    """Sends whoever asks to somebody else, who answers."""

    def do_GET(self) -> None:
        """Answer here only behind the redirect."""
        if self.path.startswith("/elsewhere"):
            self.server.asked.append(self.path)
            return self.answer(200, ADA)
        return self.send(302, b"{}", Location=f"/elsewhere{self.path}")


class LostProxy(AccountService):
    """A proxy whose service is gone: 404 for everything, in HTML."""

    def do_GET(self) -> None:
        """Answer."""
        self.send(404, b"<html>404 Not Found</html>", Content_Type="text/html")


class OtherNotFound(AccountService):
    """A framework's own 404, in JSON, for a route that is not there."""

    def do_GET(self) -> None:
        """Answer."""
        self.answer(404, {"detail": "Not Found"})


class Broken(AccountService):
    """Answers every question with its own error."""

    def do_GET(self) -> None:
        """Answer."""
        self.answer(500, ADA)


class Overloaded(AccountService):
    """Answers that it has too much to do."""

    def do_GET(self) -> None:
        """Answer."""
        self.answer(429, {})


class Endless(AccountService):
    """Sends and sends."""

    def do_GET(self) -> None:
        """Answer, until the other hangs up."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        for _ in range(4096):
            try:
                self.wfile.write(b" " * 65536)
            except OSError:
                break
        self.close_connection = True


class Drips(AccountService):
    """Sends one byte after the other, each in time, for ever."""

    def do_GET(self) -> None:
        """Answer, until the other hangs up."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _ in range(600):
            try:
                self.wfile.write(b" ")
                time.sleep(0.1)
            except OSError:
                break
        self.close_connection = True


class NeverAnswers(AccountService):
    """Takes the question and thinks about it."""

    def do_GET(self) -> None:
        """Wait for the end of the test."""
        self.server.ended.wait(60)
        self.close_connection = True


class HangsUp(AccountService):
    """Ends in the middle of its answer."""

    def do_GET(self) -> None:
        """Answer half."""
        self.send_response(200)
        self.send_header("Content-Length", "500")
        self.end_headers()
        self.wfile.write(b'{"name": "ada"')
        self.close_connection = True


class ClosesWhatIsIdle(AccountService):
    """Says that it keeps a connection, and closes it after each answer."""

    def do_GET(self) -> None:
        """Answer, and close."""
        super().do_GET()
        self.close_connection = True


class IgnoresThePair(AccountService):
    """Answers the question for a link with somebody, whoever was asked for."""

    def do_GET(self) -> None:
        """Answer."""
        self.answer(200, ADA)


class FoldsCase(AccountService):
    """Compares as a careless database does, and answers with what it has."""

    accounts: ClassVar[dict[str, dict[str, Any]]] = {"ADA": ADA, "ada": ADA}


class Says(AccountService):
    """Says the bytes of ``body`` with status 200."""

    body = b""

    def do_GET(self) -> None:
        """Answer."""
        self.send(200, self.body)


class Server(ThreadingHTTPServer):
    """A server whose end closes the connections that it keeps, as that of a process does."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, kind: type[AccountService]) -> None:
        super().__init__(("127.0.0.1", 0), kind)
        self.asked: list[str] = []
        self.ended = threading.Event()
        self.open: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection, and note it."""
        came, address = super().get_request()
        self.open.append(came)
        return came, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of handshakes that were refused and of visitors who hung up."""

    def end(self) -> None:
        """Close everything."""
        self.ended.set()
        self.shutdown()
        self.server_close()
        for one in self.open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class Service:
    """One running service.

    Attributes:
        url: its address.
        asked: paths of the questions it got.
        open: the connections that came.
    """

    def __init__(self, server: Server, scheme: str) -> None:
        self.asked, self.open = server.asked, server.open
        self.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/v1"


@contextmanager
def service(kind: type[AccountService] = AccountService, tls: tuple[Path, Path] | None = None) -> Iterator[Service]:
    """A service of a kind, on the loopback address, with a certificate and its key or in the clear."""
    server = Server(kind)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Service(server, "https" if tls else "http")
    finally:
        server.end()
        thread.join()
