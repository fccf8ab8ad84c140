"""``nbplatform hosts`` on real Docker daemons of two generations, over TLS."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.components.docker_fleet import DockerFleet, Settings, docker_fleet
from tests.components.docker_host import DockerHost
from tests.components.images import TINY, import_tiny, load
from tests.components.need import need
from tests.components.registry import Registry, registry
from tests.house.pages import code_blocks, commands
from tests.house.test_docs import fits

GIB = 1024**3
HOSTS = {"cpu01": Settings(live_restore=False), "cpu02": Settings("modern"), "gpu01": Settings("modern", gpus=2)}
ACCOUNTS = """\
groups: {users: 5000}
accounts:
  ada: {uid: 5001, group: users, home: TOP/home/ada}
  bob: {uid: 5002, group: users, home: TOP/home/bob}
"""
RULES = """\
pools:
  cpu:
    overcommit: 1.5
    hosts:
      - {name: cpu01, url: "CPU01", memory: 4G, cpus: 1}
      - {name: cpu02, url: "CPU02", memory: 4G, cpus: 1}
  gpu: {hosts: [{name: gpu01, url: "GPU01", memory: 4G, cpus: 1, gpus: [GPUS]}]}
profiles:
  cpu: {title: CPU, image: "IMAGE", pool: cpu, allow: true}
  gpu: {title: GPU, image: "IMAGE", pool: gpu, gpus: 1, allow: true}
defaults:
  memory: 1G
  mounts: [{source: "{home}"}, {source: "TOP/home/shared"}, {source: "TOP/opt", optional: true}]
"""


@dataclass(frozen=True)
class Site:
    """Rules about the hosts of a fleet.

    Attributes:
        fleet: the hosts.
        top: a folder with homes.
        rules: the directory of the rules.
    """

    fleet: DockerFleet
    top: Path
    rules: Path

    def change(self, old: str, new: str) -> None:
        """Change the rules."""
        path = self.rules / "rules.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def run(self, command: str, *arguments: str | Path, tls: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        line = self.command(command, *arguments, tls=tls)
        return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)

    def command(self, command: str, *arguments: str | Path, tls: Path | None = None) -> list[str]:
        """Return the words of a command."""
        line = [sys.executable, "-m", "nbplatform_spawners.cli", "hosts", command, *map(str, arguments)]
        return [*line, "--rules", str(self.rules), "--tls-directory", str(tls or self.fleet.certificates)]

    def check(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run ``check`` with this site's mount root; the certificates of tests hold 30 days."""
        return self.run("check", "--mount-root", self.top / "home", "--certificate-days", "10", *arguments)


@pytest.fixture(scope="module")
def fleet() -> Iterator[DockerFleet]:
    """Three hosts with the tiny image, the same on all."""
    with need(docker_fleet(HOSTS)) as fleet:
        load(fleet["cpu02"], "tiny")
        source = fleet["cpu02"].client()
        image = b"".join(source.get_image(TINY))
        source.close()
        for name in ("cpu01", "gpu01"):
            client = fleet[name].client()
            list(client.load_image(image))
            client.close()
        yield fleet


@pytest.fixture
def site(fleet: DockerFleet, tmp_path: Path) -> Site:
    """Rules with which nothing is wrong."""
    for folder in ("home/ada", "home/bob", "home/shared", "opt", "placement_rules"):
        (tmp_path / folder).mkdir(parents=True)
    urls = {name.upper(): fleet[name].url for name in HOSTS}
    words = {"TOP": str(tmp_path), "IMAGE": TINY, "GPUS": ", ".join(fleet["gpu01"].gpus), **urls}
    for path, text in (("placement_rules/rules.yaml", RULES), ("accounts.yaml", ACCOUNTS)):
        for word, value in words.items():
            text = text.replace(word, value)
        (tmp_path / path).write_text(text)
    made = Site(fleet, tmp_path, tmp_path / "placement_rules")
    made.change(f"{tmp_path}/opt", f"{tmp_path}/home/opt")
    return made


