"""Upstream's own tests pass on our server: those of Jupyter Server, JupyterLab and collaboration."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import nbformat
import pytest

from tests.components import MissingComponent
from tests.components.browser import program
from tests.components.ports import free_ports
from tests.singleuser.hub_double import TOKEN
from tests.singleuser.servers import running_server, wait_for

from .environment import Upstream
from .suites import EXPECTED, INSIDE, broken_by_us, run_tests, scratch

pytestmark = pytest.mark.timeout(1200)  # the first run makes the environment

LAB = [
    f"jupyterlab.tests.test_{name}"
    for name in ("announcements", "app", "custom_css_handler", "extensions", "plugin_manager_handler", "registry")
]
# Several at once: they wait more than they compute.
OPTIONS = {
    # Culling is tested upstream by a minute of waiting for idle kernels; no speed-up touches it.
    "server": ["-n", "4", "-k", "not cull"],
    "lab": ["-p", "pytest_jupyter.jupyter_server", "-p", "jupyterlab_server.pytest_plugin"],
    "collaboration": [],
}


def test_jupyter_servers_own_tests_pass(environment: Upstream) -> None:
    """All of them but those of culling: kernels, terminals, gateways, extensions, logins and what else there is."""
    folder, options = environment.tests("jupyter_server"), OPTIONS["server"]
    ran = run_tests(environment, folder, [*options, "tests"])
    assert ran.passed() > 1000, ran.output
    assert ran.acting.count("NoDelayConnection") > 500
    assert "GatewayWebSocketConnection" in ran.acting
    assert set(EXPECTED) <= set(ran.outcomes), "tests that may fail are gone: take them out of EXPECTED"
    assert broken_by_us(environment, folder, ran, options) == []


def test_jupyterlabs_own_tests_of_its_server_pass(environment: Upstream) -> None:
    """Its application, extensions, settings and news; what builds a front end with Node.js is not run."""
    with scratch() as folder:
        options = OPTIONS["lab"]
        ran = run_tests(environment, folder, [*options, "--pyargs", *LAB])
        assert ran.passed() > 60, ran.output
        assert "NoDelayConnection" in ran.acting
        assert broken_by_us(environment, folder, ran, options) == []


def test_collaborations_own_tests_pass(environment: Upstream) -> None:
    """Rooms, documents and their stores."""
    folder = environment.tests("jupyter_server_ydoc")
    ran = run_tests(environment, folder, ["tests"])
    assert ran.passed() > 40, ran.output
    assert "NoDelayConnection" in ran.acting
    assert broken_by_us(environment, folder, ran, []) == []


def test_a_stock_run_is_stock(environment: Upstream) -> None:
    """What failures are compared with is the server as upstream has it."""
    folder = environment.tests("jupyter_server")
    one = "tests/services/kernels/test_api.py::test_default_kernels"
    assert set(run_tests(environment, folder, [one], speedups="").acting) == {"ZMQChannelsWebsocketConnection"}


def test_a_test_that_the_speedups_break_is_found(environment: Upstream) -> None:
    """The comparison can fail: a test, or a module, that our server breaks is told; what stock breaks too is not."""
    with scratch() as folder:
        (folder / "test_planted.py").write_text(
            "def test_ours(jp_serverapp):\n"
            "    name = jp_serverapp.web_app.settings['kernel_websocket_connection_class'].__name__\n"
            "    assert name == 'ZMQChannelsWebsocketConnection'\n"
            "def test_everybodys():\n    assert False\n"
        )
        (folder / "test_import.py").write_text(
            "from nbplatform_spawners.singleuser import start\n"
            "assert 'lean-import' not in start.in_use\n"
            "def test_imported():\n    pass\n"
        )
        options = ["-p", "pytest_jupyter.jupyter_server"]
        ran = run_tests(environment, folder, [*options, "test_import.py", "test_planted.py"])
        assert len(ran.failed()) == 3
        assert broken_by_us(environment, folder, ran, options) == ["test_import.py", "test_planted.py::test_ours"]


def test_a_harness_that_breaks_tests_is_found(environment: Upstream) -> None:
    """Many failures on both servers are not written off as upstream's own: they are named."""
    with scratch() as folder:
        (folder / "test_planted.py").write_text(
            "import pytest\n"
            "@pytest.mark.parametrize('number', range(4))\n"
            "def test_everybodys(number):\n    assert False\n"
        )
        ran = run_tests(environment, folder, ["test_planted.py"])
        with pytest.raises(AssertionError, match=r"fail on a stock server, too.*test_planted.py::test_everybodys\[3\]"):
            broken_by_us(environment, folder, ran, [])


