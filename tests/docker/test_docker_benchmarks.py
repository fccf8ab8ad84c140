"""The benchmarks that need Docker hosts, for real but in their smallest form: how long anything takes, no test asks."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path

import pytest

from benchmarks import __main__ as command_line
from benchmarks import docker_placement, docker_pulls, docker_restart, docker_spawns, runner
from benchmarks.docker_sides import fleet_of
from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.images import TINY
from tests.components.need import need
from tests.components.registry import registry

NAMES = {"fleet", "fleet_base", "placement", "restart", "restart_lost", "slow_pull", "spawn_docker"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every benchmark as small as it can be, on a machine that can run them."""
    with need(docker_fleet({"wn1": Settings()})) as fleet, need(registry(fleet)):
        pass
    for name, value in {"HOSTS": 2, "SPAWNS": 2, "ROUNDS": 1, "RUNS": 1, "REAL_IMAGE": "tiny"}.items():
        monkeypatch.setattr(docker_spawns, name, value)
    monkeypatch.setattr(docker_pulls, "PULL", 4.0)
    monkeypatch.setattr(docker_pulls, "SPAWNS", (1, 1))
    for name, value in {"HOSTS": 2, "SERVERS": 3, "REAL": 0}.items():
        monkeypatch.setattr(docker_restart, name, value)
    monkeypatch.setattr(docker_restart, "_session", functools.cache(docker_restart._session.__wrapped__))


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("names", "compared"),
    [
        pytest.param(["fleet"], ["fleet"], id="many at once on a fleet"),
        pytest.param(["spawn_docker"], ["spawn_docker"], id="one after the other"),
        pytest.param(["slow_pull"], ["slow_pull"], id="beside a slow pull"),
        pytest.param(["restart", "restart_lost"], ["restart"], id="a hub's restart"),
    ],
)
def test_a_benchmark_on_docker_hosts_prints_its_ratio(
    names: list[str], compared: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Both sides are measured and stand beside each other; no server is lost at a restart, so that has no ratio."""
    assert command_line.main(names) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[1 : 1 + len(names)]}
    assert list(rows) == names
    for name, ours, peer, ratio, *_unit in rows.values():
        if name in compared:
            assert float(ratio) == pytest.approx(float(ours) / float(peer), abs=0.01)
        else:
            assert (ours, ratio) == ("0.0", "-")


def test_every_docker_benchmark_is_there() -> None:
    """Every module of the package adds its own by the decorator."""
    assert set(runner.find_benchmarks()) >= NAMES


def test_what_runs_on_both_sides_is_the_same() -> None:
    """Image, user, working folder and home of a container; what differs is who starts it, and how closed it is."""
    with need(docker_fleet({"wn1": Settings()})):
        pass
    found = []
    with fleet_of(1) as there:
        there.offer("tiny", TINY)
        (user,) = there.users
        with there.hosts[there.first].client() as client:
            for side_of in (there.ours, there.peer):
                with side_of() as side:
                    side.start(user, side.options["tiny"])
                    (listed,) = client.containers()
                    inspected = client.inspect_container(listed["Id"])
                    env = dict(line.split("=", 1) for line in inspected["Config"]["Env"])
                    mounts = {(mount["Source"], mount["Destination"]) for mount in inspected["Mounts"]}
                    config = {key: inspected["Config"][key] for key in ("Image", "User", "WorkingDir")}
                    found.append((config, mounts, env["HOME"], env["JUPYTERHUB_DISABLE_USER_CONFIG"]))
                    side.stop_all()
                    assert client.containers(all=True) == []
    assert found[0] == found[1]
    assert found[0][0] == {"Image": TINY, "User": "62200:61000", "WorkingDir": f"/home/{user}"}


async def test_placement_is_measured_on_books_that_are_full(tmp_path: Path) -> None:
    """All hosts answer, all servers are known from both sides, GPUs that are held are not granted again."""
    docker_placement.write_rules(tmp_path, 8)
    with docker_placement.running_site(tmp_path, 40) as spawner:
        decision = docker_placement.decision_for(spawner, "ada", "gpu")
        _, first = await docker_placement.place(spawner, decision)
        assert len(spawner.fleet.containers()) == len(spawner.holdings()) == 40
        held = {gpu for one in spawner.holdings() for gpu in one.gpus}
        assert len(held) == 2 * docker_placement.GPUS // 2
        spawner.reservations.hold(first)
        _, second = await docker_placement.place(spawner, docker_placement.decision_for(spawner, "ben", "gpu"))
        assert len(held | {*first.gpus, *second.gpus}) == len(held) + 2
        spawner.fleet.close()
        await asyncio.sleep(0)


def test_placement_has_a_figure_and_no_peer() -> None:
    """Nobody else places servers on Docker hosts."""
    figure = docker_placement.measure_placement(hosts=4, servers=12, spawns=3)
    assert figure.ours > 0
    assert figure.peer is None