@contextmanager
def server(host: DockerHost, labels: Mapping[str, str], command: str = "sleep 600") -> Iterator[str]:
    """A container with these labels, as a hub makes them; yields its id."""
    client = host.client()
    made = client.create_container(TINY, ["sh", "-c", command], labels=dict(labels))["Id"]
    try:
        client.start(made)
        yield made
    finally:
        client.remove_container(made, force=True)
        client.close()


def labels(user: str, memory: int = 0, gpus: tuple[str, ...] = (), hub: str = "one") -> dict[str, str]:
    """Return the labels of a server."""
    mine = {"hub": hub, "user": user, "server": "", "memory": str(memory), "gpus": json.dumps(gpus)}
    return {f"nbplatform.{key}": value for key, value in mine.items()}


def status(site: Site, *arguments: str) -> dict[str, dict[str, Any]]:
    """Return what ``status --json`` says, by host."""
    shown = json.loads(site.run("status", "--json", *arguments).stdout)
    return {host["host"]: host for host in shown["hosts"]}


def findings(site: Site, *arguments: str | Path) -> set[tuple[str | None, str, str]]:
    """Return (host, label, message) of the problems that ``check --json`` finds."""
    shown = json.loads(site.check("--json", *arguments).stdout)
    return {(one["host"], one["about"], one["message"]) for one in shown["findings"] if one["level"] == "problem"}


