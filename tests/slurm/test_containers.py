"""A notebook server in a container makes a Dask cluster on Slurm under its user's account, by REST and by commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.components.docker_fleet import DockerFleet, Settings
from tests.components.docker_host import DockerHost
from tests.components.images import load
from tests.components.slurm import USERS, Slurm
from tests.slurm.computation import RESULT, WORKERS
from tests.slurm.containers import ROOT, Server, load_client, server, token_giver

PROGRAM = Path(__file__).with_name("computation.py")
HUB_TOKEN = "a-token-of-alices-server"
COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "srun", "scontrol", "sacct", "munge", "munged")
SITE = "{way}\nworkers: {{shared: [{home}, {prefix}]}}\n"


@pytest.fixture(scope="module")
def host(slurm_once: Slurm) -> DockerHost:
    """A Docker host on the cluster's network."""
    fleet = DockerFleet(slurm_once.lan)
    fleet.add({"wn1": Settings()})
    return fleet["wn1"]


@pytest.fixture
def place(slurm: Slurm) -> Iterator[ExitStack]:
    """What a test opens ends with it."""
    with ExitStack() as stack:
        yield stack


def site_file(slurm: Slurm, way: str) -> Path:
    """Write the site's file and return where it is."""
    path = slurm.places.top / f"site-{way.split()[1].strip(',}')}.yaml"
    path.write_text(SITE.format(way=f"slurm: {way}", home=slurm.home, prefix=sys.prefix))
    return path


@pytest.fixture
def by_rest(place: ExitStack, slurm: Slurm, host: DockerHost) -> Server:
    """The image for notebook servers, with nothing of Slurm: the site's file and a token of the hub are all it has."""
    address = place.enter_context(token_giver(slurm, {HUB_TOKEN: "alice"}))
    way = f"{{way: rest, rest_url: {slurm.rest_url}, token_url: {address}, encryption: none}}"
    binds = {f"{site_file(slurm, way)}:/etc/nbplatform/slurm.yaml": "ro"}
    return place.enter_context(server(host, slurm, load(host, "base"), "alice", binds))


@pytest.fixture
def by_commands(place: ExitStack, slurm: Slurm, host: DockerHost) -> Server:
    """A server with Slurm's commands, its settings, munged's socket and the site's accounts mounted."""
    accounts = slurm.places.top / "etc.d"
    binds: dict[str | Path, str] = {slurm.munge_folder: "rw", slurm.conf: "ro"}
    binds |= {f"{accounts / name}:/etc/{name}": "ro" for name in ("passwd", "group")}
    binds[f"{site_file(slurm, '{way: commands}')}:/etc/nbplatform/slurm.yaml"] = "ro"
    return place.enter_context(server(host, slurm, load_client(host), "alice", binds))


def test_the_rest_container_holds_nothing_of_slurm(by_rest: Server, slurm: Slurm) -> None:
    """No command, no file of a package, no socket of munged, no key, no variable: neither its own nor mounted."""
    found = by_rest.run(["sh", "-c", f"for name in {' '.join(COMMANDS)}; do command -v $name; done; env; mount"])[1]
    assert "slurmctld" not in found
    assert not [line for line in found.splitlines() if line.startswith(("SLURM", "/usr"))]
    assert "munge" not in found
    files = found_files(
        by_rest, f"-path '{slurm.places.top}' -o -path '*/site-packages'", "-iname '*slurm*' ! -name nbplatform-slurm"
    )
    assert files == ["/etc/nbplatform/slurm.yaml"]
    secrets = "-iname '*munge*' -o -iname '*jwt*key*' -o -type s"
    assert found_files(by_rest, "-path /proc -o -path '*/site-packages'", secrets) == []


def found_files(server: Server, left_out: str, wanted: str) -> list[str]:
    """Return what ``find`` finds in a whole container but below the places that are left out."""
    shared = " ".join(f"-o -path '{path}'" for path in (ROOT, sys.prefix, sys.base_prefix))
    search = f"find / \\( {left_out} {shared} \\) -prune -o \\( {wanted} \\) -print"
    return server.run(["sh", "-c", f"{search} 2>/dev/null"])[1].split()


def test_a_container_without_slurm_computes_by_rest(by_rest: Server, slurm: Slurm) -> None:
    """One line makes scheduler and workers, as the user, over TLS; the result is right and no job is left."""
    status, said = by_rest.run(
        [sys.executable, str(PROGRAM)], {"JUPYTERHUB_USER": "alice", "JUPYTERHUB_API_TOKEN": HUB_TOKEN}
    )
    computed_as_alice(status, said, slurm)


def test_a_container_with_munge_computes_by_commands(by_commands: Server, slurm: Slurm) -> None:
    """The same with ``sbatch``, ``squeue`` and ``scancel``."""
    status, said = by_commands.run([sys.executable, str(PROGRAM)], {"SLURM_CONF": str(slurm.conf)})
    computed_as_alice(status, said, slurm)


def computed_as_alice(status: int, said: str, slurm: Slurm) -> None:
    """Check what the program printed, and that nothing is left."""
    assert status == 0, said
    found = json.loads(said.splitlines()[-1])
    assert set(found.pop("hosts")) <= set(slurm.nodes)
    assert found == {"result": RESULT, "uids": [USERS["alice"].uid], "tls": True, "workers": WORKERS}
    slurm.wait_for_jobs(0, limit=5)
    clusters = slurm.home / "alice" / ".nbplatform" / "dask"
    assert list(clusters.iterdir()) == []


def test_another_users_token_starts_nothing_under_this_name(by_rest: Server, slurm: Slurm) -> None:
    """A server whose token the service does not know gets one sentence, and no job."""
    status, said = by_rest.run(
        [sys.executable, str(PROGRAM)], {"JUPYTERHUB_USER": "alice", "JUPYTERHUB_API_TOKEN": "a-token-of-nobody"}
    )
    assert status != 0
    assert "gives this server no token for Slurm: status 403: 'this token is not known'" in said
    assert "a-token-of-nobody" not in said
    assert slurm.job_count() == 0
