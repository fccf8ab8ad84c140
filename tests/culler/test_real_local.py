"""The culler on a real hub and real servers of this machine; days pass by a clock that is given to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.culler.app import IdleCuller
from nbplatform_spawners.culler.examine import Wishes
from nbplatform_spawners.culler.limits import Options
from nbplatform_spawners.culler.metrics import Metrics
from nbplatform_spawners.culler.models import time_of
from nbplatform_spawners.hub_api import HubApi
from tests.components import servers
from tests.components.hub import Hub, running_hub, start_server, stop_server
from tests.components.need import need
from tests.hub.conftest import temporary_site
from tests.hub.site import PASSWORD, RULES, Site

from .site import (
    DAY,
    HOUR,
    Culler,
    Wanted,
    api_of,
    busy_kernel,
    culler,
    home,
    idle_rules,
    notice_of,
    runs,
    until,
    with_services,
)

FILE = {"type": "file", "format": "text", "content": "of today"}
DISPLAY = "<script>alert(1)</script> a b&\"'%41;ü"
"""A display name that the hub takes; of users and servers themselves it takes harmless names alone."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The module's site."""
    with temporary_site() as made:
        yield made


@pytest.fixture(scope="module")
def shared_hub(site: Site) -> Iterator[Hub]:
    """The module's hub; it learns within a second what the proxy has seen."""
    more = "c.JupyterHub.last_activity_interval = 1\nc.JupyterHub.last_activity_resolution = 0\n"
    with need(running_hub(with_services(site.config + more), external_proxy=True)) as hub:
        for user in ("ada", "ben", "eve"):
            hub.api("POST", f"users/{user}")
        yield hub


@pytest.fixture
def hub(shared_hub: Hub, site: Site) -> Iterator[Hub]:
    """The module's hub with the limits of :data:`DAYS`; what a test left running is stopped."""
    site.write_rules(idle_rules())
    yield shared_hub
    for user in shared_hub.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(shared_hub, user["name"], name)


@pytest.fixture
def there(hub: Hub, site: Site, tmp_path: Path) -> Any:
    """Makes a culler of the hub."""

    @asynccontextmanager
    async def made(**wanted: Any) -> AsyncIterator[Culler]:
        asked = Wanted(**{"rules": site.rules, "audit": tmp_path / "audit.jsonl", **wanted})
        async with culler(api_of(hub), tmp_path / "culler.json", asked) as one:
            yield one

    return made


def start(hub: Hub, user: str, name: str = "", profile: str = "cpu") -> None:
    """Start a server."""
    last = start_server(hub, user, {"profile": profile}, name)[-1]
    assert last.get("ready"), last


def hubs_figure(hub: Hub, user: str) -> datetime:
    """When the hub believes that a server was used last."""
    found = time_of(hub.api("GET", f"users/{user}").json["servers"][""]["last_activity"])
    assert found is not None
    return found


def events(folder: Path) -> list[tuple[str, str]]:
    """Action and user of each line of the audit file."""
    path = folder / "audit.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(line["event"]["action"], line["user"]["name"]) for line in lines]


# Warned, then stopped


async def test_an_idle_server_is_warned_then_stopped_and_its_user_is_told(there: Any, hub: Hub, tmp_path: Path) -> None:
    """On the home page, in the server, by the site's command and in the audit file; the reason is there afterwards."""
    start(hub, "ada")
    mails = tmp_path / "mails"
    async with there(command=["sh", "-c", f"cat >> {mails}; echo >> {mails}"]) as one:
        one.clock.by = 3 * DAY - 3 * HOUR
        assert (await one.make_pass())["ada", ""].verdict.kind == "keep"
        assert notice_of(hub, "ada") is None
        one.clock.by = 3 * DAY - HOUR
        seen = (await one.make_pass())["ada", ""]
        assert (seen.verdict.kind, seen.activity.by) == ("warn", "server")
        notice = notice_of(hub, "ada")
        assert notice is not None
        assert (notice["reason"], notice["extend"], notice["extended"]) == ("idle", 21600, False)
        assert "It will be stopped on" in home(hub, "ada")
        assert "a server idle for 3 days (limit of defaults" in home(hub, "ada")
        assert "It will be stopped on" not in home(hub, "ben")
        await one.make_pass()
        one.clock.by = 3 * DAY + HOUR
        await one.make_pass()
        assert one.outcomes == {("ada", ""): "stopped"}
    assert hub.api("GET", "users/ada").json["servers"] == {}
    page = home(hub, "ada")
    assert "Your default server was stopped on" in page
    assert "a server idle for 3 days" in page
    assert "your files are untouched" in page
    assert events(tmp_path) == [("warning", "ada"), ("stop", "ada")]  # the second pass said nothing again
    (mail,) = [json.loads(line) for line in mails.read_text().splitlines()]
    assert (mail["event"]["action"], mail["user"]["name"]) == ("warning", "ada")