def containers(site: Site) -> list[str]:
    """Return the names of all containers on all hosts."""
    found = []
    for host in site.fleet.values():
        client = host.client()
        found += [name for one in client.containers(all=True) for name in one["Names"]]
        client.close()
    return found


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for what a daemon does by itself, half a minute at most."""
    limit = time.monotonic() + 30
    while not done():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.05)


def test_status_tells_what_servers_hold(site: Site) -> None:
    """Read from the labels: memory promised of what may be, GPUs taken of all, the versions; exit 0."""
    gpu = site.fleet["gpu01"].gpus[1]
    with (
        server(site.fleet["cpu01"], labels("ada", 2 * GIB)),
        server(site.fleet["gpu01"], labels("bob", GIB, (gpu,))),
        server(site.fleet["gpu01"], {"other": "label"}),
    ):
        ran = site.run("status")
        shown = status(site)
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = [line.split("  ") for line in ran.stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell] for row in rows]
    assert cells[1][:7] == ["cpu01", "cpu", "yes", "-", "2 GiB of 6 GiB", "-", "1"]
    assert cells[2][:7] == ["cpu02", "cpu", "yes", "-", "0 of 6 GiB", "-", "0"]
    assert cells[3][:7] == ["gpu01", "gpu", "yes", "-", "1 GiB of 4 GiB", "1 of 2", "1"]
    assert rows[4] == ["3 of 3 hosts reachable, 2 servers"]
    assert shown["gpu01"]["gpus_taken"] == [gpu]
    assert shown["cpu01"]["engine"].startswith("20.10.")
    assert shown["cpu01"]["api"] == "1.41"
    assert shown["cpu02"]["engine"].startswith("29.")


def test_what_has_ended_holds_nothing_and_other_hubs_can_be_left_out(site: Site) -> None:
    """Containers of one hub, or of all."""
    host = site.fleet["cpu01"]
    with (
        server(host, labels("ada", GIB)),
        server(host, labels("eve", GIB, hub="two")),
        server(host, labels("bob", GIB), "exit 3") as ended,
    ):
        client = host.client()
        client.wait(ended)
        client.close()
        every, one = status(site)["cpu01"], status(site, "--hub-id", "one")["cpu01"]
    assert (every["memory_promised"], sorted(found["user"] for found in every["servers"])) == (2 * GIB, ["ada", "eve"])
    assert (one["memory_promised"], [found["user"] for found in one["servers"]]) == (GIB, ["ada"])


def test_a_host_that_hangs_hides_no_other(site: Site) -> None:
    """Its own line says so, exit 1; the others are told as ever, by every command."""
    site.fleet["cpu02"].freeze()
    try:
        ran, shown = site.run("status", "--timeout", "2"), status(site, "--timeout", "2")
        checked = json.loads(site.check("--json", "--timeout", "2").stdout)["findings"]
    finally:
        site.fleet["cpu02"].thaw()
    assert ran.returncode == 1
    assert "cpu02: cannot be asked: it does not answer within 2 s" in ran.stdout
    assert [host["reachable"] for host in shown.values()] == [True, False, True]
    problems = [(one["host"], one["about"]) for one in checked if one["level"] == "problem"]
    assert problems == [("cpu02", "unreachable")]


@pytest.mark.parametrize("kind", ["expired_client", "foreign_client"])
def test_a_client_that_is_refused_is_told_of_its_certificate(site: Site, kind: str) -> None:
    """An expired certificate, and one of another authority."""
    tls = getattr(site.fleet.authority, kind)()
    ran, checked = site.run("status", tls=tls), site.run("check", "--host", "cpu01", "--json", tls=tls)
    assert (ran.returncode, checked.returncode) == (1, 1)
    assert "cannot be asked: TLS is refused" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "0 of 3 hosts reachable, 0 servers"
    found = [one for one in json.loads(checked.stdout)["findings"] if "TLS is refused" in one["message"]]
    assert [(one["about"], one["level"]) for one in found] == [("tls", "problem")]


def test_check_of_a_good_site_finds_no_problem_and_leaves_nothing(site: Site) -> None:
    """Exit 0 with notes; the containers that looked are gone."""
    before = containers(site)
    ran = site.check("--accounts", site.top / "accounts.yaml")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert "3 hosts looked at: 0 problems, " in ran.stdout
    wait_until(lambda: containers(site) == before)


def test_certificates_that_end_soon_are_found_on_both_sides(site: Site) -> None:
    """The hub's own, its authority's, and the one that the host shows."""
    found = findings(site, "--certificate-days", "40", "--host", "cpu01")
    assert {about for _, about, _ in found} == {"tls"}
    assert {message.partition(" expires on ")[0] for _, _, message in found} == {
        f"the certificate {site.fleet.certificates}/ca.pem",
        f"the certificate {site.fleet.certificates}/cert.pem",
        "the host's own certificate",
    }


def test_a_source_that_is_missing_on_one_host_is_found_there(site: Site) -> None:
    """What only the host can see: another file system lies over the folder there."""
    (site.top / "home/shared/data").mkdir()
    site.change(f"{site.top}/home/shared", f"{site.top}/home/shared/data")
    host = site.fleet["cpu02"]
    host.run_on_host("mount", "-t", "tmpfs", "none", site.top / "home/shared")
    try:
        found = findings(site)
    finally:
        host.run_on_host("umount", site.top / "home/shared")
    missing = f"{site.top}/home/shared/data is not there (rules.yaml:11)"
    assert found == {("cpu02", "source", f"{missing}: every server that needs it is refused; make or mount it")}


def test_a_mount_root_that_is_missing_is_found(site: Site) -> None:
    """The rest is looked at all the same."""
    site.change(f"{site.top}/home/shared", f"{site.top}/none/shared")
    found = findings(site, "--mount-root", site.top / "none", "--host", "cpu01", "--host", "cpu02")
    told = f"{site.top}/none is not there, and with it {site.top}/none/shared: mount it on the host"
    assert found == {("cpu01", "source", told), ("cpu02", "source", told)}


def test_with_accounts_everybodys_own_mounts_are_looked_for(site: Site) -> None:
    """A home that is missing, behind a folder that others may not enter."""
    (site.top / "home/bob").rmdir()
    (site.top / "home/ada").chmod(0o700)
    os.chown(site.top / "home/ada", 5001, 5000)
    assert findings(site) == set()
    found = findings(site, "--accounts", site.top / "accounts.yaml", "--host", "cpu01")
    (message,) = [message for _, _, message in found]
    assert message.startswith(f"{site.top}/home/bob is not there (bob, rules.yaml:11)")


def test_links_that_lead_out_of_the_roots_are_found(site: Site) -> None:
    """Docker follows a link on the host: whoever can set one could have any folder of it."""
    (site.top / "home/ada").rmdir()
    (site.top / "home/ada").symlink_to("/etc")
    (site.top / "home/in").symlink_to("bob")
    found = findings(site, "--host", "cpu01", "--host", "gpu01")
    assert {(host, about) for host, about, _ in found} == {("cpu01", "link"), ("gpu01", "link")}
    assert all(message.startswith(f"{site.top}/home/ada leads to /etc, out of") for _, _, message in found)


def test_an_image_that_is_missing_is_found_and_the_rest_looked_at_with_another(site: Site) -> None:
    """The finding is the command to run; without any image of the rules it says what was not looked at."""
    site.change(f'"{TINY}", pool: gpu', '"nbplatform/other:1", pool: gpu')
    missing = "nbplatform/other:1 is missing: run 'nbplatform hosts pull'"
    found = findings(site)
    assert ("gpu01", "image", missing) in found
    assert {(host, about) for host, about, _ in found} == {("gpu01", "image"), ("gpu01", "not looked at")}
    assert findings(site, "--probe-image", TINY) == {("gpu01", "image", missing)}


def test_an_image_without_a_shell_is_told(site: Site) -> None:
    """The container cannot start: nothing was looked at, and nothing is left."""
    before = containers(site)
    client = site.fleet["cpu01"].client()
    client.import_image_from_data(b"\0" * 10240, repository="nbplatform/empty", tag="1")
    client.close()
    found = findings(site, "--host", "cpu01", "--probe-image", "nbplatform/empty:1")
    assert {about for _, about, _ in found} == {"not looked at"}
    assert "name another with --probe-image" in str(found)
    wait_until(lambda: containers(site) == before)


def test_images_of_one_name_that_differ_are_found(site: Site) -> None:
    """By digest where the daemons know one; Debian's daemon was loaded by hand and cannot be compared, a note."""
    client = site.fleet["gpu01"].client()
    client.tag(TINY, "nbplatform/kept", "1")
    try:
        import_tiny(client, padding=b"another")
        shown = json.loads(site.check("--json").stdout)
    finally:
        client.tag("nbplatform/kept:1", *TINY.split(":"))
        client.close()
    images = {(one["host"], one["level"]) for one in shown["findings"] if one["about"] == "image"}
    assert images == {("gpu01", "problem"), ("cpu01", "note")}


