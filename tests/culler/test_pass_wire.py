"""Whole passes against a hub and servers at the wire that are slow, wrong, silent or lying, and a clock that is set."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tornado.httputil import HTTPServerRequest

from nbplatform_spawners.culler.examine import DOORS_AT_ONCE, PARTS_AT_ONCE, Wishes
from nbplatform_spawners.culler.limits import Options
from nbplatform_spawners.culler.server_api import ServerApi
from nbplatform_spawners.culler.service import NotOurHub, Times
from nbplatform_spawners.culler.users import UserLimits, cull_users
from nbplatform_spawners.hub_api import HubApi
from nbplatform_spawners.rules.parse import parse_rules

from .hub_double import TOKEN, FakeServer, HubDouble
from .site import DAY, HOUR, Culler, Jumps, Wanted, culler, until

LIMITS = {"cull_after": 3 * 86400, "warn_before": 7200, "busy_max": 6 * 86400, "extend": 21600}
STATE = {"version": 1, "profile": "cpu", "gpus": [], "gpu_count": 0, "idle": {**LIMITS, "warn_before": 0}}
WARNED = {**STATE, "idle": LIMITS}
LONG, SHORT = 4 * 86400.0, 60.0
"""Seconds without use: too many, and few."""


def server(user: str, idle: float = LONG, **more: Any) -> FakeServer:
    """A server that runs for a month and that the hub takes for used, as one with an open page."""
    return FakeServer(user, **{"idle": idle, "age": 30 * 86400.0, "state": STATE, **more})


@pytest.fixture
def there(tmp_path: Path) -> Any:
    """Makes a culler of a hub at the wire."""

    @asynccontextmanager
    async def made(hub: HubDouble, **wanted: Any) -> AsyncIterator[Culler]:
        asked = Wanted(
            **{
                "token": TOKEN,
                "servers": ServerApi,
                "server_limit": 1.0,
                "stop_timeout": 1.0,
                "audit": tmp_path / "audit",
                **wanted,
            }
        )
        async with culler(hub.url, tmp_path / "culler.json", asked) as one:
            yield one

    return made


# Servers that do not answer as they should

SILENT = (
    *("error", "garbage", "no HTTP", "huge", "endless", "redirects", "never", "drips", "refuses"),
    *("something else", "wrong types", "resets", "long head", "odd date"),
)
ANSWERING = ("quick", "slow", "jupyter", "jupyter without terminals")


async def test_a_server_that_cannot_be_asked_is_kept_and_counted(there: Any) -> None:
    """However it fails to answer: it is said once, and hinders no other; those that answer are stopped."""
    servers = [server(mode.replace(" ", "-").lower(), mode=mode) for mode in SILENT + ANSWERING]
    with HubDouble(servers) as hub:
        async with there(hub) as one:
            seen = await one.make_pass()
            for mode in SILENT:
                found = seen[mode.replace(" ", "-").lower(), ""]
                assert (found.verdict.kind, found.unanswered is not None) == ("keep", True), mode
            assert sorted(user for user, _ in hub.stopped) == sorted(mode.replace(" ", "-") for mode in ANSWERING)
            metrics = one.one.tellers.metrics
            assert metrics.registry.get_sample_value("nbplatform_culler_unanswered_servers") == len(SILENT)
        assert hub.lured == []


async def test_what_does_not_answer_is_stopped_where_the_administrator_says_so(there: Any) -> None:
    """``unanswered_max`` beyond its limit, by what was known of it before and by the hub's figure, which is a bound."""
    silent = [server(name, mode="never", hub_idle=LONG) for name in ("new", "old")] + [server("open", mode="never")]
    silent[0].age = 2 * 86400.0
    with HubDouble(silent) as hub:
        async with there(hub, options=Options(unanswered_max=86400)) as one:
            await one.make_pass()
        assert hub.stopped == [("old", "")]


class WakesUp(HubDouble):
    """Its servers answer another way once they were asked."""

    wakes: FakeServer
    becomes = ""
    idle = LONG

    async def _as_server(self, request: HTTPServerRequest, got: str) -> None:
        await super()._as_server(request, got)
        self.wakes.mode, self.wakes.idle = self.becomes or self.wakes.mode, self.idle


