"""Run a command in a container, with input.

The daemon turns the HTTP connection into the command's input and output.  The end of the input is told by ending one
direction of the connection, which docker-py's sockets do not offer; so this one is opened here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import docker.errors
import requests

from .docker_client import CONNECT_LIMIT, Client
from .docker_pipe import Pipe

_HEADER = 8
_LINE = 8192
_POLL = 0.02
_UPGRADED = (requests.codes.switching_protocols, requests.codes.ok)


def execute(
    client: Client, container: str, command: Sequence[str], stdin: bytes, user: str, most: int
) -> tuple[int, str]:
    """Run a command and return its exit code and what it wrote, its output and its errors together.

    A command that writes much before it reads its input makes both sides wait until the call's time is over.  One that
    ends before it has read all of it may lose what it wrote, but not its exit code.

    Args:
        client: of this thread.
        container: id.
        command: program and arguments.
        stdin: its whole input.
        user: ``UID:GID`` or a name; empty for the container's own.
        most: bytes of what it wrote that are kept.

    Raises:
        docker.errors.APIError: the daemon refuses.
        OSError: the connection breaks, or the call's time is over.
    """
    asked = client.exec_create(container, list(command), stdin=True, user=user)["Id"]
    limit = min(CONNECT_LIMIT, client.terms.left)
    with closing(Pipe(client.endpoint.url, client.endpoint.certificates, limit)) as pipe:
        _start(client, pipe, asked)
        pipe.send(stdin)
        # Told before the process is there, the end of its input may be lost, and it waits for ever.
        _wait(client, asked, begun=True)
        pipe.end_input()
        said = _read(client, pipe, most)
    return int(_wait(client, asked, begun=False)["ExitCode"]), said.decode(errors="replace")


def _wait(client: Client, asked: str, *, begun: bool) -> dict[str, Any]:
    """Return what the daemon tells of a command that has begun, or has ended."""
    while True:
        found: dict[str, Any] = client.exec_inspect(asked)
        if not found.get("Running") and found.get("ExitCode") is not None:
            return found
        if begun and found.get("Pid"):
            return found
        time.sleep(min(_POLL, client.terms.left))


def _start(client: Client, pipe: Pipe, asked: str) -> None:
    """Ask for the command's start and read the head of the answer."""
    body = json.dumps({"Detach": False, "Tty": False}).encode()
    head = (
        f"POST /v{client.api_version}/exec/{asked}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
        f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    pipe.allow(client.terms.left)
    pipe.send(head.encode() + body)
    words = pipe.line(_LINE).split(None, 2)
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionResetError("no answer to the start of a command")
    length = 0
    while line := pipe.line(_LINE):
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
        pipe.allow(client.terms.left)
    if int(words[1]) not in _UPGRADED:
        raise _refusal(int(words[1]), pipe.read(min(length, _LINE)))


def _refusal(status: int, body: bytes) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    try:
        said = str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        said = "the command cannot be started"
    return docker.errors.APIError("", response=response, explanation=said)


def _read(client: Client, pipe: Pipe, most: int) -> bytes:
    """Return what the command wrote until it closed its output; what is too much is read and dropped."""
    kept = b""
    while len(header := _exactly(client, pipe, _HEADER)) == _HEADER:
        payload = _exactly(client, pipe, int.from_bytes(header[4:], "big"))
        kept += payload[: most - len(kept)]
    return kept


def _exactly(client: Client, pipe: Pipe, size: int) -> bytes:
    pipe.allow(client.terms.left)
    return pipe.read(size)
