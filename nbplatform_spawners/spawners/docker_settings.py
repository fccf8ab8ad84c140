"""The settings of the Docker backend."""

from __future__ import annotations

from typing import Any

from traitlets import Enum, Float, Int, List, Unicode, default, validate
from traitlets.config import Configurable

from ..render.docker_roots import check_roots

NETWORK = "nbplatform"
"""The network that the platform makes on each host: containers on it cannot talk to each other."""
_START = 600
_HTTP = 60


class DockerSettings(Configurable):
    """What an administrator sets for ``nbplatform-docker``, as ``c.DockerFleetSpawner.…``.

    The settings of dockerspawner, ``c.DockerSpawner.…``, hold underneath: what the plan sets comes after them.
    """

    hub_id = Unicode(
        "",
        help="""Name of this hub on its hosts: it labels every container that the hub makes, and what has this label is
        the hub's to stop.  Required, since two hubs of one name on the same hosts would end each other's servers.
        Letters, digits, ``_``, ``.`` and ``-``.  Default: empty, which is refused.  Never change it while servers
        run.  It is ``c.NbplatformSpawner.hub_id``, set for this backend.
        Example: ``c.DockerFleetSpawner.hub_id = "jupyter-example-org"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    tls_directory = Unicode(
        "",
        help="""Directory with the certificates for the hosts, named as Docker names them: ``ca.pem``, ``cert.pem`` and
        ``key.pem``.  A folder in it that is called like a host holds that host's own.  Default: empty; then
        ``c.DockerSpawner.tls_config`` holds.  A ``tcp://`` host without certificates is refused.
        Example: ``c.DockerFleetSpawner.tls_directory = "/etc/jupyterhub/docker-tls"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    mount_roots = List(
        Unicode(),
        default_value=["/home", "/cvmfs"],
        help="""Folders of the hosts below which everything lies that the rules may mount; any other source is refused.
        Default: ``/home`` and ``/cvmfs``.  Folders of the system, and those in which sockets lie, are never allowed.
        Example: ``c.DockerFleetSpawner.mount_roots = ["/home", "/sps", "/cvmfs"]``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    gpu_runtime = Enum(
        ["auto", "cdi", "nvidia"],
        default_value="auto",
        help="""How granted GPUs get into a container: ``cdi``, the Container Device Interface of Docker 28.2 and newer;
        ``nvidia``, the runtime hook of NVIDIA's container toolkit; ``auto``, CDI on each host whose Docker has it, else
        the hook.  Default: ``auto``.  Example: ``c.DockerFleetSpawner.gpu_runtime = "nvidia"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    pids_limit = Int(
        4096,
        min=16,
        help="""Processes and threads that one server may have.  Default: 4096.
        Example: ``c.DockerFleetSpawner.pids_limit = 1024``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    call_limit = Float(
        10.0,
        min=1.0,
        help="""Seconds that a host may take to answer one request before it counts as unreachable; pulls have their own
        limits.  Default: 10.  Example: ``c.DockerFleetSpawner.call_limit = 30``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    refresh_interval = Float(
        5.0,
        min=0.5,
        help="""Seconds between two looks at each host: one request that lists this hub's containers.  What is free,
        which hosts answer and what has to be cleaned up is known from these.  Default: 5.
        Example: ``c.DockerFleetSpawner.refresh_interval = 15``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    orphan_grace = Float(
        300.0,
        min=0.0,
        help="""Seconds for which a container of this hub that belongs to no server of the hub is left alone before it
        is stopped: a hub that was killed in the middle of a start leaves such.  Default: 300.
        Example: ``c.DockerFleetSpawner.orphan_grace = 60``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    stop_grace = Int(
        10,
        min=0,
        help="""Seconds that a server has to end by itself at a stop before it is killed.  Default: 10.
        Example: ``c.DockerFleetSpawner.stop_grace = 30``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    @default("start_timeout")
    def _start_timeout_default(self) -> int:
        return _START  # an image may have to be fetched first

    @default("http_timeout")
    def _http_timeout_default(self) -> int:
        return _HTTP

    @default("network_name")
    def _network_name_default(self) -> str:
        return NETWORK

    @default("use_internal_ip")
    def _use_internal_ip_default(self) -> bool:
        return False  # servers are reached through their host

    @default("use_internal_hostname")
    def _use_internal_hostname_default(self) -> bool:
        return False

    @default("host_ip")
    def _host_ip_default(self) -> str:
        return ""  # each host's own address

    @default("prefix")
    def _prefix_default(self) -> str:
        return self.hub_id

    @default("object_name")
    def _object_name_default(self) -> str:
        spawner: Any = self
        # A spawner that belongs to nobody checks the configuration at the hub's start.
        return str(spawner._render_templates(spawner.name_template)) if spawner.user is not None else ""

    @validate("mount_roots")
    def _check_mount_roots(self, proposal: Any) -> list[str]:
        check_roots(proposal["value"])
        return list(proposal["value"])
