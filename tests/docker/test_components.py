"""The Docker hosts for tests themselves: both engines answer, every fault is the real one, nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig

from tests.components import MissingComponent, docker_engine, docker_modern
from tests.components.delay import delayed
from tests.components.docker_fleet import DockerFleet, DockerHost, Settings, docker_fleet
from tests.components.images import load
from tests.components.need import need
from tests.components.registry import Registry, registry

ROOT = Path(__file__).parents[2]
ENGINES = ("debian", "modern")
HOSTS = {"debian": Settings(gpus=2, daemon={"max-download-attempts": 1}), "modern": Settings("modern", gpus=2)}
TRY_DEVICES = "for i in 0 1; do rm -f /tmp/n; mknod /tmp/n c 195 $i && (exec 3</tmp/n) 2>&1; done"
GRANTED, REFUSED = "No such device or address", "Operation not permitted"


@pytest.fixture(scope="module")
def fleet() -> Iterator[DockerFleet]:
    """Return a host of each engine, with the tiny image."""
    with need(docker_fleet(HOSTS)) as hosts:
        for host in hosts.values():
            load(host, "tiny")
        yield hosts


@pytest.fixture(scope="module")
def shelf(fleet: DockerFleet) -> Iterator[Registry]:
    """Return a registry for both."""
    with need(registry(fleet)) as one:
        yield one


@pytest.fixture(params=ENGINES)
def host(fleet: DockerFleet, request: pytest.FixtureRequest) -> Iterator[DockerHost]:
    """Return each host in turn; its containers are removed afterwards."""
    one = fleet[request.param]
    yield one
    client = one.client()
    for container in client.containers(all=True):
        client.remove_container(container["Id"], force=True)


def over_tls(host: DockerHost, certificates: Path | None = None, url: str = "") -> Any:
    """Return a client that reaches a host as the hub does."""
    folder = certificates or host.certificates
    pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
    tls = TLSConfig(client_cert=pair, ca_cert=str(folder / "ca.pem"), verify=True)
    client = docker.APIClient((url or host.url).replace("tcp", "https"), tls=tls, version="1.41", timeout=5)
    client.trust_env = False
    return client


def served(host: DockerHost, **more: Any) -> str:
    """Start a server of the tiny image on a host; returns its address."""
    binding = [{"HostIp": host.ip, "HostPort": ""}]
    settings = {"Init": True, "PortBindings": {"8888/tcp": binding}, **more}
    body = {"Image": load(host, "tiny"), "ExposedPorts": {"8888/tcp": {}}, "HostConfig": settings}
    client = host.client()
    client.create_container_from_config(body, "server")
    client.start("server")
    return f"http://{host.ip}:{port_of(host)}/"


def port_of(host: DockerHost) -> str:
    """Return the port that the server is published at."""
    ports = host.client().inspect_container("server")["NetworkSettings"]["Ports"]
    return str(ports["8888/tcp"][0]["HostPort"])


def body_of(url: str, timeout: float = 2.0) -> bytes:
    """Return what an address answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer: bytes = opener.open(url, timeout=timeout).read()
    return answer


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether something becomes true in time; what cannot be asked is not true."""
    limit = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if holds():
                return True
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)


def inside(host: DockerHost, command: str, **settings: Any) -> str:
    """Run a shell command in a container; returns what it wrote."""
    client = host.client()
    body = {"Image": load(host, "tiny"), "Cmd": ["sh", "-c", command], "HostConfig": settings}
    container = client.create_container_from_config(body)["Id"]
    client.start(container)
    client.wait(container)
    text: bytes = client.logs(container)
    return text.decode()


def gpu_request(host: DockerHost, *uuids: str) -> dict[str, Any]:
    """Return the device request for GPUs, as each engine wants it."""
    if host.settings.engine == "modern":
        return {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={uuid}" for uuid in uuids]}
    return {"Driver": "nvidia", "DeviceIDs": list(uuids), "Capabilities": [["gpu"]]}


def test_each_engine_speaks_its_version_of_the_api(fleet: DockerFleet) -> None:
    """Debian's is older than CDI; the one from modules is as new as they come."""
    found = {name: host.client().version()["ApiVersion"] for name, host in fleet.items()}
    assert found == {"debian": "1.41", "modern": "1.56"}
    assert {host.client().info()["Name"] for host in fleet.values()} == set(fleet)


def test_a_daemon_can_refuse_old_clients() -> None:
    """As Docker 29.0 to 29.2 do: a client of version 1.41 is refused at its first call, one of 1.44 is not."""
    with need(docker_fleet({"wn1": Settings("modern", min_api="1.44")})) as fleet:
        with pytest.raises(APIError, match=r"too old.*1\.44"):
            over_tls(fleet["wn1"]).info()
        assert fleet["wn1"].client().info()["Name"] == "wn1"