async def test_nobody_is_stopped_unwarned_however_late_the_culler_comes(there: Any, hub: Hub) -> None:
    """A culler that was switched on after a month warns first, and stops after half of the time at the earliest."""
    start(hub, "ada")
    async with there() as one:
        one.clock.by = 30 * DAY
        assert (await one.make_pass())["ada", ""].verdict.kind == "warn"
        one.clock.by += timedelta(minutes=50)
        assert (await one.make_pass())["ada", ""].verdict.kind == "warn"
        one.clock.by += timedelta(minutes=20)
        await one.make_pass()
        assert one.outcomes == {("ada", ""): "stopped"}


async def test_named_servers_are_looked_at_one_by_one(there: Any, hub: Hub) -> None:
    """The one that computes stays, the one beside it goes, whatever it is called."""
    start(hub, "ada")
    body = {"display_name": DISPLAY, "user_options": {"profile": "cpu"}}
    assert hub.api("POST", "users/ben/servers/second", json=body).status in (201, 202)
    await until(lambda: hub.api("GET", "users/ben").json["servers"]["second"]["ready"])
    start(hub, "ada", "train-2")
    with busy_kernel(hub, "ada", "import time; time.sleep(600)", "train-2"):
        async with there(options=Options()) as one:
            one.clock.by = 3 * DAY - HOUR
            await one.make_pass()
            one.clock.by = 3 * DAY + HOUR
            seen = await one.make_pass()
            assert seen["ada", "train-2"].verdict.kind == "keep"
            assert one.outcomes == {("ada", ""): "stopped", ("ben", "second"): "stopped"}
        assert runs(hub, "ada", "train-2")
    page = home(hub, "ben")
    assert "was stopped on" in page
    assert "<script>alert" not in page


async def test_kinds_of_servers_that_are_not_to_be_culled_stay(there: Any, hub: Hub) -> None:
    """As with upstream's culler: ``cull_named_servers`` and ``cull_default_servers``."""
    start(hub, "ada")
    start(hub, "ada", "train-2")
    async with there(wishes=Wishes(named_servers=False, default_servers=False)) as one:
        one.clock.by = 30 * DAY
        assert {seen.verdict.kind for seen in (await one.make_pass()).values()} == {"keep"}
        assert one.stops == []


# What counts as use


async def test_a_silent_busy_kernel_counts_as_use_for_busy_max(there: Any, hub: Hub) -> None:
    """Its last_activity, the server's and the hub's, is days ago, and it computes: it is kept, but not for ever."""
    start(hub, "ada")
    with busy_kernel(hub, "ada", "import time; time.sleep(600)"):
        async with there() as one:
            one.clock.by = 5 * DAY
            seen = (await one.make_pass())["ada", ""]
            assert (seen.verdict.kind, seen.activity.busy) == ("keep", 1)
            assert seen.activity.last is not None
            assert one.clock.now() - max(seen.activity.last, hubs_figure(hub, "ada")) > 4 * DAY
            one.clock.by = 9 * DAY + HOUR  # six days of computing, three without anything
            assert (await one.make_pass())["ada", ""].verdict.kind == "warn"
            one.clock.by += 2 * HOUR
            await one.make_pass()
            assert one.outcomes == {("ada", ""): "stopped"}


