"""What runs on the nodes: real schedulers and workers, as the jobs start them, on this machine."""

from __future__ import annotations

import ast
import asyncio
import ipaddress
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from distributed.comm import CommClosedError, connect

from nbplatform_spawners.slurm_dask import node, versions
from nbplatform_spawners.slurm_dask.certificates import context_of, make_certificate
from tests.components.keeper import Keeper, keeper
from tests.slurm.plain import CLUSTER, PlainCluster, family, listening, make_cluster, wait

GRACE = 1.0


@pytest.fixture
def kept() -> Iterator[Keeper]:
    """What ends the cluster."""
    with keeper("nbplatform-node") as one:
        yield one


@pytest.fixture
def cluster(kept: Keeper, tmp_path: Path) -> PlainCluster:
    """A cluster whose owner may be gone for a second, with nothing started."""
    return make_cluster(kept, tmp_path, owner_grace=GRACE)


@asynccontextmanager
async def owner(cluster: PlainCluster) -> Any:
    """The owner's connection, as the top of ``node.py`` describes it."""
    comm = await connect(cluster.address, **cluster.security.get_connection_args("client"))
    try:
        await comm.write({"op": "nbplatform_owner", "reply": False})
        yield comm
    finally:
        await comm.close()


async def computed(cluster: PlainCluster) -> int:
    """A sum that the workers compute."""
    async with Client(cluster.address, security=cluster.security, asynchronous=True) as client:
        return int(await client.submit(sum, client.map(abs, [-1, -2, -3])))


def answer_to(place: tuple[str, int], context: ssl.SSLContext | None) -> bytes:
    """What whoever listens says to a question in HTTP; empty when they hang up."""
    with socket.create_connection(place, timeout=10) as plain:
        stream = context.wrap_socket(plain) if context else plain
        try:
            stream.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return stream.recv(100)
        finally:
            stream.close()


def context_without_certificate() -> ssl.SSLContext:
    """Of somebody who believes every server and shows nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def context_of_stranger(folder: Path) -> ssl.SSLContext:
    """Of somebody with a certificate of another cluster, who believes every server."""
    pair = make_certificate(CLUSTER, datetime.now(UTC), 3600)
    (folder / "other.pem").write_bytes(pair.cert)
    (folder / "other.key").write_bytes(pair.key)
    context = context_of(str(folder / "other.pem"), str(folder / "other.key"), server=False)
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_every_port_of_every_process_demands_the_certificate(cluster: PlainCluster, tmp_path: Path) -> None:
    """Scheduler, nanny and worker listen at the node's address alone, and say nothing without the certificate."""
    scheduler = cluster.start_scheduler()
    async with owner(cluster):
        worker = cluster.start_worker()
        assert await computed(cluster) == 6
        places = listening(scheduler) | listening(worker)
        assert {host for host, _ in places} == {"127.0.0.1"}
        # The scheduler's two, the nanny's own, and the worker's two.
        assert len(places) == 5, places
        strangers = [None, context_without_certificate(), context_of_stranger(tmp_path)]
        for place in places:
            for stranger in strangers:
                with suppress(ssl.SSLError, ConnectionError):
                    assert answer_to(place, stranger) == b"", place
        own = context_of(str(cluster.folder / "tls.pem"), str(cluster.folder / "tls.key"), server=False)
        dashboards = [place for place in places if answer_to(place, own).startswith(b"HTTP/1.1 200")]
        assert len(dashboards) == 2, "the scheduler's and the worker's answer whoever has it"
        assert cluster.scheduler_file["services"]["dashboard"] in [port for _, port in dashboards]


# id, host, words of the log
OPEN_DOORS = [
    ("every address", "tls://0.0.0.0", "listen at every address of its node"),
    ("every address of IPv6", "tls://[::]", "listen at every address of its node"),
    ("no address", "tls://", "listen at every address of its node"),
]


@pytest.mark.parametrize(("host", "words"), [one[1:] for one in OPEN_DOORS], ids=[one[0] for one in OPEN_DOORS])
def test_a_process_that_would_be_open_does_not_start(cluster: PlainCluster, host: str, words: str) -> None:
    """A job script whose address came out empty opens nothing."""
    scheduler = cluster.start_scheduler(host=host)
    assert scheduler.wait() != 0
    assert words in scheduler.log_text()
    assert not (cluster.folder / "scheduler.json").exists()


