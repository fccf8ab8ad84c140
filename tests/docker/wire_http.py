"""How a wire daemon speaks HTTP: one handler for each connection, which meets the faults it is told to."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import nullcontext
from enum import Enum
from http.server import BaseHTTPRequestHandler
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from .wire_state import Refused

if TYPE_CHECKING:
    from .wire import WireDaemon

ROUTES = (
    ("version", "GET", r"/version"),
    ("ping", "(?:GET|HEAD)", r"/_ping"),
    ("info", "GET", r"/info"),
    ("list", "GET", r"/containers/json"),
    ("create", "POST", r"/containers/create"),
    ("inspect", "GET", r"/containers/(?P<key>[^/]+)/json"),
    ("start", "POST", r"/containers/(?P<key>[^/]+)/start"),
    ("stop", "POST", r"/containers/(?P<key>[^/]+)/stop"),
    ("remove", "DELETE", r"/containers/(?P<key>[^/]+)"),
    ("logs", "GET", r"/containers/(?P<key>[^/]+)/logs"),
    ("put", "PUT", r"/containers/(?P<key>[^/]+)/archive"),
    ("read", "GET", r"/containers/(?P<key>[^/]+)/archive"),
    ("exec_create", "POST", r"/containers/(?P<key>[^/]+)/exec"),
    ("exec_start", "POST", r"/exec/(?P<key>[^/]+)/start"),
    ("exec_inspect", "GET", r"/exec/(?P<key>[^/]+)/json"),
    ("image", "GET", r"/images/(?P<key>.+)/json"),
    ("pull", "POST", r"/images/create"),
    ("network", "GET", r"/networks/(?P<key>[^/]+)"),
    ("network_create", "POST", r"/networks/create"),
)
ENDPOINTS = tuple(name for name, _, _ in ROUTES)
_VERSIONED = re.compile(r"/v(?P<version>\d+\.\d+)(?P<path>/.*)")


class Fault(Enum):
    """How a daemon misbehaves at one request.  Clients repeat some requests whose connection broke."""

    DROP = "ends the connection and does nothing"
    LOSE = "does it, and ends the connection without an answer"
    ERROR = "answers 500 and does nothing"
    ERROR_AFTER = "does it, and answers 500"
    FULL = "answers that its disk is full, and does nothing"
    READ_ONLY = "answers that its disk cannot be written, and does nothing"
    HANG = "does nothing and never answers"
    FREEZE = "answers nothing until it is thawed; then does it, whether anybody waits or not"
    LATE = "does it, and answers after a while"
    GARBAGE = "answers what is no JSON"


_SAID = {
    Fault.ERROR: "something went wrong",
    Fault.ERROR_AFTER: "something went wrong",
    Fault.FULL: "mkdir /var/lib/docker/overlay2/x: no space left on device",
    Fault.READ_ONLY: "mkdir /var/lib/docker/overlay2/x: read-only file system",
}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, daemon: WireDaemon) -> None:
        self.daemon = daemon
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self) -> None:
        """Answer one request, as well as the fault that it meets allows."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self._chunks()
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        found = _VERSIONED.fullmatch(unquote(url.path))
        path = found["path"] if found else unquote(url.path)
        for endpoint, method, pattern in ROUTES:
            if re.fullmatch(method, self.command) and (match := re.fullmatch(pattern, path)):
                self.key = match.groupdict().get("key", "") or self.query.get("name", "")
                if found and (refused := self._other_version(found["version"])):
                    self._send(400, {"message": refused})
                else:
                    fault = self.daemon.meets(endpoint, self.key)
                    with self.daemon.freezing() if fault is Fault.FREEZE else nullcontext():
                        self._meet(endpoint, fault)
                return
        self._send(404, {"message": "page not found"})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _other_version(self, asked: str) -> str:
        numbers = tuple(map(int, asked.split(".")))
        if numbers < tuple(map(int, self.daemon.min_api.split("."))):
            return f"client version {asked} is too old. Minimum supported API version is {self.daemon.min_api}"
        if numbers > tuple(map(int, self.daemon.api.split("."))):
            return f"client version {asked} is too new. Maximum supported API version is {self.daemon.api}"
        return ""

    def _meet(self, endpoint: str, fault: Fault | None) -> None:
        thawed, ended = self.daemon.waits()
        if fault is Fault.FREEZE:
            thawed.wait()
        if fault is Fault.HANG:
            ended.wait()
        if fault in (Fault.DROP, Fault.HANG) or ended.is_set():
            self.close_connection = True
        elif fault in (Fault.ERROR, Fault.FULL, Fault.READ_ONLY):
            self._send(500, {"message": _SAID[fault]})
        elif fault is Fault.GARBAGE:
            self._send(200, b"<html>")
        else:
            self._do(endpoint, fault)

    def _do(self, endpoint: str, fault: Fault | None) -> None:
        quiet = fault in (Fault.LOSE, Fault.ERROR_AFTER)
        try:
            if endpoint in ("exec_start", "pull"):
                getattr(self, f"_{endpoint}")(quiet)
                status, answer = 0, b""
            else:
                with self.daemon.lock:
                    status, answer = self._work(endpoint)
        except Refused as refused:
            status, answer = refused.status, {"message": refused.message}
        if fault is Fault.LATE:
            time.sleep(self.daemon.late)
        if fault is Fault.ERROR_AFTER:
            self._send(500, {"message": _SAID[fault]})
        elif fault is Fault.LOSE:
            self.close_connection = True
        elif status:
            self._send(status, answer)

    def _work(self, endpoint: str) -> tuple[int, Any]:
        state, key, query = self.daemon.state, self.key, self.query
        match endpoint:
            case "version":
                return 200, {
                    "Version": self.daemon.version,
                    "ApiVersion": self.daemon.api,
                    "MinAPIVersion": self.daemon.min_api,
                }
            case "ping":
                return 200, b"OK"
            case "info":
                running = sum(one.state == "running" for one in state.containers.values())
                return 200, {"ServerVersion": self.daemon.version, "NCPU": 2, "ContainersRunning": running}
            case "list":
                return 200, state.list(json.loads(query.get("filters", "{}")).get("label", []))
            case "create":
                return 201, state.create(json.loads(self.body), query.get("name", ""))
            case "remove":
                state.remove(key, query.get("force", "").lower() in ("1", "true"))
                return 204, b""
            case "logs":
                state.find(key)
                return 200, b"\x01\0\0\0" + len(state.log).to_bytes(4, "big") + state.log
            case "put":
                state.put(key, query["path"], self.body)
                return 200, b""
            case "read":
                return 200, state.get(key, query["path"])[0]
            case "exec_create":
                return 201, state.exec_create(key, json.loads(self.body))
            case "network_create":
                return 201, state.network_create(json.loads(self.body))
            case _:
                found = getattr(state, endpoint)(key)
                return (200, found) if found is not None else (204, b"")

    def _exec_start(self, quiet: bool) -> None:
        with self.daemon.lock:
            self.daemon.state.exec_inspect(self.key)
        stdin = b""
        if not quiet:  # who does not hear that the command has begun sends it no input
            self.wfile.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            stdin = self.rfile.read()
        with self.daemon.lock:
            said = self.daemon.state.exec_run(self.key, stdin)
        if not quiet:
            self.wfile.write(b"\x01\0\0\0" + len(said).to_bytes(4, "big") + said)
        self.close_connection = True

    def _pull(self, quiet: bool) -> None:
        events = self.daemon.state.pull(self.query.get("fromImage", ""), self.query.get("tag", ""))
        first = next(events)  # refused before anything is said
        if not quiet:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in chain([first], events):
            self.daemon.pull_step()
            line = json.dumps(event).encode() + b"\r\n"
            if not quiet:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
        if not quiet:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, status: int, answer: Any) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n{length}\r\n"
        self.wfile.write(head.encode() + (b"" if self.command == "HEAD" else body))
