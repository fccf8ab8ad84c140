"""A double of a Docker daemon at the wire, which can be told to misbehave: a real HTTP server with made-up containers.

    with WireDaemon() as daemon:
        daemon.state.images["base:1"] = {}
        daemon.fail("create", Fault.LOSE)          # the next creation is done, and never answered
        host = DockerHost("gpu01", daemon.url, hub_id="t")

It is quick (no process, no disk) and does the same each time, so that a test may drive many of them through thousands
of steps; ``reset`` makes one new again.  What a real daemon does is tested with real daemons.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .wire_http import ENDPOINTS, Fault, Handler
from .wire_state import Files, WireContainer, WireState

__all__ = ["ENDPOINTS", "Fault", "Files", "WireContainer", "WireDaemon", "WireState"]


class WireDaemon:
    """A Docker daemon made up.

    Args:
        tls: what it shows and demands on a free TCP port of 127.0.0.1; None to listen on a Unix socket.

    Attributes:
        state: its containers, images and networks; look and change under ``lock`` while requests are on their way.
        api, min_api: newest and oldest version of the API that it speaks.
        version: of the daemon.
        late: seconds by which :attr:`Fault.LATE` answers late.
        requests: endpoint of each request that came, and the container, image or network it was about.
        frozen: how many requests wait to be thawed, or are being done since.
        pull_step: called before each word of a pull; may wait.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        # A test's own folder may have a longer name than the path of a socket can.
        self._path = None if tls else Path(tempfile.mkdtemp(prefix="nbplatform-wire-", dir="/tmp"), "docker.sock")
        if self._path:  # goes with a test that forgets to close, too
            weakref.finalize(self, shutil.rmtree, self._path.parent, ignore_errors=True)
        self._tls = tls
        self._port = 0
        self.lock = threading.RLock()
        self._thawed, self._ended = threading.Event(), threading.Event()
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._listener: socket.socket | None = None
        self.frozen = 0
        self.reset()
        self.up()

    @property
    def url(self) -> str:
        """What a host's ``url`` is in the rules."""
        return f"unix://{self._path}" if self._path else f"tcp://127.0.0.1:{self._port}"

    @property
    def containers(self) -> tuple[WireContainer, ...]:
        """All containers, the oldest first."""
        with self.lock:
            return tuple(self.state.containers.values())

    def reset(self) -> None:
        """Make everything new but the address: nothing is there, nothing misbehaves.  Answers under way are dropped."""
        with self.lock:
            self.state = WireState()
            self.api, self.min_api, self.version = "1.41", "1.12", "20.10.24"
            self.late = 0.05
            self.requests: list[tuple[str, str]] = []
            self.pull_step = lambda: None
            self._next: dict[str, deque[Fault]] = defaultdict(deque)
            self._always: dict[str, Fault] = {}
            self._release()

    def fail(self, endpoint: str, *faults: Fault) -> None:
        """Let the next requests of an endpoint meet these faults, one each."""
        assert endpoint in ENDPOINTS, endpoint
        with self.lock:
            self._next[endpoint].extend(faults)

    def always(self, fault: Fault, *endpoints: str) -> None:
        """Let all requests of some endpoints, or of all, meet a fault until ``heal``."""
        with self.lock:
            self._always.update(dict.fromkeys(endpoints or ENDPOINTS, fault))

    def heal(self) -> None:
        """Let nothing misbehave any more; frozen requests are done now."""
        with self.lock:
            self._next.clear()
            self._always.clear()
            thawed, self._thawed = self._thawed, threading.Event()
        thawed.set()

    def down(self) -> None:
        """Refuse connections and end those that are there.  What it holds stays."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)
        with self.lock:
            self._release()
            connections = tuple(self._connections)
        for connection in connections:
            _end(connection)
        for thread in tuple(self._threads):
            thread.join(10)

    def up(self) -> None:
        """Take connections, as after a start of the daemon."""
        if self._listener is not None:
            return
        if self._path:
            self._path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._path))
        else:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._port))
            self._port = listener.getsockname()[1]
        listener.listen(128)
        self._listener = listener
        self._thread(self._accept, listener)

    def close(self) -> None:
        """End for good."""
        self.down()
        if self._path:
            shutil.rmtree(self._path.parent, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def meets(self, endpoint: str, about: str) -> Fault | None:
        """Note a request and return the fault it meets.  Called for each."""
        with self.lock:
            self.requests.append((endpoint, about))
            return self._next[endpoint].popleft() if self._next[endpoint] else self._always.get(endpoint)

    @contextmanager
    def freezing(self) -> Iterator[None]:
        """Count a frozen request until it is done, or dropped.  Called for each."""
        with self.lock:
            self.frozen += 1
        try:
            yield
        finally:
            with self.lock:
                self.frozen -= 1

    def waits(self) -> tuple[threading.Event, threading.Event]:
        """Return what a request that gets no answer waits for: thawing, and the end."""
        with self.lock:
            return self._thawed, self._ended

    def _release(self) -> None:
        """Drop the requests that get no answer."""
        self._ended.set()
        self._thawed.set()
        self._thawed, self._ended = threading.Event(), threading.Event()

    def _thread(self, target: Any, *args: Any) -> None:
        def run() -> None:
            try:
                target(*args)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="wire-daemon", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                self._thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with self.lock:
            self._connections.add(connection)
        try:
            with suppress(OSError):
                if self._tls is not None:
                    connection = self._secure(connection, self._tls)
                Handler(connection, self)
        finally:
            with self.lock:
                self._connections.discard(connection)
            connection.close()

    def _secure(self, plain: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        secure = tls.wrap_socket(plain, server_side=True)
        with self.lock:
            self._connections.discard(plain)
            self._connections.add(secure)
        return secure


def _end(connection: socket.socket) -> None:
    """Wake whoever waits at a socket: it has ended."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