async def test_an_open_page_alone_keeps_no_server(there: Any, hub: Hub, site: Site) -> None:
    """Its polling and pongs refresh the hub's figure through the proxy, which is an upper bound: the person is gone."""
    site.write_rules(idle_rules("cull_after: 3s"))
    start(hub, "ada")
    with busy_kernel(hub, "ada", "import time; time.sleep(2)") as kernel:
        door = servers.Door(hub, "ada", "", None, None)
        with door.socket(f"api/kernels/{kernel}/channels", session_id="page") as channel:
            await until(lambda: door.ask("GET", f"api/kernels/{kernel}")["execution_state"] == "idle")
            last = time_of(door.ask("GET", "api/nbplatform/activity")["kernels"]["last_activity"])
            assert last is not None

            def looked_used() -> bool:
                channel.ping()
                door.ask("GET", "api/kernels")
                return hubs_figure(hub, "ada") > last + timedelta(seconds=4)

            await until(looked_used)
            async with there() as one:
                seen = (await one.make_pass())["ada", ""]
                assert (seen.verdict.kind, one.outcomes) == ("stop", {("ada", ""): "stopped"})


async def test_asking_is_no_use(there: Any, hub: Hub) -> None:
    """A hundred passes move neither the server's figures nor the hub's."""
    start(hub, "ada")
    door = servers.Door(hub, "ada", "", None, None)
    async with there() as one:
        one.clock.by = 3 * DAY - HOUR
        await one.make_pass()
        before = door.ask("GET", "api/nbplatform/activity"), one.seen["ada", ""].activity.last
        for _ in range(5):
            await one.make_pass()
        after = door.ask("GET", "api/nbplatform/activity"), one.seen["ada", ""].activity.last
    assert [found[0]["last_action"] for found in (before, after)] == [before[0]["last_action"]] * 2
    assert abs(after[1] - before[1]) < timedelta(seconds=1)


class ComesBack(HubApi):
    """Right before the second look a person opens the page of their server."""

    person: Any = None

    async def user(self, name: str) -> dict[str, Any] | None:
        """Let them, then answer."""
        if name == "ada" and ComesBack.person is not None:
            person, ComesBack.person = ComesBack.person, None
            await asyncio.to_thread(person)
        return await super().user(name)


async def test_who_comes_back_before_the_second_look_keeps_the_server(there: Any, hub: Hub, site: Site) -> None:
    """The first look found it idle, the second does not: it lives on, and its notice is gone everywhere."""
    site.write_rules(idle_rules("cull_after: 6s, warn_before: 2s"))
    start(hub, "ada")
    start(hub, "ben")
    async with there(hub_api=ComesBack) as one:
        await until_verdict(one, "warn", "ada", "ben")
        await one.make_pass()
        assert notice_of(hub, "ada") is not None
        await until_verdict(one, "stop", "ada", "ben")
        session = hub.login("ada", PASSWORD)
        ComesBack.person = lambda: servers.Door(hub, "ada", "", session, None).ask("PUT", "api/contents/a.txt", FILE)
        await one.make_pass()
        assert one.outcomes == {("ada", ""): "came back", ("ben", ""): "stopped"}
        assert runs(hub, "ada")
        assert notice_of(hub, "ada") is None
        assert "be stopped on" not in home(hub, "ada")


async def until_verdict(one: Culler, kind: str, *users: str) -> None:
    """Look until the default servers of some users have a verdict; nothing is done to them meanwhile."""
    limit = time.monotonic() + 60
    while {(await one.look())[user, ""].verdict.kind for user in users} != {kind}:
        assert time.monotonic() < limit, [one.seen[user, ""] for user in users]
        await asyncio.sleep(0.2)


# Putting a stop off


def by_server(hub: Hub) -> None:
    """Press the button in JupyterLab."""
    servers.Door(hub, "ada", "", None, None).ask("POST", "api/nbplatform/extend")


