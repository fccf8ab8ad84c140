"""Fifty users want a GPU at the same moment: a real hub, three real hosts, twelve GPUs (stand-ins for devices)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.hub import Answer, Hub, running_hub
from tests.components.images import load
from tests.components.need import need
from tests.docker.fleet_site import FleetSite, make_fleet_site

HOSTS = {
    "debian": Settings(gpus=4),
    "modern": Settings("modern", gpus=4),
    "strict": Settings("modern", min_api="1.44", gpus=4),
}
"""One by NVIDIA's runtime hook, two by CDI."""
USERS = [f"user{number:02}" for number in range(50)]
RULES = """\
pools:
  gpu: {hosts: [GPU_HOSTS]}
profiles:
  gpu: {title: "One GPU", pool: gpu, gpus: 1, image: "IMAGE", allow: true}
defaults: {memory: 64M, cpu: 1, quota: {servers: 2, gpus: 1}}
"""
PATIENT = """
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 55}
c.DockerFleetSpawner.call_limit = 60.0
c.DockerFleetSpawner.http_timeout = 60
"""
"""All hosts share few cores: nobody is given up for that, and each request ends when its start has."""


@pytest.fixture(scope="module")
def site() -> Iterator[FleetSite]:
    """Three hosts, four GPUs each."""
    with need(docker_fleet(HOSTS)) as fleet:
        for host in fleet.values():
            load(host, "tiny")
        made = make_fleet_site(fleet, {"gpu": tuple(HOSTS)})
        made.write_rules(RULES)
        accounts = [f"  {name}: {{uid: {63000 + number}, group: users}}" for number, name in enumerate(USERS)]
        (made.top / "accounts.yaml").write_text("\n".join(["groups: {users: 61000}", "accounts:", *accounts, ""]))
        yield made


@pytest.fixture(scope="module")
def hub(site: FleetSite) -> Iterator[Hub]:
    """A hub that knows the fifty."""
    with need(running_hub(site.config + PATIENT, hub_ip=site.fleet.hub_ip)) as one:
        assert one.api("POST", "users", json={"usernames": USERS}).status == 201
        yield one


def start(hub: Hub, user: str) -> Answer:
    """Ask for a server with a GPU; the answer comes when it is there, or refused."""
    return hub.api("POST", f"users/{user}/server", json={"profile": "gpu"})


def containers(site: FleetSite) -> dict[str, tuple[str, dict[str, Any]]]:
    """User to host and ``docker inspect`` of every container on all hosts."""
    found = {}
    for name, host in site.fleet.items():
        client = host.client()
        for listed in client.containers(all=True):
            one = client.inspect_container(listed["Id"])
            assert one["Config"]["Labels"]["nbplatform.user"] not in found, "two containers of one user"
            found[one["Config"]["Labels"]["nbplatform.user"]] = name, one
    return found


def gpu_of(site: FleetSite, host: str, one: dict[str, Any]) -> str:
    """The one GPU of a container: requested as a device, shown in the environment and in the label."""
    (request,) = one["HostConfig"]["DeviceRequests"]
    (device,) = request["DeviceIDs"]
    driver = "nvidia" if host == "debian" else "cdi"
    assert request["Driver"] == driver
    gpu = str(device).removeprefix("nvidia.com/gpu=")
    assert gpu in site.fleet[host].gpus, "another host's GPU"
    assert f"NVIDIA_VISIBLE_DEVICES={gpu}" in one["Config"]["Env"]
    assert json.loads(one["Config"]["Labels"]["nbplatform.gpus"]) == [gpu]
    return gpu


def test_twelve_of_fifty_get_a_gpu_each_and_the_others_are_told_at_once(site: FleetSite, hub: Hub) -> None:
    """Each GPU is in exactly one container; who gets none reads why, in the answer to the very request.

    When one of the twelve stops, the next one gets that GPU.
    """
    with ThreadPoolExecutor(len(USERS)) as pool:
        answers = dict(zip(USERS, pool.map(lambda user: start(hub, user), USERS), strict=True))
    served = [user for user, answer in answers.items() if answer.status == 201]
    refused = {user: answer for user, answer in answers.items() if answer.status != 201}
    assert len(served) == 12, {user: answer.text for user, answer in answers.items()}
    for answer in refused.values():
        assert answer.status == 503
        assert answer.headers["X-Nbplatform-Reason"] == "full"
        assert "12 of 12 GPUs of pool gpu are taken" in answer.json["message"]

    found = containers(site)
    assert sorted(found) == sorted(served)
    assert all(one["State"]["Running"] for _, one in found.values())
    granted = {user: gpu_of(site, host, one) for user, (host, one) in found.items()}
    assert sorted(granted.values()) == sorted(gpu for host in site.fleet.values() for gpu in host.gpus)

    leaves, comes = served[0], next(iter(refused))
    assert hub.api("DELETE", f"users/{leaves}/server").status == 204
    assert start(hub, comes).status == 201
    found = containers(site)
    assert leaves not in found
    assert gpu_of(site, *found[comes]) == granted[leaves]
    assert len(found) == 12