# What it does at the second look; how its stop ends, whether its user was there
SECOND_LOOKS = {
    "it is used": ("quick", SHORT, "came back"),
    "it is silent": ("never", LONG, "silent"),
    "it answers nonsense": ("wrong types", LONG, "silent"),
    "it is idle": ("quick", LONG, "stopped"),
}


@pytest.mark.parametrize(("mode", "idle", "outcome"), SECOND_LOOKS.values(), ids=SECOND_LOOKS)
async def test_the_second_look_decides(there: Any, mode: str, idle: float, outcome: str) -> None:
    """A server is stopped when it is idle then, too; one that cannot be asked then has not come back."""
    with WakesUp([server("ada")]) as hub:
        hub.wakes, hub.becomes, hub.idle = hub.people["ada"][""], mode, idle
        async with there(hub) as one:
            await one.make_pass()
            assert one.outcomes == {("ada", ""): outcome}
        assert hub.stopped == ([("ada", "")] if outcome == "stopped" else [])
        assert hub.boards[-1]["stops"] == [] or outcome == "stopped"


# A clock that is set


async def test_a_clock_that_jumps_stops_nobody(there: Any) -> None:
    """Three days forward and back again: nobody had these days, and they count against nobody."""
    with HubDouble([server("ada", SHORT, mode="quick"), server("ben", SHORT, mode="never", age=SHORT)]) as hub:
        async with there(hub, clock=Jumps(), options=Options(unanswered_max=1)) as one:
            for jump in (0 * DAY, 3 * DAY + HOUR, 0 * DAY):
                one.clock.by = jump
                assert {found.verdict.kind for found in (await one.make_pass()).values()} == {"keep"}
        assert hub.stopped == []


async def test_a_server_with_a_clock_of_its_own_is_judged_by_its_own(there: Any) -> None:
    """What it says is moved by how far its clock is off, so that neither a fast nor a slow one matters."""
    skews = {"ahead": 5 * 86400.0, "behind": -5 * 86400.0}
    servers = [
        server(f"{name}-{kind}", idle, skew=skew) for name, skew in skews.items() for kind, idle in KINDS.items()
    ]
    with HubDouble(servers) as hub:
        async with there(hub) as one:
            await one.make_pass()
        assert sorted(hub.stopped) == [("ahead-idle", ""), ("behind-idle", "")]


KINDS = {"idle": LONG, "used": SHORT}


# Stops


async def test_a_hub_that_lies_about_a_stop_is_not_believed(there: Any, tmp_path: Path) -> None:
    """It says 204 and the server runs on: the stop has failed, nobody is told of one, the next pass tries again."""
    with HubDouble([server("ada")]) as hub:
        hub.stops_lie = True
        async with there(hub) as one:
            await one.make_pass()
            assert one.outcomes == {("ada", ""): "failed"}
            assert hub.boards[-1]["stops"] == []
            hub.stops_lie = False
            await one.make_pass()
            assert one.outcomes == {("ada", ""): "stopped"}
        assert [stop["user"] for stop in hub.boards[-1]["stops"]] == ["ada"]
    outcomes = [json.loads(line)["event"]["outcome"] for line in (tmp_path / "audit").read_text().splitlines()]
    assert outcomes == ["failure", "success"]


async def test_a_server_that_answers_after_its_stop_is_not_called_stopped(there: Any) -> None:
    """The hub has forgotten it, and its host could not end it."""
    with HubDouble([server("ada")]) as hub:
        hub.ghosts = True
        async with there(hub) as one:
            await one.make_pass()
            assert one.outcomes == {("ada", ""): "unknown"}


async def test_the_reason_is_on_the_disk_before_the_stop(there: Any, tmp_path: Path) -> None:
    """Whatever ends the culler while a server stops, its next process knows why."""
    with HubDouble([server("ada")], stop_delay=2.0) as hub:
        async with there(hub) as one:
            passing = asyncio.ensure_future(one.make_pass())
            await until(lambda: hub.counts["stop"])
            (stop,) = json.loads((tmp_path / "culler.json").read_text())["stops"]
            assert (stop["user"], stop["reason"], stop["done"]) == ("ada", "idle", False)
            await passing


