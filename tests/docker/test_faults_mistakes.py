"""What administrators do by mistake while servers run: no server may be lost by it, and no other host be stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components.docker_fleet import DockerFleet, Settings
from tests.components.need import need
from tests.docker.faults import Scene, matches, rules, scene, until

HOSTS = {"wn1": Settings("modern"), "wn2": Settings("modern")}


def own_certificates(fleet: DockerFleet) -> str:
    """Give each host a folder of its own; return the configuration."""
    top = fleet.folder / "tls"
    for name in fleet:
        shutil.copytree(fleet.certificates, top / name)
    return f"c.DockerFleetSpawner.tls_directory = {str(top)!r}\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    """The module's fleet and hub; the certificates of each host lie in a folder of its name."""
    with need(scene(HOSTS, more=own_certificates)) as there:
        yield there


@pytest.fixture
def there(shared: Scene) -> Iterator[Scene]:
    """The same with nothing running, before and after."""
    yield shared
    shared.site.site.write_rules(rules(shared.site, list(HOSTS)))
    for host in shared.fleet.values():
        host.mend()
    shared.clean()


def certificates(there: Scene, host: str) -> Path:
    """Return the folder of a host's certificates."""
    return there.fleet.folder / "tls" / host


def test_certificates_that_are_gone_at_a_hub_restart_lose_no_server(there: Scene) -> None:
    """The host is unknown like one that is down; with its certificates its server is there again."""
    before = there.start("ben", "wn2")
    folder = certificates(there, "wn2")
    there.site.site.write_rules(rules(there.site, ["wn1"]))
    folder.rename(folder.with_name("aside"))
    there.hub.restart()
    assert there.start("ada", "wn1").state == "running"
    assert there.model("ben")["pending"] == "check"
    assert "/user/ben/" in there.routes()
    folder.with_name("aside").rename(folder)
    until("the server is ready", lambda: there.ready("ben"))
    assert there.container("ben") == before
    assert there.delete("ben").status == 204
    assert there.containers("wn2") == []


def test_a_host_without_certificates_costs_the_hosts_after_it_nothing(there: Scene) -> None:
    """Rules are reloaded with a host that cannot be asked before one that can."""
    broken = rules(there.site, list(HOSTS)).replace(
        "pools:\n", 'pools:\n  wn0: {hosts: [{name: wn0, url: "tcp://192.0.2.1", memory: 1G}]}\n', 1
    )
    there.site.site.write_rules(broken)
    until("the rules are read", lambda: matches("host wn0 does not answer", there.hub.log_text()))
    assert there.start("ada", "wn2").state == "running"


def test_an_address_that_leads_to_another_machine_ends_nobodys_server(there: Scene) -> None:
    """That machine says that there is no such container; it is not the one that could know."""
    before = there.start("ben", "wn1")
    other = rules(there.site, list(HOSTS)).replace(there.fleet["wn1"].url, there.fleet["wn2"].url)
    there.site.site.write_rules(other)
    until("the address is taken over", lambda: matches("host wn1 has a new address", there.hub.log_text()))
    there.hub.restart()
    assert there.model("ben")["pending"] == "check"
    assert there.containers("wn1") == [before]
    there.site.site.write_rules(rules(there.site, list(HOSTS)))
    until("the server is ready", lambda: there.ready("ben"))
    assert there.container("ben") == before


def test_a_user_who_is_renamed_keeps_the_server(there: Scene) -> None:
    """The container's label has the old name; the hub's record has its id."""
    before = there.start("ada", "wn1")
    assert there.hub.api("PATCH", "users/ada", json={"name": "lovelace"}).status == 200
    try:
        there.hub.restart()
        until("the server is ready", lambda: there.ready("lovelace"))
        logged = len(there.hub.log_text())
        there.start("ben", "wn2")
        until("a whole grace has passed", lambda: there.hub.log_text()[logged:], 10)
        assert not matches("stopping the container", there.hub.log_text())
        assert [one.id for one in there.containers("wn1")] == [before.id]
    finally:
        there.delete("lovelace")
        until("it is stopped", lambda: there.containers("wn1") == [])
        assert there.hub.api("PATCH", "users/lovelace", json={"name": "ada"}).status == 200


def test_a_network_that_lets_servers_meet_is_refused(there: Scene) -> None:
    """Somebody made the platform's network by hand, without what keeps servers apart."""
    host = there.fleet["wn2"]
    host.cli("network", "rm", "nbplatform")
    host.cli("network", "create", "nbplatform")
    there.hub.restart()
    try:
        refused = there.try_start("ben", "wn2")
        assert "lets servers reach each other" in refused["message"], refused
        assert there.containers("wn2") == []
    finally:
        host.cli("network", "rm", "nbplatform")
        there.hub.restart()
    assert there.start("ben", "wn2").state == "running"


def test_a_name_that_two_servers_share_costs_neither() -> None:
    """A template without the server's name: the second start is refused, and the first server runs on."""
    template = 'c.DockerSpawner.name_template = "{prefix}-{username}"\n'
    with need(scene({"wn1": Settings()}, more=template)) as there:
        first = there.start("ada", "wn1")
        refused = there.try_start("ada", "wn1", "second")
        assert refused.get("failed"), refused
        assert there.containers("wn1") == [first]
