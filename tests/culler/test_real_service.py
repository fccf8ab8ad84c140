"""The culler as the hub starts it: its process beside a real hub with real servers, and second ones beside it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from nbplatform_spawners.culler.models import time_of
from nbplatform_spawners.culler.service import SCOPES
from tests.components import servers
from tests.components.hub import Hub, running_hub, start_server, stop_server
from tests.components.need import need
from tests.components.ports import free_ports
from tests.hub.conftest import temporary_site
from tests.hub.site import Site

from .site import NAME, TOKEN, Beside, api_of, busy_kernel, home, idle_rules, notice_of, runs, with_services

TRIAL = secrets.token_hex(16)
WITHOUT = {scope: secrets.token_hex(16) for scope in SCOPES}
"""Tokens of services that lack one scope each."""
PROGRAM = [sys.executable, "-m", "nbplatform_spawners.culler"]
SHORT = "cull_after: 4s"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The module's site; servers may idle for days unless a test says otherwise."""
    with temporary_site() as made:
        made.write_rules(idle_rules())
        yield made


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """Where the culler answers Prometheus."""
    return free_ports().public


@pytest.fixture(scope="module")
def shared_hub(site: Site, metrics_port: int) -> Iterator[Hub]:
    """A hub behind a proxy that reports no activity, with the culler among its services."""
    options = [f"--rules-directory={site.rules}", f"--metrics-port={metrics_port}", *times(), *files(site)]
    services = {
        NAME: Beside(TOKEN, SCOPES, {"command": [*PROGRAM, *options]}),
        "trial": Beside(TRIAL, [scope for scope in SCOPES if scope != "delete:servers"]),
        **{
            f"without-{scope.replace(':', '-').replace('_', '-')}": Beside(
                token, [one for one in SCOPES if one != scope]
            )
            for scope, token in WITHOUT.items()
        },
    }
    silent = "c.JupyterHub.last_activity_interval = 86400\n"
    with need(running_hub(with_services(site.config + silent, services), external_proxy=True)) as hub:
        for user in ("ada", "ben", "eve"):
            hub.api("POST", f"users/{user}")
        yield hub


def times() -> list[str]:
    """Options of a culler in a hurry."""
    return ["--start-delay=0", "--cull-every=1"]


def files(site: Site) -> list[str]:
    """Options about its files."""
    return [f"--record-file={site.top}/culler.json", f"--audit-file={site.top}/audit.jsonl"]


@pytest.fixture
def hub(shared_hub: Hub, site: Site) -> Iterator[Hub]:
    """The module's hub; the rules are put back, and what a test left running is stopped."""
    yield shared_hub
    site.write_rules(idle_rules())
    for user in shared_hub.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(shared_hub, user["name"], name)


def begin(hub: Hub, *options: str, token: str = TRIAL, cwd: Path) -> subprocess.Popen[str]:
    """Start another culler, by hand."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTERHUB")}
    environment |= {"JUPYTERHUB_API_TOKEN": token, "JUPYTERHUB_API_URL": api_of(hub)}
    return subprocess.Popen(
        [*PROGRAM, *options], env=environment, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and output of one that ends by itself."""
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def wait(done: Callable[[], Any]) -> Any:
    """Wait until something is so, and return it."""
    limit = time.monotonic() + 60
    while not (found := done()):
        assert time.monotonic() < limit, "it does not come true"
        time.sleep(0.05)
    return found


def metric(port: int, name: str) -> float:
    """A figure that Prometheus would get; 0 where there is none."""
    with requests.Session() as session:
        session.trust_env = False
        text = session.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def culler_pid(hub: Hub) -> int:
    """Process id of the culler that the hub runs; 0 for none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                own = f"JUPYTERHUB_API_URL={api_of(hub)}".encode() in (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if own and b"nbplatform_spawners.culler" in words:
                found.append(int(entry.name))
    return found[0] if found else 0


def test_it_starts_with_the_hub_and_stops_idle_servers_with_the_least_scopes(
    hub: Hub, site: Site, metrics_port: int
) -> None:
    """By an edit of the rules while it runs; the user is told why, Prometheus what was done."""
    hub.wait_for_log(r"first pass in 0 s")
    assert start_server(hub, "ada", {"profile": "cpu"})[-1].get("ready")
    passes = metric(metrics_port, "nbplatform_culler_pass_seconds_count")
    wait(lambda: metric(metrics_port, "nbplatform_culler_pass_seconds_count") > passes + 2)
    assert metric(metrics_port, 'nbplatform_culler_servers{class="cpu",verdict="keep"}') == 1.0
    assert runs(hub, "ada")
    site.write_rules(idle_rules(SHORT))
    wait(lambda: not hub.api("GET", "users/ada").json["servers"])
    wait(lambda: metric(metrics_port, 'nbplatform_culler_stops_total{outcome="stopped",reason="idle"}') == 1.0)
    wait(lambda: "Your default server was stopped on" in home(hub, "ada"))
    assert "a server idle for 4 seconds" in home(hub, "ada")
    assert '"action":"stop"' in (site.top / "audit.jsonl").read_text().replace(" ", "")
    assert TOKEN not in hub.log_text()


def test_a_kernel_that_works_keeps_its_server_behind_a_proxy_that_reports_nothing(
    hub: Hub, site: Site, metrics_port: int
) -> None:
    """The hub's figure stands still at the start: the server was asked, and lives as long as its kernel works."""
    assert start_server(hub, "ben", {"profile": "cpu"})[-1].get("ready")
    with busy_kernel(hub, "ben", "import time; time.sleep(600)"):
        site.write_rules(idle_rules(SHORT))
        figure = time_of(hub.api("GET", "users/ben").json["servers"][""]["last_activity"])
        assert figure is not None
        wait(lambda: time.time() > figure.timestamp() + 8)
        passes = metric(metrics_port, "nbplatform_culler_pass_seconds_count")
        wait(lambda: metric(metrics_port, "nbplatform_culler_pass_seconds_count") > passes + 2)
        assert time_of(hub.api("GET", "users/ben").json["servers"][""]["last_activity"]) == figure
        assert runs(hub, "ben")
    wait(lambda: not hub.api("GET", "users/ben").json["servers"])


