"""The settings around a test's own JupyterHub configuration: what it may override, and what it may not."""

from __future__ import annotations

from pathlib import Path

from .ports import Ports

BEFORE = """\
import os
c = get_config()
c.JupyterHub.cleanup_servers = False
c.JupyterHub.init_spawners_timeout = 1
"""

AFTER = """
# ---- addresses, and the service that the tests speak as ----
import os
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{ports.public}"
c.JupyterHub.hub_bind_url = "http://{hub_ip}:{ports.hub}"
c.JupyterHub.db_url = "sqlite:///{folder}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{ports.proxy_api}"
c.ConfigurableHTTPProxy.command = {command!r}
c.ConfigurableHTTPProxy.should_start = {start}
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.services = [
    *(c.JupyterHub.services if "services" in c.JupyterHub else []),
    {{"name": "component", "api_token": os.environ.pop("NBPLATFORM_COMPONENT_TOKEN")}},
]
c.JupyterHub.load_roles = [
    *(c.JupyterHub.load_roles if "load_roles" in c.JupyterHub else []),
    {{"name": "component", "services": ["component"], "scopes": {scopes!r}}},
]
"""

SCOPES = [
    "access:servers",
    "access:services",
    "admin:auth_state",
    "admin:groups",
    "admin:server_state",
    "admin:servers",
    "admin:users",
    "list:services",
    "proxy",
    "read:hub",
    "read:services",
    "shutdown",
    "tokens",
]


def whole_config(
    config: str, ports: Ports, folder: Path, proxy_command: list[str], external_proxy: bool, hub_ip: str = "127.0.0.1"
) -> str:
    """The text of the hub's configuration file.

    Args:
        config: the test's own part.
        ports: where hub and proxy listen.
        folder: for the hub's database and secrets.
        proxy_command: runs configurable-http-proxy.
        external_proxy: it is not the hub that starts the proxy.
        hub_ip: where the hub listens for servers and the proxy.
    """
    start = not external_proxy
    own = AFTER.format(ports=ports, folder=folder, command=proxy_command, start=start, scopes=SCOPES, hub_ip=hub_ip)
    return BEFORE + config + own