def test_gpus_of_the_rules_that_the_host_cannot_give_are_found(site: Site) -> None:
    """By CDI the daemon tells which it knows; Debian's daemon has neither CDI nor a runtime."""
    known = site.fleet["gpu01"].gpus[1]
    site.change(site.fleet["gpu01"].gpus[0], "GPU-none")
    site.change("memory: 4G, cpus: 1}\n  gpu", "memory: 4G, cpus: 1, gpus: [GPU-x]}\n  gpu")
    assert known in (site.rules / "rules.yaml").read_text()
    messages = {(host, message) for host, about, message in findings(site) if about == "gpu"}
    assert (
        "gpu01",
        "no CDI device for GPU-none of the rules: run 'nvidia-ctk cdi generate --device-name-strategy=uuid' there",
    ) in messages
    assert any(host == "cpu02" and "no CDI device for GPU-x" in message for host, message in messages)


def test_a_host_with_less_than_the_rules_say_is_found(site: Site) -> None:
    """Memory and CPUs of the machine."""
    site.change("memory: 4G, cpus: 1}\n      - {name: cpu02", "memory: 9T, cpus: 4000}\n      - {name: cpu02")
    found = findings(site, "--host", "cpu01")
    assert {about for _, about, _ in found} == {"memory", "cpus"}


def test_a_network_in_which_servers_reach_each_other_is_found(site: Site) -> None:
    """One that somebody made by hand under the platform's name."""
    client = site.fleet["cpu01"].client()
    client.create_network("nbplatform", driver="bridge")
    try:
        found = findings(site, "--host", "cpu01")
    finally:
        client.remove_network("nbplatform")
        client.close()
    assert {about for _, about, _ in found} == {"network"}