def test_a_dry_run_beside_it_changes_nothing(hub: Hub, tmp_path: Path) -> None:
    """It prints who would be stopped and why by other rules; no server, notice or file is touched."""
    assert start_server(hub, "ada", {"profile": "cpu"})[-1].get("ready")
    with temporary_site() as other:
        other.write_rules(idle_rules("cull_after: 0s"))
        record = tmp_path / "record.json"
        options = (f"--rules-directory={other.rules}", f"--record-file={record}", "--dry-run")
        status, output = finished(begin(hub, *options, cwd=tmp_path))
    assert status == 0, output
    assert re.search(r"(?m)^ada +stop ", output), output
    assert "1 running: 1 to stop, 0 to warn, 0 to keep; 0 did not answer" in output
    assert list(tmp_path.iterdir()) == []
    assert runs(hub, "ada")
    assert notice_of(hub, "ada") is None
    assert "stopped on" not in home(hub, "ada") or "idle for 0" not in home(hub, "ada")


def test_once_makes_one_pass_and_prints_it(hub: Hub, tmp_path: Path) -> None:
    """With a record of its own, and upstream's option in place of rules."""
    assert start_server(hub, "eve", {"profile": "cpu"})[-1].get("ready")
    servers.Door(hub, "eve", "", None, None).ask("GET", "api/status")
    status, output = finished(begin(hub, "--timeout=86400", "--once", token=TOKEN, cwd=tmp_path))
    assert status == 0, output
    assert "1 running: 0 to stop, 0 to warn, 1 to keep" in output
    assert runs(hub, "eve")


def test_two_never_work_at_once(hub: Hub, site: Site, tmp_path: Path) -> None:
    """With the same record the second waits and says so; one that shall not wait ends with a sentence."""
    wait(lambda: culler_pid(hub))
    status, output = finished(begin(hub, *files(site), "--timeout=1", "--once", token=TOKEN, cwd=tmp_path))
    assert status == 1
    assert "another culler runs with the record" in output
    assert "Traceback" not in output
    waiting = begin(hub, *files(site), "--timeout=1", "--start-delay=0", token=TOKEN, cwd=tmp_path)
    assert start_server(hub, "ada", {"profile": "cpu"})[-1].get("ready")
    try:
        assert waiting.stdout is not None
        assert "this one waits until it ends" in waiting.stdout.readline()
        assert waiting.poll() is None
        assert runs(hub, "ada")
    finally:
        waiting.terminate()
        output, _ = waiting.communicate(timeout=30)
    assert "first pass" not in output


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_is_needed_and_its_lack_is_said(hub: Hub, scope: str, tmp_path: Path) -> None:
    """One that lacks a scope ends with a sentence that names the scopes, and stops nobody."""
    assert start_server(hub, "ada", {"profile": "cpu"})[-1].get("ready")
    status, output = finished(begin(hub, "--timeout=1", "--once", token=WITHOUT[scope], cwd=tmp_path))
    assert status == 1, output
    assert scope in output
    assert "Traceback" not in output
    assert WITHOUT[scope] not in output
    assert runs(hub, "ada")


def test_a_wrong_token_or_address_is_said(hub: Hub, tmp_path: Path) -> None:
    """In one line, with no trace and no token."""
    for options, token, words in (
        (["--once"], "wrong" * 8, "403"),
        (["--once", "--url=http://127.0.0.1:9/hub/api"], TOKEN, "does not answer"),
        (["--once", "--url=ftp://hub"], TOKEN, "must be http"),
        (["--timeout=-1"], TOKEN, "timeout must be at least 0"),
    ):
        status, output = finished(begin(hub, *options, token=token, cwd=tmp_path))
        assert status == 1, output
        assert words in output
        assert "Traceback" not in output
        assert token not in output


def test_it_ends_with_the_hub_that_started_it(hub: Hub) -> None:
    """Even by kill -9: a new hub starts its own, which gets to work, and never two of them."""
    assert start_server(hub, "ada", {"profile": "cpu"})[-1].get("ready")
    first = wait(lambda: culler_pid(hub))
    begun = hub.log_text().count("first pass in")
    hub.kill9()
    wait(lambda: not Path(f"/proc/{first}").exists())
    assert "the hub that started this service is gone" in hub.log_text()
    hub.restart()
    wait(lambda: hub.log_text().count("first pass in") == begun + 1)
    second = wait(lambda: culler_pid(hub))
    assert second != first
    assert runs(hub, "ada")
