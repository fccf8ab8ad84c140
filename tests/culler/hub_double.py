"""A hub's REST API and its users' servers at the wire, well-behaved or named for how they misbehave.

One process and one port serve both: thousands of users are cheap, since their models are made once.  It runs in a
thread of a test, or on its own: ``python -m tests.culler.hub_double --users 5000`` prints its address as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote, unquote, urlencode

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets

TOKEN = "planted-token-of-the-culler"
SCOPES = ("list:users", "read:servers", "admin:server_state", "delete:servers", "access:servers")
PAGE, MOST = 50, 200
"""Users a page when nobody says how many, and at most: JupyterHub's own figures."""
SLOW_SERVER = 0.3
"""Seconds that a slow server takes."""
HUB_MODES = (
    *("", "dies in page 2", "error", "refuses", "unavailable", "hangs", "endless", "garbage", "no HTTP", "huge"),
    *("elsewhere", "loops", "shifts", "redirects", "wrong types", "resets", "list alone", "somebody else"),
)
SERVER_MODES = (
    *(
        "quick",
        "slow",
        "error",
        "long head",
        "odd date",
        "garbage",
        "no HTTP",
        "huge",
        "endless",
        "redirects",
        "never",
        "drips",
        "refuses",
    ),
    *("jupyter", "jupyter without terminals", "something else", "wrong types", "resets"),
)
ACTIVITY, NOTICE = "api/nbplatform/activity", "api/nbplatform/notice"
JUPYTERS = ("api/status", "api/kernels", "api/terminals")


@dataclass
class FakeServer:
    """One server.

    Attributes:
        user, name: whose, and its name; empty for the default server.
        idle: seconds since its user did something.
        age: seconds since its start.
        hub_idle: seconds since the hub believes that it was used.
        mode: how it answers: one of :data:`SERVER_MODES`.
        busy: kernels that compute.
        busy_for: seconds since they began.
        skew: seconds by which its clock is ahead.
        state: as the spawner noted it.
        answer: what it says instead of all that; None for that.
    """

    user: str
    name: str = ""
    idle: float = 0.0
    age: float = 86400.0
    hub_idle: float = 0.0
    mode: str = "quick"
    busy: int = 0
    busy_for: float = 0.0
    skew: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)
    answer: Any = None
    extend_asked: str | None = None
    pending: str | None = None
    notice: Any = None

    @property
    def base(self) -> str:
        """Its base URL."""
        return f"/user/{quote(self.user, safe='')}/" + (f"{quote(self.name, safe='')}/" if self.name else "")

    @property
    def token(self) -> str:
        """What is good for this server alone."""
        return f"token-of-{self.base.encode().hex()}"

    def said(self, begun: datetime) -> dict[str, Any]:
        """Return what our extension answers; ``begun`` is when the double was made."""
        ahead = timedelta(seconds=self.skew)
        now = datetime.now(UTC) + ahead

        def ago(seconds: float) -> str:
            return (begun + ahead - timedelta(seconds=seconds)).isoformat()

        return {
            "version": 1,
            "now": now.isoformat(),
            "started": ago(self.age),
            "last_action": ago(self.idle),
            "kernels": {
                "count": max(self.busy, 1),
                "busy": self.busy,
                "busy_since": ago(self.busy_for) if self.busy else None,
                "last_activity": ago(self.idle),
                "connections": 1,
            },
            "terminals": {"count": 0, "last_activity": None},
            "downloads": 0,
            "connections": 1,
            "gpus": None,
            "gpu_problem": None,
            "extend_asked": self.extend_asked,
        }

    def model(self, begun: datetime) -> dict[str, Any]:
        """Return the hub's model of it."""
        return {
            "name": self.name,
            "display_name": "",
            "full_name": f"{self.user}/{self.name}",
            "last_activity": hub_time(begun - timedelta(seconds=self.hub_idle)),
            "started": hub_time(begun - timedelta(seconds=self.age)),
            "pending": self.pending,
            "ready": self.pending is None,
            "stopped": False,
            "url": self.base,
            "user_options": {"profile": self.state.get("profile", "cpu")},
            "progress_url": f"/hub/api/users/{quote(self.user, safe='')}/server/progress",
            "full_url": None,
            "full_progress_url": None,
            "state": self.state,
        }


