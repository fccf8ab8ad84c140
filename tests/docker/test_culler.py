"""The idle culler and servers in containers: asked directly, unknown while their Docker host is out of reach."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.components.docker_fleet import DockerHost, Settings, docker_fleet
from tests.components.hub import Hub, start_server, stop_server
from tests.components.images import BASE, load_all
from tests.components.need import need
from tests.culler.site import (
    DAY,
    HOUR,
    Culler,
    Wanted,
    api_of,
    culler,
    home,
    idle_rules,
    notice_of,
    until,
    with_services,
)
from tests.docker.fleet_site import RULES, FleetSite, fleet_hub, make_fleet_site

HOSTS = {"wn1": Settings(disk="2g"), "wn2": Settings(disk="2g")}
ON_A_HOST = "".join(
    f'  {name}: {{title: "{name}", pool: cpu, hosts: [{name}], image: "IMAGE", allow: true}}\n' for name in HOSTS
)


@pytest.fixture(scope="module")
def site() -> Iterator[FleetSite]:
    """Two hosts with a profile each."""
    with need(docker_fleet(HOSTS)) as fleet:
        load_all(fleet.values(), "base")
        found = make_fleet_site(fleet, {"cpu": tuple(HOSTS)}, image=BASE)
        rules = RULES.replace("memory: 256M", "memory: 1G").replace("rules:\n", f"{ON_A_HOST}rules:\n")
        found.write_rules(idle_rules(rules=rules))
        yield found


@pytest.fixture(scope="module")
def shared_hub(site: FleetSite) -> Iterator[Hub]:
    """The module's hub, with the culler's service."""
    with need(fleet_hub(site, with_services(""))) as hub:
        yield hub


@pytest.fixture
def hub(shared_hub: Hub) -> Iterator[Hub]:
    """The module's hub; what a test left running is stopped."""
    yield shared_hub
    for user in shared_hub.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(shared_hub, user["name"], name)


@pytest.fixture
def there(hub: Hub, site: FleetSite, tmp_path: Path) -> Any:
    """Makes a culler of the hub."""

    @asynccontextmanager
    async def made(**wanted: Any) -> AsyncIterator[Culler]:
        asked = Wanted(rules=site.site.rules, server_limit=2.0, **wanted)
        async with culler(api_of(hub), tmp_path / "culler.json", asked) as one:
            yield one

    return made


def start(hub: Hub, user: str, host: str) -> None:
    """Start a server on a host."""
    last = start_server(hub, user, {"profile": host})[-1]
    assert last.get("ready"), (last, hub.log_text()[-3000:])


def containers(host: DockerHost, user: str) -> int:
    """How many containers of a user a host has."""
    client = host.client()
    try:
        return sum(one["Labels"].get("nbplatform.user") == user for one in client.containers(all=True))
    finally:
        client.close()


async def test_a_server_in_a_container_is_asked_warned_and_stopped(there: Any, hub: Hub, site: FleetSite) -> None:
    """Its image holds what is asked; the notice hangs inside; then its container is gone, and its user is told."""
    start(hub, "ada", "wn1")
    async with there() as one:
        one.clock.by = 3 * DAY - HOUR
        seen = (await one.make_pass())["ada", ""]
        assert (seen.verdict.kind, seen.activity.by, seen.unanswered) == ("warn", "server", None)
        notice = notice_of(hub, "ada")
        assert notice is not None
        assert notice["reason"] == "idle"
        one.clock.by = 3 * DAY + HOUR
        await one.make_pass()
        assert one.outcomes == {("ada", ""): "stopped"}
    await until(lambda: containers(site.fleet["wn1"], "ada") == 0)
    assert "Your default server was stopped on" in home(hub, "ada")


async def test_a_server_whose_host_is_out_of_reach_is_unknown_and_kept(there: Any, hub: Hub, site: FleetSite) -> None:
    """The one on another host is stopped meanwhile; when its host is back it is asked again, and warned."""
    start(hub, "ben", "wn2")
    start(hub, "eve", "wn1")
    async with there() as one:
        site.fleet["wn2"].cut()
        try:
            for one.clock.by in (3 * DAY - HOUR, 3 * DAY + HOUR):
                seen = (await one.make_pass())["ben", ""]
                assert (seen.verdict.kind, seen.unanswered is not None) == ("keep", True)
            assert one.outcomes == {("eve", ""): "stopped"}
        finally:
            site.fleet["wn2"].mend()
        await until(lambda: hub.visit().get("/user/ben/api").status == 200)
        seen = (await one.make_pass())["ben", ""]
        assert (seen.verdict.kind, seen.unanswered) == ("warn", None)
    assert containers(site.fleet["wn2"], "ben") == 1


async def test_a_stop_that_cannot_reach_the_daemon_is_not_believed(there: Any, hub: Hub, site: FleetSite) -> None:
    """The hub says that it is done and the server still answers: how it ended is unknown, until it is ended later."""
    start(hub, "ada", "wn1")
    async with there(stop_timeout=60.0) as one:
        one.clock.by = 3 * DAY - HOUR
        await one.make_pass()
        one.clock.by = 3 * DAY + HOUR
        site.fleet["wn1"].freeze()
        try:
            await one.make_pass()
            assert one.outcomes == {("ada", ""): "unknown"}
        finally:
            site.fleet["wn1"].thaw()
    await until(lambda: containers(site.fleet["wn1"], "ada") == 0)
