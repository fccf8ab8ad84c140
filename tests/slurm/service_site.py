"""A hub with the service for Slurm, beside a small site: who asks it for tokens, and with what."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.components.hub import Hub, run_cell, running_hub
from tests.components.need import need
from tests.components.ports import free_ports
from tests.hub.site import Site

NAME = "nbplatform-slurm"
HUB_ID = "hub-of-the-tests"
SCOPES = ("list:users", "read:servers", "admin:server_state")
USE = f"access:services!service={NAME}"
KEY = bytes(range(200, 232))


@dataclass(frozen=True)
class Said:
    """What the service answered.

    Attributes:
        status: of HTTP.
        headers: of the answer.
        text: its body.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)


def roles(scopes: Sequence[str] = SCOPES) -> list[dict[str, Any]]:
    """Return the roles of the how-to: the service's own, and that servers may use it."""
    return [
        {"name": NAME, "services": [NAME], "scopes": [*scopes]},
        {"name": "user", "scopes": ["self", USE]},
        {"name": "server", "scopes": ["users:activity!user", "access:servers!server", USE]},
    ]


def config(site: Site, port: int, options: Sequence[str], more: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return a hub's configuration with the service.

    Args:
        site: accounts and rules.
        port: of the service.
        options: of its command.
        more: further services; ``scopes`` in one makes a role.
    """
    command = [sys.executable, "-m", "nbplatform_spawners.slurm_dask", f"--hub-id={HUB_ID}", *options]
    services: list[dict[str, Any]] = [{"name": NAME, "url": f"http://127.0.0.1:{port}", "command": command}]
    wanted = roles()
    for one in more:
        entry = dict(one)
        if "scopes" in entry:
            wanted.append({"name": f"{entry['name']}-role", "services": [entry["name"]], "scopes": entry.pop("scopes")})
        services.append(entry)
    return (
        f"{site.config}\nc.NbplatformSpawner.hub_id = {HUB_ID!r}\n"
        f"c.JupyterHub.services = {services!r}\nc.JupyterHub.load_roles = {wanted!r}\n"
    )


@contextmanager
def hub_with_service(site: Site, options: Sequence[str], more: Sequence[Mapping[str, Any]] = ()) -> Iterator[Hub]:
    """A hub that runs, with the service, and users who have no server yet."""
    with need(running_hub(config(site, free_ports().public, options, more), external_proxy=True)) as hub:
        for user in ("ada", "ben", "eve"):
            hub.api("POST", f"users/{user}")
        yield hub


def key_file(folder: Path, key: bytes = KEY) -> Path:
    """Return a key of Slurm's, which its owner alone reads."""
    path = folder / "slurm-jwt.key"
    path.touch(mode=0o600)
    path.write_bytes(key)
    return path


def ask(hub: Hub, token: str | None, method: str = "POST", body: bytes = b"{}", **more: Any) -> Said:
    """Ask for a token, as servers do: past the public proxy."""
    headers = {**({"Authorization": f"token {token}"} if token else {}), **more.pop("headers", {})}
    with requests.Session() as session:
        session.trust_env = False
        address = f"{hub.url}/services/{NAME}/token{more.pop('query', '')}"
        found = session.request(method, address, data=body, headers=headers, timeout=30, allow_redirects=False)
        return Said(found.status_code, found.headers, found.text)


def server_token(hub: Hub, user: str, name: str = "") -> str:
    """Return the token of a running server, as a kernel in it sees it."""
    said = run_cell(hub, user, "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])", server_name=name)
    found = re.search(r"[0-9a-f]{32,}", str(said))
    assert found is not None
    return found[0]
