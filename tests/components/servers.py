"""What a user does with notebook servers: start and stop one, run a cell in a kernel, a command in a terminal.

All of it goes through the proxy, as a user's browser does.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
import websocket

from .session import Answer, Session

if TYPE_CHECKING:
    from .hub import Hub

SPAWN_LIMIT = 120.0  # seconds without any event until a spawn is given up
CELL_LIMIT = 60.0  # seconds without any message of a kernel or terminal until it is given up


class ServerTrouble(Exception):
    """A notebook server, kernel or terminal did not answer as it should; the message holds what it said."""


def start_server(
    hub: Hub, user: str, options: object = None, server_name: str = "", *, token: str | None = None
) -> list[dict[str, Any]]:
    """Start a server over the REST API and follow its progress until it is ready or has failed.

    Args:
        hub: where.
        user: whose server.
        options: spawn options, sent as ``user_options``; none are sent when None.
        server_name: of a named server; empty for the default one.
        token: whose API token to show; the administrators' service's when None.

    Returns:
        All progress events; the last one holds ``ready: True`` or ``failed: True``.  A refused request gives one event:
        ``failed``, the HTTP ``status`` and the ``message``.
    """
    body = None if options is None else {"user_options": options}
    answer = hub.api("POST", server_path(user, server_name), json=body, token=token)
    if answer.status >= 400:
        return [{"failed": True, "status": answer.status, "message": message_of(answer)}]
    return list(progress(hub, user, server_name, token=token))


def progress(hub: Hub, user: str, server_name: str = "", *, token: str | None = None) -> Iterator[dict[str, Any]]:
    """Progress events of a spawn that is under way (or just over), as they come.

    Raises:
        ServerTrouble: there is no such spawn.
    """
    address = f"{hub.url}/hub/api/{server_path(user, server_name)}/progress"
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"token {token or hub.token}"}
        with session.get(address, headers=headers, stream=True, timeout=SPAWN_LIMIT) as stream:
            if stream.status_code != 200:
                raise ServerTrouble(
                    f"no progress of {user}'s server {server_name!r}: {stream.status_code} {stream.text}"
                )
            for line in stream.iter_lines(chunk_size=1):
                if line.startswith(b"data:"):
                    yield json.loads(line.removeprefix(b"data:"))


def stop_server(hub: Hub, user: str, server_name: str = "", *, timeout: float = 60.0) -> None:
    """Stop a server over the REST API and wait until the hub says that it is gone.

    Raises:
        ServerTrouble: the hub refuses, or it is not gone in time.
    """
    limit = time.monotonic() + timeout
    answer = hub.api("DELETE", server_path(user, server_name))
    if answer.status not in (202, 204):
        raise ServerTrouble(
            f"the hub does not stop {user}'s server {server_name!r}: {answer.status} {message_of(answer)}"
        )
    while server_name in hub.api("GET", f"users/{quote(user, safe='')}").json["servers"]:
        if time.monotonic() > limit:
            raise ServerTrouble(f"{user}'s server {server_name!r} still runs after {timeout} s")
        time.sleep(0.05)


def run_cell(
    hub: Hub, user: str, code: str, server_name: str = "", *, session: Session | None = None, token: str | None = None
) -> str:
    """Run code in a new Python kernel of a server that is ready, and end the kernel.

    Args:
        hub: where.
        user: whose server.
        code: the cell.
        server_name: of a named server; empty for the default one.
        session: ask as this visitor does; else by API token.
        token: the token; the administrators' service's when None.

    Returns:
        What the cell wrote, then the plain text of its results, in order; an exception as its traceback.

    Raises:
        ServerTrouble: the server starts no kernel, or it is silent for a minute.
    """
    door = Door(hub, user, server_name, session, token)
    kernel = door.ask("POST", "api/kernels", {"name": "python3"})["id"]
    try:
        with door.socket(f"api/kernels/{kernel}/channels", session_id=secrets.token_hex(8)) as channel:
            return executed(channel, code)
    finally:
        with contextlib.suppress(ServerTrouble):  # it may have ended by itself
            door.ask("DELETE", f"api/kernels/{kernel}")


def run_terminal(
    hub: Hub,
    user: str,
    command: str,
    server_name: str = "",
    *,
    session: Session | None = None,
    token: str | None = None,
) -> str:
    """Run a command line in a new terminal of a server that is ready, and end the terminal.

    Args:
        hub: where.
        user: whose server.
        command: for the login shell.
        server_name: of a named server; empty for the default one.
        session: ask as this visitor does; else by API token.
        token: the token; the administrators' service's when None.

    Returns:
        What the command wrote.

    Raises:
        ServerTrouble: the server opens no terminal, or it is silent for a minute.
    """
    door = Door(hub, user, server_name, session, token)
    terminal = door.ask("POST", "api/terminals", {})["name"]
    try:
        with door.socket(f"terminals/websocket/{terminal}") as channel:
            return typed(channel, command)
    finally:
        with contextlib.suppress(ServerTrouble):  # it may have ended by itself
            door.ask("DELETE", f"api/terminals/{terminal}")


class Door:
    """How a test reaches one notebook server through the proxy: by token or as a visitor.

    Args as for :func:`run_cell`.
    """

    def __init__(self, hub: Hub, user: str, server_name: str, session: Session | None, token: str | None) -> None:
        self.path = f"/user/{quote(user, safe='@')}/{quote(server_name) + '/' if server_name else ''}"
        self.url = hub.url
        self.session = session
        self.token = token or hub.token
        if session is not None:
            session.get(self.path)  # logs in to the server and sets its cookies

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request to the server and return the JSON of its answer.

        A 503 is the proxy's own, which has not reached the server: it was about to use a connection again that the
        server has just closed.  It is asked again.

        Raises:
            ServerTrouble: it refuses.
        """
        answers = (self._answer(method, path, body) for _ in range(5))
        answer = next((one for one in answers if one.status != 503), None) or self._answer(method, path, body)
        if answer.status >= 400:
            raise ServerTrouble(f"{method} {self.path}{path}: {answer.status} {answer.text[:500]}")
        return answer.json

    def _answer(self, method: str, path: str, body: Any) -> Answer:
        if self.session is not None:
            return self.session.script(method, self.path + path, json=body)
        with requests.Session() as plain:
            plain.trust_env = False
            headers = {"Authorization": f"token {self.token}"}
            address = f"{self.url}{self.path}{path}"
            return Answer.of(plain.request(method, address, json=body, headers=headers, timeout=CELL_LIMIT))

    @contextmanager
    def socket(self, path: str, **query: str) -> Iterator[websocket.WebSocket]:
        """A WebSocket to the server.

        Raises:
            ServerTrouble: it refuses.
        """
        if self.session is not None:
            query["_xsrf"] = self.session.xsrf(self.path)
            header = [f"Cookie: {self.session.cookies(self.path)}", "Sec-Fetch-Mode: websocket"]
        else:
            header = [f"Authorization: token {self.token}"]
        address = f"{self.url}{self.path}{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}"
        try:
            channel = websocket.create_connection(
                address.replace("http", "ws", 1), header=header, timeout=CELL_LIMIT, http_no_proxy=["127.0.0.1"]
            )
        except websocket.WebSocketBadStatusException as problem:
            raise ServerTrouble(f"WebSocket {self.path}{path}: {problem}") from problem
        with contextlib.closing(channel):
            yield channel


