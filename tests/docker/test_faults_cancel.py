"""A start that is cancelled, or that happens twice: no container is left, and nothing stays reserved."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.components.docker_fleet import Settings
from tests.components.need import need
from tests.docker.faults import SILENT, Scene, import_image, scene, until

HOSTS = {"wn1": Settings(gpus=1), "wn2": Settings("modern", gpus=1)}
POINTS = {
    "before create": ("wn1", "GET /networks/", False),
    "create asked": ("wn1", "POST /containers/create", False),
    "created, not told": ("wn2", "POST /containers/create", True),
    "names are given": ("wn1", "PUT /containers/[0-9a-f]+/archive", False),
    "start asked": ("wn1", "POST /containers/[0-9a-f]+/start", False),
    "started, not told": ("wn2", "POST /containers/[0-9a-f]+/start", True),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    """The module's fleet and hub, with a gate before each daemon."""
    with need(scene(HOSTS, gated=list(HOSTS))) as there:
        for host in there.fleet.values():
            import_image(host, SILENT, "exec sleep 1000")
        yield there


@pytest.fixture
def there(shared: Scene) -> Iterator[Scene]:
    """The same with nothing running, before and after."""
    yield shared
    shared.clean()


def nothing_is_left(there: Scene, host: str) -> None:
    """Demand that a cancelled start of ada's left nothing on a host, and nothing in the hub."""
    until("no container is left", lambda: there.containers() == [])
    until("the hub has no server", lambda: not there.model("ada"))
    until("the token is revoked", lambda: there.tokens("ada") == [])
    until("nothing is to be stopped", lambda: there.notes("ada") == [])
    assert until("another may have the GPU", lambda: there.try_start("eve", f"gpu-{host}").get("ready"))
    assert there.delete("eve").status == 204
    assert until("ada may start again", lambda: there.try_start("ada", f"gpu-{host}").get("ready"))


@pytest.mark.parametrize("point", POINTS)
def test_a_delete_during_the_start_leaves_nothing(there: Scene, point: str) -> None:
    """Whatever the host is doing at that moment, and also when it answers only after the DELETE was answered."""
    host, request, answered = POINTS[point]
    if "networks" in request:
        there.hub.restart()  # a network is asked for once
    held = there.gates[host].hold(request, answered=answered)
    there.begin("ada", f"gpu-{host}")
    held.wait()
    answer = there.delete("ada")
    assert answer.status in (202, 204), answer
    there.gates[host].release()
    nothing_is_left(there, host)


@pytest.mark.parametrize("host", HOSTS)
def test_a_delete_during_the_start_on_a_quick_host_leaves_nothing(there: Scene, host: str) -> None:
    """The host answers while the hub still waits for the end of the start."""
    held = there.gates[host].hold("POST /containers/create")
    there.begin("ada", f"gpu-{host}")
    held.wait()
    threading.Timer(0.3, held.release).start()
    assert there.delete("ada").status in (202, 204)
    nothing_is_left(there, host)


@pytest.mark.parametrize(("host", "answered"), [("wn1", False), ("wn2", True)], ids=["asked", "created, not told"])
def test_a_start_right_after_a_cancelled_one_is_left_alone(there: Scene, host: str, answered: bool) -> None:
    """Both containers have one name: what is known of the first by its name alone must not end the second."""
    held = there.gates[host].hold("POST /containers/create", answered=answered)
    there.begin("ada", host)
    held.wait()
    assert there.delete("ada").status in (202, 204)
    held.forget()
    assert until("ada may start again", lambda: there.try_start("ada", host).get("ready"))
    new = there.container("ada")
    held.release()
    until("nothing is to be stopped", lambda: there.notes("ada") == [])
    assert there.containers() == [new]
    assert there.answers("ada")


def test_a_delete_while_the_server_does_not_answer_yet_leaves_nothing(there: Scene) -> None:
    """The container runs, and is removed."""
    host = "wn2"
    there.begin("ada", f"silent-{host}")
    until("it runs", lambda: [one.state for one in there.containers()] == ["running"])
    assert there.delete("ada").status in (202, 204)
    nothing_is_left(there, host)


def test_a_delete_during_a_pull_leaves_nothing(there: Scene) -> None:
    """The host goes on fetching for whoever comes next."""
    there.fleet["wn1"].cli("tag", "nbplatform/tiny:test", "nbplatform/kept:test")
    there.fleet["wn1"].cli("rmi", "nbplatform/tiny:test")
    held = there.gates["wn1"].hold("POST /images/create")
    there.begin("ada", "gpu-wn1")
    held.wait()
    assert there.delete("ada").status in (202, 204)
    there.fleet["wn1"].cli("tag", "nbplatform/kept:test", "nbplatform/tiny:test")
    there.gates["wn1"].drop()
    nothing_is_left(there, "wn1")


def test_one_user_who_starts_the_same_server_many_times_at_once_gets_one(there: Scene) -> None:
    """One container, one GPU; the other requests are refused or told that it is pending."""
    with ThreadPoolExecutor(8) as pool:
        asked = list(
            pool.map(lambda _: there.hub.api("POST", "users/ada/server", json={"profile": "gpu-wn1"}), range(8))
        )
    assert sorted({answer.status for answer in asked} - {201, 202, 400}) == []
    until("it is ready", lambda: there.ready("ada"))
    assert [one.id for one in there.containers()] == [there.container("ada").id]


def test_one_user_who_starts_two_servers_at_once_keeps_within_the_quota(there: Scene) -> None:
    """The quota of one GPU counts the start that has not been recorded yet."""
    with ThreadPoolExecutor(2) as pool:
        last = list(pool.map(lambda name: there.try_start("ada", f"gpu-{name}", name), HOSTS))
    assert sorted(bool(event.get("ready")) for event in last) == [False, True], last
    assert "quota" in next(event["message"] for event in last if event.get("failed"))
    assert len(there.containers()) == 1