def by_home_page(hub: Hub) -> None:
    """Press the button on the home page."""
    answer = hub.login("ada", PASSWORD).post("/hub/extend-server/ada", redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/hub/home")


@pytest.mark.parametrize("press", [by_server, by_home_page], ids=["server", "home page"])
async def test_a_stop_is_put_off_once(there: Any, hub: Hub, site: Site, tmp_path: Path, press: Any) -> None:
    """By ``idle.extend`` from the time it was due; everybody is told of the new time, and then it is over."""
    site.write_rules(idle_rules("cull_after: 8s, warn_before: 4s, extend: 6h"))
    start(hub, "ada")
    async with there() as one:
        await until_verdict(one, "warn", "ada")
        await one.make_pass()
        press(hub)
        seen = (await one.make_pass())["ada", ""]
        assert (seen.verdict.kind, seen.verdict.extended, seen.verdict.can_extend) == ("keep", True, 0)
        assert "You have put this off" in home(hub, "ada")
        notice = notice_of(hub, "ada")
        assert notice is not None
        assert (notice["extended"], notice["extend"]) == (True, 0)
        one.clock.by = 6 * HOUR - timedelta(minutes=10)
        assert (await one.make_pass())["ada", ""].verdict.kind == "keep"
        one.clock.by = 6 * HOUR + timedelta(minutes=10)
        last = (await one.make_pass())["ada", ""]
        assert (last.verdict.kind, last.verdict.can_extend) == ("warn", 0)
        one.clock.by += timedelta(minutes=1)
        await one.make_pass()
        assert one.outcomes == {("ada", ""): "stopped"}
    assert [action for action, _ in events(tmp_path)] == ["warning", "extension", "warning", "stop"]


# Limits that change


async def test_an_edit_of_the_rules_acts_without_a_restart(there: Any, hub: Hub, site: Site) -> None:
    """On servers that run: a shorter limit warns them, a longer one takes that back, ``never`` is never."""
    start(hub, "ada")
    async with there() as one:
        one.clock.by = 2 * DAY
        assert (await one.make_pass())["ada", ""].verdict.kind == "keep"
        for edit, kind in (("1d", "warn"), ("9d", "keep"), ("never", "keep")):
            site.write_rules(idle_rules(f"cull_after: {edit}, warn_before: 2h"))
            await one.rules_are_taken()
            assert (await one.make_pass())["ada", ""].verdict.kind == kind
            assert (notice_of(hub, "ada") is not None) == (kind == "warn")
            assert ("will be stopped" in home(hub, "ada")) == (kind == "warn")
        one.clock.by = 3650 * DAY
        assert (await one.make_pass())["ada", ""].verdict.kind == "keep"
        assert one.stops == []


async def test_the_limits_noted_at_the_start_hold_while_the_rules_cannot_be_read(
    there: Any, hub: Hub, site: Site, tmp_path: Path
) -> None:
    """A culler that never read good rules warns by them; one that did goes on by the last good ones."""
    start(hub, "ada")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "rules.yaml").write_text("defaults: {idle: {cull_after: 1s")
    command = IdleCuller(rules_directory=str(broken))
    command.metrics = Metrics()
    async with there(rules=None, book=command.book) as one:
        one.clock.by = 3 * DAY - 3 * HOUR
        seen = (await one.make_pass())["ada", ""]
        assert (seen.verdict.kind, seen.standing.source) == ("keep", "start")
        one.clock.by = 3 * DAY - HOUR
        assert (await one.make_pass())["ada", ""].verdict.kind == "warn"
    async with there() as one:
        site.write_rules("profiles: {cpu: [")
        assert one.store is not None
        await until(lambda: one.store is not None and one.store.problem)
        one.clock.by = 2 * DAY
        seen = (await one.make_pass())["ada", ""]
        assert (seen.verdict.kind, seen.standing.source) == ("keep", "rules")


OFF = {"keep": ["keep", "keep"], "warn": ["warn", "warn"], "stop": ["warn", "stop"]}
"""What is wished, and what a look finds at once and after ``warn_before``."""


