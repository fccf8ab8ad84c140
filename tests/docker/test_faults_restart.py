"""A hub that restarts while a host is down: unknown is not gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.components.docker_fleet import Settings
from tests.components.need import need
from tests.components.servers import message_of
from tests.docker.faults import Scene, matches, rules, scene, until

HOSTS = {"wn1": Settings(), "wn2": Settings("modern", gpus=1), "wn3": Settings("modern", min_api="1.44")}
SERVERS = {"ada": "wn1", "ben": "gpu-wn2", "eve": "wn3"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    """The module's fleet and hub."""
    with need(scene(HOSTS)) as there:
        yield there


@pytest.fixture
def there(shared: Scene) -> Iterator[Scene]:
    """The same with nothing running, before and after."""
    yield shared
    for host in shared.fleet.values():
        host.mend()
    shared.site.site.write_rules(rules(shared.site, list(HOSTS)))
    shared.clean()


def all_ready(there: Scene, *users: str) -> bool:
    """Tell whether the servers of all these users are ready."""
    return all(there.ready(user) for user in users)


def test_no_server_is_lost_or_stopped_when_a_host_is_gone_while_the_hub_restarts(there: Scene) -> None:
    """Servers on the other hosts go on at once; the one on the host that is gone waits, with its route, and is back."""
    before = {user: there.start(user, profile) for user, profile in SERVERS.items()}
    routes = there.routes()
    there.fleet["wn2"].cut()
    there.hub.kill9()
    there.hub.restart()
    until("the servers of hosts that answer are ready", lambda: all_ready(there, "ada", "eve"))
    assert there.model("ben")["pending"] == "check"
    assert there.routes() == routes
    there.hub.wait_for_log("host wn2 does not answer; its servers count as running")

    there.fleet["wn2"].mend()
    until("the server of the host that is back is ready", lambda: there.ready("ben"))
    assert {user: there.container(user) for user in SERVERS} == before, "they are the same containers, never restarted"
    assert there.routes() == routes
    assert all(there.answers(user) for user in SERVERS)

    assert there.delete("ben").status == 204
    assert there.containers("wn2") == []
    assert there.tokens("ben") == [], "the hub that restarted had forgotten the token"
    assert there.start("eve", "gpu-wn2", "gpu").gpus == before["ben"].gpus


def test_a_server_on_a_host_that_is_down_keeps_what_it_holds_over_a_hub_restart(there: Scene) -> None:
    """Nobody else is given its GPU, and its owner's quota counts it; a request about it loses nothing."""
    held = there.start("ben", "gpu-wn2")
    there.start("ben", "wn1", "second")
    there.fleet["wn2"].cut()
    there.hub.restart()
    until("the hub knows its servers", lambda: there.ready("ben", "second"))

    assert "servers" in there.try_start("ben", "wn3", "third")["message"], "two of two servers are held"
    again = there.hub.api("POST", "users/ben/server", json={"profile": "wn1"})
    assert again.status == 400, "a second start would make a second server"
    assert "pending" in message_of(again)
    assert there.delete("ben").status >= 400, "the hub itself cannot stop what it is still looking for"
    assert there.model("ben")["pending"] == "check"

    there.fleet["wn2"].mend()
    until("the server is back", lambda: there.ready("ben"))
    assert there.container("ben") == held
    refused = there.try_start("eve", "gpu-wn2")
    assert "1 of 1 GPU" in refused["message"], refused


def test_a_server_that_ended_while_its_host_was_away_is_noticed(there: Scene) -> None:
    """Only the host's own word ends a server: it crashed, so its containers have ended."""
    there.start("ada", "wn1")
    there.start("ben", "gpu-wn2")
    there.fleet["wn2"].crash()
    there.hub.restart()
    until("the other server is ready", lambda: there.ready("ada"))
    assert there.model("ben")["pending"] == "check"
    there.fleet["wn2"].back()
    until("the hub knows that the server has ended", lambda: not there.model("ben"))
    until("no container is left", lambda: there.containers("wn2") == [])
    assert there.tokens("ben") == []
    assert list(there.routes()) == ["/user/ada/"]
    assert there.ready("ada")
    assert there.start("eve", "gpu-wn2").gpus == there.fleet["wn2"].gpus


def test_a_server_whose_host_the_rules_no_longer_name_goes_on_and_can_be_stopped(there: Scene) -> None:
    """Rules say where servers start, and nothing of those that run; also not after a hub restart."""
    before = {user: there.start(user, profile) for user, profile in SERVERS.items()}
    there.site.site.write_rules(rules(there.site, ["wn1", "wn3"]))
    until("the profile is gone", lambda: "gpu-wn2" in there.try_start("ada", "gpu-wn2", "other").get("message", ""))
    assert {user: there.container(user) for user in SERVERS} == before
    there.hub.restart()
    until("all servers are ready", lambda: all_ready(there, *SERVERS))
    assert {user: there.container(user) for user in SERVERS} == before
    assert all(there.answers(user) for user in SERVERS)
    assert there.delete("ben").status == 204
    assert there.containers("wn2") == []
    assert matches("orphan|no server of the hub", there.hub.log_text()) == []
