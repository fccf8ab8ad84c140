"""What runs on the nodes beside Dask: guards of a cluster's scheduler and workers.  Copied into the cluster's folder.

This one file needs nothing of the package: the standard library and ``distributed`` with what that needs, Python 3.9 or
newer.  It is used in two ways by the job scripts, ``F`` being the cluster's folder::

    python -m distributed.cli.dask_scheduler --host "tls://$(python F/node.py address)" --port 0 --preload F/node.py \
        --scheduler-file F/scheduler.json --tls-ca-file F/tls.pem --tls-cert F/tls.pem --tls-key F/tls.key
    python -m distributed.cli.dask_worker tls://… --host "tls://$(python F/node.py address)" --preload F/node.py …

**F/expected.json**, written by the kernel: ``{"versions": {"python": "3.11", "distributed": …, "dask": …,
"cloudpickle": …, "msgpack": …}, "network": CIDR or null, "owner_grace": seconds, "idle": seconds, "cluster": id}``.

**F/mismatch-<job id>.json**, written when this node's versions do not fit, before the process ends with status 3:
``{"versions": {…}, "node": host name, "executable": path of the Python}``.  The job id is ``0`` outside Slurm.
Status 4: the node has no address in the network, or a file of the folder cannot be used; standard error says why.

**The owner's link.**  Whoever owns the cluster keeps one connection of its own to the scheduler:

1. ``comm = await distributed.comm.connect(address, **security.get_connection_args("client"))``
2. ``await comm.write({"op": "nbplatform_owner", "reply": False})``
3. ``await comm.read()`` gives ``{"status": "OK", "cluster": id, "owner_grace": seconds}``
4. Both sides read on.  ``CommClosedError`` there means to the owner that the scheduler is gone, and to the scheduler
   that the owner is.  Nothing else need be sent; what is sent is ignored.

An owner may come back, and there may be several.  When the last one has been gone for ``owner_grace`` seconds, when
none came within ``FIRST_OWNER`` seconds, or when neither an owner nor a client has been there for ``idle`` seconds,
the scheduler closes.  Its workers and their nannies then end at once, and with them their jobs.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import os
import platform
import socket
import ssl
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "NBPLATFORM_DASK_FOLDER"
"""Tells a nanny's worker where the cluster's folder is: Dask loads a copy of this file there."""
COMPARED = {"python": 2, "distributed": None, "dask": None, "cloudpickle": 1, "msgpack": 1}
"""What is compared, and how many of a version's numbers must be equal; None: all of it."""
FIRST_OWNER = 120.0
"""Seconds within which the first owner must come."""
LOOK_EVERY = 0.5
"""Seconds between two looks of the scheduler at who is there."""
END_WITHIN = 2.0
"""Seconds in which a worker or scheduler that is closing must be gone, whatever a task of it still does."""
MISMATCH_STATUS = 3
UNUSABLE_STATUS = 4

Address = Any  # an IPv4Address or IPv6Address; Python 3.9 has no name for both


class Unusable(Exception):
    """This node, or the cluster's folder, cannot be used; the message says why."""


def folder() -> Path:
    """Return the cluster's folder: where this file lies, or where the nanny's copy of it lay."""
    here = Path(__file__).resolve().parent
    return here if (here / "expected.json").exists() else Path(os.environ.get(FOLDER_VARIABLE, here))


def expected(where: Path) -> dict[str, Any]:
    """Return what the kernel expects.

    Raises:
        Unusable: the file is missing or holds something else.
    """
    try:
        found = json.loads((where / "expected.json").read_text())
        times = (float(found["owner_grace"]), float(found["idle"]))
        usable = isinstance(found["versions"], dict) and isinstance(found["cluster"], str) and min(times) >= 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unusable(f"expected.json in the cluster's folder cannot be used: {error!r}") from error
    if not usable:
        raise Unusable("expected.json in the cluster's folder does not hold what is expected")
    return dict(found)