def test_a_process_without_tls_does_not_start(cluster: PlainCluster) -> None:
    """Nor does one whose options for TLS are forgotten."""
    preload = str(cluster.folder / "node.py")
    scheduler = cluster.start("scheduler", "--host", "tcp://127.0.0.1", "--port", "0", "--preload", preload)
    assert scheduler.wait() != 0
    assert "would listen without TLS: 'tcp://127.0.0.1:0'" in scheduler.log_text()


async def test_an_owner_is_greeted_and_learns_of_the_schedulers_end(cluster: PlainCluster) -> None:
    """The connection says which cluster it is, and breaks when the scheduler is killed."""
    scheduler = cluster.start_scheduler()
    async with owner(cluster) as comm:
        assert await comm.read() == {"status": "OK", "cluster": CLUSTER, "owner_grace": GRACE}
        scheduler.signal(signal.SIGKILL)
        with pytest.raises(CommClosedError):
            await comm.read()


async def test_all_ends_when_the_last_owner_has_gone(cluster: PlainCluster) -> None:
    """One of two owners is enough; when both are gone, scheduler, worker and nanny end, with status 0."""
    scheduler = cluster.start_scheduler()
    async with owner(cluster) as first:
        await first.read()
        async with owner(cluster) as second:
            await second.read()
        worker = cluster.start_worker()
        assert await computed(cluster) == 6
        await asyncio.sleep(3 * GRACE)
        assert scheduler.alive(), "an owner is there"
        processes = family(scheduler) + family(worker)
    assert (scheduler.wait(), worker.wait()) == (0, 0)
    wait(lambda: not any(one.is_running() for one in processes), "the end of what they started")
    assert "the owner has been gone for 1 s" in scheduler.log_text()


async def test_an_owner_may_come_back_within_the_grace(kept: Keeper, tmp_path: Path) -> None:
    """A connection that broke is no end: the count begins anew with each owner."""
    cluster = make_cluster(kept, tmp_path, owner_grace=5)
    scheduler = cluster.start_scheduler()
    for _ in range(3):
        async with owner(cluster) as comm:
            await comm.read()
            await asyncio.sleep(1)
        await asyncio.sleep(2)
    assert scheduler.alive()


async def test_an_owner_that_is_killed_has_gone(cluster: PlainCluster, tmp_path: Path) -> None:
    """A kernel that dies of ``kill -9`` says no farewell."""
    scheduler = cluster.start_scheduler()
    address, folder = cluster.address, str(cluster.folder)
    code = f"""
import asyncio
from distributed.comm import connect
from distributed.security import Security
async def own():
    cert, key = {folder!r} + "/tls.pem", {folder!r} + "/tls.key"
    security = Security(require_encryption=True, tls_ca_file=cert, tls_client_cert=cert, tls_client_key=key)
    comm = await connect({address!r}, **security.get_connection_args("client"))
    await comm.write({{"op": "nbplatform_owner", "reply": False}})
    await comm.read()
    print("owned", flush=True)
    await comm.read()
asyncio.run(own())
"""
    kernel = cluster.keeper.start([sys.executable, "-c", code], log=tmp_path / "kernel.log")
    wait(lambda: "owned" in kernel.log_text(), "the owner")
    assert scheduler.alive()
    kernel.kill9()
    assert scheduler.wait() == 0


# id, what happens to the scheduler
ENDS = [("it is told to end", signal.SIGTERM), ("it is killed", signal.SIGKILL)]