def test_drain_shows_what_runs_there(site: Site) -> None:
    """The line to write, who is still there, exit 0."""
    with server(site.fleet["cpu02"], labels("ada", GIB)):
        ran = site.run("drain", "cpu02")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    url = site.fleet["cpu02"].url
    assert lines[:3] == [
        "to drain cpu02, write in rules.yaml:6",
        f'-       - {{name: cpu02, url: "{url}", memory: 4G, cpus: 1}}',
        f'+       - {{name: cpu02, url: "{url}", memory: 4G, cpus: 1, drain: true}}',
    ]
    assert lines[-3:] == [
        "1 server runs there now, and on until the owner or the culler ends it:",
        "USER  SERVER     STATE    MEMORY  GPUS",
        "ada   (default)  running  1 GiB   -",
    ]


def test_an_image_that_no_registry_has_fails_on_every_host(site: Site) -> None:
    """Each host says why, none stops another, exit 1."""
    site.fleet["cpu02"].freeze()
    try:
        ran = site.run("pull", "--timeout", "2", f"{site.fleet.hub_ip}:9/nothing:1")
    finally:
        site.fleet["cpu02"].thaw()
    assert ran.returncode == 1
    failed = [line.partition(": failed: ")[0] for line in ran.stdout.splitlines() if ": failed: " in line]
    assert sorted(failed) == ["cpu01", "cpu02", "gpu01"]
    assert ran.stdout.splitlines()[-1] == "0 of 3 fetched, on 3 hosts"


@pytest.fixture(scope="module")
def shelf(fleet: DockerFleet) -> Iterator[Registry]:
    """A registry that the hosts can reach."""
    with need(registry(fleet)) as shelf:
        yield shelf


def test_pull_fetches_the_images_of_the_rules_and_they_are_the_same_everywhere(site: Site, shelf: Registry) -> None:
    """On both image stores, by digest: what was missing before is found by nobody afterwards."""
    image = shelf.publish("lab:1")
    site.change(TINY, image)
    before = site.check()
    assert f"cpu01, cpu02, gpu01: image: {image} is missing: run 'nbplatform hosts pull'" in before.stdout
    ran = site.run("pull")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert sorted(lines[:-1]) == sorted(f"{host}: {what} {image}" for host in HOSTS for what in ("fetching", "has"))
    assert lines[-1] == "3 of 3 fetched, on 3 hosts"
    after = site.check()
    assert after.returncode == 0, after.stdout
    assert ": image: " not in after.stdout


def test_a_host_that_cannot_fetch_stops_no_other(site: Site, shelf: Registry) -> None:
    """Its line says why, exit 1; the others have the image."""
    image = shelf.publish("lab:2", padding=b"two")
    site.fleet["gpu01"].freeze()
    try:
        ran = site.run("pull", "--timeout", "2", "--json", image)
    finally:
        site.fleet["gpu01"].thaw()
    outcomes = {one["host"]: one["problem"] for one in json.loads(ran.stdout)["images"]}
    assert ran.returncode == 1
    assert outcomes == {"cpu01": None, "cpu02": None, "gpu01": "cannot be asked: it does not answer within 2 s"}
    assert [line for line in ran.stderr.splitlines() if line.startswith("gpu01: failed: ")]


def test_on_a_terminal_progress_is_shown_in_place(site: Site, shelf: Registry) -> None:
    """A line for each host, overwritten while bytes come; the summary stands below."""
    size = 400_000
    image = shelf.publish("lab:3", padding=random.Random(3).randbytes(size))
    shelf.slow(3, size)
    try:
        text = run_on_terminal(site.command("pull", "--pool", "cpu", image))
    finally:
        shelf.mend()
    assert "\x1b[2A\x1b[2Kcpu01  " in text
    assert re.search(rf"cpu0[12] +\d+ % of \S+ [KM]iB  {re.escape(image)}", text)
    assert text.splitlines()[-1] == "2 of 2 fetched, on 2 hosts"


