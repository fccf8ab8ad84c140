"""One Docker host, asked at the wire: what each call gives, and what each misbehaviour of a daemon comes to."""

import asyncio
import dataclasses
import io
import ssl
import tarfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.hosts.containers import Container
from nbplatform_spawners.hosts.docker_calls import HostOptions, HostSettings
from nbplatform_spawners.hosts.docker_errors import (
    CertificateProblem,
    ContainerGone,
    HostError,
    HostRefused,
    HostUnreachable,
    ImageMissing,
    NameTaken,
    SourceMissing,
)
from nbplatform_spawners.hosts.docker_host import DockerHost
from nbplatform_spawners.hosts.docker_tls import Certificates, find_certificates
from tests.components.docker_pki import Authority
from tests.docker.wire import Fault, WireDaemon

CONFIG: dict[str, Any] = {
    "Image": "base:1",
    "Labels": {"nbplatform.hub": "t1", "nbplatform.user": "alice", "nbplatform.gpus": '["GPU-1"]'},
    "HostConfig": {"PortBindings": {"8888/tcp": [{"HostPort": ""}]}},
}


@pytest.fixture
def daemon() -> Iterator[WireDaemon]:
    """A daemon that has one image."""
    with WireDaemon() as one:
        one.state.images["base:1"] = {"/etc/passwd": b"root:x:0:0::/root:/bin/sh\n"}
        yield one


@pytest.fixture
async def host(daemon: WireDaemon) -> AsyncIterator[DockerHost]:
    """The host of that daemon, with a short limit."""
    one = DockerHost("gpu01", daemon.url, hub_id="t1", limit=2.0)
    yield one
    one.close()


@pytest.fixture
async def hasty(daemon: WireDaemon) -> AsyncIterator[DockerHost]:
    """The same host, for which a moment is long."""
    one = DockerHost("gpu01", daemon.url, hub_id="t1", limit=0.5, threads=2)
    yield one
    one.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return when something has become true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads tell no event loop
            await asyncio.sleep(0.005)


def asked(daemon: WireDaemon, endpoint: str) -> int:
    """How many requests of a kind came."""
    return sum(one == endpoint for one, _ in daemon.requests)


async def test_the_life_of_a_container(daemon: WireDaemon, host: DockerHost) -> None:
    """Created, listed, started, published, stopped, removed; what is done already is done."""
    made = await host.create(CONFIG, "hub-alice")
    listed = Container("gpu01", made, "hub-alice", "alice", "", "created", ("GPU-1",))
    assert await host.containers() == (listed,)
    await host.start(made)
    await host.start(made)
    found = await host.inspect("hub-alice")
    assert (found.id, found.state, found.hub, found.ip) == (made, "running", "t1", "172.18.0.2")
    assert found.port == daemon.containers[0].port > 0
    await host.stop(made, 1)
    await host.stop(made, 1)
    assert (await host.inspect(made)).ended
    await host.remove(made)
    await host.remove(made)
    assert await host.containers() == ()


async def test_foreign_containers_are_not_listed(daemon: WireDaemon, host: DockerHost) -> None:
    """Neither another hub's nor nobody's."""
    await host.create({**CONFIG, "Labels": {"nbplatform.hub": "t2"}}, "theirs")
    await host.create({"Image": "base:1"}, "nobodys")
    assert len(daemon.containers) == 2
    assert await host.containers() == ()


REFUSALS: dict[str, tuple[Callable[[DockerHost], Awaitable[object]], type[HostRefused]]] = {
    "inspect": (lambda host: host.inspect("gone"), ContainerGone),
    "start": (lambda host: host.start("gone"), ContainerGone),
    "stop": (lambda host: host.stop("gone", 1), ContainerGone),
    "read": (lambda host: host.read("gone", "/etc/passwd"), ContainerGone),
    "put": (lambda host: host.put("gone", "/", archive({})), ContainerGone),
    "logs": (lambda host: host.logs("gone"), ContainerGone),
    "execute": (lambda host: host.execute("gone", ["true"], b""), ContainerGone),
    "an image": (lambda host: host.create({"Image": "none:1"}, "one"), ImageMissing),
    "a network": (lambda host: host.ensure_network("none"), HostRefused),
}