def test_nothing_is_set_up_before_a_tests_own_fixtures(environment: Upstream) -> None:
    """The harness watches without a hand in it: a fixture that prepares the server still comes before it."""
    with scratch() as folder:
        (folder / "test_planted.py").write_text(
            "import pytest\nready = []\n"
            "@pytest.fixture\ndef prepared():\n    ready.append(1)\n"
            "@pytest.fixture\ndef jp_server_config():\n    assert ready\n    return {}\n"
            "def test_prepared(prepared, jp_serverapp):\n    pass\n"
        )
        ran = run_tests(environment, folder, ["-p", "pytest_jupyter.jupyter_server", "test_planted.py"])
    assert (ran.passed(), ran.acting) == (1, ["NoDelayConnection"]), ran.output


def test_jupyterlab_starts_in_a_browser_without_an_error(environment: Upstream) -> None:
    """JupyterLab's check of itself, in the machine's Chromium: no error on the page, none in the server's log."""
    try:
        chromium = program("chromium", "chromium-browser", "google-chrome")
    except MissingComponent as lacking:
        pytest.skip(str(lacking))
    with scratch() as home:
        env = environment.variables(home)
        env["PATH"] = f"{environment.folder / 'programs'}{os.pathsep}{env['PATH']}"
        env |= {"NODE_OPTIONS": f"--require {INSIDE / 'machines_browser.js'}", "NBPLATFORM_BROWSER": chromium}
        command = [environment.python, INSIDE / "browser_check.py", "--allow-root"]
        done = subprocess.run(
            [*command, f"--ServerApp.port={free_ports().public}"],
            cwd=home,
            env={**env, "TMPDIR": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-5000:]
    assert "Browser test complete" in said
    assert "speed-ups in use: late-gc, lean-import, kernel-nodelay" in said


def test_two_people_work_in_one_notebook(environment: Upstream, tmp_path: Path) -> None:
    """Through a server as a hub starts it: each sees the other's cells, and the notebook's file has both."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("was here")])
    nbformat.write(notebook, tmp_path / "shared.ipynb")
    command = [str(environment.python), "-P", "-m", "nbplatform_spawners.singleuser"]
    env = {"PYTHONPATH": str(environment.modules), "JUPYTERHUB_SINGLEUSER_APP": None}
    with running_server(tmp_path, command, env, "--YDocExtension.document_save_delay=0.5") as server:
        clients = [environment.python, INSIDE / "two_clients.py", server.url, TOKEN, "shared.ipynb"]
        done = subprocess.run(
            clients, env=environment.variables(tmp_path), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr + server.log()
        assert "speed-ups in use: late-gc, lean-import, kernel-nodelay" in server.log()
        assert re.search(r"jupyter_server_ydoc \| extension was successfully loaded", server.log())
        wanted = ["was here", "from one", "from the other"]
        assert json.loads(done.stdout) == {"one": wanted, "other": wanted}

        def saved() -> bool:
            content = server.ask("GET", "api/contents/shared.ipynb")["content"]
            return [cell["source"] for cell in content["cells"]] == wanted

        wait_for(saved, "the notebook's file with all cells")
