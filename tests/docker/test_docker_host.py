"""The door to a host, in front of real daemons: Debian's 20.10, a 29.8, and one that refuses old clients."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.hosts.docker_errors import (
    ContainerGone,
    HostRefused,
    HostUnreachable,
    ImageMissing,
    NameTaken,
    PullFailed,
    SourceMissing,
)
from nbplatform_spawners.hosts.docker_host import DockerHost
from nbplatform_spawners.hosts.docker_tls import find_certificates
from tests.components.docker_fleet import DockerFleet, Settings, docker_fleet
from tests.components.docker_host import DockerHost as Machine
from tests.components.images import TINY, load
from tests.components.need import need
from tests.components.registry import registry

HOSTS = {
    "old": Settings(),
    "new": Settings("modern", gpus=1),
    "strict": Settings("modern", min_api="1.44"),
    "small": Settings(disk="150m"),
}
SPOKEN = {"old": ("20.10", "1.41", False), "new": ("29.", "1.51", True), "strict": ("29.", "1.51", True)}
PROBE = """
import socket, sys, time
for _ in range(int(sys.argv[2])):
    try:
        socket.create_connection((sys.argv[1], 8888), 2).close()
        print("yes", end="")
        break
    except OSError:
        time.sleep(0.1)
"""
LABELS = {"nbplatform.hub": "t1", "nbplatform.user": "alice", "nbplatform.memory": "1048576"}


@pytest.fixture(scope="module")
def fleet() -> Iterator[DockerFleet]:
    """The hosts; all but the small one have the tiny image."""
    with need(docker_fleet(HOSTS)) as hosts:
        for name in SPOKEN:
            load(hosts[name], "tiny")
        yield hosts


@pytest.fixture(params=list(SPOKEN))
def machine(fleet: DockerFleet, request: pytest.FixtureRequest) -> Machine:
    """Each of the hosts in turn."""
    return fleet[request.param]


@pytest.fixture
async def host(machine: Machine) -> AsyncIterator[DockerHost]:
    """The door to it; its containers go with the test."""
    one = door(machine)
    yield one
    for container in await one.containers():
        await one.remove(container.id)
    one.close()


def door(machine: Machine, certificates: Path | None = None, limit: float = 20.0) -> DockerHost:
    """Return a door to a host."""
    files = find_certificates(str(certificates or machine.certificates), machine.name)
    return DockerHost(machine.name, machine.url, files, hub_id="t1", limit=limit)


def config(machine: Machine, *command: str, **host_config: Any) -> dict[str, Any]:
    """Return what a container is created from: one that serves, unless it has a command."""
    published = {"8888/tcp": [{"HostIp": machine.ip, "HostPort": ""}]}
    return {
        "Image": TINY,
        **({"Cmd": list(command)} if command else {}),
        "Labels": LABELS,
        "ExposedPorts": {"8888/tcp": {}},
        "HostConfig": {"PortBindings": published, **host_config},
    }


async def ended(host: DockerHost, container: str) -> None:
    """Return when a container has ended."""
    async with asyncio.timeout(30):
        while not (await host.inspect(container)).ended:  # noqa: ASYNC110 - a daemon tells no event loop
            await asyncio.sleep(0.05)


async def test_a_daemon_tells_about_itself_in_the_version_that_both_know(
    fleet: DockerFleet, machine: Machine, host: DockerHost
) -> None:
    """Each host is spoken to in its own version, also one that refuses what another speaks."""
    server, api, cdi = SPOKEN[machine.name]
    info = await host.info()
    assert info.server_version.startswith(server)
    assert (info.api_version, info.cdi, info.live_restore) == (api, cdi, True)
    assert set(info.devices) >= {f"nvidia.com/gpu={gpu}" for gpu in machine.gpus}
    assert info.memory > 0 < info.cpus
    assert info.root_dir == str(machine.folder / "data")
    assert info.clock is not None
    assert info.clock.tzinfo is not None


async def test_the_life_of_a_container(machine: Machine, host: DockerHost) -> None:
    """What Docker itself shows is what was asked for; what is done already is done."""
    made = await host.create(config(machine), "hub-alice")
    (listed,) = await host.containers()
    assert (listed.id, listed.name, listed.state, listed.memory) == (made, "hub-alice", "created", 1 << 20)
    await host.start(made)
    await host.start(made)
    found = await host.inspect("hub-alice")
    assert (found.id, found.state, found.hub, found.port > 0, bool(found.ip)) == (made, "running", "t1", True, True)
    assert (await host.containers())[0].port == found.port
    client = machine.client()
    shown = client.inspect_container(made)
    client.close()
    assert shown["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"] == str(found.port)
    await host.stop(made, 5)
    await host.stop(made, 5)
    found = await host.inspect(made)
    assert (found.state, found.port) == ("exited", 0)
    await host.remove(made)
    await host.remove(made)
    with pytest.raises(ContainerGone):
        await host.inspect(made)


async def test_two_who_remove_a_container_at_once_are_both_content(machine: Machine, host: DockerHost) -> None:
    """A stop and the reaper may meet."""
    made = await host.create(config(machine), "one")
    await host.start(made)
    await asyncio.gather(*(host.remove(made) for _ in range(4)))
    assert await host.containers() == ()


GONE: dict[str, Callable[[DockerHost], Awaitable[object]]] = {
    "inspect": lambda host: host.inspect("gone"),
    "start": lambda host: host.start("gone"),
    "stop": lambda host: host.stop("gone", 1),
    "read": lambda host: host.read("gone", "/etc/passwd"),
    "put": lambda host: host.put("gone", "/", b""),
    "logs": lambda host: host.logs("gone"),
    "execute": lambda host: host.execute("gone", ["true"], b""),
}


@pytest.mark.parametrize("call", GONE)
async def test_a_container_that_is_not_there_is_told_positively(host: DockerHost, call: str) -> None:
    """Whatever the words of the daemon's version."""
    with pytest.raises(ContainerGone):
        await GONE[call](host)


