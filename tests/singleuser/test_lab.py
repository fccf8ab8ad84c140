"""What JupyterLab is given to show the notice: found by every application, in our servers alone, and by no child."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners import __version__
from nbplatform_spawners.singleuser.lab import FOLDER
from nbplatform_spawners.singleuser.watch import SCHEMA_ID
from tests.components.servers import executed

from .servers import OURS, STOCK, Server, running_server

NAME = "nbplatform-idle"
ENTRY = FOLDER / NAME / "static" / "remoteEntry.js"
APPS: dict[str, dict[str, str | None]] = {
    "the server with JupyterLab beside it": {},
    "JupyterLab": {"JUPYTERHUB_SINGLEUSER_APP": None},
    "JupyterHub's older application": {"JUPYTERHUB_SINGLEUSER_EXTENSION": "0", "JUPYTERHUB_SINGLEUSER_APP": None},
    "no speed-up": {"NBPLATFORM_SPEEDUPS": ""},
}
TELLS = "import json, os; print(json.dumps(sorted(key for key in os.environ if key.startswith('JUPYTER_'))))"


def text(server: Server, path: str) -> str:
    """A page or a file of a server."""
    answer = server.request("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.content.decode()


def page_config(server: Server) -> Any:
    """What JupyterLab's page tells its program."""
    page = text(server, "lab")
    return json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])


@pytest.mark.parametrize("env", APPS.values(), ids=APPS.keys())
def test_every_application_loads_it(tmp_path: Path, env: dict[str, str | None]) -> None:
    """Its page names the extension, and serves the file; JupyterLab's prompt for news is off."""
    with running_server(tmp_path, OURS, env) as server:
        config = page_config(server)
        assert NAME in [one["name"] for one in config["federated_extensions"]]
        assert "@jupyterlab/apputils-extension:announcements" in config["disabledExtensions"]
        assert text(server, f"lab/extensions/{NAME}/static/remoteEntry.js") == ENTRY.read_text()


def test_no_kernel_inherits_anything(tmp_path: Path) -> None:
    """What a kernel starts finds no folder of ours: the offer is no variable of the environment."""
    with running_server(tmp_path, OURS) as server, server.kernel_socket() as channel:
        assert not {"JUPYTER_PATH", "JUPYTER_CONFIG_PATH"} & set(json.loads(executed(channel, TELLS)))


def test_a_stock_server_knows_nothing_of_it(tmp_path: Path) -> None:
    """Nothing of ours is in a folder that other servers look into."""
    with running_server(tmp_path, STOCK) as server:
        assert NAME not in [one["name"] for one in page_config(server)["federated_extensions"]]


def test_folders_of_the_site_stay_and_may_take_the_prompt_back(tmp_path: Path) -> None:
    """A site's own extensions are found beside ours, and its page configuration has the last word."""
    home, site = tmp_path / "home", tmp_path / "site"
    home.mkdir()
    own = site / "extensions" / "of-the-site"
    own.mkdir(parents=True)
    (own / "package.json").write_text(
        json.dumps({"name": own.name, "version": "1", "jupyterlab": {"extension": True, "_build": {"load": "x.js"}}})
    )
    (site / "jupyter_server_config.py").write_text(
        f"c.LabApp.extra_labextensions_path = [{str(own.parent)!r}]\n",
    )
    labconfig = site / "labconfig"
    labconfig.mkdir()
    prompt = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": False}}
    (labconfig / "page_config.json").write_text(json.dumps(prompt))
    with running_server(home, OURS, {"JUPYTER_CONFIG_PATH": str(site)}) as server:
        config = page_config(server)
    assert {NAME, own.name} <= {one["name"] for one in config["federated_extensions"]}
    assert "@jupyterlab/apputils-extension:announcements" not in config["disabledExtensions"]


def test_the_two_sides_agree() -> None:
    """The page listens for the event that the server sends; the extension has the package's version."""
    assert f"'{SCHEMA_ID}'" in ENTRY.read_text()
    assert json.loads((FOLDER / NAME / "package.json").read_text())["version"] == __version__


def test_the_program_is_javascript() -> None:
    """Node, where there is one, can read it; the browser's tests run it."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine: apt install nodejs")
    ran = subprocess.run([node, "--check", str(ENTRY)], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