async def test_a_pass_that_takes_too_long_is_given_up(there: Any) -> None:
    """And the next one is made: a stop that hangs for ever does not end the culler."""
    with HubDouble([server("ada")], stop_delay=30.0, slow_after=0.1) as hub:
        async with there(hub, stop_timeout=20.0) as one:
            one.service.times = Times(300.0, 0.0, 1.0)
            assert not await one.service.make_pass()
            assert hub.counts["stop"] == 1


async def test_the_first_pass_waits_and_so_does_one_after_an_outage(there: Any) -> None:
    """Servers and users come back first; passes follow each other at times that vary a little."""
    passed: list[float] = []
    waits: list[float] = []
    with HubDouble([]) as hub:
        async with there(hub) as one:
            service = one.service
            service.times = Times(every=300.0, first=120.0, longest=60.0)

            async def rest(seconds: float) -> None:
                waits.append(seconds)
                if len(waits) > 6:
                    raise NotOurHub("enough")

            async def make() -> bool:
                passed.append(1)
                return len(passed) != 3

            service._rest, service.make_pass = rest, make  # type: ignore[method-assign]
            with pytest.raises(NotOurHub):
                await service.run()
    assert waits[0] == 120.0
    assert waits[3] == 30.0  # after the one that failed
    usual = [wait for place, wait in enumerate(waits[1:], 1) if place != 3]
    assert all(270 <= wait <= 330 for wait in usual)
    assert len(set(usual)) > 1


async def test_users_of_no_use_are_deleted(there: Any) -> None:
    """As upstream's culler does it: those without a server, by their age."""
    with HubDouble([server("ada", SHORT)], others=["ben", "eve"]) as hub:
        api = HubApi(hub.url, TOKEN)
        gone = await cull_users(api, UserLimits(60, 86400, admins=True), datetime.now(UTC), logging.getLogger("test"))
        api.close()
    assert sorted(gone) == sorted(hub.deleted) == ["ben", "eve"]


async def test_a_stop_that_goes_on_is_waited_for(there: Any) -> None:
    """The hub says 202: it is stopped when it has gone, and not before."""
    with HubDouble([server("ada")], stop_delay=0.6, slow_after=0.1) as hub:
        async with there(hub, stop_timeout=20.0) as one:
            await one.make_pass()
            assert one.outcomes == {("ada", ""): "stopped"}
        assert hub.stopped == [("ada", "")]


async def test_a_stop_that_hangs_fails_and_its_user_is_told_when_it_is_gone_after_all(there: Any) -> None:
    """The next pass finds it gone."""
    with HubDouble([server("ada"), server("ben", SHORT)], stop_delay=3.0, slow_after=0.1) as hub:
        async with there(hub, stop_timeout=0.5) as one:
            await one.make_pass()
            assert one.outcomes == {("ada", ""): "failed"}
            await until(lambda: hub.server("ada") is None)
            await one.make_pass()
        told = [stop["user"] for board in hub.boards for stop in board["stops"]]
        assert told == ["ada"]


class OneSlowStop(HubDouble):
    """One user's server takes until all others are gone."""

    async def _stopped(self, stopped: FakeServer, remove: bool) -> None:
        if stopped.user == "slow":
            await until(lambda: not any(mine for name, mine in self.people.items() if name != "slow"))
        await super()._stopped(stopped, remove)


@pytest.mark.parametrize("at_once", [1, 10])
async def test_one_slow_stop_delays_no_other(there: Any, at_once: int) -> None:
    """It ends only when every other server has gone: were any of them waiting for it, none would end."""
    servers = [server("slow"), *(server(f"user{number}") for number in range(15))]
    with OneSlowStop(servers) as hub:
        async with there(hub, concurrency=at_once, stop_timeout=30.0) as one:
            await one.make_pass()
            assert set(one.outcomes.values()) == {"stopped"}
        assert len(hub.stopped) == len(servers)
        assert hub.stopped[-1] == ("slow", "")