def hub_time(time: datetime) -> str:
    """Return a time as JupyterHub writes it."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


class HubDouble:
    """The hub and the servers.  Attributes may be set while it runs.

    Args:
        servers: all of them; every user has one at least.
        others: users without a server.
        stop_delay: seconds that a stop takes.
        slow_after: seconds after which a stop that is not done is answered with 202.
        with_ask: whether the hub has our handlers.
    """

    def __init__(
        self,
        servers: Iterable[FakeServer] = (),
        *,
        others: Iterable[str] = (),
        stop_delay: float = 0.0,
        slow_after: float = 10.0,
        with_ask: bool = True,
    ) -> None:
        self.mode = ""
        self.token, self.epoch = TOKEN, "epoch-1"
        self.scopes = SCOPES
        self.stop_delay, self.slow_after, self.with_ask = stop_delay, slow_after, with_ask
        self.stops_lie = False
        """Whether a stop is answered with 204 and nothing is stopped."""
        self.ghosts = False
        """Whether what was stopped, as the hub says, still answers."""
        self.counts: Counter[str] = Counter()
        self.most_stops = 0
        """How many stops were under way at once."""
        self.stopped: list[tuple[str, str]] = []
        self.removed: list[tuple[str, str]] = []
        self.deleted: list[str] = []
        self.boards: list[Any] = []
        self.paths: list[str] = []
        """The last paths that were asked for, as they came."""
        self.server_tokens: set[str] = set()
        """Every ``Authorization`` that a server got."""
        self.lured: list[str] = []
        """Every ``Authorization`` that came to where redirects and foreign pages lead."""
        self.begun = datetime.now(UTC)
        self.people: dict[str, dict[str, FakeServer]] = {name: {} for name in others}
        for server in servers:
            self.people.setdefault(server.user, {})[server.name] = server
        self.bases = {server.base: server for mine in self.people.values() for server in mine.values()}
        self._models = {name: self._model(name) for name in self.people}
        self._pages: dict[tuple[int, int, bool], bytes] = {}
        self._stopping = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> HubDouble:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        assert self._thread is not None
        self._thread.join(10)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"{self.origin}/hub/api"

    def server(self, user: str, name: str = "") -> FakeServer | None:
        """Return a server that runs."""
        return self.people.get(user, {}).get(name)

    def changed(self, user: str) -> None:
        """Make the model of a user anew, after one of its servers was changed by hand."""
        self._models[user] = self._model(user)
        self._pages.clear()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
        self.port = sockets[0].getsockname()[1]
        web = HTTPServer(self._asked)
        web.add_sockets(sockets)
        self._ready.set()
        await self._over.wait()
        for task in self._tasks:
            task.cancel()
        web.stop()
        await web.close_all_connections()

    def _asked(self, request: HTTPServerRequest) -> None:
        task = asyncio.ensure_future(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: HTTPServerRequest) -> None:
        path = request.path
        self.paths[:] = [*self.paths[-19:], path]
        got = request.headers.get("Authorization", "")
        if path.startswith("/hub/api/lure"):
            self.lured.append(got)
            return send(request, 200, b"{}")
        if path == "/double/counts":
            return send_json(request, 200, {**self.counts, "stopped": len(self.stopped), "at once": self.most_stops})
        if not path.startswith("/hub/api/"):
            return await self._as_server(request, got)
        if got != f"token {self.token}":
            return send_json(request, 403, {"status": 403, "message": "Forbidden"})
        if self.mode and await self._misbehaved(request):
            return None
        return await self._as_hub(request, path.removeprefix("/hub/api"))

    async def _misbehaved(self, request: HTTPServerRequest) -> bool:
        """Answer as the mode says; tell whether that was all."""
        mode = self.mode
        if mode == "dies in page 2":
            if "offset" not in request.arguments:
                return False
            body = self._page(request)
            raw(request, head(200, len(body)) + body[: len(body) // 2], close=True)
        elif mode in ("error", "refuses", "unavailable"):
            status = {"error": 500, "refuses": 403, "unavailable": 503}[mode]
            told = {"status": status, "message": f"not for token {self.token}\n\x1b[31m" + "x" * 5000}
            send_json(request, status, told)
        elif mode in ("redirects",):
            send(request, 302, b"", Location=f"{self.origin}/hub/api/lure")
        elif mode in ("wrong types", "somebody else", "list alone", "elsewhere", "loops", "shifts"):
            return self._lied(request)
        else:
            await broken(request, mode)
        return True

    def _lied(self, request: HTTPServerRequest) -> bool:
        """Answer with JSON that is not as it should be."""
        wrong = [None, 1, {"name": None}, {"name": "x", "servers": [1]}, {"name": "x", "servers": {"": 7}}]
        if self.mode == "wrong types":
            send_json(request, 200, {"items": wrong, "_pagination": {"next": None}, "servers": wrong})
        elif self.mode == "somebody else":
            send_json(request, 200, {"name": "somebody-else", "servers": {}})
        elif self.mode == "list alone":
            send(request, 200, b"[" + b",".join(self._models.values()) + b"]")
        elif request.path != "/hub/api/users":
            return False
        else:
            page = json.loads(self._page(request))
            if self.mode == "elsewhere":
                page["_pagination"]["next"] = {"url": f"http://localhost:{self.port}/hub/api/lure?offset=1"}
            elif self.mode == "loops":
                page["_pagination"]["next"] = {"url": f"{self.origin}{request.uri}"}
            elif int(request.arguments.get("offset", [b"0"])[0]):
                page["items"].insert(0, json.loads(next(iter(self._models.values()))))
            send_json(request, 200, page)
        return True

    async def _as_hub(self, request: HTTPServerRequest, path: str) -> None:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        body = json.loads(request.body) if request.body else None
        match request.method, parts:
            case "GET", [""]:
                send_json(request, 200, {"version": "6.1.1"})
            case "GET", ["health"]:
                send(request, 200, b"")
            case "GET", ["user"]:
                send_json(request, 200, {"kind": "service", "name": "culler", "scopes": [*self.scopes]})
            case "GET", ["users"]:
                self.counts["list"] += 1
                send(request, 200, self._page(request))
            case "GET", ["users", name] if name in self._models:
                self.counts["user"] += 1
                send(request, 200, self._models[name])
            case "DELETE", ["users", name] if name in self._models:
                self.deleted.append(name)
                del self._models[name], self.people[name]
                self._pages.clear()
                send(request, 204, b"")
            case "DELETE", ["users", name, "server"] if name in self._models:
                await self._stop(request, name, "", body)
            case "DELETE", ["users", name, "servers", server] if self.server(name, server):
                await self._stop(request, name, server, body)
            case "POST", ["nbplatform", "ask"] if self.with_ask:
                self.counts["ask"] += 1
                send_json(request, 200, {"servers": [self._door(*one) for one in body["servers"] if self.server(*one)]})
            case "PUT", ["nbplatform", "idle"] if self.with_ask:
                self.counts["tell"] += 1
                self.boards.append(body)
                send_json(request, 200, {"epoch": self.epoch, "known": body.get("epoch") == self.epoch})
            case _:
                send_json(request, 404, {"status": 404, "message": "Not Found"})

    async def _stop(self, request: HTTPServerRequest, user: str, name: str, body: Any) -> None:
        """Stop a server; answer when it has stopped, or that it goes on."""
        self.counts["stop"] += 1
        server = self.server(user, name)
        if server is None or self.stops_lie:
            return send(request, 204, b"")
        if server.pending is None:
            server.pending = "stop"
            self.changed(user)
            stop = asyncio.ensure_future(self._stopped(server, bool(body and body.get("remove"))))
            self._tasks.add(stop)
            stop.add_done_callback(self._tasks.discard)
            await asyncio.wait({stop}, timeout=self.slow_after)
        return send(request, 204 if self.server(user, name) is None else 202, b"")

    async def _stopped(self, server: FakeServer, remove: bool) -> None:
        self._stopping += 1
        self.most_stops = max(self.most_stops, self._stopping)
        await asyncio.sleep(self.stop_delay)
        self._stopping -= 1
        who = (server.user, server.name)
        self.stopped.append(who)
        if remove:
            self.removed.append(who)
        del self.people[server.user][server.name]
        if not self.ghosts:
            del self.bases[server.base]
        self.changed(server.user)

    async def _as_server(self, request: HTTPServerRequest, got: str) -> None:
        """Answer as the server below whose base URL the path is."""
        tail = next((tail for tail in (ACTIVITY, NOTICE, *JUPYTERS, "api") if request.path.endswith(f"/{tail}")), "")
        server = self.bases.get(request.path.removesuffix(tail)) if tail else None
        if got:
            self.server_tokens.add(got)
        if server is None:
            return send(request, 404, b"")
        self.counts[tail.rpartition("/")[2]] += 1
        if tail == "api":
            return send_json(request, 200, {"version": "2.17.0"})
        if got != f"token {server.token}" or server.mode == "refuses":
            return send_json(request, 403, {"message": "Forbidden"})
        if server.mode == "slow":
            await asyncio.sleep(SLOW_SERVER)
        elif server.mode == "redirects":
            return send(request, 302, b"", Location=f"{self.origin}/hub/api/lure")
        elif server.mode == "error":
            return send_json(request, 500, {"message": "boom"})
        elif server.mode == "long head":
            return raw(request, b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2**17) and None
        elif server.mode == "odd date":
            return send(request, 404, b"", Date="Mon, 01 Jan 2024 00:00:00 +99999999999999999999")
        elif server.mode in ("garbage", "no HTTP", "huge", "endless", "never", "drips", "resets"):
            return await broken(request, server.mode)
        return self._say(request, server, tail)

    def _say(self, request: HTTPServerRequest, server: FakeServer, tail: str) -> None:
        """Answer what a server answers that works."""
        said = server.said(self.begun)
        jupyters = server.mode.startswith("jupyter")
        date = http_date(server.skew)
        if tail == NOTICE and not jupyters and server.mode != "something else":
            server.notice = json.loads(request.body) if request.method == "PUT" else None
            send(request, 204, b"")
        elif tail == ACTIVITY and not jupyters and server.mode != "something else":
            wrong = {**said, "kernels": [], "last_action": 7}
            send_json(request, 200, server.answer or (wrong if server.mode == "wrong types" else said))
        elif not jupyters or tail not in JUPYTERS or "no_track_activity" not in request.arguments:
            send_json(request, 404, {"message": "Not Found"})
        elif tail == "api/status":
            send_json(request, 200, {"started": said["started"], "last_activity": said["last_action"]}, Date=date)
        elif tail == "api/kernels":
            busy = {"execution_state": "busy", "last_activity": said["kernels"]["busy_since"]}
            idle = {"execution_state": "idle", "last_activity": said["last_action"]}
            send_json(request, 200, [idle, *[busy] * server.busy])
        elif server.mode == "jupyter":
            send_json(request, 200, [{"name": "1", "last_activity": said["last_action"]}])
        else:
            send_json(request, 404, {"message": "Not Found"})

    def _door(self, user: str, name: str) -> dict[str, Any]:
        server = self.people[user][name]
        url = f"{self.origin}{server.base}"
        return {"user": user, "server": name, "url": url, "token": server.token, "extend_asked": server.extend_asked}

    def _model(self, name: str) -> bytes:
        mine = self.people[name]
        model = {
            "kind": "user",
            "name": name,
            "admin": False,
            "roles": ["user"],
            "groups": [],
            "server": mine[""].base if "" in mine else None,
            "pending": None,
            "created": hub_time(self.begun - timedelta(days=400)),
            "last_activity": hub_time(self.begun),
            "auth_state": None,
            "servers": {server.name: server.model(self.begun) for server in mine.values()},
        }
        return json.dumps(model).encode()

    def _page(self, request: HTTPServerRequest) -> bytes:
        asked = {key: values[0].decode() for key, values in request.arguments.items()}
        offset = int(asked.get("offset", "0"))
        limit = max(1, min(int(asked.get("limit", PAGE)), MOST))
        key = (offset, limit, asked.get("state") in ("ready", "active"))
        if key not in self._pages:
            names = [name for name, mine in self.people.items() if mine or not key[2]]
            following: Any = None
            if offset + limit < len(names):
                query = urlencode({**asked, "offset": offset + limit, "limit": limit})
                url = f"{self.origin}/hub/api/users?{query}"
                following = {"offset": offset + limit, "limit": limit, "url": url}
            around = {"offset": offset, "limit": limit, "total": len(names), "next": following}
            items = b",".join(self._models[name] for name in names[offset : offset + limit])
            self._pages[key] = b'{"items":[' + items + b'],"_pagination":' + json.dumps(around).encode() + b"}"
        return self._pages[key]


def http_date(ahead: float = 0.0) -> str:
    """Return the time of a clock that is some seconds ahead, as HTTP writes it."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)


