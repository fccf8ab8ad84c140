"""A single-user server of this test alone, as a spawner starts it, and what can be seen of it from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import websocket

from tests.components.ports import free_ports

from .hub_double import SCOPE, SERVER_SCOPE, TOKEN, USER, hub_double

OURS = (sys.executable, "-P", "-m", "nbplatform_spawners.singleuser")
STOCK = (sys.executable, "-P", "-m", "jupyterhub.singleuser")
JUPYTER_SERVER = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
LIMIT = 60.0  # seconds until what is waited for must have happened


@dataclass
class Server:
    """A server that answers.

    Attributes:
        process: its process.
        port: where it listens, on the loopback address.
        home: its HOME and working directory.
    """

    process: subprocess.Popen[bytes]
    port: int
    home: Path

    @property
    def url(self) -> str:
        """Its address, with a trailing slash."""
        return f"http://127.0.0.1:{self.port}/user/{USER}/"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request and return the JSON of its answer."""
        answer = self.request(method, path, json=body)
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.text else None

    def request(self, method: str, path: str, token: str | None = TOKEN, **options: Any) -> requests.Response:
        """Send one request and return the answer, whatever it is.

        Args:
            method: in capitals.
            path: below the server's address.
            token: shown as the hub's; None shows none.
            options: more for ``requests``.
        """
        headers = {**({"Authorization": f"token {token}"} if token else {}), **options.pop("headers", {})}
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, headers=headers, timeout=LIMIT, **options)

    @contextmanager
    def socket(self, path: str) -> Iterator[websocket.WebSocket]:
        """A WebSocket to it."""
        address = self.url.replace("http", "ws", 1) + path
        header = [f"Authorization: token {TOKEN}"]
        channel = websocket.create_connection(address, header=header, timeout=LIMIT, http_no_proxy=["127.0.0.1"])
        try:
            yield channel
        finally:
            channel.close()

    @contextmanager
    def kernel_socket(self) -> Iterator[websocket.WebSocket]:
        """A WebSocket to a new kernel."""
        kernel = self.ask("POST", "api/kernels", {"name": "python3"})["id"]
        with self.socket(f"api/kernels/{kernel}/channels?session_id=one") as channel:
            yield channel

    def log(self) -> str:
        """What it has logged so far."""
        return log_of(self.home)


def log_of(home: Path) -> str:
    """What a server with this HOME has logged."""
    return (home / "server.log").read_text(errors="replace")


@contextmanager
def running_server(
    home: Path, command: Sequence[str] = OURS, env: Mapping[str, str | None] | None = None, *options: str
) -> Iterator[Server]:
    """A server that answers; it is killed at the end of the block.

    Args:
        home: an empty folder.
        command: what to run.
        env: changes of its environment; None takes a variable away.
        options: added to the command.
    """
    with hub_double() as hub:
        port = free_ports().public
        wanted = {**server_env(hub, port, home), **JUPYTER_SERVER, **(env or {})}
        kept = {name: value for name, value in wanted.items() if value is not None}
        with (home / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--allow-root", *options],
                env=kept,
                cwd=home,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        server = Server(process, port, home)
        try:
            wait_until_it_answers(server)
            yield server
        finally:
            process.kill()
            process.wait()


def server_env(hub: str, port: int, home: Path) -> dict[str, str]:
    """The environment that a hub gives to a server."""
    prefix = f"/user/{USER}/"
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_API_URL": f"{hub}/api",
        "JUPYTERHUB_ACTIVITY_URL": f"{hub}/api/users/{USER}/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{USER}",
        "JUPYTERHUB_DISABLE_USER_CONFIG": "1",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([SERVER_SCOPE, SCOPE]),
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{prefix}",
        "JUPYTERHUB_USER": USER,
    }


def wait_until_it_answers(server: Server) -> None:
    """Wait for the first answer."""
    limit = time.monotonic() + LIMIT
    while True:
        assert server.process.poll() is None, f"the server ended:\n{server.log()}"
        assert time.monotonic() < limit, f"the server does not answer:\n{server.log()}"
        try:
            server.ask("GET", "api")
        except requests.RequestException:
            time.sleep(0.05)
        else:
            return


def wait_for(what: Any, name: str) -> Any:
    """Ask again and again until something is true, and return it."""
    limit = time.monotonic() + LIMIT
    while not (found := what()):
        assert time.monotonic() < limit, f"waited in vain for {name}"
        time.sleep(0.05)
    return found