@pytest.mark.parametrize(("call", "kind"), REFUSALS.values(), ids=REFUSALS)
async def test_what_is_not_there_is_told_positively(
    host: DockerHost, call: Callable[[DockerHost], Awaitable[object]], kind: type[HostRefused]
) -> None:
    """The daemon itself says so, with 404."""
    with pytest.raises(HostRefused) as caught:
        await call(host)
    assert type(caught.value) is kind
    assert caught.value.status == 404


async def test_a_missing_source_and_a_taken_name_are_told_with_what_is_needed_to_act(
    daemon: WireDaemon, host: DockerHost
) -> None:
    """The folder, and the id of who has the name."""
    daemon.state.absent = {"/sps/atlas"}
    mounts = [{"Type": "bind", "Source": "/sps/atlas", "Target": "/sps/atlas"}]
    with pytest.raises(SourceMissing) as missing:
        await host.create({**CONFIG, "HostConfig": {"Mounts": mounts}}, "one")
    assert missing.value.source == "/sps/atlas"
    made = await host.create(CONFIG, "one")
    with pytest.raises(NameTaken) as taken:
        await host.create(CONFIG, "one")
    assert taken.value.container == made


def archive(files: dict[str, bytes]) -> bytes:
    """Return a tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


async def test_files_are_put_and_read(daemon: WireDaemon, host: DockerHost) -> None:
    """Bounded, through one link; None for what is not there, or is no file."""
    daemon.state.images["base:1"] |= {"/etc/link": "passwd", "/etc/far": "link", "/etc/loop": "loop"}
    made = await host.create(CONFIG, "one")
    await host.put(made, "/", archive({"etc/passwd": b"0123456789"}))
    assert await host.read(made, "/etc/passwd") == b"0123456789"
    assert await host.read(made, "/etc/passwd", 4) == b"0123"
    assert await host.read(made, "/etc/link") == b"0123456789"
    for path in ("/etc/far", "/etc/loop", "/etc/none"):
        assert await host.read(made, path) is None


async def test_logs_are_bounded_and_odd_bytes_do_no_harm(daemon: WireDaemon, host: DockerHost) -> None:
    """The end is what explains a failure."""
    made = await host.create(CONFIG, "one")
    daemon.state.log = b"begin " + b"x" * 5000 + b" \xff\xfe end"
    said = await host.logs(made, 20)
    assert len(said) == 20
    assert said.endswith(" \ufffd\ufffd end")


async def test_a_command_gets_its_input_and_tells_its_exit_code(daemon: WireDaemon, host: DockerHost) -> None:
    """The input is on no command line."""
    daemon.state.run = lambda _container, _command, stdin, _user: (3, stdin.upper())
    made = await host.create(CONFIG, "one")
    with pytest.raises(HostRefused, match="is not running"):
        await host.execute(made, ["tar", "x"], b"secret")
    await host.start(made)
    assert await host.execute(made, ["tar", "x"], b"secret", user="1000:100") == (3, "SECRET")
    assert daemon.containers[0].commands == [(["tar", "x"], b"secret", "1000:100")]


async def test_an_image_is_there_or_positively_not(daemon: WireDaemon, host: DockerHost) -> None:
    """A host that cannot be asked is neither."""
    found = await host.has_image("base:1")
    assert found is not None
    assert found.id.startswith("sha256:")
    assert await host.has_image("none:1") is None
    daemon.always(Fault.ERROR, "image")
    with pytest.raises(HostUnreachable):
        await host.has_image("base:1")


async def test_a_network_is_asked_for_once_and_again_after_the_host_missed_it(
    daemon: WireDaemon, host: DockerHost
) -> None:
    """The platform's own is made so that its containers do not reach each other."""
    config = {**CONFIG, "HostConfig": {"NetworkMode": "nbplatform"}}
    made = await asyncio.gather(*(host.ensure_network("nbplatform", create=True) for _ in range(5)))
    assert {network.icc for network in made} == {False}
    assert (asked(daemon, "network_create"), asked(daemon, "network")) == (1, 2)
    container = await host.create(config, "one")
    del daemon.state.networks["nbplatform"]
    assert (await host.ensure_network("nbplatform")).name == "nbplatform"  # remembered
    with pytest.raises(HostRefused, match="network nbplatform not found"):
        await host.start(container)
    await host.ensure_network("nbplatform", create=True)
    await host.start(container)