def executed(channel: websocket.WebSocket, code: str) -> str:
    """Run one cell over a kernel's WebSocket and collect its output until the kernel is idle again."""
    request = {
        "header": {"msg_id": secrets.token_hex(8), "msg_type": "execute_request", "username": "", "version": "5.3"},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True},
        "channel": "shell",
    }
    request["header"]["session"] = secrets.token_hex(8)  # type: ignore[index]
    channel.send(json.dumps(request))
    output: list[str] = []
    while True:
        message = json.loads(received(channel, "the kernel", output))
        if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:  # type: ignore[index]
            continue
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                output.append(content["text"])
            case "execute_result" | "display_data":
                output.append(content["data"].get("text/plain", "") + "\n")
            case "error":
                output.append("\n".join(content["traceback"]) + "\n")
            case "status" if content["execution_state"] == "idle":
                return "".join(output)


def typed(channel: websocket.WebSocket, command: str) -> str:
    """Type one command line into a terminal's WebSocket and collect its output."""
    mark = secrets.token_hex(6)
    # The shell puts each mark together, so that the echo of what is typed holds none; eval, so that the second mark
    # comes also after a command that the shell cannot parse.
    line = f"printf '%s-%s\\n' {mark} begin; eval {shlex.quote(command)}; printf '%s-%s\\n' {mark} end\n"
    channel.send(json.dumps(["stdin", line.replace("\n", "\r")]))
    output: list[str] = []
    while True:
        kind, *content = json.loads(received(channel, "the terminal", output))
        if kind == "stdout":
            output.append(content[0])
        text = "".join(output).replace("\r\n", "\n")
        if found := re.search(rf"{mark}-begin\n(.*?){mark}-end\n", text, re.DOTALL):
            return found[1]
        if kind == "disconnect":
            return text.partition(f"{mark}-begin\n")[2]


def received(channel: websocket.WebSocket, who: str, output: list[str]) -> str:
    """One message of a WebSocket.

    Raises:
        ServerTrouble: none comes, or the connection is closed; the message holds the output so far.
    """
    try:
        message = channel.recv()
    except (websocket.WebSocketTimeoutException, websocket.WebSocketConnectionClosedException, OSError) as problem:
        raise ServerTrouble(f"{who} is silent ({problem}); so far: {''.join(output)[-500:]!r}") from problem
    return message if isinstance(message, str) else message.decode()


def server_path(user: str, server_name: str) -> str:
    """Path of a server below the hub's API."""
    person = quote(user, safe="")
    return f"users/{person}/servers/{quote(server_name, safe='')}" if server_name else f"users/{person}/server"


def message_of(answer: Answer) -> str:
    """The sentence in an error answer of the hub's API."""
    try:
        return str(answer.json["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text
