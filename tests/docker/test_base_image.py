"""The image that notebook servers run in: whole, closed, and without a trace of where it was built."""

from __future__ import annotations

import configparser
import importlib.metadata
import io
import json
import os
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.components.base_image import CA_BUNDLE, INDEX_SETTINGS, PACKAGE_STAGE, SOURCES, index_settings
from tests.components.docker_fleet import DockerFleet, DockerHost, Settings, docker_fleet
from tests.components.images import load
from tests.components.need import need
from tests.house.pages import code_blocks

ROOT = Path(__file__).parents[2]
ENGINES = ("debian", "modern")
CLOSED = {
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges:true"],
    "ReadonlyRootfs": True,
    "Tmpfs": {"/tmp": ""},
    "NetworkMode": "none",
    "Init": True,
}
SPOILT = """
rm /opt/nbplatform/lib/python3*/site-packages/jupyterhub/__pycache__/user.*.pyc
chmod 666 /etc/passwd
chmod 600 /etc/group
rm /opt/nbplatform/lib/python3*/site-packages/jupyter_server/_version.py
"""


@pytest.fixture(scope="module")
def fleet() -> Iterator[DockerFleet]:
    """Return a host of each engine, with the image."""
    with need(docker_fleet({name: Settings(name) for name in ENGINES})) as hosts:
        yield hosts


@pytest.fixture(params=ENGINES)
def host(fleet: DockerFleet, request: pytest.FixtureRequest) -> DockerHost:
    """Return each host in turn."""
    one = fleet[request.param]
    load(one, "base")
    return one


def run(host: DockerHost, *command: str, image: str = "", user: str = "61001:61001", **body: Any) -> tuple[int, str]:
    """Run a command in a container as closed as the platform makes them; returns its status and output."""
    client = host.client(timeout=200)
    settings = {"Image": image or load(host, "base"), "Cmd": list(command), "User": user, "HostConfig": CLOSED, **body}
    container = client.create_container_from_config(settings)["Id"]
    client.start(container)
    status = client.wait(container)["StatusCode"]
    output: bytes = client.logs(container)
    client.remove_container(container)
    return status, output.decode()


def requirements(text: str) -> list[str]:
    """Return the lines that name a package."""
    return sorted(line for line in text.split("\n") if line.strip() and not line.startswith("#"))