def head(status: int, length: int, **headers: str) -> bytes:
    """Return the head of an answer."""
    named = {"Content-Type": "application/json", "Content-Length": str(length), "Date": http_date(), **headers}
    return "".join(
        [f"HTTP/1.1 {status} X\r\n", *(f"{key}: {value}\r\n" for key, value in named.items()), "\r\n"]
    ).encode()


def raw(request: HTTPServerRequest, content: bytes, *, close: bool = False) -> Any:
    """Send bytes as they are; return the stream."""
    stream = request.connection.detach()  # type: ignore[union-attr]
    if not stream.closed():
        stream.write(content).add_done_callback(lambda done: (done.exception(), close and stream.close()))
    return stream


def send(request: HTTPServerRequest, status: int, body: bytes, **headers: str) -> None:
    """Send an answer and close."""
    raw(request, head(status, len(body), **headers) + body, close=True)


def send_json(request: HTTPServerRequest, status: int, content: Any, **headers: str) -> None:
    """Send JSON and close."""
    send(request, status, json.dumps(content).encode(), **headers)


async def broken(request: HTTPServerRequest, mode: str) -> None:
    """Answer with what is no answer."""
    if mode == "garbage":
        send(request, 200, b"<html>\xff not JSON")
    elif mode == "no HTTP":
        raw(request, b"SSH-2.0-OpenSSH_9.6\r\n\r\n", close=True)
    elif mode == "huge":
        raw(request, head(200, 2**31) + b"[" * 65536)
    elif mode == "resets":
        stream = raw(request, head(200, 100) + b"[")
        await asyncio.sleep(0.05)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
    elif mode == "endless":
        stream = raw(request, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not stream.closed():
            await asyncio.sleep(0)
            if stream.writing():
                await asyncio.sleep(0.01)
            else:
                stream.write(b"10000\r\n" + b"[" * 65536 + b"\r\n").add_done_callback(lambda done: done.exception())
    elif mode == "drips":
        stream = raw(request, head(200, 1000))
        while not stream.closed():
            await asyncio.sleep(0.05)
            if not stream.closed():
                stream.write(b"[").add_done_callback(lambda done: done.exception())
    else:
        await asyncio.sleep(3600)


STATE = {
    "version": 1,
    "profile": "cpu",
    "generation": "3f9c" * 16,
    "host": "cpu01",
    "pool": "cpu",
    "gpus": [],
    "gpu_count": 0,
    "memory": 4 * 1024**3,
    "cpu": 2.0,
    "idle": {"cull_after": 259200, "cull_after_gpu": 86400, "warn_before": 7200},
    "reason": "allowed by profile 'cpu'",
}


def usual_state(number: int, age: float) -> dict[str, Any]:
    """Return the state of an ordinary user's server."""
    groups = {"users": 61000, f"group-{number % 50}": 61100 + number % 50}
    identity = {
        "name": f"user{number:05d}",
        "uid": 100_000 + number,
        "gid": 61000,
        "groups": groups,
        "primary_group": "users",
        "home": f"/home/user{number:05d}",
        "shell": "/bin/bash",
        "provider": None,
        "unnamed_gids": [],
    }
    started = datetime.now(UTC) - timedelta(seconds=age)
    return {**STATE, "identity": identity, "started": started.isoformat(timespec="seconds")}


def usual_servers(users: int, share: float, idle: float, *, mode: str = "quick") -> list[FakeServer]:
    """Return a server for each of many users: a share of them, spread evenly, idle for so many seconds."""
    step = round(1 / share) if share else users + 1
    age = idle + 86400
    servers = []
    for number in range(users):
        unused = idle if number % step == step - 1 else 60.0
        name = f"user{number:05d}"
        state = usual_state(number, age)
        servers.append(FakeServer(name, idle=unused, hub_idle=unused, age=age, mode=mode, state=state))
    return servers


def main(argv: list[str] | None = None) -> None:
    """Run until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100, help="each has a server")
    parser.add_argument("--idle-share", type=float, default=0.1, help="share of servers that are idle (default 0.1)")
    parser.add_argument("--idle", type=float, default=1e6, help="seconds for which they are (default 1e6)")
    parser.add_argument("--stop-delay", type=float, default=0.2, help="seconds that a stop takes (default 0.2)")
    parser.add_argument("--slow-after", type=float, default=10.0, help="seconds until a stop is answered with 202")
    parser.add_argument("--server-mode", choices=SERVER_MODES, default="quick", help="how servers answer")
    parser.add_argument("--plain", action="store_true", help="a hub without our handlers and our spawners' states")
    arguments = parser.parse_args(argv)
    servers = usual_servers(arguments.users, arguments.idle_share, arguments.idle, mode=arguments.server_mode)
    if arguments.plain:
        for server in servers:
            server.state = {}
    double = HubDouble(
        servers, stop_delay=arguments.stop_delay, slow_after=arguments.slow_after, with_ask=not arguments.plain
    )
    with double:
        told = {"url": double.url, "token": double.token, "counts": f"{double.origin}/double/counts"}
        sys.stdout.write(json.dumps({**told, "servers": len(servers)}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
