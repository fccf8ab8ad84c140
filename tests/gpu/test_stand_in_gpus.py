"""GPUs on hosts without any: the spawner's own servers on real Docker daemons, with device nodes that have no driver.

Each test runs twice.  ``cdi`` is Docker 29.8 with a CDI specification, and the real CDI code of Docker.  ``hook`` is
Docker 20.10 with a stand-in for NVIDIA's runtime hook, a program that Docker starts before the container.
``runtime`` is such a Docker 20.10 whose containers all run under a stand-in for NVIDIA's runtime.

What is seen: who is granted which device, what the control group lets through, what the environment says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.hosts.docker_tls import find_certificates
from nbplatform_spawners.render.docker import DockerView
from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.docker_gpus import install_hook
from tests.components.docker_host import DockerHost
from tests.components.hub import Hub, start_server, stop_server
from tests.components.images import TINY, load, tiny_root
from tests.components.need import need
from tests.docker.fleet_site import FleetSite, fleet_hub, make_fleet_site

from .without_hub import DENIED, HUB_ID, MAKE_AND_OPEN, NO_DRIVER, NODES, pairs, servers

GPUS = 3
ENGINES = ("cdi", "hook")
HOSTS = {
    "cdi": Settings("modern", gpus=GPUS),
    "hook": Settings("debian", gpus=GPUS),
    "cdi-lost": Settings("modern", gpus=1),
    "hook-lost": Settings("debian", gpus=1),
}
UNKNOWN = {
    "cdi-lost": "GPU-00000000-0000-4000-8000-00000000000c",
    "hook-lost": "GPU-00000000-0000-4000-8000-00000000000f",
}
"""What the rules say that these hosts have, and what they have not."""
BAKED = "nbplatform/tiny:asks-for-all"
OPEN_IN_ITS_GROUP = """
set -e
group=$(sed -n 's/^[0-9]*:devices://p' "/proc/$1/cgroup")
echo $$ > "/sys/fs/cgroup/devices$group/cgroup.procs"
for minor in %s; do
  if said=$( (exec 3<"$2/nvidia$minor") 2>&1 ); then said=opened; fi
  echo "$minor=${said##*: }"