def versions() -> dict[str, str]:
    """Return the versions on this side; what is not installed is left out."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in COMPARED:
        try:
            found.setdefault(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    return found


def fits(here: dict[str, Any], there: dict[str, Any]) -> bool:
    """Say whether two sides can work together."""

    def cut(side: dict[str, Any], name: str) -> list[str] | None:
        return str(side[name]).split(".")[: COMPARED[name]] if name in side else None

    return all(cut(here, name) == cut(there, name) for name in COMPARED)


def tell_mismatch(where: Path, found: dict[str, str]) -> None:
    """Leave this node's versions for the kernel."""
    job = os.environ.get("SLURM_JOB_ID", "")
    target = where / f"mismatch-{job if job.isdecimal() else 0}.json"
    told = {"versions": found, "node": socket.gethostname(), "executable": sys.executable}
    new = target.with_name(f".{target.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        json.dump(told, file)
    new.replace(target)


def choose_address(own: list[Address], named: list[Address], network: str | None) -> Address:
    """Choose the address at which the other nodes and the kernel reach this node.

    Raises:
        Unusable: the node has none in the network, or the network is none.
    """
    usable = [one for one in own if not one.is_link_local]
    if network is not None:
        try:
            wanted = ipaddress.ip_network(network)
        except ValueError as error:
            raise Unusable(f"the network is not one: {error}") from error
        inside = [one for one in usable if one.version == wanted.version and one in wanted]
        if not inside:
            raise Unusable(f"node {socket.gethostname()} has no address in the network {wanted}")
        return inside[0]
    real = [one for one in usable if not one.is_loopback]
    by_name = [one for one in named if one in real]
    return (by_name or sorted(real, key=lambda one: int(one.version)) or [ipaddress.ip_address("127.0.0.1")])[0]


def own_addresses() -> list[Address]:
    """Return the addresses of this machine's interfaces."""
    import psutil  # type: ignore[import-untyped]  # Dask needs it, too

    families = (socket.AF_INET, socket.AF_INET6)
    found = [one.address for each in psutil.net_if_addrs().values() for one in each if one.family in families]
    return [ipaddress.ip_address(one.split("%")[0]) for one in found]


def named_addresses() -> list[Address]:
    """Return the addresses that this machine's name has."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(one[4][0]).split("%")[0]) for one in found]


def node_address(where: Path) -> str:
    """Return the node's address as it stands in a URL: one of IPv6 in brackets.

    Raises:
        Unusable: there is no such address.
    """
    found = choose_address(own_addresses(), named_addresses(), expected(where).get("network"))
    return f"[{found}]" if found.version == 6 else str(found)


def check_listening(address: Any) -> str:
    """Return the host of an address to listen at.

    Raises:
        Unusable: that is not TLS, or every address of the node.
    """
    from distributed.comm.addressing import get_address_host

    if not isinstance(address, str) or not address.startswith("tls://"):
        raise Unusable(f"a process of the cluster would listen without TLS: {address!r}")
    host = get_address_host(address)
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = not host
    if everywhere:
        raise Unusable(f"a process of the cluster would listen at every address of its node: {address!r}")
    return str(host)


def tls_context(where: Path) -> ssl.SSLContext:
    """Return the settings of an HTTP port: the cluster's certificate, and nobody is served who has not the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(where / "tls.pem", where / "tls.key")
    context.load_verify_locations(where / "tls.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def guard_ports(where: Path) -> None:
    """Have every port of this process's Dask servers speak TLS, and each at one address.  Twice does it once."""
    import dask
    from distributed import core, node

    server_class: Any = core.Server
    node_class: Any = node.ServerNode
    if hasattr(server_class, "nbplatform_guarded"):
        return
    listen, start_http_server = server_class.listen, node_class.start_http_server
    context = tls_context(where)

    @functools.wraps(listen)
    async def listen_with_tls(self: Any, port_or_addr: Any = None, *args: Any, **kwargs: Any) -> None:
        check_listening(port_or_addr)
        await listen(self, port_or_addr, *args, **kwargs)

    @functools.wraps(start_http_server)
    def start_with_tls(self: Any, routes: Any, dashboard_address: Any, *args: Any, **kwargs: Any) -> None:
        start = self._start_address
        host = check_listening(start[0] if isinstance(start, (list, tuple)) else start)
        # With a certificate in its configuration Dask makes a context of its own, which serves everybody.
        with dask.config.set({"distributed.scheduler.dashboard.tls.cert": None}):
            start_http_server(self, routes, (host, 0), ssl_options=context)
        if self.http_server.ssl_options is not context:
            raise Unusable("Dask's HTTP server does not take the cluster's TLS settings")

    server_class.listen, node_class.start_http_server = listen_with_tls, start_with_tls
    server_class.nbplatform_guarded = True


class Presence:
    """Who is there, and whether the cluster should end."""

    def __init__(self, grace: float, idle: float, now: float) -> None:
        self.grace, self.idle = grace, idle
        self.owners, self.met = 0, False
        self.owner_seen = self.anybody_seen = now

    def came(self) -> None:
        """An owner's connection has been opened."""
        self.owners, self.met = self.owners + 1, True

    def went(self) -> None:
        """An owner's connection has been closed."""
        self.owners -= 1

    def reason_to_end(self, now: float, clients: int) -> str | None:
        """Look who is there now, and return why the cluster should end, if it should.

        Args:
            now: the time.
            clients: how many clients are connected.
        """
        if self.owners:
            self.owner_seen = now
        if self.owners or clients:
            self.anybody_seen = now
        limit = self.grace if self.met else max(FIRST_OWNER, self.grace)
        if now - self.owner_seen > limit:
            return f"the owner has been gone for {limit:g} s" if self.met else f"no owner came within {limit:g} s"
        if now - self.anybody_seen > self.idle:
            return f"neither an owner nor a client for {self.idle:g} s"
        return None


def watch_owner(scheduler: Any, wanted: dict[str, Any]) -> None:
    """Have a scheduler know its owners, and close when they are gone."""
    from distributed.comm.core import CommClosedError
    from distributed.core import Status

    presence = Presence(float(wanted["owner_grace"]), float(wanted["idle"]), time.monotonic())
    greeting = {"status": "OK", "cluster": wanted["cluster"], "owner_grace": presence.grace}

    async def nbplatform_owner(comm: Any) -> Any:
        presence.came()
        try:
            await comm.write(greeting)
            while True:
                await comm.read()
        except CommClosedError:
            return Status.dont_reply
        finally:
            presence.went()

    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            reason = presence.reason_to_end(time.monotonic(), len(scheduler.client_comms))
            if reason is not None:
                await scheduler.close(reason=reason)
                return

    scheduler.handlers["nbplatform_owner"] = nbplatform_owner
    scheduler.nbplatform_watch = asyncio.ensure_future(look())  # held by the scheduler: a task alone may vanish


def dask_setup(server: Any) -> None:
    """Begin to watch a scheduler.  Called by Dask when a scheduler or worker has started."""
    from distributed import Scheduler

    if isinstance(server, Scheduler):
        try:
            watch_owner(server, expected(folder()))
        finally:
            # Dask would only log what was raised, and go on with a cluster that nothing ends.
            if not hasattr(server, "nbplatform_watch"):
                os._exit(UNUSABLE_STATUS)


def dask_teardown(server: Any) -> None:
    """See that a process which closes ends.  Called by Dask when a scheduler or worker begins to close."""
    end = threading.Timer(END_WITHIN, os._exit, (0,))
    end.daemon = True
    end.start()


def arm() -> None:
    """Compare the versions, and guard the ports.  Called when Dask imports this file, before anything listens."""
    where = folder()
    try:
        found = versions()
        if not fits(expected(where)["versions"], found):
            tell_mismatch(where, found)
            sys.stderr.write("node.py: the versions here do not fit the notebook's\n")
            sys.exit(MISMATCH_STATUS)
        guard_ports(where)
    except (Unusable, OSError) as error:
        sys.stderr.write(f"node.py: {error}\n")
        sys.exit(UNUSABLE_STATUS)
    os.environ[FOLDER_VARIABLE] = str(where)


def main(arguments: list[str]) -> int:
    """Print the node's address.  Called by the job script."""
    if arguments != ["address"]:
        sys.stderr.write("usage: node.py address\n")
        return 2
    try:
        sys.stdout.write(node_address(folder()) + "\n")
    except Unusable as error:
        sys.stderr.write(f"node.py: {error}\n")
        return UNUSABLE_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
elif (
    __name__ == "node"
):  # the name under which Dask loads F/node.py; a test imports it from the package and arms nothing
    arm()
