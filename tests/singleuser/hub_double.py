"""A double of the hub at the wire: it answers what a single-user server asks, and knows three tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

VERSION = "6.1.1"
USER, TOKEN = "ada", "a-token-of-the-double-and-of-nobody-else"
SCOPE = f"access:servers!user={USER}"
SERVER_SCOPE = f"access:servers!server={USER}/"
SERVICE_TOKEN = "a-token-that-is-good-for-one-server-and-a-service-s"
"""As the idle culler gets it from the hub."""
OTHER_TOKEN = "a-token-of-somebody-who-may-not-use-this-server"
KNOWN = {
    TOKEN: {"kind": "user", "name": USER, "admin": False, "groups": [], "scopes": [SCOPE]},
    SERVICE_TOKEN: {"kind": "service", "name": "culler", "admin": False, "scopes": [SERVER_SCOPE]},
    OTHER_TOKEN: {"kind": "user", "name": "ben", "admin": False, "groups": [], "scopes": ["access:servers!user=ben"]},
}


class KnowsTokens(BaseHTTPRequestHandler):
    """Says its version and, to whoever shows the token, who that is; takes every note of activity."""

    def do_GET(self) -> None:
        """The version, or the owner of the token that is shown."""
        if not self.path.endswith("/user"):
            self.answer(200, {"version": VERSION})
        elif known := KNOWN.get(self.headers.get("Authorization", "").rpartition(" ")[2]):
            self.answer(200, known)
        else:
            self.answer(403, {"status": 403, "message": "not this one"})

    def do_POST(self) -> None:
        """Activity."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, {})

    def answer(self, status: int, body: Any) -> None:
        """Send JSON."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-JupyterHub-Version", VERSION)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep still."""


@contextmanager
def hub_double() -> Iterator[str]:
    """The double's address, with ``/hub`` and without a trailing slash."""
    with ThreadingHTTPServer(("127.0.0.1", 0), KnowsTokens) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hub"
        server.shutdown()
