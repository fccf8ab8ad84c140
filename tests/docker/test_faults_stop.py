"""A stop that cannot be carried out: the server is noted, holds what it held, and ends when its host is back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.components.docker_fleet import Settings
from tests.components.need import need
from tests.docker.faults import Scene, matches, scene, trouble, until

HOSTS = {"wn1": Settings(), "wn2": Settings("modern", gpus=1)}


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    """The module's fleet and hub."""
    with need(scene(HOSTS)) as there:
        yield there


@pytest.fixture
def there(shared: Scene) -> Iterator[Scene]:
    """The same with nothing running, before and after."""
    yield shared
    shared.fleet["wn2"].mend()
    shared.clean()


@pytest.mark.parametrize("known", [True, False], ids=["as the hub knows", "a moment ago"])
@pytest.mark.parametrize("fault", ["unplugged", "stopped", "hanging"])
def test_a_stop_on_a_host_that_is_down_is_done_when_the_host_is_back(there: Scene, fault: str, known: bool) -> None:
    """The user is told that the server has stopped; its GPU and quota are held until the host says that it is gone."""
    held = there.start("ben", "gpu-wn2")
    logged = len(there.hub.log_text())
    with trouble(there.fleet["wn2"], fault):
        if known:
            until("the hub knows", lambda: matches("host wn2 does not answer", there.hub.log_text()[logged:]))
        assert there.delete("ben").status in (202, 204)
        until("the hub says that it is gone", lambda: not there.model("ben"))
        assert [note["id"] for note in there.notes("ben")] == [held.id]
        assert there.tokens("ben") == [], "whatever its host does, it may not ask the hub any more"
        assert there.routes() == {}
        assert not there.try_start("eve", "gpu-wn2").get("ready"), "nobody is given its GPU"

    until("the container is gone", lambda: there.containers("wn2") == [])
    until("it is in the log", lambda: matches("has ended, as was asked before", there.hub.log_text()[logged:]))
    assert there.notes("ben") == []
    assert until("its GPU is free", lambda: there.try_start("eve", "gpu-wn2").get("ready"))


def test_what_has_to_be_stopped_holds_gpu_and_quota_also_after_a_hub_restart(there: Scene) -> None:
    """The note is in the hub's database; it holds nothing any more once the host has said that it is gone."""
    held = there.start("ben", "gpu-wn2")
    there.fleet["wn2"].cut()
    assert there.delete("ben").status in (202, 204)
    until("the hub says that it is gone", lambda: not there.model("ben"))
    there.hub.kill9()
    there.hub.restart()
    assert [note["id"] for note in there.notes("ben")] == [held.id]
    there.start("ben", "wn1", "second")
    refused = there.try_start("ben", "wn1", "third")
    assert "servers" in refused["message"], refused
    assert "being stopped on wn2" in refused["message"], refused
    assert there.containers("wn2") == [held], "it cannot be reached yet"

    there.fleet["wn2"].mend()
    until("the container is gone", lambda: there.containers("wn2") == [])
    there.hub.wait_for_log("has ended, as was asked before")
    assert there.start("ben", "gpu-wn2").gpus == held.gpus, "its owner has the quota again, and may have the GPU again"


def test_a_stop_after_a_hub_restart_revokes_the_token_and_frees_the_gpu(there: Scene) -> None:
    """The hub itself deletes only tokens that it remembers, and none after a restart."""
    there.start("ben", "gpu-wn2")
    token = there.hub.api("GET", "users/ben/tokens").json["api_tokens"]
    assert there.tokens("ben") == ["Server at /user/ben/"], token
    there.hub.restart()
    until("the server is there", lambda: there.ready("ben"))
    assert there.tokens("ben") == ["Server at /user/ben/"]
    assert there.delete("ben").status == 204
    assert there.tokens("ben") == []
    assert there.containers() == []
    assert there.try_start("eve", "gpu-wn2").get("ready")


def test_a_named_server_that_is_removed_on_a_host_that_is_down_is_stopped_later(there: Scene) -> None:
    """Its record is gone from the hub's database; the note is handed on, so that the quota is held over a restart."""
    there.start("ben", "gpu-wn2", "lab")
    there.fleet["wn2"].cut()
    answer = there.hub.api("DELETE", "users/ben/servers/lab", json={"remove": True})
    assert answer.status in (202, 204)
    until("the hub says that it is gone", lambda: not there.model("ben", "lab"))
    there.hub.restart()
    assert there.containers("wn2") != []
    assert [note["server"] for note in there.notes("ben")] == ["lab"]
    there.start("ben", "wn1", "second")
    refused = there.try_start("ben", "wn1", "third")
    assert "being stopped on wn2" in refused["message"], refused
    there.fleet["wn2"].mend()
    until("the container is gone", lambda: there.containers("wn2") == [])
    until("the note is gone", lambda: there.notes("ben") == [])
    assert there.try_start("eve", "gpu-wn2").get("ready")


def test_a_server_may_be_started_elsewhere_while_the_old_one_waits_for_its_end(there: Scene) -> None:
    """The new container is not the one that must end, though both belong to one server."""
    old = there.start("ben", "gpu-wn2")
    there.fleet["wn2"].cut()
    assert there.delete("ben").status in (202, 204)
    until("the hub says that it is gone", lambda: not there.model("ben"))
    new = there.start("ben", "wn1")
    there.hub.restart()
    until("the new one is there", lambda: there.ready("ben"))
    assert [note["id"] for note in there.notes("ben")] == [old.id]
    there.fleet["wn2"].mend()
    until("the old one is gone", lambda: there.containers("wn2") == [])
    assert there.containers("wn1") == [new]
    assert there.answers("ben")
    assert datetime.fromisoformat(new.begun) > datetime.fromisoformat(old.begun)