@pytest.mark.parametrize("number", [one[1] for one in ENDS], ids=[one[0] for one in ENDS])
async def test_a_busy_worker_ends_at_once_with_its_scheduler(cluster: PlainCluster, number: signal.Signals) -> None:
    """Whatever its task still does: a job that outlives its cluster costs the user."""
    scheduler = cluster.start_scheduler()
    async with owner(cluster):
        worker = cluster.start_worker()
        client = await Client(cluster.address, security=cluster.security, asynchronous=True)
        busy = client.submit(time.sleep, 300, pure=False)
        while not any((await client.processing()).values()):
            assert busy.status == "pending"
            await asyncio.sleep(0.1)
        processes = family(worker)
        scheduler.signal(number)
        assert scheduler.wait() == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        assert worker.wait() in (0, 1)  # Dask's nanny has 1 for a worker that ended while it began
        wait(lambda: not any(one.is_running() for one in processes), "the end of what the worker started")
        await asyncio.shield(client.close(timeout=5))


# id, owner came, seconds since an owner and since anybody was there, clients, the reason's words
MOMENTS = [
    ("an owner that just came", True, 0, 0, 0, None),
    ("within the grace", True, 29, 29, 0, None),
    ("beyond the grace", True, 31, 31, 0, "the owner has been gone for 30 s"),
    ("beyond the grace, with a client", True, 31, 0, 1, "the owner has been gone for 30 s"),
    ("no owner yet", False, 119, 119, 0, None),
    ("no owner came", False, 121, 121, 1, "no owner came within 120 s"),
]


def test_presence_ends_a_cluster_that_nobody_owns() -> None:
    """Each moment has its verdict; a client alone keeps nothing."""
    for name, met, owner_ago, anybody_ago, clients, words in MOMENTS:
        presence = node.Presence(30, 1800, 0)
        presence.met, presence.owner_seen, presence.anybody_seen = met, -owner_ago, -anybody_ago
        assert presence.reason_to_end(0, clients) == words, name


def test_presence_ends_an_idle_cluster_before_a_long_grace() -> None:
    """A site may let owners be gone for long: then the idle limit ends what no client uses."""
    presence = node.Presence(86400, 1800, 0)
    presence.came()
    assert presence.reason_to_end(10_000, 0) is None
    presence.went()
    assert presence.reason_to_end(11_000, 1) is None
    assert presence.reason_to_end(12_000, 0) is None
    assert presence.reason_to_end(13_000, 0) == "neither an owner nor a client for 1800 s"


def test_other_versions_end_the_job_and_are_told(kept: Keeper, tmp_path: Path) -> None:
    """Status 3, and the file that the kernel reads: nothing listens before."""
    cluster = make_cluster(kept, tmp_path, versions={**node.versions(), "distributed": "2024.1.0"})
    for start, job in (
        (cluster.start_scheduler, "17"),
        (lambda **env: cluster.start("worker", "tls://127.0.0.1:1", *cluster.options(), **env), "18"),
    ):
        one = start(SLURM_JOB_ID=job)
        assert one.wait() == node.MISMATCH_STATUS, one.log_text()
        file = cluster.folder / f"mismatch-{job}.json"
        told = json.loads(file.read_text())
        assert told == {"versions": node.versions(), "node": socket.gethostname(), "executable": sys.executable}
        assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in cluster.folder.glob(".mismatch*")) == []


# id, change on one side
CHANGES: list[tuple[str, dict[str, str | None]]] = [
    ("nothing", {}),
    ("python", {"python": "3.12"}),
    ("dask", {"dask": "2026.8.1"}),
    ("distributed", {"distributed": "2026.8.0.1"}),
    ("a small cloudpickle", {"cloudpickle": "3.9"}),
    ("a large cloudpickle", {"cloudpickle": "4.0"}),
    ("a small msgpack", {"msgpack": "1.0.1"}),
    ("a large msgpack", {"msgpack": "2.0"}),
    ("no msgpack", {"msgpack": None}),
    ("no Python", {"python": None}),
]


def test_both_sides_compare_alike() -> None:
    """The file on the nodes cannot use the package's own comparison, and judges as it does."""
    here = {"python": "3.11", "distributed": "2026.8.0", "dask": "2026.8.0", "cloudpickle": "3.1.2", "msgpack": "1.1.1"}
    seen = set()
    for name, change in CHANGES:
        there = {key: value for key, value in {**here, **change}.items() if value is not None}
        assert node.fits(here, there) == (versions.mismatch(here, there) is None), name
        seen.add(node.fits(here, there))
    assert seen == {True, False}
    assert list(node.versions()) == list(versions.COMPARED)