async def test_a_network_that_somebody_else_made_is_told_as_it_is(daemon: WireDaemon, host: DockerHost) -> None:
    """The fleet must know that containers there reach each other."""
    daemon.state.networks["site"] = {}
    assert (await host.ensure_network("site", create=True)).icc


async def test_any_other_method_of_the_client_can_be_called(host: DockerHost) -> None:
    """For a site's own hooks; nothing private."""
    assert await host.call("ping") is True
    assert (await host.call("version", api_version=False))["ApiVersion"] == "1.41"
    for name in ("_get", "nonsense", "__init__", "timeout"):
        with pytest.raises(ValueError, match="has no method"):
            await host.call(name)


@pytest.mark.parametrize("name", ["", "../images/x", "a b", "a/b", "a?force=1", "-x", "x" * 300])
async def test_what_is_no_containers_name_is_never_sent(daemon: WireDaemon, host: DockerHost, name: str) -> None:
    """It could become the address of something else."""
    for call in (host.inspect, host.start, host.remove):
        with pytest.raises(ValueError, match="neither a container's id nor its name"):
            await call(name)
    assert not daemon.requests


FAULTS = {
    Fault.ERROR: HostUnreachable,
    Fault.ERROR_AFTER: HostUnreachable,
    Fault.FULL: HostRefused,
    Fault.READ_ONLY: HostRefused,
    Fault.DROP: HostUnreachable,
    Fault.LOSE: HostUnreachable,
    Fault.GARBAGE: HostUnreachable,
    Fault.HANG: HostUnreachable,
}
CALLS: dict[str, Callable[[DockerHost, str], Awaitable[object]]] = {
    "list": lambda host, _: host.containers(),
    "create": lambda host, _: host.create(CONFIG, "two"),
    "inspect": lambda host, made: host.inspect(made),
    "start": lambda host, made: host.start(made),
    "stop": lambda host, made: host.stop(made, 0),
    "remove": lambda host, made: host.remove(made),
    "read": lambda host, made: host.read(made, "/etc/passwd"),
    "put": lambda host, made: host.put(made, "/", archive({"a": b"b"})),
    "logs": lambda host, made: host.logs(made),
    "info": lambda host, _: host.info(),
    "image": lambda host, _: host.has_image("base:1"),
    "network": lambda host, _: host.ensure_network("bridge"),
    "exec_create": lambda host, made: host.execute(made, ["true"], b""),
    "exec_start": lambda host, made: host.execute(made, ["true"], b""),
    "version": lambda host, _: host.containers(),
}
IGNORED = {("logs", Fault.GARBAGE), *((name, Fault.GARBAGE) for name in ("start", "stop", "remove", "put"))}
"""Calls whose answer has no content that could be wrong."""