def run_on_terminal(command: list[str]) -> str:
    """Run a command whose output is a terminal of 100 letters a line; return what it wrote."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "LINES": "24"}
    with subprocess.Popen(command, stdout=theirs, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        read = b""
        with contextlib.suppress(OSError):  # EIO: the other side has closed
            while piece := os.read(ours, 65536):
                read += piece
        os.close(ours)
        assert process.wait(60) == 0
    return read.decode().replace("\r\n", "\n")


EXAMPLE = "registry.example.org"
PAGE = "docs/how-to/docker-hosts.md"
PAGE_RULES = """\
pools:
  cpu:
    overcommit: 1.5
    hosts:
      - {name: cpu01, url: "CPU01", memory: 4G, cpus: 1}
      - {name: cpu02, url: "CPU02", memory: 4G, cpus: 1}
      - {name: cpu03, url: "CPU03", memory: 4G, cpus: 1}
  gpu: {hosts: [{name: gpu01, url: "GPU01", memory: 4G, cpus: 1, gpus: [GPUS], drain: true}]}
profiles:
  cpu: {title: CPU, image: "registry.example.org/scipy:1", pool: cpu, allow: true}
  gpu: {title: GPU, image: "registry.example.org/scipy:1", pool: gpu, gpus: 1, allow: true}
  gpu-new: {title: New, image: "registry.example.org/gpu:1", pool: gpu, gpus: 1, allow: true}
rules: [{name: news, match: {profiles: [gpu-new]}, env: {NEWS: yes}}]
defaults:
  memory: 1G
  mounts: [{source: "{home}"}, {source: /home/shared}]
"""


@contextmanager
def homes(host: DockerHost, *commands: str) -> Iterator[None]:
    """Give a host a /home of its own, prepared by shell commands that run in it."""
    host.run_on_host("mount", "-t", "tmpfs", "none", "/home")
    try:
        host.run_on_host("sh", "-ec", "; ".join(("cd /home", *commands)))
        yield
    finally:
        host.run_on_host("umount", "/home")


def test_the_page_shows_what_the_commands_print(fleet: DockerFleet, shelf: Registry, tmp_path: Path) -> None:
    """What a page shows of commands that need hosts is what they print; only runs of spaces may differ."""
    images = {name: shelf.publish(name, padding=name.encode()) for name in ("scipy:1", "gpu:1")}
    (tmp_path / "placement_rules").mkdir()
    urls = {name.upper(): fleet[name].url for name in HOSTS} | {"CPU03": f"tcp://{fleet['cpu02'].ip}:9"}
    text = PAGE_RULES
    for word, value in {EXAMPLE: shelf.address, "GPUS": ", ".join(fleet["gpu01"].gpus), **urls}.items():
        text = text.replace(word, value)
    (tmp_path / "placement_rules/rules.yaml").write_text(text)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DOCKER_CERT_PATH": str(fleet.certificates)}
    shown = [
        command
        for block in code_blocks(PAGE)
        if block.mark.endswith(Path(__file__).name)
        for command in commands(block)
    ]
    for host in fleet.values():
        client = host.client()
        client.pull(images["scipy:1"])
        client.close()
    links = ("mkdir shared", "ln -s /data/carl carl")
    with (
        server(fleet["cpu02"], labels("ada", GIB)),
        server(fleet["cpu02"], {**labels("bob", 2 * GIB), "nbplatform.server": "analysis"}),
        server(fleet["gpu01"], labels("eve", 2 * GIB, fleet["gpu01"].gpus[:1])),
        homes(fleet["cpu01"], *links),
        homes(fleet["cpu02"], links[1]),
        homes(fleet["gpu01"], *links),
    ):
        for command in shown:
            words = ["bash", "-c", f"{command.text} 2>&1"]
            ran = subprocess.run(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, timeout=120)
            got = ran.stdout.replace(shelf.address, EXAMPLE)
            assert fits(narrowed(command.output), narrowed(got)), f"{command.text}\n{got}"
    assert len(shown) == 4


def narrowed(text: str) -> str:
    """Return a text with one space for each run of spaces, and none before the end of a line."""
    return re.sub(r" +", " ", text).replace(" \n", "\n")
