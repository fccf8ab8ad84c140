"""The developer's page: its backend, taken from it as it stands, does what the page says in a real hub."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.proc import process_info
from tests.components.hub import Hub, run_cell, run_terminal, running_hub, start_server, stop_server
from tests.components.need import need
from tests.house.pages import code_blocks

from .test_first_site import environment, pristine_checkout

PAGE = "docs/tutorials/a-new-backend.md"
MOST_LINES = 100
FILES = {
    block.mark.removeprefix("file: "): block.text for block in code_blocks(PAGE) if block.mark.startswith("file: ")
}
INSTALL, START = (block.text for block in code_blocks(PAGE) if block.language == "sh")
INSTALL_LIMIT = 400
PASSWORD = "0123456789abcdef"
AS_ROOT = 'c.Spawner.args = ["--allow-root"]\n' if os.getuid() == 0 else ""
"""The page says to start the hub as an ordinary user; the suite may run as root."""
QUICK = """\
c.Spawner.poll_interval = 1
c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page in a folder."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "my-backend"


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    """The page's hub."""
    config = f'load_subconfig("{folder}/jupyterhub_config.py")\nc = get_config()\n{AS_ROOT}{QUICK}'
    with need(running_hub(config, folder=folder, extra_env={"TRY_OUT_PASSWORD": PASSWORD})) as hub:
        yield hub


def state_of(hub: Hub, user: str) -> dict[str, object]:
    """Return the state of a user's server, as the hub's database has it."""
    state: dict[str, object] = hub.api("GET", f"users/{user}?include_stopped_servers").json["servers"][""]["state"]
    return state


def process_of(hub: Hub, user: str) -> int:
    """Return the process id in the state of a user's server."""
    process = state_of(hub, user)["process"]
    assert isinstance(process, list)
    return int(process[0])


def test_the_backend_is_as_short_as_the_page_says() -> None:
    """Less than a hundred lines, and the page's commands start what it has written."""
    (spawner,) = (text for name, text in FILES.items() if name.endswith("process_spawner.py"))
    assert len(spawner.splitlines()) < MOST_LINES
    assert "jupyterhub -f jupyterhub_config.py" in START
    assert set(re.findall(r"export (\w+)=", START)) == {"JUPYTERHUB_CRYPT_KEY", "TRY_OUT_PASSWORD"}


@pytest.mark.timeout(INSTALL_LIMIT + 60)
def test_the_environment_of_the_page_has_all_that_it_starts(tmp_path: Path) -> None:
    """Nothing but Python with ``venv`` and the network: hub, servers, proxy and the command are there afterwards."""
    if subprocess.run(["python3", "-c", "import ensurepip"], env=environment(), check=False).returncode:
        pytest.skip("the machine's python3 has no venv: apt-get install python3-venv")
    pristine_checkout(tmp_path / "nbplatform")
    programs = ("jupyterhub", "configurable-http-proxy", "nbplatform-singleuser", "jupyter-labhub")
    looks = [f"test -x nbplatform-env/bin/{name}" for name in programs]
    shows = "jupyterhub --version; configurable-http-proxy --version; nbplatform --help; node --version"
    ran = subprocess.run(
        ["bash", "-c", "\n".join(["set -eu", INSTALL, *looks, shows])],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_LIMIT,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert (tmp_path / "nbplatform-env" / "bin" / "node").resolve().is_relative_to(tmp_path / "nbplatform-env")


def test_the_page_of_choices_says_what_this_machine_can_never_serve(hub: Hub) -> None:
    """One may be chosen; the other is refused in the words of ``live_pools``, on the page and over the API."""
    page = hub.login("ada", PASSWORD).page("/hub/spawn")
    assert re.search(r'data-profile="small"', page)
    assert "this machine has 3 GiB for servers in all" in page
    refused = start_server(hub, "ada", {"profile": "giant"})[-1]
    assert refused["failed"]
    assert refused["message"].startswith("unplaceable: this machine has 3 GiB for servers in all")


def test_a_server_lives_through_a_restart_of_the_hub_and_ends_when_it_is_stopped(hub: Hub, folder: Path) -> None:
    """Log in, start, compute; the restarted hub finds the same process with its kernels; a stop ends it."""
    session = hub.login("ada", PASSWORD)
    assert start_server(hub, "ada", {"profile": "small"})[-1].get("ready"), hub.log_text()[-3000:]
    pid = process_of(hub, "ada")
    assert int(run_cell(hub, "ada", "import os; print(os.getppid())", session=session)) == pid
    assert int(run_terminal(hub, "ada", "id -u")) == os.getuid()
    assert (folder / "hub" / "servers" / "ada" / "server.log").stat().st_size
    hub.restart()
    assert process_of(hub, "ada") == pid
    assert int(run_cell(hub, "ada", "import os; print(os.getppid())", session=session)) == pid
    stop_server(hub, "ada")
    left = process_info(pid)
    assert left is None or left.state in "ZX", "it runs on"


def test_what_is_taken_is_refused_with_numbers_until_the_rules_change(hub: Hub, folder: Path) -> None:
    """Two of 3 GiB are taken: the second server is refused as full, and fits when the rules give each less."""
    for user in ("ada", "ben"):
        hub.login(user, PASSWORD)
    assert start_server(hub, "ada")[-1].get("ready"), hub.log_text()[-3000:]
    refused = start_server(hub, "ben")[-1]
    assert refused["message"].startswith("full: 2 GiB of memory is asked for,")
    assert "1 GiB left" in refused["message"]
    rules = folder / "placement_rules" / "site.yaml"
    rules.write_text(rules.read_text().replace("memory: 2G", "memory: 1G"))
    hub.wait_for_log(r"generation \w+ holds now")
    assert start_server(hub, "ben")[-1].get("ready"), hub.log_text()[-3000:]


def test_a_server_that_dies_is_noticed_and_its_memory_is_free(hub: Hub) -> None:
    """``poll`` tells a positive end; the next start finds room again."""
    hub.login("ada", PASSWORD)
    hub.login("ben", PASSWORD)
    assert start_server(hub, "ada")[-1].get("ready"), hub.log_text()[-3000:]
    os.kill(process_of(hub, "ada"), signal.SIGKILL)
    hub.wait_for_log("User ada server stopped, with exit code: 0")
    while hub.api("GET", "users/ada").json["servers"]:  # the hub may still take its route away
        time.sleep(0.05)
    assert start_server(hub, "ada")[-1].get("ready"), hub.log_text()[-3000:]
    stop_server(hub, "ada")
    assert start_server(hub, "ben")[-1].get("ready"), hub.log_text()[-3000:]