async def test_what_stands_in_the_way_of_a_creation_is_told(machine: Machine, host: DockerHost) -> None:
    """An image, a folder, a name: each with what is needed to act."""
    with pytest.raises(ImageMissing):
        await host.create({**config(machine), "Image": "none:1"}, "one")
    mounts = [{"Type": "bind", "Source": "/not there", "Target": "/x"}]
    with pytest.raises(SourceMissing) as missing:
        await host.create(config(machine, Mounts=mounts), "one")
    assert missing.value.source == "/not there"
    made = await host.create(config(machine), "one")
    with pytest.raises(NameTaken) as taken:
        await host.create(config(machine), "one")
    assert taken.value.container == made
    assert len(await host.containers()) == 1


async def test_what_stands_in_the_way_of_a_start_is_told(
    fleet: DockerFleet, machine: Machine, host: DockerHost
) -> None:
    """The daemon says no with 500 to most; that is an answer all the same."""
    source = fleet.folder / f"vanishing-{machine.name}"
    source.mkdir()
    mounts = [{"Type": "bind", "Source": str(source), "Target": "/x"}]
    lost = await host.create(config(machine, Mounts=mounts), "lost")
    source.rmdir()
    with pytest.raises(SourceMissing) as missing:
        await host.start(lost)
    assert missing.value.source == str(source)
    busy = {"8888/tcp": [{"HostIp": machine.ip, "HostPort": "2376"}]}
    cases = {
        "no such program": config(machine, "/no/such/program"),
        "a port in use": config(machine, PortBindings=busy),
        "no GPU": config(machine, DeviceRequests=[{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=none"]}]),
        "no network": config(machine, NetworkMode="none-such"),
    }
    for name, body in cases.items():
        with pytest.raises(HostRefused) as caught:
            await host.start(await host.create(body, name.replace(" ", "-")))
        assert type(caught.value) is HostRefused


async def test_files_are_put_into_a_container_and_read_from_it(machine: Machine, host: DockerHost) -> None:
    """Before it has started; through one link; None for what is not there or is a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("etc/group")
        member.size = 9
        tar.addfile(member, io.BytesIO(b"users:x:1"))
        link = tarfile.TarInfo("etc/link")
        link.type, link.linkname = tarfile.SYMTYPE, "group"
        tar.addfile(link)
    made = await host.create(config(machine), "one")
    await host.put(made, "/", packed.getvalue())
    assert await host.read(made, "/etc/group") == b"users:x:1"
    assert await host.read(made, "/etc/link", 5) == b"users"
    for path in ("/etc/none", "/none/none", "/etc"):
        assert await host.read(made, path) is None
    with pytest.raises(HostRefused):
        await host.put(made, "/none", packed.getvalue())


async def test_a_container_that_ended_tells_how_and_what_it_wrote(machine: Machine, host: DockerHost) -> None:
    """Bounded, its errors too, whatever the bytes."""
    made = await host.create(config(machine, "sh", "-c", r"echo begin >&2; seq 9999; printf '\377end'; exit 7"), "one")
    await host.start(made)
    await ended(host, made)
    assert (await host.inspect(made)).exit_code == 7
    said = await host.logs(made, 100)
    assert len(said) == 100
    assert "\ufffdend" in said


async def test_a_container_that_uses_too_much_memory_is_told_as_such(machine: Machine, host: DockerHost) -> None:
    """So that the user reads why the server ended."""
    limits = {"Memory": 8 << 20, "MemorySwap": 8 << 20}
    made = await host.create(config(machine, "sh", "-c", "tail /dev/zero", **limits), "one")
    await host.start(made)
    await ended(host, made)
    found = await host.inspect(made)
    assert (found.oom_killed, found.exit_code) == (True, 137)


async def test_a_command_gets_its_whole_input_and_an_end_of_it(machine: Machine, host: DockerHost) -> None:
    """Over TLS, whatever it writes meanwhile; nothing of it is in a file, an argument or an environment."""
    made = await host.create(config(machine, Tmpfs={"/run/secret": "mode=0700"}), "one")
    with pytest.raises(HostRefused):
        await host.execute(made, ["true"], b"")
    await host.start(made)
    secret = os.urandom(200_000).hex().encode()
    assert await host.execute(made, ["sh", "-c", "umask 077; cat > /run/secret/key"], secret) == (0, "")
    assert await host.execute(made, ["wc", "-c", "/run/secret/key"], b"") == (0, "400000 /run/secret/key\n")
    for size in (0, 1, 3000, 40_000):
        assert await host.execute(made, ["sh", "-c", "echo early; cat"], b"x" * size) == (0, "early\n" + "x" * size)
    assert await host.execute(made, ["sh", "-c", "id -u; exit 3"], b"", "1000:100") == (3, "1000\n")
    for _ in range(20):
        assert (await host.execute(made, ["sh", "-c", "exit 4"], b"unread" * 50_000))[0] == 4
    code, said = await host.execute(made, ["no-such-program"], b"")
    assert code in (126, 127)
    assert "no-such-program" in said
    assert secret[:40].decode() not in machine.log_text()


async def serves(machine: Machine, inside: str, address: str) -> bool:
    """Tell whether a server is reached from a container's network; one that has just started gets some time."""
    client = machine.client()
    pid = client.inspect_container(inside)["State"]["Pid"]
    client.close()
    tries = 50 if address == "127.0.0.1" else 1
    enter = ["nsenter", f"--target={pid}", "--net", sys.executable, "-c", PROBE, address, str(tries)]
    return await asyncio.to_thread(machine.run_on_host, *enter) == "yes"


async def test_the_platforms_network_keeps_containers_apart(machine: Machine, host: DockerHost) -> None:
    """One container cannot reach another on it; on Docker's own it can."""
    network = await host.ensure_network("nbplatform", create=True)
    assert not network.icc
    assert (await host.ensure_network("bridge")).icc
    for name, reachable in (("nbplatform", False), ("bridge", True)):
        first, second = [await host.create(config(machine, NetworkMode=name), f"{name}-{one}") for one in "ab"]
        await host.start(first)
        await host.start(second)
        address = (await host.inspect(second)).ip
        assert await serves(machine, second, "127.0.0.1")
        assert await serves(machine, first, address) is reachable
    with pytest.raises(HostRefused):
        await host.ensure_network("no-such-network")


async def test_two_hubs_that_make_the_network_at_once_share_one(machine: Machine, host: DockerHost) -> None:
    """Docker lets networks have the same name."""
    other = door(machine)
    name = f"shared-{machine.name}"
    one, two = await asyncio.gather(*(each.ensure_network(name, create=True) for each in (host, other)))
    assert one == two
    assert len(await host.call("networks", names=[f"^{name}$"])) == 1
    other.close()


async def test_a_daemon_that_hangs_is_unknown_within_the_limit_and_well_afterwards(machine: Machine) -> None:
    """It takes connections and never answers.  A creation that it carries out when it goes on is undone."""
    host = door(machine, limit=2.0)
    await host.containers()
    machine.freeze()
    try:
        calls: list[Awaitable[object]] = [host.create(config(machine), "late"), *(host.containers() for _ in range(20))]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        machine.thaw()
    assert {type(end) for end in ends} == {HostUnreachable}
    assert "does not answer within 2 s" in str(ends[0])
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
    assert await host.containers() == ()
    host.close()


async def test_a_creation_cancelled_while_the_daemon_hangs_leaves_no_container(machine: Machine) -> None:
    """The daemon does it when it goes on; then it is removed again."""
    host = door(machine, limit=30.0)
    await host.containers()
    machine.freeze()
    task = asyncio.ensure_future(host.create(config(machine), "cancelled"))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.sleep(0)
    machine.thaw()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await host.containers() == ()
    host.close()


async def test_a_daemon_that_restarted_is_asked_as_if_nothing_had_been(machine: Machine, host: DockerHost) -> None:
    """While it is down it is unknown; its containers live on."""
    made = await host.create(config(machine), "one")
    await host.start(made)
    machine.kill9()
    with pytest.raises(HostUnreachable, match="refuses the connection"):
        await host.inspect(made)
    machine.start()
    assert (await host.inspect(made)).state == "running"
    machine.stop()
    machine.start()
    other = await host.create(config(machine), "two")
    assert {one.id for one in await host.containers()} == {made, other}


async def test_a_host_whose_network_is_unplugged_is_unknown_within_the_limit(machine: Machine) -> None:
    """Connections that are open hang; new ones do not come about."""
    host = door(machine, limit=1.0)
    await host.containers()
    machine.cut()
    try:
        for _ in range(2):
            with pytest.raises(HostUnreachable):
                await host.containers()
    finally:
        machine.mend()
    host.close()


@pytest.mark.parametrize("which", ["expired_client", "foreign_client"])
async def test_a_wrong_certificate_is_told_as_the_reason(fleet: DockerFleet, machine: Machine, which: str) -> None:
    """The daemon's own words reach the administrator, although it says them after the handshake."""
    host = door(machine, getattr(fleet.authority, which)())
    with pytest.raises(HostUnreachable, match=r"TLS is refused \('.*CERTIFICATE|UNKNOWN_CA"):
        await host.containers()
    host.close()


async def test_an_image_is_fetched_with_progress_and_joined(
    fleet: DockerFleet, machine: Machine, host: DockerHost
) -> None:
    """Twenty callers cost one fetch, and the host answers beside it."""
    with need(registry(fleet)) as shelf:
        image = shelf.publish(f"{machine.name}:1", padding=os.urandom(4 << 20))
        shelf.slow(2, shelf.size(f"{machine.name}:1"))
        heard: list[tuple[int, int]] = []
        tasks = [asyncio.ensure_future(host.pull(image, lambda *now: heard.append(now))) for _ in range(20)]
        assert await host.has_image(image) is None
        await asyncio.gather(*tasks)
        found = await host.has_image(image)
        assert found is not None
        assert found.repo_digests[0].startswith(f"{shelf.address}/{machine.name}@sha256:")
        assert heard
        assert all(0 <= done <= total for done, total in heard)
        assert max(total for _, total in heard) > 4 << 20


async def test_a_fetch_that_fails_says_why(fleet: DockerFleet, machine: Machine, host: DockerHost) -> None:
    """The registry does not have it, breaks off, or is not there."""
    with need(registry(fleet)) as shelf:
        shelf.publish("other:1")
        with pytest.raises(PullFailed) as caught:
            await host.pull(f"{shelf.address}/none:1", lambda *_: None)
        assert caught.value.why == "missing"
        address = shelf.address
    with pytest.raises(PullFailed) as caught:
        await host.pull(f"{address}/none:1", lambda *_: None)
    assert caught.value.why == "away"


async def test_a_full_disk_fails_a_fetch_and_a_creation_and_nothing_else(fleet: DockerFleet) -> None:
    """The host answers, so it is no host that cannot be asked: another one may be tried."""
    machine = fleet["small"]
    host = door(machine)
    with need(registry(fleet)) as shelf:
        small, big = shelf.publish("small:1"), shelf.publish("big:1", padding=os.urandom(8 << 20))
        await host.pull(small, lambda *_: None)
        made = await host.create({**config(machine), "Image": small}, "before")
        machine.full_disk()
        with pytest.raises(PullFailed, match="its disk is full") as caught:
            await host.pull(big, lambda *_: None)
        assert caught.value.why == "space"
        made_too = (host.create({**config(machine), "Image": small}, f"full-{number}") for number in range(100))
        with pytest.raises(HostRefused, match="no space left"):
            await asyncio.gather(*made_too)
        assert made in {one.id for one in await host.containers()}
        for container in await host.containers():
            await host.remove(container.id)
        machine.room_again()
        await host.pull(big, lambda *_: None)
    host.close()
