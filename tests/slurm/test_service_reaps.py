"""The whole chain: a real hub starts the service, real servers' jobs run in a real Slurm; each is ended in turn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from nbplatform_spawners.slurm_dask.tag import Tag
from tests.components.hub import Hub, running_hub, start_server, stop_server
from tests.components.need import need
from tests.components.ports import free_ports
from tests.components.slurm import Slurm
from tests.hub.conftest import temporary_site
from tests.hub.site import PASSWORD, Site

from .service_site import HUB_ID, config, key_file

UIDS = {"alice": 62001, "bob": 62002}
LIMIT = 40.0


@pytest.fixture
def site() -> Iterator[Site]:
    """A site whose accounts are those of the cluster."""
    with temporary_site() as made:
        password = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        lines = ["groups: {users: 61000}", "accounts:"]
        for name, uid in UIDS.items():
            lines.append(f'  {name}: {{uid: {uid}, group: users, password: "{password}"}}')
            home = made.top / "home" / name
            home.mkdir(mode=0o700)
            os.chown(home, uid, 61000)
        (made.top / "accounts.yaml").write_text("\n".join(lines) + "\n")
        yield made


@pytest.fixture(params=["commands", "rest"])
def hub(slurm: Slurm, site: Site, request: pytest.FixtureRequest) -> Iterator[Hub]:
    """A hub whose service looks every second, by either way; alice and bob have a server."""
    options = ["--reap-every=1", "--slurm-timeout=5", f"--audit-file={site.top}/audit.jsonl"]
    if request.param == "rest":
        key = key_file(site.top, Path(slurm.jwt_key).read_bytes())
        options += [f"--key-file={key}", f"--rest-url={slurm.rest_url}", "--reaper-account=reaper"]
    text = config(site, free_ports().public, options)
    own = {name: value for name, value in slurm.environment("reaper").items() if os.environ.get(name) != value}
    text += f"c.JupyterHub.services[0]['environment'] = {own!r}\n"
    with need(running_hub(text, external_proxy=True)) as made:
        for user in UIDS:
            made.api("POST", f"users/{user}")
            assert start_server(made, user, {"profile": "cpu"})[-1].get("ready")
        yield made


def submit(hub: Hub, slurm: Slurm, user: str) -> str:
    """Submit a job of a user's running server, as the server does."""
    run = hub.api("GET", f"users/{user}").json["servers"][""]["state"]["run"]
    comment = Tag(HUB_ID, user, "", run, "0a1b2c3d4e5f").text()
    words = ["sbatch", "--parsable", "--mem=50", f"--comment={comment}", "--output=/dev/null", "--wrap=sleep 600"]
    made = slurm.run_as(user, words)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def here(slurm: Slurm) -> set[str]:
    """Return the numbers of the jobs that have not ended."""
    return {line.split()[0] for line in slurm.squeue() if "COMPLETING" not in line}


def until(hub: Hub, done: Callable[[], Any]) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < limit, hub.log_text()[-3000:]
        time.sleep(0.2)


def test_each_end_of_a_server_ends_its_jobs_and_no_end_of_the_hub_does(hub: Hub, slurm: Slurm) -> None:
    """Hub killed and back: all stay.  Server stopped, started anew, user deleted: its jobs end, the others' stay."""
    alices, bobs = submit(hub, slurm, "alice"), submit(hub, slurm, "bob")
    hub.kill9()
    time.sleep(3)
    assert {alices, bobs} <= here(slurm)
    hub.restart()
    until(hub, lambda: all(hub.api("GET", f"users/{user}").json["servers"][""]["ready"] for user in UIDS))
    time.sleep(3)  # some looks
    assert {alices, bobs} <= here(slurm)
    stop_server(hub, "alice")
    until(hub, lambda: alices not in here(slurm))
    assert bobs in here(slurm)
    stop_server(hub, "bob")
    assert start_server(hub, "bob", {"profile": "cpu"})[-1].get("ready")
    second = submit(hub, slurm, "bob")
    until(hub, lambda: bobs not in here(slurm))
    time.sleep(2)
    assert second in here(slurm)
    assert hub.api("DELETE", "users/bob").status == 204
    until(hub, lambda: second not in here(slurm))
    assert f"ended job {alices} of user=alice server='': its server is gone" in hub.log_text()