class Orderly(HubDouble):
    """Notes in which order lists and stops were asked for."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.order: list[str] = []

    async def _as_hub(self, request: HTTPServerRequest, path: str) -> None:
        if request.method == "DELETE" or path == "/users":
            self.order.append("stop" if request.method == "DELETE" else "page")
        await super()._as_hub(request, path)


async def test_of_5000_servers_exactly_the_idle_ones_are_stopped(there: Any) -> None:
    """A tenth is idle; all pages are read before the first stop, and stops under way at once are bounded."""
    servers = [server(f"user{number:04d}", SHORT if number % 10 else LONG) for number in range(5000)]
    with Orderly(servers, others=[f"away{number}" for number in range(500)], stop_delay=0.02) as hub:
        async with there(hub, server_limit=30.0, stop_timeout=60.0) as one:
            await one.make_pass()
        assert sorted(hub.stopped) == [(f"user{number:04d}", "") for number in range(0, 5000, 10)]
        assert 1 < hub.most_stops <= 10
        assert "page" not in hub.order[hub.order.index("stop") :]
        assert hub.order.count("page") > 1
        assert hub.server_tokens == {f"token {one.token}" for one in servers}


HUB_TROUBLE = (
    "dies in page 2",
    "error",
    "unavailable",
    "endless",
    "garbage",
    "loops",
    "elsewhere",
    "resets",
    "wrong types",
)


@pytest.mark.parametrize("mode", HUB_TROUBLE)
async def test_a_list_that_is_not_whole_stops_nobody(there: Any, mode: str) -> None:
    """The hub dies in the middle of the list, or sends another: no pass is made, and the next one is whole."""
    servers = [server(f"user{number:03d}") for number in range(120)]
    with HubDouble(servers) as hub:
        async with there(hub) as one:
            hub.mode = mode
            assert await one.service.make_pass() is False
            assert hub.counts["stop"] == hub.counts["activity"] == 0
            hub.mode = ""
            await one.make_pass()
        assert len(hub.stopped) == 120


# What a hub may send about a server

HOSTILE_STATES: dict[str, Any] = {
    "none": None,
    "a list": [1],
    "of another version": {"version": 99, "idle": {"cull_after": 1}},
    "a number for GPUs": {**STATE, "gpus": 7, "gpu_count": None},
    "a text for GPUs": {**STATE, "gpus": "all", "gpu_count": "many"},
    "a text for limits": {**STATE, "idle": "3d"},
    "limits of wrong types": {**STATE, "idle": {"cull_after": "soon", "warn_before": [], "max_age": {}, "extend": -5}},
    "limits beyond all times": {**STATE, "idle": {"cull_after": 10**18, "max_age": 10**18, "warn_before": 10**18}},
    "an end of nonsense": {**STATE, "ends": {"at": "tomorrow", "why": 7}},
    "an end at no time": {**STATE, "ends": []},
    "an end of time": {**STATE, "ends": {"at": "9999-12-31T23:59:59-14:00", "why": "x"}},
    "extended at nonsense": {**STATE, "extend_asked": {"at": 1}},
}


class StrangeState(FakeServer):
    """Its spawner noted something strange."""

    def model(self, begun: datetime) -> dict[str, Any]:
        """Return the hub's model of it."""
        return {**super().model(begun), "state": [*HOSTILE_STATES.values()][int(self.user.removeprefix("user"))]}


async def test_one_strange_state_hinders_no_pass(there: Any) -> None:
    """Whatever a state holds, the servers beside it are judged, and no GPU or limit is made up."""
    servers = [StrangeState(f"user{number}", idle=LONG) for number in range(len(HOSTILE_STATES))]
    with HubDouble([*servers, server("last")]) as hub:
        async with there(hub) as one:
            await one.make_pass()
            assert one.outcomes["last", ""] == "stopped"


HOSTILE_TIMES = [
    "",
    "never",
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59.999999-14:00",
    "2026-13-40T99:00:00Z",
    7,
    None,
]