def test_only_a_clients_certificate_of_the_hosts_own_authority_is_let_in(host: DockerHost, fleet: DockerFleet) -> None:
    """One that has expired, one of another authority and none at all are refused."""
    assert over_tls(host).ping()
    for folder in (fleet.authority.expired_client(), fleet.authority.foreign_client()):
        with pytest.raises((DockerException, OSError)):
            over_tls(host, folder).info()
    with pytest.raises(OSError, match=r"HTTP Error 400|Bad Request"):  # plain HTTP
        body_of(f"http://{host.ip}:2376/info")


def test_a_server_outlives_its_daemon(host: DockerHost) -> None:
    """Stopped, killed and started again: the container is the same one and answers all the time."""
    url = served(host)
    assert eventually(lambda: body_of(url) == b"tiny\n")
    begun = host.client().inspect_container("server")["State"]["StartedAt"]
    for end in (host.stop, host.kill9):
        end()
        assert body_of(url) == b"tiny\n"
        with pytest.raises(OSError, match="refused"), socket.create_connection((host.ip, 2376), timeout=2):
            pass
        host.start()
        state = host.client().inspect_container("server")["State"]
        assert (state["Running"], state["StartedAt"]) == (True, begun)


def test_a_frozen_daemon_takes_connections_and_never_answers(host: DockerHost) -> None:
    """That is what a hung daemon looks like from outside; thawed, it goes on."""
    host.freeze()
    with socket.create_connection((host.ip, 2376), timeout=2):
        pass
    with pytest.raises(DockerException, match="timed out"):
        host.client(timeout=1)
    host.thaw()
    assert host.client().ping()


def test_a_crashed_host_is_gone_whole_and_comes_back_with_its_disk(host: DockerHost, fleet: DockerFleet) -> None:
    """Its containers have ended, the others' have not, and the machine's address stays on the network."""
    url = served(host)
    (other,) = (one for one in fleet.values() if one is not host)
    assert eventually(lambda: body_of(url) == b"tiny\n")
    host.crash()
    with pytest.raises(OSError, match=r"timed out|No route"):
        body_of(url, timeout=1)
    assert other.client().ping()
    with socket.socket() as listener:
        listener.bind((fleet.hub_ip, 0))
    host.back()
    state = host.client().inspect_container("server")["State"]
    assert (state["Status"], state["Running"]) == ("exited", False)
    assert over_tls(host).info()["Name"] == host.name


def test_a_cut_network_loses_packets_until_it_is_mended(host: DockerHost) -> None:
    """The host and its servers go on; nobody reaches them."""
    url = served(host)
    assert eventually(lambda: body_of(url) == b"tiny\n")
    host.cut()
    with pytest.raises(OSError, match=r"timed out|No route"):
        body_of(url, timeout=1)
    assert host.client().inspect_container("server")["State"]["Running"]
    host.mend()
    assert eventually(lambda: body_of(url) == b"tiny\n")


def test_a_container_sees_what_is_mounted_later_below_a_shared_folder(host: DockerHost, tmp_path: Path) -> None:
    """By ``rslave``, as CVMFS needs it; without it never."""
    shared = host.share(tmp_path / host.name)
    (shared / "repository").mkdir()
    mounts = [
        {"Type": "bind", "Source": str(shared), "Target": f"/{mode}", "BindOptions": {"Propagation": mode}}
        for mode in ("rslave", "rprivate")
    ]
    served(host, Mounts=mounts)
    host.run_on_host("mount", "-t", "tmpfs", "tmpfs", shared / "repository")
    host.run_on_host("touch", shared / "repository" / "seen")
    client = host.client()
    listing = client.exec_create("server", ["ls", "/rslave/repository", "/rprivate/repository"])
    assert client.exec_start(listing["Id"]).decode().split() == ["/rprivate/repository:", "/rslave/repository:", "seen"]
    assert not (shared / "repository" / "seen").exists()  # the machine's own view has no such mount


def test_a_granted_gpu_can_be_opened_and_no_other(host: DockerHost) -> None:
    """ENXIO is an open that the kernel allowed and no driver answered; EPERM is one that it did not allow."""
    first, second = host.gpus
    lines = inside(host, TRY_DEVICES, DeviceRequests=[gpu_request(host, second)]).splitlines()
    assert [REFUSED in lines[0], GRANTED in lines[1], len(lines)] == [True, True, 2]
    lines = inside(host, TRY_DEVICES, DeviceRequests=[gpu_request(host, first, second)]).splitlines()
    assert [GRANTED in line for line in lines] == [True, True]
    lines = inside(host, TRY_DEVICES).splitlines()
    assert [REFUSED in line for line in lines] == [True, True]


