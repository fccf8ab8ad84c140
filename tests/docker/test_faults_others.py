"""A host in trouble is that host's trouble: starts go elsewhere, and nobody waits for it who need not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.components.docker_fleet import DockerHost, Settings
from tests.components.images import TINY
from tests.components.need import need
from tests.components.registry import Registry, registry
from tests.docker.faults import Scene, matches, profile, rules, scene, trouble, until

HOSTS = {"wn1": Settings(disk="60m"), "wn2": Settings("modern", disk="60m"), "wn3": Settings("modern")}
PATIENT = """
c.DockerFleetSpawner.call_limit = 60.0
c.DockerFleetSpawner.http_timeout = 30
c.Spawner.start_timeout = 180
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Scene, Registry]]:
    """The module's fleet, hub and registry; ``stuck`` and ``missing`` are profiles whose image only wn3 has."""
    with ExitStack() as stack:
        made = stack.enter_context(need(scene(HOSTS, more=PATIENT)))
        shelf = stack.enter_context(need(registry(made.fleet)))
        lines = [profile("first-wn1", "[wn1, wn2]"), profile("first-wn2", "[wn2, wn1]")]
        for name, image in {"stuck": shelf.publish("stuck:1"), "missing": f"{shelf.address}/missing:1"}.items():
            made.fleet["wn3"].cli("tag", TINY, image)
            lines += [profile(name, "[wn1, wn2, wn3]", image=image)]
            lines += [profile(f"{name}-{host}", host, image=image) for host in ("wn1", "wn2")]
        made.site.site.write_rules(rules(made.site, list(HOSTS), "\n".join(lines)))
        until("the rules hold", lambda: made.try_start("ada", "missing").get("ready"))
        made.clean()
        yield made, shelf


@pytest.fixture
def there(shared: tuple[Scene, Registry]) -> Iterator[Scene]:
    """The same with nothing running, before and after."""
    yield shared[0]
    shared[0].clean()


def begin_endless_pull(there: Scene, shelf: Registry, host: str) -> None:
    """Begin a start of ada's whose image takes longer to come than any test, and wait until its host fetches it."""
    shelf.slow(3600, shelf.size("stuck:1"))
    there.begin("ada", f"stuck-{host}")
    until("the start is there", lambda: there.model("ada"))
    until("the host fetches the image", lambda: speaks_to(there.fleet[host], int(shelf.address.partition(":")[2])))


def speaks_to(host: DockerHost, port: int) -> bool:
    """Tell whether somebody on a host has a connection to a port elsewhere."""
    lines = [line.split() for line in host.run_on_host("cat", "/proc/net/tcp").splitlines()[1:]]
    return any(words[2].endswith(f":{port:04X}") and words[3] == "01" for words in lines)


@pytest.mark.parametrize("host", ["wn1", "wn2"])
def test_a_host_with_a_full_disk_is_left_out(there: Scene, host: str) -> None:
    """The start goes to the next host; where there is none, the user is told why; room made, it works again."""
    other = "wn2" if host == "wn1" else "wn1"
    logged = len(there.hub.log_text())
    there.fleet[host].full_disk(free=0)
    try:
        told = there.try_start("ada", host)
        assert "no space left on device" in told["message"], told
        assert there.containers(host) == []
        assert there.start("ben", f"first-{host}").host == other
        assert matches(f"is not started on {host}: .*no space left", there.hub.log_text()[logged:])
    finally:
        there.fleet[host].room_again()
    assert there.start("ada", host).host == host


@pytest.mark.parametrize("host", ["wn1", "wn2"])
def test_a_pull_that_fails_says_why_and_the_start_goes_elsewhere(there: Scene, host: str) -> None:
    """Two hosts cannot fetch the image; the third has it."""
    told = there.try_start("ada", f"missing-{host}")
    assert f"ost {host} could not fetch the image" in told["message"], told
    assert "the registry does not have it" in told["message"]
    assert there.start("ben", "missing").host == "wn3"
    assert [one.host for one in there.containers()] == ["wn3"]


@pytest.mark.parametrize("host", ["wn1", "wn2"])
def test_a_pull_that_hangs_delays_nobody_and_can_be_cancelled(
    there: Scene, shared: tuple[Scene, Registry], host: str
) -> None:
    """Others start and stop on the very same host meanwhile; a DELETE ends the waiting."""
    begin_endless_pull(there, shared[1], host)
    assert there.start("ben", host).host == host
    assert there.start("eve", "wn3").host == "wn3"
    assert there.delete("ben").status == 204
    assert there.model("ada")["pending"] == "spawn", "nobody had to wait for ada"
    assert there.delete("ada").status in (202, 204)
    until("the start is over", lambda: not there.model("ada"))
    assert there.containers(host) == []
    assert there.tokens("ada") == []


def test_a_hub_killed_during_a_pull_that_hangs_forgets_the_start(there: Scene, shared: tuple[Scene, Registry]) -> None:
    """The daemon goes on by itself; the hub that is back knows of no server, and starts the next."""
    there.start("ben", "wn2")
    begin_endless_pull(there, shared[1], "wn2")
    there.hub.kill9()
    there.hub.restart()
    until("the start is forgotten", lambda: not there.model("ada"))
    until("the other server is ready", lambda: there.ready("ben"))
    assert there.tokens("ada") == []
    assert there.start("ada", "wn2").host == "wn2"


@pytest.mark.parametrize("host", ["wn1", "wn2"])
def test_users_of_other_hosts_do_not_wait_for_a_host_that_hangs(there: Scene, host: str) -> None:
    """They start and stop while starts, a stop and a poll hang there; all of these go on when it does."""
    other = "wn2" if host == "wn1" else "wn1"
    there.start("eve", host)
    with trouble(there.fleet[host], "hanging"):
        there.begin("ada", host)
        there.begin("ada", host, "second")
        there.begin_stop("eve")
        for _ in range(2):
            assert there.start("ben", other).host == other
            assert there.delete("ben").status == 204
        assert there.containers(other) == []
        assert there.model("ada")["pending"] == "spawn", "ben did not wait for ada"
        assert there.model("ada", "second")["pending"] == "spawn"
        assert there.model("eve")["pending"] == "stop"
    until("ada's servers are ready", lambda: there.ready("ada") and there.ready("ada", "second"))
    until("eve's has stopped", lambda: not there.model("eve"))
    assert len(there.containers(host)) == 2
