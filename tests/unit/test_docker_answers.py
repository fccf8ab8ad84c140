"""A daemon's answers as values."""

from datetime import UTC, datetime
from typing import Any

import pytest

from nbplatform_spawners.hosts.docker_answers import (
    HostInfo,
    ImageInfo,
    Inspection,
    NetworkInfo,
    host_info,
    image_info,
    inspection,
    network_info,
)


def test_a_modern_daemon_is_read_whole() -> None:
    """Each field has its place; unknown ones are passed over."""
    answer = {
        "ServerVersion": "29.8.0",
        "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
        "NCPU": 16,
        "MemTotal": 1 << 37,
        "ContainersRunning": 3,
        "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
        "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=GPU-1"}, {"Source": "other", "ID": "x"}],
        "Runtimes": {"runc": {}, "nvidia": {}},
        "Driver": "overlayfs",
        "DockerRootDir": "/var/lib/docker",
        "SystemTime": "2026-11-23T10:42:44.708475123Z",
        "Warnings": ["WARNING: no swap\nlimit"],
        "LiveRestoreEnabled": True,
        "SomethingNew": 1,
    }
    assert host_info(answer, "1.51") == HostInfo(
        server_version="29.8.0",
        api_version="1.51",
        os="Debian GNU/Linux 12 (bookworm)",
        cpus=16,
        memory=1 << 37,
        containers_running=3,
        cdi=True,
        devices=("nvidia.com/gpu=GPU-1",),
        runtimes=("nvidia", "runc"),
        storage_driver="overlayfs",
        root_dir="/var/lib/docker",
        clock=datetime(2026, 11, 23, 10, 42, 44, 708475, UTC),
        warnings=(r"'WARNING: no swap\nlimit'",),
        live_restore=True,
    )


def test_an_old_daemon_that_tells_little_is_read_as_far_as_it_goes() -> None:
    """What it does not tell is empty; it has no CDI."""
    info = host_info({"ServerVersion": "20.10.24", "Warnings": None, "Runtimes": None, "SystemTime": "soon"}, "1.41")
    assert (info.cdi, info.devices, info.runtimes, info.warnings, info.clock) == (False, (), (), (), None)


@pytest.mark.parametrize(
    ("text", "micro"), [("10:00:00Z", 0), ("10:00:00.5Z", 500000), ("10:00:00.123456789+00:00", 123456)]
)
def test_a_clock_of_any_precision_is_read(text: str, micro: int) -> None:
    """Go leaves out zeros at the end of a fraction."""
    clock = host_info({"SystemTime": f"2026-11-23T{text}"}, "1.41").clock
    assert clock == datetime(2026, 11, 23, 10, 0, 0, micro, UTC)


RUNNING = {
    "Id": "f" * 64,
    "Name": "/hub-alice",
    "Image": "sha256:1",
    "State": {"Status": "running", "ExitCode": 0, "OOMKilled": False, "Error": ""},
    "Config": {"Labels": {"nbplatform.hub": "t1"}},
    "NetworkSettings": {
        "Ports": {"8888/tcp": [{"HostIp": "10.0.0.1", "HostPort": "32768"}], "22/tcp": None},
        "Networks": {"none": {"IPAddress": ""}, "nbplatform": {"IPAddress": "172.18.0.2"}},
    },
}


def test_a_running_container_is_read_whole() -> None:
    """Its address is the first that any network gave it."""
    found = inspection(RUNNING, 8888)
    assert found == Inspection(
        id="f" * 64,
        name="hub-alice",
        state="running",
        exit_code=0,
        oom_killed=False,
        error="",
        image_id="sha256:1",
        port=32768,
        ip="172.18.0.2",
        labels={"nbplatform.hub": "t1"},
        networks={"none": "", "nbplatform": "172.18.0.2"},
    )
    assert found.hub == "t1"
    assert not found.ended


def test_another_port_is_not_the_servers() -> None:
    """Only the port that servers listen on counts."""
    assert inspection(RUNNING, 22).port == 0
    assert inspection(RUNNING, 80).port == 0


def test_an_ended_container_says_how() -> None:
    """Its own words are bounded and cannot break a log line."""
    state = {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "Error": "bad\n" + "x" * 9999}
    found = inspection({**RUNNING, "State": state, "NetworkSettings": {}, "Config": {"Labels": None}}, 8888)
    assert (found.ended, found.exit_code, found.oom_killed, found.hub, found.ip) == (True, 137, True, "", "")
    assert len(found.error) <= 300
    assert "\n" not in found.error


@pytest.mark.parametrize("port", ["", "x", "-1", None, 5])
def test_a_strange_port_is_no_port(port: Any) -> None:
    """Nothing is ever sent to a port that was not told plainly."""
    settings = {"Ports": {"8888/tcp": [{"HostPort": port}]}}
    assert inspection({**RUNNING, "NetworkSettings": settings}, 8888).port == 0


def test_images_and_networks_are_read() -> None:
    """A network is closed only where its option says so."""
    assert image_info({"Id": "sha256:1", "RepoDigests": ["r/x@sha256:2"], "Size": 5, "Created": "t"}) == ImageInfo(
        "sha256:1", ("r/x@sha256:2",), 5, "t"
    )
    assert image_info({"Id": "sha256:1", "RepoDigests": None}) == ImageInfo("sha256:1", (), 0, "")
    closed = {"Id": "1", "Name": "n", "Driver": "bridge", "Options": {"com.docker.network.bridge.enable_icc": "false"}}
    assert network_info(closed) == NetworkInfo("1", "n", "bridge", icc=False)
    assert network_info({**closed, "Options": None}) == NetworkInfo("1", "n", "bridge", icc=True)
