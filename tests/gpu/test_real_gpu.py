"""The machine's own GPU, granted by the project's own code through a real Docker: ``./scripts/gpu-tests`` runs this.

Each test goes the whole way from the rules to the container, and looks from inside as the user, from inside as root,
and from the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.hosts.docker_errors import HostRefused
from nbplatform_spawners.render.docker import DockerView
from tests.components.need import need

from .machine_image import PYTHON
from .real_gpu import BAKED, IMAGE, GpuHost, Torch, gpu_host
from .without_hub import DENIED, HUB_ID, Server, Servers, servers

# docker-py leaves a Unix socket to the garbage collector when nobody listens on it.
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket .*family=1:pytest.PytestUnraisableExceptionWarning")
LOOK = Path(__file__).with_name("look_inside.py").read_text()
UNKNOWN = "GPU-00000000-0000-4000-8000-000000000000"
STARTS = 5
RULES = """\
pools:
  gpu: {hosts: [{name: gpu01, url: "URL", memory: 16G, cpus: 1, gpus: [UUID]}]}
profiles:
  cpu: {title: "CPU", pool: gpu, image: "IMAGE", allow: true}
  asks: {title: "An image that asks for all GPUs", pool: gpu, image: "BAKED", allow: true}
  gpu: {title: "One GPU", pool: gpu, gpus: 1, memory: 8G, cpu: 4, image: "IMAGE", allow: true}
defaults: {memory: 512M, cpu: 1, quota: {servers: 1, gpus: 1}}
"""
TORCH_PROGRAM = """
import json, torch
numbers = torch.arange(1024, dtype=torch.float64, device="cuda")
print(json.dumps([torch.cuda.device_count(), torch.cuda.get_device_name(0), (numbers @ numbers).item()]))
"""

USE_PROGRAM = """
import json, os, time
from datetime import UTC, datetime
from nbplatform_spawners.singleuser.gpu_sampler import GpuSampler
sampler = GpuSampler(os.environ, lambda: datetime.now(UTC))
sampler.look()
first, _ = sampler.answer()
time.sleep(2)
sampler.look()
print(json.dumps([first, *sampler.answer()]))
"""


@pytest.fixture(scope="module")
def host(figures: list[str]) -> Iterator[GpuHost]:
    """The machine's GPUs behind a Docker daemon of the tests' own."""
    with need(gpu_host()) as one:
        models = ", ".join(gpu.model for gpu in one.gpus)
        figures.append(f"{models}; driver {one.driver}; Docker {one.engine}; CDI specification by {one.spec}")
        if one.torch:
            figures.append(f"PyTorch {one.torch.version}")
        yield one


@pytest.fixture
async def platform(host: GpuHost) -> AsyncIterator[Servers]:
    """The platform with the first GPU in its rules: there is one to be had."""
    async with opened(host, rules(host)) as one:
        yield one


def rules(host: GpuHost, uuid: str = "") -> str:
    """Return rules with one GPU: the machine's first, or another."""
    text = RULES.replace("URL", host.url).replace("UUID", uuid or host.gpus[0].uuid)
    return text.replace("IMAGE", IMAGE).replace("BAKED", BAKED)


def opened(host: GpuHost, text: str) -> AbstractAsyncContextManager[Servers]:
    """Return the platform with some rules.  The daemon has no network to publish on."""
    view = DockerView(
        hub_id=HUB_ID, gpu="cdi", network="none", port=8888, publish="", pids=1024, roots=("/home",), secrets_tmpfs=True
    )
    return servers(text, view)


async def look(server: Server) -> dict[str, Any]:
    """Return what NVML and CUDA say inside, to the server's own user."""
    answer: dict[str, Any] = json.loads(await server.run(PYTHON, "-I", "-S", "-", stdin=LOOK))
    return answer


