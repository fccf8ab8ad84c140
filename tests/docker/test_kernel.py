"""The base image through a real hub: what a user's kernel and terminal see on both engines."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.hub import Hub, run_cell, run_terminal, start_server
from tests.components.images import BASE, load_all
from tests.components.need import need
from tests.docker.fleet_site import RULES, FleetSite, fleet_hub, make_fleet_site

HOSTS = {"debian": Settings(), "modern": Settings("modern")}
ON_A_HOST = "".join(
    f'  {name}: {{title: "{name}", pool: cpu, hosts: [{name}], image: "IMAGE", allow: true}}\n' for name in HOSTS
)
SEEN = """\
import os, pathlib
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
pathlib.Path.home().joinpath("from-" + NAME).write_text("x")
pathlib.Path("/sps/atlas/from-" + NAME).write_text("x")
print({key: status[key].split() for key in ("Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Umask")})
"""


@pytest.fixture(scope="module")
def site() -> Iterator[FleetSite]:
    """A host of each engine."""
    with need(docker_fleet(HOSTS)) as fleet:
        load_all(fleet.values(), "base")
        found = make_fleet_site(fleet, {"cpu": tuple(HOSTS)}, image=BASE)
        found.write_rules(RULES.replace("memory: 256M", "memory: 1G").replace("rules:\n", f"{ON_A_HOST}rules:\n"))
        yield found


@pytest.fixture(scope="module", params=list(HOSTS))
def server(request: pytest.FixtureRequest, site: FleetSite) -> Iterator[tuple[Hub, str]]:
    """Ada's server on one host of each kind, and the host's name."""
    name: str = request.param
    with need(fleet_hub(site)) as hub:
        events = start_server(hub, "ada", {"profile": name})
        assert events[-1].get("ready"), (events, hub.log_text()[-3000:])
        yield hub, name


def test_a_kernel_runs_as_its_user(server: tuple[Hub, str], site: FleetSite) -> None:
    """uid, gid, groups, no capability, the usual umask; what it writes belongs to the user on the host."""
    hub, name = server
    seen = ast.literal_eval(run_cell(hub, "ada", SEEN.replace("NAME", repr(name))))
    assert seen == {
        "Uid": ["62101"] * 4,
        "Gid": ["61000"] * 4,
        "Groups": ["61000", "61100"],
        "CapEff": ["0" * 16],
        "CapBnd": ["0" * 16],
        "NoNewPrivs": ["1"],
        "Umask": ["0022"],
    }
    found = site.fleet[name].run_on_host(
        *("stat", "-c", "%u:%g %a"),
        *(str(site.top / "home" / "ada" / f"from-{name}"), str(site.top / "sps" / "atlas" / f"from-{name}")),
    )
    assert found.splitlines() == ["62101:61000 644", "62101:61100 644"]


def test_a_terminal_knows_its_user(server: tuple[Hub, str]) -> None:
    """``whoami``, the group names and the folder that it begins in."""
    hub, _ = server
    said = run_terminal(hub, "ada", "whoami; id -G; id -Gn; pwd; umask")
    assert said.splitlines() == ["ada", "61000 61100", "users atlas", "/home/ada", "0022"]


def test_the_server_cannot_be_changed_from_home(server: tuple[Hub, str]) -> None:
    """``disable_user_config``: what lies in the user's HOME is not the server's configuration."""
    hub, _ = server
    said = run_cell(hub, "ada", "import os; print(os.environ['JUPYTERHUB_DISABLE_USER_CONFIG'])")
    assert said.strip() == "1"
    assert "Permission denied" in run_terminal(hub, "ada", "touch /opt/nbplatform/x")
