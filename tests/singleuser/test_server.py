"""A real single-user server with and without each speed-up, seen from outside: its sockets, environment and log."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components.servers import executed, typed

from .servers import OURS, STOCK, Server, log_of, running_server, wait_for
from .sockets import nodelay

CONFIGURED = """
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
class Own(ZMQChannelsWebsocketConnection):
    pass
c.ServerApp.kernel_websocket_connection_class = Own
"""
TELLS = """
import json, os
print(json.dumps({key: os.environ.get(key) for key in ("JUPYTER_CONFIG_PATH", "NBPLATFORM_SPEEDUPS")}))
"""


def kernel_and_terminal(server: Server) -> tuple[bool, bool]:
    """Whether the sockets of a kernel's and a terminal's WebSocket send at once, after both were used."""
    with server.kernel_socket() as channel:
        assert executed(channel, "1 + 1") == "2\n"
        kernel = nodelay(server.process.pid, server.port)[channel.sock.getsockname()[1]]
    terminal = server.ask("POST", "api/terminals", {})["name"]
    with server.socket(f"terminals/websocket/{terminal}") as channel:
        assert typed(channel, "echo typed") == "typed\n"
        return kernel, nodelay(server.process.pid, server.port)[channel.sock.getsockname()[1]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The HOME of the module's server, in which some files have the names of modules."""
    home = tmp_path_factory.mktemp("home")
    for name in ("jsonschema", "random", "jupyter_server", "nbplatform_spawners"):
        (home / f"{name}.py").write_text("raise SystemExit('a file of the user is imported')\n")
    own = home / ".jupyter" / "jupyter_server_config.py"
    own.parent.mkdir()
    own.write_text("raise SystemExit('the configuration of the user is read')\n")
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    """A server as it is by default."""
    with running_server(home) as server:
        yield server


def test_all_speedups_act_and_are_told(server: Server) -> None:
    """One line of the log names them, in a start without the user's files and configuration."""
    wait_for(lambda: "speed-ups in use: late-gc, lean-import, kernel-nodelay" in server.log(), "the line")
    wait_for(lambda: "speed-up late-gc has ended with the start" in server.log(), "the collector, before its timer")
    assert "leaves itself out" not in server.log()


def test_kernels_and_terminals_send_at_once(server: Server) -> None:
    """The system's own word on both sockets."""
    assert kernel_and_terminal(server) == (True, True)


def test_other_connections_are_as_ever(server: Server) -> None:
    """Only WebSockets of kernels and terminals differ; that of events is as stock has it."""
    with server.socket("api/events/subscribe") as channel:
        port = channel.sock.getsockname()[1]
        assert nodelay(server.process.pid, server.port)[port] is False


def test_a_stock_server_waits(tmp_path: Path) -> None:
    """The tripwire: when this fails, Jupyter Server sends at once by itself, and ``kernel-nodelay`` can be removed."""
    with running_server(tmp_path, STOCK) as server:
        sends_at_once = kernel_and_terminal(server)
    assert sends_at_once == (False, False), "jupyter_server now sets TCP_NODELAY itself: remove kernel-nodelay"


def test_no_speedup_means_a_stock_server(tmp_path: Path) -> None:
    """With an empty list nothing differs but the answers to the idle culler: the sockets are as stock has them."""
    with running_server(tmp_path, OURS, {"NBPLATFORM_SPEEDUPS": ""}) as server:
        assert kernel_and_terminal(server) == (False, False)
        assert "speed-ups in use: none\n" in server.log()
        assert server.ask("GET", "api/nbplatform/activity")["kernels"]["count"] == 1


# id, the variable, what a kernel's and a terminal's socket do, what is told
ONE_EACH = [
    ("kernel-nodelay", (True, True), "speed-ups in use: kernel-nodelay\n"),
    ("lean-import late-gc", (False, False), "speed-ups in use: late-gc, lean-import\n"),
]


@pytest.mark.parametrize(("names", "sends", "line"), ONE_EACH, ids=[row[0] for row in ONE_EACH])
def test_each_can_be_chosen(tmp_path: Path, names: str, sends: tuple[bool, bool], line: str) -> None:
    """Only what is named acts."""
    with running_server(tmp_path, OURS, {"NBPLATFORM_SPEEDUPS": names}) as server:
        assert kernel_and_terminal(server) == sends
        assert line in server.log()


def test_kernels_and_terminals_inherit_no_trace(server: Server) -> None:
    """The path of configuration is as it was before a kernel can be started; the choice is the hub's own variable."""
    with server.kernel_socket() as channel:
        seen = json.loads(executed(channel, TELLS))
    assert seen == {"JUPYTER_CONFIG_PATH": None, "NBPLATFORM_SPEEDUPS": None}
    terminal = server.ask("POST", "api/terminals", {})["name"]
    with server.socket(f"terminals/websocket/{terminal}") as channel:
        assert typed(channel, "echo [$JUPYTER_CONFIG_PATH]") == "[]\n"