async def test_a_granted_gpu_is_there_for_an_ordinary_user_and_computes(platform: Servers, host: GpuHost) -> None:
    """NVML and CUDA find exactly the granted UUID, and CUDA computes, for a uid without any capability."""
    server = await platform.start("alice", "gpu")
    granted = host.gpus[0].uuid
    status = dict(
        line.split(":\t", 1) for line in (await server.run("cat", "/proc/self/status")).splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == ["61001"] * 4
    assert {name: int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == dict.fromkeys(
        ("CapEff", "CapPrm", "CapBnd", "CapAmb"), 0
    )
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    seen = await look(server)
    assert seen == {"nvml": [granted], "cuda": {granted: [3 * number for number in range(1024)]}}


async def test_a_granted_server_has_the_node_of_its_gpu_alone(platform: Servers, host: GpuHost) -> None:
    """Its own GPU's node and the driver's control nodes open; another GPU's would not, not even for root."""
    server = await platform.start("alice", "gpu")
    nodes = await server.nodes()
    own = f"/dev/nvidia{host.gpus[0].minor}"
    assert [node for node in nodes if node.removeprefix("/dev/nvidia").isdecimal()] == [own]
    assert nodes[own] == "opened"
    others = [minor for minor in range(max(gpu.minor for gpu in host.gpus) + 2) if minor != host.gpus[0].minor]
    answers = await server.made_nodes([host.gpus[0].minor, *others])
    assert answers == {host.gpus[0].minor: "opened", **dict.fromkeys(others, DENIED)}


async def test_a_granted_gpu_is_named_in_the_environment_and_in_the_labels(platform: Servers, host: GpuHost) -> None:
    """The container says itself what it holds: the ledger reads the label, NVIDIA's runtime the variable."""
    server = await platform.start("alice", "gpu")
    assert (await server.environment())["NVIDIA_VISIBLE_DEVICES"] == host.gpus[0].uuid
    # the CDI specification takes it away from the processes, lest NVIDIA's hook act on it as well
    assert (await server.process_environment())["NVIDIA_VISIBLE_DEVICES"] == "void"
    inspected = await server.door.call("inspect_container", server.lease.id)
    assert json.loads(inspected["Config"]["Labels"]["nbplatform.gpus"]) == [host.gpus[0].uuid]
    (asked,) = inspected["HostConfig"]["DeviceRequests"]
    assert (asked["Driver"], asked["DeviceIDs"]) == ("cdi", [f"nvidia.com/gpu={host.gpus[0].uuid}"])


async def test_pytorch_computes_on_the_granted_gpu(platform: Servers, host: GpuHost) -> None:
    """What people run finds one GPU and computes on it."""
    torch = pytorch(host)
    server = await platform.start("alice", "gpu")
    count, model, total = json.loads(await server.run(torch.python, "-c", TORCH_PROGRAM))
    assert (count, model) == (1, host.gpus[0].model)
    assert total == sum(number * number for number in range(1024))


def pytorch(host: GpuHost) -> Torch:
    """Return the machine's PyTorch, or skip."""
    if host.torch is None:
        pytest.skip("no Python with PyTorch here: name one with --torch")
    return host.torch


@pytest.mark.parametrize("profile", ["cpu", "asks"])
async def test_a_server_without_a_gpu_finds_none(platform: Servers, host: GpuHost, profile: str) -> None:
    """Nothing of a GPU is there, also when the image asks for all of them; root is not let through either."""
    server = await platform.start("alice", profile)
    assert (await server.environment())["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert (await server.process_environment())["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert await server.nodes() == {}
    minors = [gpu.minor for gpu in host.gpus]
    assert await server.made_nodes([*minors, 255]) == dict.fromkeys([*minors, 255], DENIED)
    seen = await look(server)
    assert seen["nvml"] == "error: Driver Not Loaded"
    assert str(seen["cuda"]).startswith("error: cuInit: CUDA_ERROR_")


async def test_the_only_gpu_is_granted_once_and_refused_with_numbers(platform: Servers, host: GpuHost) -> None:
    """Who comes second is told at once; the next one gets the GPU when the container is gone."""
    first = await platform.start("alice", "gpu")
    with pytest.raises(Refusal, match=r"1 of 1 GPU of .*gpu.* is taken") as refused:
        await platform.start("bob", "gpu")
    assert refused.value.reason == "full"
    assert await platform.end(first)
    second = await platform.start("bob", "gpu")
    assert second.plan.placement.gpus == (host.gpus[0].uuid,)
    assert (await look(second))["nvml"] == [host.gpus[0].uuid]


async def test_a_lease_outlives_the_daemon(platform: Servers, host: GpuHost) -> None:
    """While Docker is dead its server runs on and holds its GPU; it is ended when Docker is back, and then is free."""
    server = await platform.start("alice", "gpu", (PYTHON, "-I", "-S", "-c", LOOK, "hold"))
    await until_in_use(host)
    watched = platform.fleet["gpu01"]
    host.kill9()
    await watched.refresh()
    assert not watched.answers
    assert not await platform.end(server)
    with pytest.raises(Refusal, match="does not answer"):
        await platform.start("bob", "gpu")
    assert [held.gpus for held in platform.holdings()] == [(host.gpus[0].uuid,)]
    assert in_use(host) != []
    host.start()
    await watched.refresh()
    with pytest.raises(Refusal, match="is taken"):
        platform.admitted("bob", "gpu")
    await platform.fleet.end_leaving("gpu01", 1)
    assert platform.holdings() == ()
    assert in_use(host) == []
    await platform.start("bob", "gpu")


async def test_an_unknown_gpu_is_a_clear_error_and_leaves_nothing(host: GpuHost) -> None:
    """A GPU of the rules that the machine does not have is never replaced by another one."""
    async with opened(host, rules(host, UNKNOWN)) as platform:
        with pytest.raises(HostRefused, match=rf"host gpu01 says no: .*{UNKNOWN}"):
            await platform.start("alice", "gpu")
        assert await platform.fleet["gpu01"].door.containers() == ()
        assert platform.holdings() == ()


def test_hosts_check_compares_the_rules_with_the_machine(host: GpuHost, tmp_path: Path) -> None:
    """``nbplatform hosts check`` knows the machine's GPUs from the driver itself."""
    every = ", ".join(gpu.uuid for gpu in host.gpus)
    assert gpu_findings(host, tmp_path, every) == []
    (missing, missing_device) = gpu_findings(host, tmp_path, UNKNOWN)
    assert f"{UNKNOWN} of the rules is not in the machine, which has {every} instead" in missing
    assert f"no CDI device for {UNKNOWN} of the rules" in missing_device


def gpu_findings(host: GpuHost, folder: Path, uuids: str) -> list[str]:
    """Return what ``nbplatform hosts check`` says of GPUs, rules with these UUIDs given."""
    (folder / "site.yaml").write_text(rules(host, uuids))
    command = [sys.executable, "-m", "nbplatform_spawners.cli", "hosts", "check", "--json", "--rules", folder]
    done = subprocess.run([*command, "--mount-root", "/home"], capture_output=True, text=True)
    assert done.stdout, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert not [one for one in findings if one["about"] == "not looked at"], findings
    return sorted(one["message"] for one in findings if one["about"] == "gpu")


async def test_the_machine_knows_whose_container_uses_a_gpu(platform: Servers, host: GpuHost) -> None:
    """From a GPU's process to its container to its labels: user and server."""
    server = await platform.start("alice", "gpu", (PYTHON, "-I", "-S", "-c", LOOK, "hold"))
    (pid,) = await until_in_use(host)
    assert server.lease.id in cgroups(pid)
    (container,) = await server.door.containers()
    assert (container.id, container.user, container.gpus) == (server.lease.id, "alice", (host.gpus[0].uuid,))


def test_the_use_of_a_real_gpu_is_read_from_the_drivers_ring(host: GpuHost) -> None:
    """What a server's own look finds: one GPU of its own, no more seconds than have passed, and nothing twice."""
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": host.gpus[0].uuid}
    done = subprocess.run([sys.executable, "-c", USE_PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, again, problem = json.loads(done.stdout)
    assert problem is None
    assert first["count"] == again["count"] == 1
    assert 0 <= first["seconds_used"] <= 30
    assert 0 <= again["seconds_used"] - first["seconds_used"] <= 30


def cgroups(pid: int) -> str:
    """Return in which control groups a process is, as the machine says."""
    return Path(f"/proc/{pid}/cgroup").read_text()


def in_use(host: GpuHost) -> list[int]:
    """Return the processes that compute on the first GPU, as the machine counts them."""
    program = shutil.which("nvidia-smi") or "nvidia-smi"
    query = ["--query-compute-apps=pid", "--format=csv,noheader", f"--id={host.gpus[0].uuid}"]
    listed = subprocess.run([program, *query], capture_output=True, text=True, check=True).stdout
    return [int(line) for line in listed.split() if line.isdecimal() and os.path.exists(f"/proc/{line}")]


async def until_in_use(host: GpuHost) -> list[int]:
    """Wait until a process computes on the first GPU."""
    limit = time.monotonic() + 60
    while not (found := in_use(host)):
        assert time.monotonic() < limit, "nobody uses the GPU"
        await asyncio.sleep(0.2)
    return found


async def test_how_long_a_start_takes(platform: Servers, figures: list[str]) -> None:
    """Figures for the reader; nothing is asserted about them."""
    taken: dict[str, list[float]] = {"cpu": [], "gpu": []}
    for _ in range(STARTS + 1):
        for profile, times in taken.items():
            begun = time.perf_counter()
            server = await platform.start("alice", profile)
            times.append(time.perf_counter() - begun)
            assert await platform.end(server)
    for profile, what in (("gpu", "with the GPU"), ("cpu", "without")):
        times = taken[profile][1:]
        shown = " ".join(f"{one:.3f}" for one in times)
        figures.append(f"container start {what}: median {statistics.median(times):.3f} s of {STARTS} ({shown})")