@pytest.mark.parametrize("wish", OFF)
async def test_a_server_that_is_no_longer_allowed_is_treated_as_wished(
    there: Any, hub: Hub, site: Site, wish: Any
) -> None:
    """Its user left the GPU whitelist: it is listed, and kept, warned or stopped; a CPU server beside it is not."""
    gpu = f"gpu-{wish}"
    await until(lambda: start_server(hub, "ada", {"profile": "gpu"}, gpu)[-1].get("ready"))  # by the hub's new rules
    start(hub, "ada", "plain")
    async with there(wishes=Wishes(no_longer_allowed=wish)) as one:
        assert (await one.make_pass())["ada", gpu].standing.off is None
        site.write_rules(idle_rules().replace("users: [ada, eve]", "users: [eve]"))
        await one.rules_are_taken()
        found = []
        for _ in range(2):
            seen = await one.make_pass()
            found.append(seen["ada", gpu].verdict.kind)
            assert "no longer allow" in str(seen["ada", gpu].standing.off)
            assert (seen["ada", "plain"].verdict.kind, seen["ada", "plain"].standing.off) == ("keep", None)
            one.clock.by += timedelta(hours=2, minutes=1)
        assert found == OFF[wish]
        assert one.outcomes == ({("ada", gpu): "stopped"} if wish == "stop" else {})
    assert ("no longer allow" in home(hub, "ada")) == (wish != "keep")


async def test_a_gpu_server_has_the_gpu_limit_whatever_its_profile_is_called(there: Any, hub: Hub, site: Site) -> None:
    """By what it holds."""
    rules = idle_rules(
        rules=RULES.replace("gpu: {title", "light: {title").replace("profiles: [gpu]", "profiles: [light]")
    )
    site.write_rules(rules)
    await until(lambda: start_server(hub, "ada", {"profile": "light"})[-1].get("ready"))  # by the hub's new rules
    start(hub, "ben")
    async with there() as one:
        one.clock.by = DAY - HOUR
        seen = await one.make_pass()
        assert [seen[user, ""].verdict.kind for user in ("ada", "ben")] == ["warn", "keep"]
        assert "a GPU server idle for 1 day" in seen["ada", ""].verdict.why


# A hub that dies


class KillsTheHub(HubApi):
    """The hub ends by kill -9 when the first stop is asked for."""

    hub: Any = None

    async def stop(self, user: str, server: str, *, remove: bool = False) -> bool:
        """Kill it, then ask."""
        killed, KillsTheHub.hub = KillsTheHub.hub, None
        if killed is not None:
            await asyncio.to_thread(killed.kill9)
        return await super().stop(user, server, remove=remove)


async def test_a_hub_killed_during_a_pass_costs_nobody_anything(there: Any, hub: Hub) -> None:
    """Servers live on, the reasons of stops reach the new hub, and the time without a hub counts against nobody."""
    start(hub, "ben")
    async with there(hub_api=KillsTheHub, stop_timeout=1.0) as one:
        one.clock.by = 3 * DAY - HOUR
        await one.make_pass()
        one.clock.by = 3 * DAY + HOUR
        await one.make_pass()
        assert one.outcomes == {("ben", ""): "stopped"}
        start(hub, "ada")
        start(hub, "eve")
        await one.make_pass()
        one.clock.by += 2 * HOUR
        KillsTheHub.hub = hub
        before = (await one.make_pass())["ada", ""].verdict
        assert not hub.process.alive()
        assert before.kind == "stop"
        assert one.outcomes.keys() == {("ada", ""), ("eve", "")}
        assert {"failed"} <= set(one.outcomes.values()) <= {"failed", "silent"}  # asked to stop, or not even looked at
        for user in ("ada", "eve"):
            assert hub.visit().get(f"/user/{user}/api").status == 200
        assert await one.service.meet() is False
        one.clock.by += 5 * HOUR
        hub.restart()
        assert await one.service.meet() is True
        after = (await one.look())["ada", ""].verdict
        assert before.idle is not None
        assert after.idle is not None
        assert after.idle - before.idle < HOUR.total_seconds()
        assert runs(hub, "ada")
        await one.make_pass()  # told anew: they have longer than they were told
        one.clock.by += timedelta(hours=1, minutes=10)
        await one.make_pass()
        assert one.outcomes == {("ada", ""): "stopped", ("eve", ""): "stopped"}
    for user in ("ada", "ben", "eve"):
        assert "Your default server was stopped on" in home(hub, user)