def test_an_unknown_gpu_fails_the_start_and_leaves_the_container(host: DockerHost, fleet: DockerFleet) -> None:
    """As with the real ones: create succeeds, start is refused.  UUIDs of one host mean nothing to another."""
    (foreign,) = (one.gpus[0] for one in fleet.values() if one is not host)
    with pytest.raises(APIError) as refused:
        inside(host, "true", DeviceRequests=[gpu_request(host, foreign)])
    assert (refused.value.status_code, foreign in str(refused.value)) == (500, True)
    assert [one["State"] for one in host.client().containers(all=True)] == ["created"]


def pull(host: DockerHost, image: str) -> list[dict[str, Any]]:
    """Pull an image; returns everything that the daemon says of it."""
    return list(host.client().pull(image, stream=True, decode=True))


def test_a_pull_can_be_slow_or_break(host: DockerHost, shelf: Registry) -> None:
    """Slow, it still ends well; broken in the middle it ends with an error, and later it works again."""
    name = f"{host.name}:1"
    image = shelf.publish(name, padding=os.urandom(2 << 20))
    shelf.slow(1.5, shelf.size(name))
    begun = time.monotonic()
    assert "error" not in pull(host, image)[-1]
    assert time.monotonic() - begun > 1
    host.client().remove_image(image)
    shelf.mend()
    shelf.breaks(shelf.size(name) // 2)
    assert "reset" in pull(host, image)[-1]["error"]
    shelf.mend()
    assert "error" not in pull(host, image)[-1]
    host.client().remove_image(image)
    assert "Downloaded newer image" in pull(host, image)[-1]["status"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_disk_refuses_a_pull(fleet: DockerFleet, shelf: Registry, engine: str) -> None:
    """And takes it when there is room again."""
    name = f"full-{engine}"
    fleet.add({name: Settings(engine, disk="40m")})
    host = fleet[name]
    image = shelf.publish("big:1", padding=os.urandom(4 << 20))
    host.full_disk()
    assert "no space left on device" in pull(host, image)[-1]["error"]
    host.room_again()
    assert "error" not in pull(host, image)[-1]


def test_a_delay_is_added_to_every_call(host: DockerHost) -> None:
    """Over a new connection and over an old one, and without another certificate or address."""
    with delayed(host, 0.2) as url:
        client = over_tls(host, url=url)
        for _ in range(3):
            begun = time.monotonic()
            client.ping()
            assert time.monotonic() - begun >= 0.2
    with pytest.raises(OSError, match="refused"), socket.create_connection((host.ip, 2377), timeout=2):
        pass


HOLD = """
import time
from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.images import load
with docker_fleet({"wn1": Settings()}) as fleet:
    host = fleet["wn1"]
    client = host.client()
    client.create_container_from_config({"Image": load(host, "tiny"), "HostConfig": {}}, "one")
    client.start("one")
    print(fleet.lan.number, fleet.folder, host.cgroup, flush=True)
    time.sleep(600)
"""


def traces(number: str, folder: str, cgroup: str) -> list[str]:
    """Return what is there of a fleet: interfaces, processes, folders, control groups, mounts."""
    found = [name for name in os.listdir("/sys/class/net") if name == f"nbplatform{number}"]
    found += [str(path) for path in (Path(folder), *Path("/sys/fs/cgroup").glob(f"*/{cgroup}")) if path.exists()]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if folder in path.read_text(errors="replace"):
                found.append(f"process {path.parent.name}")
    return found + [line for line in Path("/proc/self/mounts").read_text().splitlines() if folder in line]


def test_nothing_is_left_when_the_owner_is_killed(fleet: DockerFleet) -> None:
    """No interface, process, folder, control group or mount; and two fleets at once have two networks."""
    owner = subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    try:
        words = owner.stdout.readline().split()
        assert int(words[0]) != fleet.lan.number
        assert len(traces(*words)) > 5
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    assert eventually(lambda: traces(*words) == [], 60), traces(*words)


def test_who_is_not_root_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the tests skip with it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingComponent, match=r"^Docker hosts for tests need root$"):
        docker_engine.engine("debian")


def test_a_modern_docker_that_is_not_built_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the reason, if the build has failed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingComponent, match=r"python -m tests\.components\.docker_modern"):
        docker_modern.modern_docker()
    go = docker_modern.found_go()
    if go is not None:
        folder = docker_modern.place(go)
        folder.mkdir(parents=True)
        (folder / "failed").write_text("runc could not be built\n")
        with pytest.raises(MissingComponent, match=r"not built: runc could not be built$"):
            docker_modern.modern_docker()


def test_what_a_modern_docker_is_built_of_decides_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Go or other flags never give an old build."""
    places = set()
    for version in ("go1.26.3", "go1.26.8"):
        monkeypatch.setattr(docker_modern, "go_version", lambda go, version=version: version)
        for flags in ("-s -w", "-s"):
            program = docker_modern.Program("dockerd", "example.org/dockerd", "netgo", flags)
            monkeypatch.setattr(docker_modern, "programs", lambda program=program: (program,))
            places.add(docker_modern.place(Path("go")))
    assert len(places) == 4