def test_it_holds_what_the_package_asks_for() -> None:
    """Its list is the extra ``singleuser`` and what the package itself needs, in the same ranges."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    wanted = settings["options"]["install_requires"] + settings["options.extras_require"]["singleuser"]
    assert requirements((SOURCES / "requirements.txt").read_text()) == requirements(wanted)


def test_its_dockerfile_begins_with_any_base() -> None:
    """A site names another with ``--build-arg BASE``; the components cut the file where the package begins."""
    lines = (SOURCES / "Dockerfile").read_text().splitlines()
    assert "ARG BASE=python:3.11-slim-bookworm" in lines
    assert [line for line in lines if line.startswith("FROM")] == [
        "FROM ${BASE} AS requirements",
        "FROM ${BASE} AS server",
        PACKAGE_STAGE,
        "FROM server",
    ]


@pytest.mark.parametrize("user", ["61001:61001", "2147483646:1"])
def test_it_passes_its_own_check_as_any_user(host: DockerHost, user: str) -> None:
    """No capability, a root that cannot be written to, no network, a uid that no file names."""
    version = importlib.metadata.version("nbplatform-spawners")
    status, output = run(host, "verify", f"nbplatform-spawners=={version}", user=user)
    assert status == 0, output
    assert [line.split()[0] for line in output.splitlines()] == ["ok"] * 6
    assert "a kernel runs a cell" in output


def test_its_check_notices_what_is_wrong(fleet: DockerFleet) -> None:
    """A check that cannot fail would prove nothing: each of them does, in an image that was spoilt on purpose."""
    host = fleet["debian"]
    client = host.client(timeout=200)
    body = {"Image": load(host, "base"), "User": "0", "Cmd": ["sh", "-ec", SPOILT], "HostConfig": {}}
    container = client.create_container_from_config(body)["Id"]
    client.start(container)
    assert client.wait(container)["StatusCode"] == 0
    client.commit(container, "nbplatform/spoilt", "test")
    client.remove_container(container)
    status, output = run(host, "verify", "jupyterhub==1.0", image="nbplatform/spoilt:test")
    failed = [line.split(":")[0].split(maxsplit=1)[1] for line in output.splitlines() if line.startswith("FAILED")]
    assert (status, failed) == (1, ["versions", "command", "system files", "compiled", "writable", "server"])
    for words in ("jupyterhub is 6", "wanted is 1.0", "/etc/passwd", "group", "jupyterhub/user.py is not compiled"):
        assert words in output


def test_the_page_shows_how_to_check_it(fleet: DockerFleet) -> None:
    """What ``docs/how-to/images.md`` shows is what the script itself says, and it passes."""
    host = fleet["debian"]
    text = (ROOT / "docs" / "how-to" / "images.md").read_text()
    (shown,) = (block.text for block in code_blocks("docs/how-to/images.md") if block.text.endswith(" verify\n"))
    said = (SOURCES / "verify.py").read_text().partition("docker run")[2].partition(" IMAGE verify")[0]
    command = shlex.split(shown)
    assert command[:2] == ["docker", "run"]
    assert command[2:-2] == said.replace("\\\n", " ").split()
    output = host.cli(*command[1:-2], load(host, "base"), "verify")
    checks = [line.split()[1].rstrip(":") if "system" not in line else "system files" for line in output.splitlines()]
    assert checks == [line.split("|")[1].strip() for line in text.partition("| check |")[2].splitlines()[2:8]]


def test_its_check_refuses_to_run_as_root(fleet: DockerFleet) -> None:
    """Root could write everything, and see nothing of what users will meet."""
    status, output = run(fleet["debian"], "verify", image=load(fleet["debian"], "base"), user="0:0")
    assert (status, "ordinary user" in output) == (2, True)


def test_started_by_hand_it_is_nobody(host: DockerHost) -> None:
    """Whoever forgets to name a user does not get root."""
    status, output = run(host, "sh", "-c", "id -u; id -g; cd && pwd", user="")
    assert (status, output.split()) == (0, ["65534", "65534", "/tmp"])


def test_nothing_tells_where_it_was_built(host: DockerHost) -> None:
    """No address of a package index, certificate, proxy or path of the building machine: not in its history either."""
    client = host.client()
    image = client.inspect_image(load(host, "base"))
    names = {entry.partition("=")[0] for entry in image["Config"]["Env"]}
    assert names == {"PATH", "LANG", "HOME"}
    told = json.dumps([image["Config"], client.history(image["Id"])])
    for secret in (*(index_settings().get(key, "") for key in INDEX_SETTINGS), str(ROOT), "PIP_", "PROXY", "/build"):
        assert not secret or secret not in told
    status, output = run(
        host,
        "sh",
        "-c",
        "ls -d /build /opt/package /etc/pip.conf /opt/nbplatform/pip.conf 2>/dev/null; pip config list",
    )
    assert (status, output) == (0, "")


def test_certificates_of_the_building_machine_stay_out(fleet: DockerFleet) -> None:
    """A private authority that this machine trusts is not trusted by the image."""
    if not CA_BUNDLE.exists():
        pytest.skip("this machine has no bundle of certificates")
    own = certificates(CA_BUNDLE.read_text())
    public = {
        one
        for path in Path("/usr/share/ca-certificates/mozilla").glob("*.crt")
        for one in certificates(path.read_text())
    }
    status, output = run(fleet["debian"], "cat", str(CA_BUNDLE), image=load(fleet["debian"], "base"))
    assert (status, certificates(output) <= public) == (0, True)
    assert not certificates(output) & (own - public)


def certificates(text: str) -> set[str]:
    """Return the certificates of a bundle, without line breaks."""
    return {"".join(part.partition("-----END")[0].split()) for part in text.split("BEGIN CERTIFICATE-----")[1:]}


def test_its_files_belong_to_root(fleet: DockerFleet) -> None:
    """And its scripts start the image's own Python, by a path that exists there."""
    host = fleet["debian"]
    client = host.client(timeout=200)
    container = client.create_container_from_config({"Image": load(host, "base"), "HostConfig": {}})["Id"]
    stream, _ = client.get_archive(container, "/opt/nbplatform/bin")
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        owners = {(entry.uid, entry.gid) for entry in archive}
        scripts = [archive.extractfile(f"bin/{name}") for name in ("nbplatform-singleuser", "jupyterhub-singleuser")]
        first = {file.readline().rstrip() for file in scripts if file is not None}
    client.remove_container(container)
    assert owners == {(0, 0)}
    assert {os.path.basename(line) for line in first} <= {
        b"python",
        b"python3",
        b"python3.11",
        b"python3.12",
        b"python3.13",
    }
    assert all(line.startswith(b"#!/opt/nbplatform/bin/") for line in first)