def addresses(*written: str) -> list[Any]:
    """Addresses as values."""
    return [ipaddress.ip_address(one) for one in written]


OWN = addresses("127.0.0.1", "::1", "fe80::1", "2001:db8::5", "192.0.2.5", "10.1.0.5")
# id, the node's own, those of its name, the network, the choice
CHOICES = [
    ("the site's network", OWN, addresses("192.0.2.5"), "10.1.0.0/16", "10.1.0.5"),
    ("the site's network of IPv6", OWN, [], "2001:db8::/32", "2001:db8::5"),
    ("the host name's", OWN, addresses("10.1.0.5"), None, "10.1.0.5"),
    ("a name that leads to the loopback address", OWN, addresses("127.0.1.1", "127.0.0.1"), None, "192.0.2.5"),
    ("a name that leads elsewhere", OWN, addresses("198.51.100.1"), None, "192.0.2.5"),
    ("nothing but the loopback address", addresses("::1", "127.0.0.1"), addresses("127.0.1.1"), None, "127.0.0.1"),
    ("the loopback network, asked for", OWN, [], "127.0.0.0/8", "127.0.0.1"),
]


@pytest.mark.parametrize("case", CHOICES, ids=[one[0] for one in CHOICES])
def test_the_address_is_one_that_other_nodes_reach(case: Any) -> None:
    """In the site's network where there is one; never every address."""
    _, own, named, network, chosen = case
    assert str(node.choose_address(own, named, network)) == chosen


# id, what expected.json says, words
UNUSABLE = [
    ("no address in the network", {"network": "203.0.113.0/24"}, "has no address in the network 203.0.113.0/24"),
    ("no network", {"network": "10.0.0.1/8"}, "the network is not one"),
    ("no grace", {"owner_grace": None}, "expected.json in the cluster's folder cannot be used"),
    ("a negative grace", {"owner_grace": -1}, "expected.json in the cluster's folder"),
    ("no versions", {"versions": []}, "expected.json in the cluster's folder"),
]


@pytest.mark.parametrize(("says", "words"), [one[1:] for one in UNUSABLE], ids=[one[0] for one in UNUSABLE])
def test_a_node_that_cannot_be_used_says_why(kept: Keeper, tmp_path: Path, says: Any, words: str) -> None:
    """Status 4 and one line, of the address and of the program."""
    cluster = make_cluster(kept, tmp_path, **says)
    asked = [sys.executable, str(cluster.folder / "node.py"), "address"]
    said = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (node.UNUSABLE_STATUS, "")
    assert words in said.stderr
    assert said.stderr.count("\n") == 1
    if "network" not in says:
        scheduler = cluster.start_scheduler(host="tls://127.0.0.1")
        assert scheduler.wait() == node.UNUSABLE_STATUS
        assert words in scheduler.log_text()


def test_a_folder_without_a_key_starts_nothing(cluster: PlainCluster) -> None:
    """Status 4: no port is opened for want of what would guard it."""
    options = cluster.options()
    (cluster.folder / "tls.key").unlink()
    code = f"import sys; sys.path.insert(0, {str(cluster.folder)!r}); import node"
    said = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert said.returncode == node.UNUSABLE_STATUS
    assert "No such file" in said.stderr
    assert options


def test_the_file_is_for_older_pythons_and_alone() -> None:
    """The nodes' Python may be 3.9, and has nothing of this package."""
    text = Path(node.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    imported = {name.name for one in ast.walk(tree) if isinstance(one, ast.Import) for name in one.names}
    froms = {(one.level, str(one.module)) for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    others = {name.split(".")[0] for name in imported | {module for _, module in froms}} - set(sys.stdlib_module_names)
    assert others == {"dask", "distributed", "psutil"}
    assert {level for level, _ in froms} == {0}
    assert "match " not in text.split('"""', 2)[2]


def test_nothing_is_left_of_these_clusters() -> None:
    """The tests themselves leave no scheduler or worker behind."""
    mine = [one for one in psutil.Process().children(recursive=True) if "distributed.cli" in " ".join(one.cmdline())]
    assert mine == []
