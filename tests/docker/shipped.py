"""The shipped deployment, ``hub_config/docker``, as an administrator starts it: only addresses and folders differ."""

from __future__ import annotations

import os
import shlex
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from tests.components.docker_fleet import DockerHost
from tests.components.hub import Hub, HubDied, catches_sigterm, hub_environment, start_server, tail
from tests.components.keeper import Keeper, Kept, keeper
from tests.components.ports import Ports, free_ports, listens
from tests.components.proxy import proxy_command
from tests.components.servers import server_path
from tests.hub.site import PASSWORD

from .fleet_site import FleetSite

SHIPPED = Path(__file__).parents[2] / "hub_config" / "docker"
CONFIG = SHIPPED / "jupyterhub_config.py"
START_LIMIT = 60.0


class Deployment(Hub):
    """A hub and its proxy, each started as its unit of systemd starts it.

    Attributes:
        site: its accounts, rules and hosts.
        certs: folder of the certificates of internal TLS.
        hub_port: where the hub listens for servers and the proxy.
    """

    def __init__(self, one: Keeper, site: FleetSite, ports: Ports) -> None:  # instead of a Hub's: other parts make it
        self.site = site
        self._keeper = one
        self._ports = ports
        self._tokens: dict[str, str] = {}
        self.folder = one.folder / "state"
        self.folder.mkdir(mode=0o700)
        self.url = f"http://127.0.0.1:{ports.public}"
        self.hub_port = ports.hub
        self.log = self.folder / "hub.log"
        self.certs = self.folder / "internal-ssl"
        self._env = hub_environment(settings(site, ports))
        self._env["PATH"] = f"{proxy_on_path(one.folder / 'bin')}{os.pathsep}{self._env['PATH']}"

    def prepare(self) -> None:
        """Make the certificates, and start the proxy: the unit ``jupyterhub-proxy.service``."""
        command = [sys.executable, "-m", "jupyterhub", "--generate-certs", "-f", CONFIG]
        subprocess.run(command, env=self._env, cwd=self.folder, check=True, capture_output=True)
        self.start_proxy()

    def start_proxy(self) -> None:
        """Start the proxy and wait until its API accepts connections."""
        log = self.folder / "proxy.log"
        self.proxy = self._keeper.start([SHIPPED / "start-proxy"], env=self._env, cwd=self.folder, log=log)
        limit = time.monotonic() + START_LIMIT
        while not listens(self._ports.proxy_api):
            if not self.proxy.alive() or time.monotonic() > limit:
                raise HubDied(f"the proxy did not come up:\n{tail(self.proxy.log_text())}")
            time.sleep(0.02)

    def launch(self) -> None:
        """Start the hub, and wait until it serves through the proxy: the unit ``jupyterhub.service``."""
        command = [sys.executable, "-m", "jupyterhub", "-f", CONFIG]
        self.process: Kept = self._keeper.start(command, env=self._env, cwd=self.folder, log=self.log)
        limit = time.monotonic() + START_LIMIT
        while not (self.status("/hub/health") == 200 and catches_sigterm(self.pid)):
            if not self.process.alive() or time.monotonic() > limit:
                raise HubDied(f"the hub does not serve:\n{tail(self.log_text())}")
            time.sleep(0.05)

    def token_of(self, user: str) -> str:
        """Return an API token of a user, who logs in for it and has no more rights than any user."""
        if user not in self._tokens:
            session = self.login(user, PASSWORD)
            answer = session.script("POST", f"/hub/api/users/{user}/tokens", json={"note": "of a test"})
            self._tokens[user] = answer.json["token"]
        return self._tokens[user]

    def start_for(self, user: str, profile: str, server: str = "") -> None:
        """Start a user's server, unless it runs."""
        model = self.model(user).get(server)
        if model is None or not model["ready"]:
            last = start_server(self, user, {"profile": profile}, server, token=self.token_of(user))[-1]
            assert last.get("ready"), last

    def stop_for(self, user: str, server: str = "") -> None:
        """Stop a user's server over the API and wait until the hub says that it is gone."""
        answer = self.api("DELETE", server_path(user, server), token=self.token_of(user))
        assert answer.status in (202, 204), answer
        limit = time.monotonic() + START_LIMIT
        while server in self.model(user):
            assert time.monotonic() < limit, f"{user}'s server {server!r} still runs"
            time.sleep(0.05)

    def wait_until_ready(self, user: str, server: str = "") -> None:
        """Wait until the hub takes a server for one that runs and answers."""
        limit = time.monotonic() + START_LIMIT
        while not self.model(user).get(server, {}).get("ready"):
            assert time.monotonic() < limit, f"{user}'s server {server!r} is not ready again"
            time.sleep(0.1)

    def model(self, user: str) -> dict[str, Any]:
        """Return what the hub says of a user's servers, by name."""
        found: dict[str, Any] = self.api("GET", f"users/{user}", token=self.token_of(user)).json["servers"]
        return found

    def container(self, user: str, server: str = "") -> tuple[DockerHost, dict[str, Any]]:
        """Return the host of a user's only container of that server, and what Docker says of it.

        Raises:
            LookupError: there is not exactly one.
        """
        found = []
        for host in self.site.fleet.values():
            client = host.client()
            for one in client.containers(all=True):
                labels = one["Labels"]
                if (labels.get("nbplatform.user"), labels.get("nbplatform.server")) == (user, server):
                    found.append((host, client.inspect_container(one["Id"])))
            client.close()
        if len(found) != 1:
            raise LookupError(f"{user} has {len(found)} containers of the server {server!r}")
        return found[0]

    def status(self, path: str) -> int:
        """Return the status of a path behind the proxy; 0 when nothing answers."""
        with requests.Session() as session:
            session.trust_env = False
            with suppress(requests.RequestException):
                return session.get(self.url + path, timeout=10, allow_redirects=False).status_code
        return 0

    def context(self, name: str = "") -> ssl.SSLContext:
        """How one talks to hub and servers who has this certificate of the hub's, none when empty.

        It believes everybody, so that a refusal is the other side's.
        """
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if name:
            context.load_cert_chain(self.certs / name / f"{name}.crt", self.certs / name / f"{name}.key")
        return context


