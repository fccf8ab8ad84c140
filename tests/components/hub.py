"""A real JupyterHub: its own process, database, keys and free ports, and a configurable-http-proxy in front.

    with running_hub(CONFIG) as hub:
        session = hub.login("alice", "secret")
        start_server(hub, "alice")
        print(run_cell(hub, "alice", "1 + 1"))

The caller's configuration is put between settings that it may override and settings that it may not (addresses and
the service that :meth:`Hub.api` speaks as).  Notebook servers survive the end of the hub (``cleanup_servers`` is
off) and end with the component.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from .hub_settings import whole_config
from .keeper import Keeper, Kept, keeper
from .ports import Ports, free_ports, listens
from .proxy import proxy_command
from .servers import run_cell, run_terminal, start_server, stop_server
from .session import TIMEOUT, Answer, LoginRefused, Session

__all__ = [
    "Answer",
    "Hub",
    "HubDied",
    "LoginRefused",
    "Session",
    "run_cell",
    "run_terminal",
    "running_hub",
    "start_server",
    "stop_server",
]

START_LIMIT = 60.0  # seconds until the hub must serve
LOG_TAIL = 60  # lines of the log in a failure


class HubDied(Exception):
    """The hub, or its proxy, did not come up; the message ends with the last lines of its log."""


class HubsProxy:
    """The proxy process that the hub started by itself, known by its pid file."""

    def __init__(self, pid_file: Path) -> None:
        self._pid_file = pid_file

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            OSError: the hub is just starting another.
        """
        return int(self._pid_file.read_text())

    def alive(self) -> bool:
        """Whether it runs."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        return False

    def kill9(self) -> None:
        """Kill it with SIGKILL.  The hub starts another within seconds."""
        os.kill(self.pid, signal.SIGKILL)


class Hub:
    """One hub and its proxy; made by :func:`running_hub`.

    Attributes:
        url: of the proxy, without a trailing slash.
        token: API token of a service with all administrators' scopes.
        folder: the hub's own folder (mode 0700): database, cookie secret, configuration.
        db_path: its SQLite database.
        process: the hub's process.
        proxy: the proxy's process, with ``pid``, ``alive()`` and ``kill9()``.
    """

    def __init__(
        self, one: Keeper, folder: Path, ports: Ports, env: Mapping[str, str], external_proxy: bool, hub_ip: str
    ) -> None:
        self._keeper = one
        self._ports = ports
        self._env = dict(env)
        self.folder = folder
        self.url = f"http://127.0.0.1:{ports.public}"
        self.hub_ip = hub_ip
        self.hub_url = f"http://{hub_ip}:{ports.hub}"
        self.token = env["NBPLATFORM_COMPONENT_TOKEN"]
        self.db_path = folder / "jupyterhub.sqlite"
        self.log = folder / "hub.log"
        self._command = proxy_command()
        self._external_proxy = external_proxy
        self.proxy: Kept | HubsProxy = self._start_proxy() if external_proxy else HubsProxy(folder / "proxy.pid")
        self.process: Kept

    @property
    def pid(self) -> int:
        """Process id of the hub."""
        return self.process.pid

    def start(self, config: str) -> None:
        """Write the configuration, start the hub and wait until it serves.  Called by :func:`running_hub`.

        Raises:
            HubDied: it ended, or does not serve within a minute.
        """
        text = whole_config(config, self._ports, self.folder, self._command, self._external_proxy, self.hub_ip)
        path = self.folder / "jupyterhub_config.py"
        path.touch(mode=0o600)
        path.write_text(text)
        self._launch()

    def restart(self, config: str | None = None) -> None:
        """Stop the hub if it runs and start it again: same folder, database and ports.  Notebook servers live on.

        Args:
            config: another configuration; the same as before when None.

        Raises:
            HubDied: it does not come up.
        """
        self.process.stop()
        if config is None:
            self._launch()
        else:
            self.start(config)

    def stop(self) -> None:
        """Stop the hub by SIGTERM and wait for its end."""
        self.process.stop()

    def kill9(self) -> None:
        """Kill the hub with SIGKILL.  Notebook servers and the proxy live on."""
        self.process.kill9()

    def restart_proxy(self) -> None:
        """Start the separate proxy again; it knows no routes until the hub tells it."""
        assert isinstance(self.proxy, Kept), "this proxy is the hub's own"
        self.proxy.stop()
        self.proxy = self._start_proxy()

    def api(self, method: str, path: str, *, json: Any = None, token: str | None = None) -> Answer:
        """Ask the hub's REST API.

        Args:
            method: HTTP method.
            path: below ``/hub/api/``, with or without a leading slash.
            json: the body.
            token: whose token to show; the administrators' service's when None.
        """
        with requests.Session() as session:
            session.trust_env = False
            address = f"{self.url}/hub/api/{path.lstrip('/')}"
            headers = {"Authorization": f"token {token or self.token}"}
            return Answer.of(session.request(method, address, json=json, headers=headers, timeout=TIMEOUT))

    def visit(self) -> Session:
        """A visitor who has not logged in."""
        return Session(self.url)

    def login(self, username: str, password: str) -> Session:
        """A visitor who has logged in with the hub's form.  No server is started.

        Raises:
            LoginRefused: the form did not let them in.
        """
        session = self.visit()
        session.login(username, password)
        return session

    def log_text(self) -> str:
        """Everything that the hub, its own proxy and their servers have logged so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for_log(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Wait until a regular expression is found in the log.

        Raises:
            TimeoutError: it is not; the message holds the end of the log.
        """
        limit = time.monotonic() + timeout
        while not (found := re.search(pattern, self.log_text())):
            if time.monotonic() > limit:
                raise TimeoutError(f"{pattern!r} is not in the log:\n{tail(self.log_text())}")
            time.sleep(0.05)
        return found

    def _launch(self) -> None:
        begin = len(self.log_text())
        command = [sys.executable, "-m", "jupyterhub", "-f", str(self.folder / "jupyterhub_config.py")]
        self.process = self._keeper.start(command, env=self._env, cwd=self.folder, log=self.log)
        limit = time.monotonic() + START_LIMIT
        while not (answers(f"{self.url}/hub/health") and catches_sigterm(self.pid)):
            if not self.process.alive():
                code = self.process.returncode
                raise HubDied(f"the hub ended at start with code {code}:\n{tail(self.log_text()[begin:])}")
            if time.monotonic() > limit:
                raise HubDied(f"the hub does not serve after {START_LIMIT} s:\n{tail(self.log_text()[begin:])}")
            time.sleep(0.05)

    def _start_proxy(self) -> Kept:
        command = [*self._command, "--ip", "127.0.0.1", "--port", str(self._ports.public)]
        command += ["--api-ip", "127.0.0.1", "--api-port", str(self._ports.proxy_api)]
        command += ["--default-target", self.hub_url, "--error-target", f"{self.hub_url}/hub/error"]
        process = self._keeper.start(command, env=self._env, cwd=self.folder, log=self.folder / "proxy.log")
        limit = time.monotonic() + START_LIMIT
        while not listens(self._ports.proxy_api):
            if not process.alive() or time.monotonic() > limit:
                raise HubDied(f"the proxy did not come up:\n{tail(process.log_text())}")
            time.sleep(0.02)
        return process


@contextmanager
def running_hub(
    config: str,
    *,
    folder: Path | None = None,
    extra_env: Mapping[str, str] | None = None,
    port: int = 0,
    external_proxy: bool = False,
    hub_ip: str = "127.0.0.1",
) -> Iterator[Hub]:
    """A JupyterHub that serves; it ends, with its proxy and all notebook servers, when the block or the owner ends.

    Args:
        config: text of a ``jupyterhub_config.py``; it may call ``load_subconfig("/path/of/another.py")``.
        folder: where the hub's own folder ``hub`` is made; a temporary one when None.  A given folder stays.
        extra_env: environment variables added to the hub's.
        port: where users come in; a free one when 0.
        external_proxy: the proxy runs beside the hub rather than below it, so that each can be killed alone.
        hub_ip: address of this machine where the hub listens for its servers and the proxy.

    Raises:
        MissingComponent: configurable-http-proxy is not there and cannot be installed.
        HubDied: the hub does not come up.
    """
    with ExitStack() as stack:
        one = stack.enter_context(keeper("hub"))
        if folder is None:
            one.folder.chmod(0o711)  # servers of other users reach what the caller puts there
        own = (folder or one.folder) / "hub"
        own.mkdir(mode=0o700, exist_ok=True)
        hub = Hub(one, own, free_ports(port), hub_environment(extra_env or {}), external_proxy, hub_ip)
        hub.start(config)
        yield hub


def hub_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The hub's environment: the owner's without what belongs to another hub or to the test run, and new keys."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "CONFIGPROXY", "PYTEST"))
    }
    # Where this interpreter is, jupyterhub-singleuser is, too.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["JUPYTERHUB_CRYPT_KEY"] = secrets.token_hex(32)
    env["CONFIGPROXY_AUTH_TOKEN"] = secrets.token_hex(32)
    env["NBPLATFORM_COMPONENT_TOKEN"] = secrets.token_hex(32)
    return {**env, **extra}


def answers(url: str) -> bool:
    """Whether an address answers with status 200."""
    with requests.Session() as session:
        session.trust_env = False
        with contextlib.suppress(requests.RequestException):
            return session.get(url, timeout=5).status_code == 200
    return False


def catches_sigterm(pid: int) -> bool:
    """Whether a process handles SIGTERM, which the hub arranges as the last step of its start."""
    with contextlib.suppress(OSError):
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return bool(caught and int(caught[1], 16) & 1 << (signal.SIGTERM - 1))
    return False


def tail(text: str) -> str:
    """The last lines of a log."""
    return "\n".join(text.splitlines()[-LOG_TAIL:])