@pytest.mark.parametrize("endpoint", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_each_misbehaviour_at_each_call_is_a_host_error_and_never_a_container_gone(
    daemon: WireDaemon, endpoint: str, fault: Fault
) -> None:
    """What is not known positively is unknown; nothing else escapes, and the host works again afterwards."""
    calm = DockerHost("gpu01", daemon.url, hub_id="t1")
    made = await calm.create(CONFIG, "one")
    if endpoint != "start":
        await calm.start(made)
    host = DockerHost("gpu01", daemon.url, hub_id="t1", limit=0.1 if fault is Fault.HANG else 2.0)
    daemon.always(fault, endpoint)
    if (endpoint, fault) in IGNORED:
        await CALLS[endpoint](host, made)
    else:
        with pytest.raises(HostError) as caught:
            await CALLS[endpoint](host, made)
        assert type(caught.value) is FAULTS[fault]
        assert caught.value.host == "gpu01"
    daemon.heal()
    await calm.containers()
    host.close()
    calm.close()


async def test_a_broken_connection_is_mended_where_asking_twice_does_no_harm(
    daemon: WireDaemon, host: DockerHost
) -> None:
    """As after a restart of the daemon between two calls."""
    made = await host.create(CONFIG, "one")
    for endpoint in ("list", "inspect", "start", "stop", "remove"):
        daemon.fail(endpoint, Fault.LOSE if endpoint != "remove" else Fault.DROP)
        await CALLS[endpoint](host, made)
        assert asked(daemon, endpoint) == 2
    assert not daemon.containers


async def test_a_creation_or_a_command_is_never_sent_twice(daemon: WireDaemon, host: DockerHost) -> None:
    """Who asked is told that nobody knows, and looks."""
    daemon.fail("create", Fault.LOSE)
    with pytest.raises(HostUnreachable, match="it broke the connection"):
        await host.create(CONFIG, "one")
    assert asked(daemon, "create") == 1
    (one,) = await host.containers()
    await host.start(one.id)
    daemon.fail("exec_start", Fault.LOSE)
    with pytest.raises(HostUnreachable):
        await host.execute(one.id, ["pay"], b"")
    assert len(daemon.containers[0].commands) == 1


async def test_a_daemon_that_restarted_is_asked_as_if_nothing_had_been(daemon: WireDaemon, host: DockerHost) -> None:
    """Idle connections that ended meanwhile cost nobody anything, a creation neither."""
    await asyncio.gather(*(host.containers() for _ in range(8)))
    daemon.down()
    with pytest.raises(HostUnreachable, match="refuses the connection"):
        await host.containers()
    daemon.up()
    await host.create(CONFIG, "one")
    daemon.down()
    daemon.up()
    assert len(await host.containers()) == 1


async def test_a_daemon_that_hangs_holds_no_caller_beyond_its_limit(daemon: WireDaemon, hasty: DockerHost) -> None:
    """Also those that wait for their turn: all end at about the same time, and are told why."""
    daemon.always(Fault.HANG)
    ends = await asyncio.gather(*(hasty.containers() for _ in range(30)), return_exceptions=True)
    assert {str(end) for end in ends} == {"host gpu01 cannot be asked: it does not answer within 0.5 s"}
    assert asked(daemon, "version") < 30  # those whose time was over when their turn came were not sent
    daemon.heal()
    daemon.down()
    daemon.up()
    assert await hasty.containers() == ()


async def test_a_host_that_hangs_delays_no_other(daemon: WireDaemon, host: DockerHost) -> None:
    """Each has its own threads: the other answers while the first still waits."""
    with WireDaemon() as frozen:
        frozen.always(Fault.HANG)
        stuck = DockerHost("gpu02", frozen.url, hub_id="t1", limit=30.0)
        waiting = [asyncio.ensure_future(stuck.containers()) for _ in range(20)]
        await until(lambda: asked(frozen, "version") == 8)
        assert await host.containers() == ()
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        stuck.close()


async def test_a_creation_that_comes_to_pass_after_its_limit_is_removed(daemon: WireDaemon, hasty: DockerHost) -> None:
    """The daemon did it, and answered too late: nobody else knows of the container."""
    await hasty.containers()
    daemon.fail("create", Fault.LATE)
    daemon.late = hasty.limit + 0.2
    with pytest.raises(HostUnreachable, match="does not answer within"):
        await hasty.create(CONFIG, "one")
    assert len(daemon.containers) == 1
    await until(lambda: not daemon.containers)


async def test_a_cancelled_creation_leaves_no_container(daemon: WireDaemon, host: DockerHost) -> None:
    """The caller leaves when the container is gone again."""
    await host.containers()
    daemon.fail("create", Fault.FREEZE)
    task = asyncio.ensure_future(host.create(CONFIG, "one"))
    await until(lambda: asked(daemon, "create") == 1)
    task.cancel()
    await asyncio.sleep(0.02)
    assert not task.done()
    daemon.heal()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked(daemon, "remove") == 1
    assert not daemon.containers


async def test_a_creation_cancelled_twice_is_still_removed(daemon: WireDaemon, host: DockerHost) -> None:
    """An impatient caller goes at once; the removal follows."""
    await host.containers()
    daemon.fail("create", Fault.FREEZE)
    task = asyncio.ensure_future(host.create(CONFIG, "one"))
    await until(lambda: asked(daemon, "create") == 1)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
    assert task.cancelled()
    daemon.heal()
    await until(lambda: asked(daemon, "remove") == 1 and not daemon.containers)


async def test_a_creation_cancelled_before_its_turn_is_never_sent(daemon: WireDaemon) -> None:
    """The lane is full; the caller goes at once."""
    host = DockerHost("gpu01", daemon.url, hub_id="t1", limit=5.0, threads=1)
    daemon.fail("list", Fault.FREEZE)
    busy = asyncio.ensure_future(host.containers())
    await until(lambda: asked(daemon, "list") == 1)
    task = asyncio.ensure_future(host.create(CONFIG, "one"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    daemon.heal()
    await busy
    assert await host.containers() == ()
    assert asked(daemon, "create") == 0
    host.close()


async def test_fifty_creations_at_once_are_fifty_containers(daemon: WireDaemon, host: DockerHost) -> None:
    """Threads share nothing that could mix their answers."""
    made = await asyncio.gather(*(host.create(CONFIG, f"c{number}") for number in range(50)))
    names = {one.id: one.name for one in await host.containers()}
    assert [names[one] for one in made] == [f"c{number}" for number in range(50)]


VERSIONS = {
    "Debian's 20.10": ("1.12", "1.41", "1.41"),
    "29.0, which refuses old clients": ("1.44", "1.52", "1.51"),
    "29.8": ("1.40", "1.56", "1.51"),
    "the oldest": ("1.12", "1.40", "1.40"),
    "a daemon from the future": ("1.60", "1.70", "1.60"),
}


@pytest.mark.parametrize(("oldest", "newest", "spoken"), VERSIONS.values(), ids=VERSIONS)
async def test_the_version_is_agreed_on_with_each_daemon(
    daemon: WireDaemon, host: DockerHost, oldest: str, newest: str, spoken: str
) -> None:
    """The newest that both know; asked for once, however many threads ask at a time after it."""
    daemon.min_api, daemon.api = oldest, newest
    assert (await host.info()).api_version == spoken
    await asyncio.gather(*(host.containers() for _ in range(20)))
    assert asked(daemon, "version") == 1


async def test_a_daemon_that_is_too_old_is_named_as_such(daemon: WireDaemon, host: DockerHost) -> None:
    """It answers, so it is no matter of waiting."""
    daemon.api = "1.39"
    with pytest.raises(HostRefused, match=r"Docker of host gpu01 is too old: it speaks API 1\.39, 1\.40"):
        await host.containers()


@pytest.mark.parametrize(("oldest", "newest"), [("1.44", "1.56"), ("1.12", "1.40")], ids=["upgraded", "downgraded"])
async def test_a_daemon_that_was_replaced_is_spoken_to_anew(
    daemon: WireDaemon, host: DockerHost, oldest: str, newest: str
) -> None:
    """The first call after it does what was asked, also one that is never sent twice: it was not understood."""
    await host.containers()
    daemon.min_api, daemon.api, daemon.version = oldest, newest, "other"
    await host.create(CONFIG, "one")
    assert len(daemon.containers) == 1
    assert (await host.info()).api_version == ("1.51" if newest == "1.56" else "1.40")


async def test_an_upgrade_that_still_takes_the_old_version_is_noticed_by_looking(
    daemon: WireDaemon, host: DockerHost
) -> None:
    """What the newer daemon can do more is used from then on."""
    assert (await host.info()).api_version == "1.41"
    daemon.api, daemon.version = "1.56", "29.8.0"
    await host.info()
    assert (await host.info()).api_version == "1.51"


async def test_a_closed_host_is_asked_nothing(daemon: WireDaemon) -> None:
    """Its callers get the same error as for any host that cannot be asked; its threads end."""
    host = DockerHost("closing", daemon.url, hub_id="t1")
    await host.containers()
    host.close()
    before = len(daemon.requests)
    for call in (host.containers(), host.create(CONFIG, "one"), host.pull("x", lambda *_: None)):
        with pytest.raises(HostUnreachable, match="is not asked any more"):
            await call
    assert len(daemon.requests) == before
    await until(lambda: not any("closing" in thread.name for thread in threading.enumerate()))


ADDRESSES = {
    "tcp://gpu01.example.org:2376": "gpu01.example.org",
    "tcp://192.0.2.7:2376": "192.0.2.7",
    "tcp://[2001:db8::7]:2376": "2001:db8::7",
    "unix:///run/docker.sock": "127.0.0.1",
}


@pytest.mark.parametrize(("url", "address"), ADDRESSES.items(), ids=ADDRESSES)
def test_published_ports_are_reached_at_the_address_of_the_daemon(url: str, address: str) -> None:
    """Nothing is connected to find out."""
    assert DockerHost("h", url, Certificates("a", "b", "c"), hub_id="t").address == address


@pytest.mark.parametrize(
    "url", ["", "gpu01", "http://x:1", "ssh://x", "tcp://x", "tcp://:2376", "tcp://x:port", "tcp://u:p@x:1", "tcp://x:1/y",
            "unix://", "npipe:////./pipe/docker"],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    """With what to write in its place."""
    with pytest.raises(ValueError, match=r"host h: .* is no URL of a Docker daemon"):
        DockerHost("h", url, Certificates("a", "b", "c"), hub_id="t")


def test_the_keywords_of_a_host_are_its_settings() -> None:
    """What the type checker knows is what there is; whose containers are meant must be said."""
    assert list(HostOptions.__annotations__) == [field.name for field in dataclasses.fields(HostSettings)]
    with pytest.raises(TypeError, match="hub_id"):
        DockerHost("gpu01", "unix:///run/docker.sock")  # type: ignore[call-arg]


def test_tcp_without_certificates_is_refused_at_once() -> None:
    """Who reaches the port would be root on the host."""
    with pytest.raises(ValueError, match="needs TLS client certificates: set tls_directory to a folder"):
        DockerHost("h", "tcp://gpu01:2375", hub_id="t")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs for hosts and hub."""
    return Authority(tmp_path / "pki")


@pytest.fixture
def guarded(authority: Authority) -> Iterator[WireDaemon]:
    """A daemon behind TLS that demands a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("gpu01", ["127.0.0.1"]))
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with WireDaemon(context) as one:
        one.state.images["base:1"] = {}
        yield one


async def test_a_host_behind_tls_is_asked_whatever_the_environment_says(
    authority: Authority, guarded: WireDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bundle of the site's CAs or a proxy must not come between hub and host."""
    other = Authority(tmp_path / "other")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(other.ca))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    guarded.state.run = lambda _container, _command, stdin, _user: (0, stdin * 2)
    host = DockerHost("gpu01", guarded.url, find_certificates(str(authority.client()), "gpu01"), hub_id="t1")
    made = await host.create(CONFIG, "one")
    await host.start(made)
    assert await host.execute(made, ["cat"], b"x" * 9000) == (0, "x" * 18000)
    host.close()


async def test_what_a_site_gives_the_client_holds_underneath(authority: Authority, guarded: WireDaemon) -> None:
    """But for where the daemon is, how it is trusted, the version and the time limit."""
    site = {"user_agent": "site/1", "base_url": "tcp://192.0.2.1:1", "tls": False, "timeout": 9999, "version": "1.24"}
    files = find_certificates(str(authority.client()), "gpu01")
    host = DockerHost("gpu01", guarded.url, files, hub_id="t1", client_kwargs=site)
    assert await host.containers() == ()
    host.close()


def strangers(authority: Authority) -> dict[str, Path]:
    """Return folders of certificates that do not open the host."""
    return {
        "expired": authority.expired_client(),
        "foreign": authority.foreign_client(),
        "distrustful": authority.client("distrustful", trusts=Authority(authority.folder / "x").ca),
    }


@pytest.mark.parametrize("which", ["expired", "foreign", "distrustful"])
async def test_a_wrong_certificate_is_told_as_the_reason(authority: Authority, guarded: WireDaemon, which: str) -> None:
    """Nothing is known of the host's containers, and nothing was asked of it."""
    files = find_certificates(str(strangers(authority)[which]), "gpu01")
    host = DockerHost("gpu01", guarded.url, files, hub_id="t1")
    with pytest.raises(HostUnreachable, match=r"TLS is refused|certificate is not accepted"):
        await host.containers()
    assert not guarded.requests
    host.close()


async def test_certificates_that_vanished_are_told_as_the_reason(authority: Authority, guarded: WireDaemon) -> None:
    """They are read when a connection is made."""
    folder = authority.client()
    host = DockerHost("gpu01", guarded.url, find_certificates(str(folder), "gpu01"), hub_id="t1")
    (folder / "key.pem").unlink()
    with pytest.raises(CertificateProblem, match="host gpu01: its certificates cannot be read"):
        await host.containers()
    host.close()


async def test_no_error_of_a_host_names_a_secret_of_the_request(daemon: WireDaemon, host: DockerHost) -> None:
    """The environment of a container holds its server's token."""
    daemon.always(Fault.ERROR, "create")
    secret = {**CONFIG, "Env": ["JUPYTERHUB_API_TOKEN=s3cret"]}
    for config in (secret, {**secret, "Image": "none:1"}):
        with pytest.raises(HostError) as caught:
            await host.create(config, "one")
        assert "s3cret" not in repr(caught.value)
        daemon.heal()