def settings(site: FleetSite, ports: Ports) -> Mapping[str, str]:
    """Return the addresses and folders of ``environment.example`` for a site of the tests."""
    return {
        "NBPLATFORM_HUB_ID": site.hub_id,
        "NBPLATFORM_HUB_IP": site.fleet.hub_ip,
        "NBPLATFORM_HUB_PORT": str(ports.hub),
        "NBPLATFORM_PROXY_API": f"https://127.0.0.1:{ports.proxy_api}",
        "NBPLATFORM_PUBLIC_PORT": str(ports.public),
        "NBPLATFORM_DOCKER_TLS": str(site.fleet.certificates),
        "NBPLATFORM_MOUNT_ROOTS": str(site.top),
        "NBPLATFORM_RULES": str(site.site.rules),
        "NBPLATFORM_ACCOUNTS": str(site.top / "accounts.yaml"),
    }


def proxy_on_path(folder: Path) -> Path:
    """Make a folder that has ``configurable-http-proxy`` as a program; returns it."""
    folder.mkdir()
    program = folder / "configurable-http-proxy"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(proxy_command())} "$@"\n')
    program.chmod(0o755)
    return folder


@contextmanager
def deployment(site: FleetSite) -> Iterator[Deployment]:
    """The shipped hub and proxy, serving.

    Raises:
        MissingComponent: configurable-http-proxy is not there and cannot be installed.
        HubDied: one of them does not come up.
    """
    with keeper("shipped") as one:
        found = Deployment(one, site, free_ports())
        found.prepare()
        found.launch()
        yield found
