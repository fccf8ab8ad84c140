"""``kill -9`` of the hub in the middle of something: what it had begun is adopted or cleaned up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.components.docker_fleet import Settings
from tests.components.need import need
from tests.docker.faults import Scene, matches, scene, until

HOSTS = {"wn1": Settings(gpus=1), "wn2": Settings("modern", gpus=1)}


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    """The module's fleet and hub, with a gate before each daemon."""
    with need(scene(HOSTS, gated=list(HOSTS))) as there:
        yield there


@pytest.fixture
def there(shared: Scene) -> Iterator[Scene]:
    """The same with nothing running, before and after."""
    yield shared
    shared.clean()


def kill_in_the_middle(there: Scene, profile: str, request: str, answered: bool) -> None:
    """Kill the hub in a start of ada's while a request is held, or its answer, which are lost; then start it again."""
    host = profile.removeprefix("gpu-")
    held = there.gates[host].hold(request, answered=answered)
    there.begin("ada", profile)
    held.wait()
    there.hub.kill9()
    there.gates[host].drop()
    there.hub.restart()


CREATES = {
    "create was asked, not answered": ("POST /containers/create", True),
    "created, not started": ("POST /containers/[0-9a-f]+/start", False),
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("point", CREATES)
def test_a_hub_killed_before_the_container_ran_leaves_nothing(there: Scene, host: str, point: str) -> None:
    """The container that no server has is stopped after the grace; the user can start again, with the GPU."""
    logged = len(there.hub.log_text())
    foreign = there.fleet[host].cli("run", "-d", "nbplatform/tiny:test", "sleep", "1000").strip()
    kill_in_the_middle(there, f"gpu-{host}", *CREATES[point])
    until("nothing is left", lambda: there.containers() == [] and not there.model("ada"))
    assert there.routes() == {}
    assert there.tokens("ada") == []
    assert there.notes("ada") == []
    assert there.start("eve", f"gpu-{host}").gpus == there.fleet[host].gpus
    assert there.start("ada", "any").state == "running"
    assert there.fleet[host].cli("inspect", "-f", "{{.State.Running}}", foreign).strip() == "true"
    there.fleet[host].cli("rm", "-f", foreign)
    told = matches("Traceback|does not appear to be running", there.hub.log_text()[logged:])
    assert told == [], "the hub never waited for what was never started"


@pytest.mark.parametrize("host", HOSTS)
def test_a_hub_killed_when_the_container_ran_adopts_it(there: Scene, host: str) -> None:
    """The record was written right after create, so that the server is found, reached and can be stopped."""
    kill_in_the_middle(there, f"gpu-{host}", "POST /containers/[0-9a-f]+/start", True)
    until("the server is ready", lambda: there.ready("ada"))
    assert there.answers("ada")
    assert [seen.state for seen in there.containers()] == ["running"]
    refused = there.try_start("eve", f"gpu-{host}")
    assert "1 of 1 GPU" in refused["message"], refused
    assert there.delete("ada").status == 204
    assert there.containers() == []
    assert there.tokens("ada") == []


def test_a_hub_killed_while_it_waited_for_the_server_adopts_it(there: Scene) -> None:
    """The last look at the container, just before the server is ready, makes no difference."""
    gate = there.gates["wn1"]
    started = gate.hold("POST /containers/[0-9a-f]+/start")
    there.begin("ada", "wn1")
    started.wait()
    asked = gate.hold("GET /containers/[0-9a-f]+/json")
    started.release()
    asked.wait()
    there.hub.kill9()
    gate.drop()
    there.hub.restart()
    until("the server is ready", lambda: there.ready("ada"))
    assert there.answers("ada")
    assert len(there.containers()) == 1


def test_a_hub_killed_during_a_pull_leaves_nothing(there: Scene) -> None:
    """The daemon may go on fetching; the start is forgotten, and the next one works."""
    there.fleet["wn1"].cli("tag", "nbplatform/tiny:test", "nbplatform/kept:test")
    there.fleet["wn1"].cli("rmi", "nbplatform/tiny:test")
    kill_in_the_middle(there, "gpu-wn1", "POST /images/create", False)
    there.fleet["wn1"].cli("tag", "nbplatform/kept:test", "nbplatform/tiny:test")
    until("the start is forgotten", lambda: not there.model("ada"))
    assert there.containers() == []
    assert there.tokens("ada") == []
    assert there.start("eve", "gpu-wn1").gpus == there.fleet["wn1"].gpus


STOPS = {
    "stop is asked": ("POST /containers/[0-9a-f]+/stop", False),
    "stopped, not removed": ("DELETE /containers/", False),
    "removed, not told": ("DELETE /containers/", True),
}


@pytest.mark.parametrize("point", STOPS)
def test_a_hub_killed_during_a_stop_cleans_up_what_has_ended(there: Scene, point: str) -> None:
    """Also what has ended without the hub's knowledge gives back its token, its route and its GPU."""
    there.start("ada", "gpu-wn1")
    there.start("ben", "wn2")
    request, answered = STOPS[point]
    held = there.gates["wn1"].hold(request, answered=answered)
    there.begin_stop("ada")
    held.wait()
    there.hub.kill9()
    there.gates["wn1"].release()
    until("the daemon has done it", lambda: all(one.state != "running" for one in there.containers("wn1")))
    there.hub.restart()
    until("the server is forgotten", lambda: not there.model("ada"))
    until("its container is gone", lambda: there.containers("wn1") == [])
    assert there.tokens("ada") == []
    assert list(there.routes()) == ["/user/ben/"]
    assert there.start("eve", "gpu-wn1").gpus == there.fleet["wn1"].gpus


def test_a_hub_killed_before_it_asked_for_a_stop_keeps_the_server(there: Scene) -> None:
    """The host never heard of the stop: the server runs, and the hub that comes back knows it."""
    before = there.start("ada", "gpu-wn1")
    held = there.gates["wn1"].hold("POST /containers/[0-9a-f]+/stop")
    there.begin_stop("ada")
    held.wait()
    there.hub.kill9()
    there.gates["wn1"].drop()
    there.hub.restart()
    until("the server is ready", lambda: there.ready("ada"))
    assert there.container("ada") == before
    assert there.answers("ada")
