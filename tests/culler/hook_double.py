"""A web hook, well-behaved or named for how it misbehaves; a real server."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Got:
    """What came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class HookDouble(ThreadingHTTPServer):
    """Keeps what it gets; ``mode`` is how it answers: empty, ``error``, ``redirect``, ``hang`` or ``reset``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mode = ""
        self.got: list[Got] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> HookDouble:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HookDouble

    def do_POST(self) -> None:
        """Keep what came, and answer."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append(Got("POST", self.path, dict(self.headers), body))
        mode = self.server.mode
        if mode == "hang":
            self.server.over.wait(30)
        if mode == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response({"error": 500, "redirect": 307}.get(mode, 204))
        if mode == "redirect":
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