def test_a_class_of_the_administrators_own_stays(tmp_path: Path) -> None:
    """``kernel_websocket_connection_class`` of a site is not replaced; the log tells."""
    home, config = tmp_path / "home", tmp_path / "site" / "jupyter_server_config.py"
    home.mkdir()
    config.parent.mkdir()
    config.write_text(CONFIGURED)
    with running_server(home, OURS, {"JUPYTER_CONFIG_PATH": str(config.parent)}) as server:
        assert kernel_and_terminal(server) == (False, True)
        assert "speed-up kernel-nodelay leaves the kernels' own <class" in server.log()
        with server.kernel_socket() as channel:
            assert json.loads(executed(channel, TELLS))["JUPYTER_CONFIG_PATH"] == str(config.parent)


def test_a_gateway_keeps_its_class(tmp_path: Path) -> None:
    """Kernels that run elsewhere are reached by the gateway's own connection."""
    with running_server(tmp_path, OURS, {"JUPYTER_GATEWAY_URL": "http://127.0.0.1:9"}) as server:
        line = "speed-up kernel-nodelay leaves the kernels' own <class 'jupyter_server.gateway"
        wait_for(lambda: line in server.log(), "the line")


# id, what has become of the method that is called, why the speed-up leaves itself out, what is in use
METHODS = [
    ("it is gone", "del WebSocketHandler.set_nodelay", "there is no WebSocketHandler.set_nodelay any more", "none"),
    (
        "it raises",
        "def refuse(self, value): raise RuntimeError('no options here')\nWebSocketHandler.set_nodelay = refuse",
        "set_nodelay failed: \"RuntimeError('no options here')\"",
        "kernel-nodelay",
    ),
    (
        "it takes nothing",
        "WebSocketHandler.set_nodelay = lambda self: None",
        "set_nodelay failed: ",
        "kernel-nodelay",
    ),
]


@pytest.mark.parametrize(("_", "lines", "why", "used"), METHODS, ids=[row[0] for row in METHODS])
def test_no_connection_fails_for_want_of_the_option(tmp_path: Path, _: str, lines: str, why: str, used: str) -> None:
    """Where Tornado's method is not as it was, kernels and terminals work as stock, and the log says so once."""
    home, config = tmp_path / "home", tmp_path / "site" / "jupyter_server_config.py"
    home.mkdir()
    config.parent.mkdir()
    config.write_text(f"from tornado.websocket import WebSocketHandler\n{lines}\n")
    env = {"JUPYTER_CONFIG_PATH": str(config.parent), "NBPLATFORM_SPEEDUPS": "kernel-nodelay"}
    with running_server(home, OURS, env) as server:
        assert [kernel_and_terminal(server) for _again in range(2)] == [(False, False)] * 2
        assert server.log().count(f"speed-up kernel-nodelay leaves itself out: {why}") == 1
        assert server.log().count("leaves itself out") == 1
        assert f"speed-ups in use: {used}\n" in server.log()
        assert "Traceback" not in server.log()


def test_without_terminals_there_are_still_kernels(tmp_path: Path) -> None:
    """A site that switches terminals off has no socket of theirs to change."""
    with running_server(tmp_path, OURS, None, "--ServerApp.terminals_enabled=False") as server:
        with server.kernel_socket() as channel:
            assert executed(channel, "1 + 1") == "2\n"
            assert nodelay(server.process.pid, server.port)[channel.sock.getsockname()[1]]
        assert not re.search("leaves itself out|leaves the terminals alone", server.log())


APPS = {
    "JupyterLab beside the server": {"JUPYTERHUB_SINGLEUSER_APP": None},
    "JupyterHub's older application": {"JUPYTERHUB_SINGLEUSER_EXTENSION": "0", "JUPYTERHUB_SINGLEUSER_APP": None},
    "the user's configuration allowed": {"JUPYTERHUB_DISABLE_USER_CONFIG": None},
}


@pytest.mark.parametrize("env", APPS.values(), ids=APPS.keys())
def test_every_application_loads_the_extension(tmp_path: Path, env: dict[str, str | None]) -> None:
    """Whatever ``JUPYTERHUB_SINGLEUSER_APP`` names: the extensions are found, and a stock start has the same others."""
    with running_server(tmp_path, OURS, env) as server:
        wait_for(lambda: "speed-ups in use: late-gc, lean-import, kernel-nodelay" in server.log(), "the line")
        ours = extensions(tmp_path)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    with running_server(tmp_path, STOCK, env):
        stock = extensions(tmp_path)
    assert ours - stock == {"nbplatform_spawners.singleuser.extension", "nbplatform_spawners.slurm_dask.dashboard"}
    assert stock - ours == set()
    assert "jupyter_server_terminals" in stock


def extensions(home: Path) -> set[str]:
    """The extensions that a server's log says are loaded."""
    lines = [line for line in log_of(home).splitlines() if "extension was successfully loaded" in line]
    return {line.rpartition("] ")[2].partition(" |")[0] for line in lines}