done
"""
RUNTIME = """#!/bin/sh
exec '{python}' -I -S '{program}' "$@"
"""
RUNTIME_PROGRAM = """
import json, os, shutil, sys
words = sys.argv[1:]
if "create" in words:
    path = os.path.join(words[words.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    name = "nvidia-container-runtime-hook"
    hook = {"path": shutil.which(name), "args": [name, "prestart"]}
    hooks = config.setdefault("hooks", {}).setdefault("prestart", [])
    if not any(one["path"] == hook["path"] for one in hooks):  # Docker's own, for a device request
        hooks.append(hook)
    with open(path, "w") as file:
        json.dump(config, file)
os.execvp("runc", ["runc", *words])
"""
DEFAULTS = "defaults: {memory: 256M, cpu: 1, quota: {servers: 9, gpus: 9}}\n"


def rules(site: FleetSite) -> str:
    """Return rules with a pool for each host; those of the ``lost`` ones name a GPU that the host does not have."""
    pools, profiles = ["pools:"], ["profiles:"]
    for name, host in site.fleet.items():
        entry = site.entry(name)
        if name in UNKNOWN:
            entry = entry.replace(host.gpus[0], UNKNOWN[name])
        pools.append(f"  {name}: {{hosts: [{entry}]}}")
        for profile, more in (
            ("cpu", f'image: "{TINY}"'),
            ("asks", f'image: "{BAKED}"'),
            ("gpu", f'gpus: 1, image: "{BAKED}"'),
            ("two", f'gpus: 2, image: "{TINY}"'),
        ):
            profiles.append(f"  {profile}-{name}: {{title: {profile}, pool: {name}, {more}, allow: true}}")
    return "\n".join([*pools, *profiles, DEFAULTS])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetSite]:
    """A host of each kind with three GPUs, one of each kind whose GPU the rules do not know, one with a runtime."""
    runtime = write_runtime(tmp_path_factory.mktemp("runtime"))
    daemon = {"runtimes": {"nvidia": {"path": str(runtime)}}, "default-runtime": "nvidia"}
    with need(docker_fleet({**HOSTS, "runtime": Settings("debian", gpus=2, daemon=daemon)})) as fleet:
        install_hook(fleet["cdi-lost"].folder / "path", [UNKNOWN["cdi-lost"]])
        fleet["cdi-lost"].stop()
        fleet["cdi-lost"].start()  # it looks for the hook when it starts
        for host in fleet.values():
            load(host, "tiny")
            load_baked(host)
        found = make_fleet_site(fleet, {"cpu": tuple(fleet)})
        found.site.write_rules(rules(found))
        yield found


def write_runtime(folder: Path) -> Path:
    """Write a stand-in for NVIDIA's OCI runtime: ``runc``, with the hook before each container; returns its path."""
    program, runtime = folder / "runtime.py", folder / "nvidia-container-runtime"
    program.write_text(RUNTIME_PROGRAM)
    runtime.write_text(RUNTIME.format(python=sys.executable, program=program))
    runtime.chmod(0o755)
    return runtime


def load_baked(host: DockerHost) -> None:
    """Make an image whose environment asks for all GPUs, as NVIDIA's CUDA images do."""
    changes = ['CMD ["nbplatform-singleuser"]', "ENV NVIDIA_VISIBLE_DEVICES=all"]
    repository, _, tag = BAKED.rpartition(":")
    with closing(host.client()) as client:
        client.import_image_from_data(tiny_root(), repository=repository, tag=tag, changes=changes)


@pytest.fixture(scope="module")
def hub(site: FleetSite) -> Iterator[Hub]:
    """The module's hub; ``gpu_runtime`` is left at ``auto``."""
    with need(fleet_hub(site)) as one:
        yield one


@pytest.fixture(autouse=True)
def stopped(hub: Hub) -> Iterator[None]:
    """Every server that a test started is stopped, whatever became of the test."""
    yield
    for user in hub.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(hub, user["name"], name)


class Server:
    """A running server.

    Attributes:
        host: where it is.
        gpus: UUIDs of its GPUs, as the hub's record has them.
        minors: minor numbers of the nodes of these.
        inspected: what ``docker inspect`` says of it.
    """

    def __init__(self, site: FleetSite, hub: Hub, user: str) -> None:
        state = hub.api("GET", f"users/{user}").json["servers"][""]["state"]
        self.host: DockerHost = site.fleet[state["host"]]
        self.gpus: list[str] = state["gpus"]
        self.minors = [self.host.gpus.index(gpu) for gpu in self.gpus]
        with closing(self.host.client()) as client:
            self.inspected: dict[str, Any] = client.inspect_container(state["object_id"])

    def run(self, *words: str) -> str:
        """Run ``docker exec`` on it."""
        return self.host.cli("exec", *words)

    def nodes(self) -> dict[str, str]:
        """Return the GPU nodes in its ``/dev``, and what its own user is told who opens them."""
        return pairs(self.run(self.inspected["Id"], "sh", "-c", NODES))

    def made_nodes(self) -> dict[int, str]:
        """Return what root, with every capability and no more than the container's devices, is told who opens a GPU."""
        minors = " ".join(map(str, range(len(self.host.gpus))))
        if self.host.settings.engine == "modern":
            words = ("--privileged", "--user", "0:0", self.inspected["Id"], "sh", "-c", MAKE_AND_OPEN % minors)
            said = self.run(*words)
        else:  # this runc gives nobody capabilities inside such a container
            program, pid = OPEN_IN_ITS_GROUP % minors, str(self.inspected["State"]["Pid"])
            said = self.host.run_on_host("bash", "-c", program, "bash", pid, self.host.folder / "gpus")
        return {int(minor): answer for minor, answer in pairs(said).items()}

    @property
    def environment(self) -> dict[str, str]:
        """The environment that Docker was told."""
        return pairs("\n".join(self.inspected["Config"]["Env"]))

    def process_environment(self) -> dict[str, str]:
        """Return the environment of its first process."""
        return pairs(self.run(self.inspected["Id"], "cat", "/proc/1/environ").replace("\0", "\n"))


def started(site: FleetSite, hub: Hub, user: str, profile: str) -> Server:
    """Return a server that runs."""
    events = start_server(hub, user, {"profile": profile})
    assert events[-1].get("ready"), events
    return Server(site, hub, user)


def refused(hub: Hub, user: str, profile: str) -> str:
    """Return what a user is told who is refused a server."""
    event = start_server(hub, user, {"profile": profile})[-1]
    assert event.get("failed"), event
    return str(event["message"])


def device_requests(engine: str, gpus: list[str]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return what Docker is asked for: driver, devices, capabilities."""
    if engine == "cdi":
        return [("cdi", [f"nvidia.com/gpu={gpu}" for gpu in gpus], [])]
    return [("nvidia", gpus, [["gpu"]])]


@pytest.mark.parametrize("profile", ["gpu", "two"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_has_the_gpus_it_was_granted_and_no_other(
    site: FleetSite, hub: Hub, engine: str, profile: str
) -> None:
    """Their nodes are there and open (ENXIO: no driver); the others' do not, not even for root (EPERM)."""
    server = started(site, hub, "ada", f"{profile}-{engine}")
    assert len(server.gpus) == (1 if profile == "gpu" else 2)
    own = [f"/dev/nvidia{minor}" for minor in server.minors]
    assert server.nodes() == dict.fromkeys([*own, "/dev/nvidiactl"], NO_DRIVER)
    assert server.made_nodes() == {minor: NO_DRIVER if minor in server.minors else DENIED for minor in range(GPUS)}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_granted_gpu_is_asked_for_by_uuid_twice(site: FleetSite, hub: Hub, engine: str) -> None:
    """By the device request and by the variable, though the image asks for all; the label tells the ledger."""
    server = started(site, hub, "ada", f"gpu-{engine}")
    asked = server.inspected["HostConfig"]["DeviceRequests"]
    assert [(one["Driver"], one["DeviceIDs"], one["Capabilities"] or []) for one in asked] == device_requests(
        engine, server.gpus
    )
    assert server.environment["NVIDIA_VISIBLE_DEVICES"] == server.gpus[0]
    assert json.loads(server.inspected["Config"]["Labels"]["nbplatform.gpus"]) == server.gpus
    # a CDI specification takes the variable away, lest the hook act on it as well
    seen = "void" if engine == "cdi" else server.gpus[0]
    assert server.process_environment()["NVIDIA_VISIBLE_DEVICES"] == seen


@pytest.mark.parametrize("profile", ["cpu", "asks"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_without_a_gpu_has_none(site: FleetSite, hub: Hub, engine: str, profile: str) -> None:
    """Also when its image asks for all of them: ``void``, no node, and none that root makes can be opened."""
    server = started(site, hub, "ada", f"{profile}-{engine}")
    assert server.environment["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert server.process_environment()["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert not server.inspected["HostConfig"]["DeviceRequests"]
    assert server.nodes() == {}
    assert server.made_nodes() == dict.fromkeys(range(GPUS), DENIED)


def test_void_protects_from_an_nvidia_runtime_for_all_containers(site: FleetSite, hub: Hub) -> None:
    """Where all containers run under NVIDIA's runtime, an image that asks for all GPUs gets them; a server does not."""
    host = site.fleet["runtime"]
    listed = pairs(host.cli("run", "--rm", "--network", "none", BAKED, "sh", "-c", NODES))
    assert listed == dict.fromkeys(["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"], NO_DRIVER)
    without = started(site, hub, "ada", "asks-runtime")
    assert without.nodes() == {}
    assert without.made_nodes() == {0: DENIED, 1: DENIED}
    granted = started(site, hub, "ben", "gpu-runtime")
    assert granted.nodes() == dict.fromkeys([f"/dev/nvidia{granted.minors[0]}", "/dev/nvidiactl"], NO_DRIVER)


@pytest.mark.parametrize("engine", ENGINES)
def test_each_gpu_is_granted_once_and_then_refused_with_numbers(site: FleetSite, hub: Hub, engine: str) -> None:
    """Two servers hold three GPUs between them; who asks then is told so, and is served when one has stopped."""
    first, second = started(site, hub, "ada", f"two-{engine}"), started(site, hub, "ben", f"gpu-{engine}")
    assert sorted([*first.gpus, *second.gpus]) == sorted(site.fleet[engine].gpus)
    said = refused(hub, "eve", f"gpu-{engine}")
    assert f"3 of 3 GPUs of {engine} are taken" in said
    stop_server(hub, "ben")
    assert started(site, hub, "eve", f"gpu-{engine}").gpus == second.gpus


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gpu_that_the_host_does_not_have_is_a_clear_error(site: FleetSite, hub: Hub, engine: str) -> None:
    """The user reads which GPU and which host; no container is left, and the host's other GPU is not taken instead."""
    host = site.fleet[f"{engine}-lost"]
    said = refused(hub, "ada", f"gpu-{engine}-lost")
    assert UNKNOWN[host.name] in said
    assert host.name in said
    assert host.cli("ps", "--all", "--quiet") == ""
    assert started(site, hub, "ada", f"cpu-{engine}-lost").nodes() == {}


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_way_without_a_hub_grants_the_same(site: FleetSite, hub: Hub, engine: str) -> None:
    """The tests on a real GPU go this way: what they prove holds for the spawner, whose parts these are."""
    host = site.fleet[engine]
    view = DockerView(
        hub_id=HUB_ID,
        gpu="cdi" if engine == "cdi" else "nvidia",
        network="none",
        port=8888,
        publish="",
        pids=256,
        roots=("/home",),
    )
    async with servers(rules(site), view, find_certificates(str(site.fleet.certificates), host.name)) as platform:
        server = await platform.start("alice", f"gpu-{engine}")
        (gpu,) = server.plan.placement.gpus
        own = f"/dev/nvidia{host.gpus.index(gpu)}"
        assert await server.nodes() == dict.fromkeys([own, "/dev/nvidiactl"], NO_DRIVER)
        assert [held.gpus for held in platform.holdings()] == [(gpu,)]
        by_spawner = started(site, hub, "ada", f"gpu-{engine}")
        assert _closed(await server.door.call("inspect_container", server.lease.id)) == _closed(by_spawner.inspected)
        assert await platform.end(server)
        assert platform.holdings() == ()


def _closed(inspected: dict[str, Any]) -> dict[str, Any]:
    """Return what keeps a container in its bounds."""
    host_config = inspected["HostConfig"]
    keys = ("CapAdd", "CapDrop", "SecurityOpt", "Privileged", "Devices", "DeviceCgroupRules", "DeviceRequests", "Init")
    return {key: host_config[key] for key in keys}


def test_cdi_does_not_fall_back_to_a_hook_that_has_the_gpu(site: FleetSite, hub: Hub) -> None:
    """A hook beside CDI would grant what CDI does not know: asked by the other driver it does, by ours nobody does."""
    host = site.fleet["cdi-lost"]
    with closing(host.client()) as client:
        request = {"Driver": "nvidia", "DeviceIDs": [UNKNOWN[host.name]], "Capabilities": [["gpu"]]}
        body = {"Image": TINY, "HostConfig": {"DeviceRequests": [request], "NetworkMode": "none"}}
        made = client.create_container_from_config(body)["Id"]
        try:
            client.start(made)
            assert pairs(host.cli("exec", made, "sh", "-c", NODES))["/dev/nvidia0"] == NO_DRIVER
        finally:
            client.remove_container(made, force=True)
    assert "CDI" in refused(hub, "ada", "gpu-cdi-lost")
    assert host.cli("ps", "--all", "--quiet") == ""
