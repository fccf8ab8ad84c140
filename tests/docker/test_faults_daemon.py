"""A Docker daemon that stops, hangs or is replaced under running servers, and containers that somebody else removes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.components.docker_fleet import Settings
from tests.components.need import need
from tests.docker.faults import BROKEN, LAST_WORDS, SILENT, Scene, import_image, matches, scene, trouble, until

HOSTS = {"wn1": Settings(), "wn2": Settings("modern")}
POLL = "c.Spawner.poll_interval = 1\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    """The module's fleet and hub."""
    with need(scene(HOSTS, more=POLL)) as there:
        for host in there.fleet.values():
            import_image(host, SILENT, "exec sleep 1000")
            import_image(host, BROKEN, f"echo 'reading /etc/broken'; echo '{LAST_WORDS}' >&2; exit 3")
        yield there


@pytest.fixture
def there(shared: Scene) -> Iterator[Scene]:
    """The same with nothing running, before and after."""
    yield shared
    shared.clean()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("fault", ["stopped", "killed", "hanging"])
def test_servers_outlive_their_daemon(there: Scene, fault: str, host: str) -> None:
    """While it is away they count as running and are reached; nothing is started there; then all is as before."""
    other = next(name for name in HOSTS if name != host)
    before = there.start("ada", host)
    logged = len(there.hub.log_text())
    with trouble(there.fleet[host], fault):
        until("the hub knows", lambda: matches(f"host {host} does not answer", there.hub.log_text()[logged:]))
        assert "unreachable" in there.try_start("ben", host)["message"]
        assert there.start("eve", "any").host == other
        time.sleep(2.5)  # the hub polls each server once a second
        assert there.ready("ada")
        assert there.answers("ada"), "its container does not need the daemon"

    until("the hub knows", lambda: matches(f"host {host} answers again", there.hub.log_text()[logged:]))
    assert there.container("ada") == before
    assert there.answers("ada")
    assert there.start("ben", host).host == host
    assert there.delete("ada").status == 204
    assert [one.id for one in there.containers(host)] == [there.container("ben").id]


@pytest.mark.parametrize("ended", [["rm", "-f"], ["kill"]], ids=["removed", "killed"])
def test_a_container_that_somebody_ends_by_hand_is_noticed(there: Scene, ended: list[str]) -> None:
    """The host's own word: the server is gone, its token is revoked, its route is away, and the next start works."""
    gone = there.start("ada", "wn2")
    there.fleet["wn2"].cli(*ended, gone.id)
    until("the hub knows", lambda: not there.model("ada"))
    until("no container is left", lambda: there.containers() == [])
    until("its route is away", lambda: there.routes() == {})
    assert there.tokens("ada") == []
    assert there.start("ada", "wn2").id != gone.id


def test_a_container_that_was_removed_while_the_hub_was_down_is_noticed(there: Scene) -> None:
    """The hub that starts finds its host, and not the container; no other server is touched."""
    gone, other = there.start("ada", "wn2"), there.start("ben", "wn2")
    there.hub.stop()
    there.fleet["wn2"].cli("rm", "-f", gone.id)
    there.hub.restart()
    until("the hub knows", lambda: not there.model("ada"))
    until("the other is ready", lambda: there.ready("ben"))
    assert there.tokens("ada") == []
    assert there.containers() == [other]
    assert there.start("ada", "wn2").id != gone.id


@pytest.mark.parametrize("host", HOSTS)
def test_an_image_that_ends_at_once_tells_its_last_words(there: Scene, host: str) -> None:
    """The user reads why: exit code and the end of the server's own log; no container is left."""
    told = there.try_start("ada", f"broken-{host}")
    assert told["failed"]
    assert "ended with 3" in told["message"]
    assert LAST_WORDS in told["message"]
    until("no container is left", lambda: there.containers() == [])
    assert there.tokens("ada") == []
    assert there.start("ada", host).state == "running"


def test_an_image_that_never_answers_is_given_up(there: Scene) -> None:
    """After ``http_timeout``; meanwhile others start on the same host."""
    there.begin("ada", "silent-wn1")
    until("it runs", lambda: [one.state for one in there.containers()] == ["running"])
    assert there.start("ben", "wn1").state == "running"
    assert there.model("ada")["pending"] == "spawn", "ben had not to wait for ada"
    until("it is given up", lambda: not there.model("ada"))
    there.hub.wait_for_log("the server did not answer within 10 s")
    until("no container is left", lambda: [one.id for one in there.containers()] == [there.container("ben").id])
    assert there.tokens("ada") == []
