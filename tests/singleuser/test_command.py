"""The command ``nbplatform-singleuser``: it becomes ``jupyterhub-singleuser``, and brings nothing heavy along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from .scripts import run_lines
from .servers import OURS, STOCK

BIN = Path(sys.executable).parent
PLAIN = {"PATH": f"{BIN}{os.pathsep}{os.defpath}", "HOME": "/nonexistent"}

# Takes the place of JupyterHub's part, and tells what it finds.
DOUBLE = """
import gc, json, os, sys
def main():
    ours = sorted(name for name in sys.modules if name.startswith("nbplatform_spawners"))
    heavy = [name for name in ("traitlets", "tornado", "sqlalchemy", "jupyter_server", "yaml", "zmq", "jsonschema")
             if name in sys.modules]
    print("told:" + json.dumps({"argv": sys.argv[1:], "ours": ours, "heavy": heavy, "gc": gc.get_threshold()[0],
                                "path": os.environ.get("JUPYTER_CONFIG_PATH")}))
    return 7
"""


def run_command(folder: Path, env: Mapping[str, str], *arguments: str) -> tuple[int, dict, str]:  # type: ignore[type-arg]
    """Run the command with a double of JupyterHub's part; return status, what that tells and standard error."""
    double = folder / "jupyterhub" / "singleuser.py"
    double.parent.mkdir()
    (folder / "jupyterhub" / "__init__.py").touch()
    double.write_text(DOUBLE)
    ran = subprocess.run(
        [*OURS, *arguments],
        env={**PLAIN, "PYTHONPATH": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "told:" in ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout.partition("told:")[2]), ran.stderr


def test_upstream_gets_the_arguments_and_gives_the_status(tmp_path: Path) -> None:
    """Whatever is written behind the command is upstream's, and so is the status."""
    arguments = ("--ip=127.0.0.1", "--ServerApp.port=1", "--no-browser", "-y", "")
    status, told, errors = run_command(tmp_path, {}, *arguments)
    assert status == 7
    assert tuple(told["argv"]) == arguments
    assert errors == ""


def test_nothing_heavy_is_imported_before_upstream(tmp_path: Path) -> None:
    """With no speed-up chosen the command brings its own few modules and offers the extension, no more."""
    _, told, _ = run_command(tmp_path, {"NBPLATFORM_SPEEDUPS": ""})
    assert told["heavy"] == []
    floor = {"nbplatform_spawners", "nbplatform_spawners.names", "nbplatform_spawners.speedups"}
    assert {name for name in told["ours"] if "singleuser" not in name} == floor
    assert told["gc"] < 100_000
    assert told["path"].endswith("nbplatform_spawners/singleuser/config")


def test_all_speedups_are_prepared_by_default(tmp_path: Path) -> None:
    """Unset, everything is: the collector rests, ``jsonschema`` is there, the extension is offered."""
    _, told, _ = run_command(tmp_path, {})
    assert told["heavy"] == ["jsonschema"]
    assert told["gc"] > 100_000
    assert told["path"].endswith("nbplatform_spawners/singleuser/config")


def test_the_offer_comes_after_the_sites_own_folders(tmp_path: Path) -> None:
    """What a site has put on the path of configuration keeps its rank."""
    _, told, _ = run_command(tmp_path, {"JUPYTER_CONFIG_PATH": "/etc/site:/etc/more"})
    assert told["path"].startswith("/etc/site:/etc/more:/")


def test_an_unknown_speedup_is_told_and_ignored(tmp_path: Path) -> None:
    """One line each, bounded and without control characters; the others are used."""
    status, told, errors = run_command(tmp_path, {"NBPLATFORM_SPEEDUPS": f"late-gc w\x1b[1mrp {'x' * 500}"})
    assert status == 7
    assert told["gc"] > 100_000
    lines = errors.splitlines()
    assert lines[0] == r"there is no speed-up 'w\x1b[1mrp', only: kernel-nodelay, lean-import, late-gc"
    assert len(lines) == 2
    assert len(lines[1]) < 200


@pytest.mark.parametrize(
    "command", [[*OURS], [str(BIN / "nbplatform-singleuser")]], ids=["as a module", "as a console script"]
)
def test_its_help_is_upstreams_own(command: list[str]) -> None:
    """``--help`` says what ``jupyterhub-singleuser --help`` says."""
    shown = [
        subprocess.run([*one, "--help"], env=PLAIN, capture_output=True, text=True, timeout=60, check=False)
        for one in (command, [*STOCK])
    ]
    ours, stock = (one.stdout for one in shown)
    assert "--help-all" in stock
    assert ours == stock
    assert [one.returncode for one in shown] == [0, 0]


def test_the_variable_of_the_path_comes_back_as_it_was() -> None:
    """Taken off when the extension is found; what somebody set meanwhile stays."""
    told, _ = run_lines(
        "from nbplatform_spawners.singleuser import extension, offer\n"
        "def trial(before, meanwhile=None):\n"
        "    environ = dict(before)\n"
        "    offer.apply(environ)\n"
        "    during = environ['JUPYTER_CONFIG_PATH']\n"
        "    environ.update(meanwhile or {})\n"
        "    points = extension._jupyter_server_extension_points()\n"
        "    extension._jupyter_server_extension_points()\n"
        "    return [during != before.get('JUPYTER_CONFIG_PATH'), environ, points]\n"
        "other = {'JUPYTER_CONFIG_PATH': '/other'}\n"
        "tell(unset=trial({'A': 'b'}), changed=trial({}, other), set=trial({'JUPYTER_CONFIG_PATH': '/x'}),\n"
        "     empty=trial({'JUPYTER_CONFIG_PATH': ''}))"
    )
    points = [{"module": "nbplatform_spawners.singleuser.extension"}]
    assert told["unset"] == [True, {"A": "b"}, points]
    assert told["set"] == [True, {"JUPYTER_CONFIG_PATH": "/x"}, points]
    assert told["empty"] == [True, {"JUPYTER_CONFIG_PATH": ""}, points]
    assert told["changed"] == [True, {"JUPYTER_CONFIG_PATH": "/other"}, points]


def test_an_offer_that_nobody_takes_is_taken_back_and_told() -> None:
    """A server that reads no configuration has no faster kernels and tells the idle culler nothing: its log says so."""
    told, errors = run_lines(
        "from nbplatform_spawners.singleuser import offer, start\n"
        "start.chosen.add('kernel-nodelay')\n"
        "environ = {}\noffer.apply(environ)\nstart.started()\ntell(environ=environ)"
    )
    assert told == {"environ": {}}
    why = "the server has not loaded its extension"
    assert errors == (
        f"speed-up kernel-nodelay leaves itself out: {why}\n"
        f"the idle culler cannot ask this server what goes on in it: {why}\n"
    )