class OddTimes(HubDouble):
    """Says odd times of a server's start and last activity."""

    def _model(self, name: str) -> bytes:
        model = json.loads(super()._model(name))
        if name.startswith("odd"):
            for one in model["servers"].values():
                one["started"] = one["last_activity"] = HOSTILE_TIMES[int(name.removeprefix("odd"))]
        return json.dumps(model).encode()


async def test_odd_times_of_the_hub_hinder_no_pass(there: Any) -> None:
    """A start that is no time is no reason to stop, and none to leave the others."""
    servers = [server(f"odd{number}", SHORT) for number in range(len(HOSTILE_TIMES))]
    with OddTimes([*servers, server("last")]) as hub:
        async with there(hub, options=Options(max_age=10**9)) as one:
            await one.make_pass()
        assert ("last", "") in hub.stopped


NAMES = ["o'neil", "a b", "ü", "<b>x</b>", "%2e%2e", "a/b", "x\n[E] forged", "ada@example.org", "\u202eada", "?q=1#f"]


async def test_names_of_any_form_are_asked_and_stopped(there: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Each as itself and no other; no name breaks a line of the log."""
    caplog.set_level("INFO")
    servers = [server(name, name=other) for name in NAMES for other in ("", name)]
    with HubDouble(servers) as hub:
        async with there(hub, stop_timeout=10.0) as one:
            await one.make_pass()
        assert sorted(hub.stopped) == sorted((name, other) for name in NAMES for other in ("", name))
    assert not any("\n" in record.getMessage() for record in caplog.records)


# A culler that ends in the middle


async def test_a_culler_that_ends_during_its_stops_tells_the_reason_at_its_next_start(there: Any) -> None:
    """What it had begun is gone: its user is told why; what still runs was not stopped, and nobody is told so."""
    with HubDouble([server("ada"), server("ben", SHORT)], stop_delay=1.0) as hub:
        async with there(hub, stop_timeout=30.0) as one:
            task = asyncio.ensure_future(one.make_pass())
            await until(lambda: hub.counts["stop"])
            task.cancel()
            await asyncio.wait({task})
        assert [stop for board in hub.boards for stop in board["stops"]] == []
        await until(lambda: hub.server("ada") is None)
        async with there(hub) as one:
            await one.make_pass()
        (told,) = [stop for board in hub.boards for stop in board["stops"]]
        assert (told["user"], told["reason"]) == ("ada", "idle")


async def test_a_hub_without_our_handlers_is_culled_as_upstream_does_it(there: Any) -> None:
    """Its own figure decides; no server is asked, and nothing is told."""
    servers = [server("ada", hub_idle=LONG), server("ben", hub_idle=SHORT)]
    with HubDouble(servers, with_ask=False) as hub:
        async with there(hub) as one:
            await one.make_pass()
        assert hub.stopped == [("ada", "")]
        assert hub.counts["activity"] == 0
        assert hub.server_tokens == set()


async def test_a_hook_that_fails_for_one_server_hinders_no_other(there: Any) -> None:
    """As with upstream's culler: that one is kept, and said."""

    def hook(*, server: dict[str, Any], **_: Any) -> bool:
        return bool({"ada": True, "ben": True}[server["url"].split("/")[2]])

    odd = [server("odd"), server("ada"), server("ben")]
    with HubDouble(odd) as hub:
        async with there(hub, wishes=Wishes(arbiter=hook)) as one:
            await one.make_pass()
        assert sorted(hub.stopped) == [("ada", ""), ("ben", "")]


async def test_a_clock_that_is_set_during_a_pass_stops_nobody(there: Any) -> None:
    """Also where the hub's own figure decides: the times that were read are no longer comparable."""
    clock = Jumps()

    class Setting(HubApi):
        async def users(self, state: str | None = "ready") -> list[dict[str, Any]]:
            found = await super().users(state)
            clock.ahead += 4 * DAY
            return found

    with HubDouble([server("ada", SHORT, hub_idle=SHORT)], with_ask=False) as hub:
        async with there(hub, clock=clock, hub_api=Setting) as one:
            await one.service.meet()
            assert not await one.service.make_pass()
        assert hub.stopped == []


async def test_an_error_that_nobody_thought_of_ends_the_pass_alone(
    there: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The next pass is made: a culler that ends would stop nobody for ever."""

    class Broken(HubApi):
        broken = True

        async def users(self, state: str | None = "ready") -> list[dict[str, Any]]:
            if self.broken:
                raise RuntimeError("never seen before")
            return await super().users(state)

    with HubDouble([server("ada")]) as hub:
        async with there(hub, hub_api=Broken) as one:
            assert not await one.service.make_pass()
            Broken.broken = False
            assert await one.service.make_pass()
        assert hub.stopped == [("ada", "")]
    assert "never seen before" in caplog.text


async def test_a_hub_that_shows_no_state_any_more_stops_nobody(there: Any) -> None:
    """Where there are rules, the command's timeout is not for servers whose limits cannot be seen."""
    one_server = server("ada", SHORT * 2)
    with HubDouble([one_server]) as hub:
        async with there(hub, options=Options(timeout=60), book=lambda: parse_rules(RULES)) as one:
            model = json.loads(hub._models["ada"])
            del model["servers"][""]["state"]
            hub._models["ada"] = json.dumps(model).encode()
            await one.make_pass()
        assert hub.stopped == []


RULES = {"site.yaml": b"profiles: {cpu: {title: CPU, allow: true}}"}


async def test_keys_do_not_grow_old_behind_servers_that_hang(there: Any) -> None:
    """The hub is asked for the next keys when the servers before have answered, or have not."""
    hanging = [server(f"h{number:03d}", mode="never") for number in range(100)]
    with HubDouble(hanging) as hub:
        async with there(hub, server_limit=0.5) as one:
            looking = asyncio.ensure_future(one.look())
            await until(lambda: hub.counts["activity"] >= 20)
            assert hub.counts["ask"] <= PARTS_AT_ONCE
            await looking
        assert hub.counts["ask"] == 100 / DOORS_AT_ONCE


async def test_a_hub_that_could_give_keys_is_not_taken_for_another(there: Any) -> None:
    """Something else answers there for a moment: nobody is stopped by the hub's own figure for that."""
    with HubDouble([server("ada", SHORT, hub_idle=LONG)]) as hub:
        async with there(hub) as one:
            await one.make_pass()
            hub.with_ask = False
            one.memory.record.known.clear()
            await one.make_pass()
        assert hub.stopped == []


async def test_the_pages_are_told_everything_again_when_the_hub_is_new(there: Any) -> None:
    """Another epoch: it knows nothing of what was told before."""
    with HubDouble([server("ada"), server("ben", 3 * 86400.0 - 3600, state=WARNED)]) as hub:
        async with there(hub) as one:
            await one.make_pass()
            hub.epoch = "epoch-2"
            await one.make_pass()
        last = hub.boards[-1]
        assert (last["epoch"], [stop["user"] for stop in last["stops"]]) == (None, ["ada"])
        assert [(notice["user"], notice["extended"]) for notice in last["notices"]] == [("ben", False)]
        assert datetime.fromisoformat(last["notices"][0]["stop_at"]) > datetime.now(UTC)


UPSTREAMS = ("list:users", "read:servers", "delete:servers")


@pytest.mark.parametrize("with_ask", [True, False], ids=["our hub", "another hub"])
async def test_the_scopes_of_upstreams_culler_do_on_a_hub_that_is_not_ours(there: Any, with_ask: bool) -> None:
    """Ours asks for two more, and one without them ends with their names before it does anything."""
    with HubDouble([server("ada", hub_idle=LONG)], with_ask=with_ask) as hub:
        hub.scopes = UPSTREAMS
        async with there(hub) as one:
            if with_ask:
                with pytest.raises(NotOurHub, match="lacks admin:server_state access:servers; it needs"):
                    await one.make_pass()
            else:
                await one.make_pass()
        assert hub.stopped == ([] if with_ask else [("ada", "")])
