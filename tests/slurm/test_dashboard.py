"""Dashboards behind a notebook server: a real one with the extension, and a real scheduler over TLS."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import websocket

from nbplatform_spawners.slurm_dask import dashboard, lab_link
from nbplatform_spawners.slurm_dask.certificates import context_of
from tests.components.keeper import Keeper, Kept, keeper
from tests.components.ports import free_ports
from tests.slurm.plain import CLUSTER, PlainCluster, make_cluster, wait

TOKEN = "a-token-of-this-test"
EXTENSION = "nbplatform_spawners.slurm_dask.dashboard"


@dataclass
class Server:
    """A notebook server, as a user's is.

    Attributes:
        url: with a slash at its end.
        home: of its user.
        process: the server's.
    """

    url: str
    home: Path
    process: Kept

    def get(self, path: str, token: str = TOKEN, **more: Any) -> requests.Response:
        """Ask for a page, without following redirections."""
        headers = {"Authorization": f"token {token}"} if token else {}
        return requests.get(self.url + path, headers=headers, allow_redirects=False, timeout=30, **more)

    def dashboard(self, cluster: str = CLUSTER, page: str = "status", **more: Any) -> requests.Response:
        """Ask for a page of a cluster's dashboard."""
        return self.get(f"nbplatform/dask/{cluster}/{page}", **more)


def start_server(kept: Keeper, home: Path, *options: str, **env: str) -> Server:
    """Start a server with the extension, and wait for it."""
    port = free_ports().public
    base = "/user/ada/"
    argv = [sys.executable, "-m", "jupyter_server", f"--ServerApp.port={port}", f"--ServerApp.base_url={base}"]
    argv += ["--allow-root", "--no-browser", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={home}"]
    argv += [f"--ServerApp.jpserver_extensions={{'{EXTENSION}': True, 'jupyterlab': False}}", *options]
    (home / "slurm.yaml").write_text("slurm: {way: commands}\n")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "NBPLATFORM_SLURM_SITE": f"{home}/slurm.yaml", **env}
    process = kept.start(argv, env=environment, log=kept.folder / "server.log")
    server = Server(f"http://127.0.0.1:{port}{base}", home, process)

    def answers() -> bool:
        assert process.alive(), process.log_text()
        try:
            return server.get("api/status").ok
        except requests.ConnectionError:
            return False

    wait(answers, "the server")
    return server


@pytest.fixture(scope="module")
def kept() -> Iterator[Keeper]:
    """What ends the server and the schedulers."""
    with keeper("nbplatform-dashboard") as one:
        yield one


@pytest.fixture(scope="module")
def server(kept: Keeper, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The user's server."""
    return start_server(kept, tmp_path_factory.mktemp("home"))


@pytest.fixture
def cluster(kept: Keeper, server: Server) -> Iterator[PlainCluster]:
    """A cluster of the user, whose scheduler runs."""
    root = server.home / ".nbplatform" / "dask"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    one = make_cluster(kept, root)
    assert one.start_scheduler().alive()
    assert one.address
    yield one
    for process in one.started:
        process.kill9()
    shutil.rmtree(one.folder)


def test_the_users_dashboard_is_shown(server: Server, cluster: PlainCluster) -> None:
    """Pages, scripts and data come through, at both places; the cluster's own address leads to its first page."""
    for place in lab_link.PLACES:
        page = server.get(f"{place}/{CLUSTER}/status")
        assert (page.status_code, "Dask Diagnostic UI" in page.text) == (200, True), page.text[:500]
        plots = server.get(f"{place}/{CLUSTER}/individual-plots.json").json()
        assert "Individual Task Stream" in plots
        first = server.get(f"{place}/{CLUSTER}")
        assert (first.status_code, first.headers["Location"]) == (302, f"/user/ada/{place}/{CLUSTER}/status")
        within = server.get(f"{place}/{CLUSTER}/")
        assert within.headers.get("Location", "status") in ("status", f"/user/ada/{place}/{CLUSTER}/status")


def test_a_websocket_comes_through(server: Server, cluster: PlainCluster) -> None:
    """The dashboard's pages live of one; its subprotocols, by which Bokeh knows the session, come through, too."""
    page = server.dashboard().text
    found = page.split('"token":"')[1].split('"')[0]
    url = server.url.replace("http", "ws", 1) + f"nbplatform/dask/{CLUSTER}/status/ws?" + urlencode({"token": TOKEN})
    opened = websocket.create_connection(url, subprotocols=["bokeh", found], timeout=30)
    assert json.loads(opened.recv())["msgtype"] == "ACK"
    opened.close()


def test_nobody_else_sees_it(server: Server, cluster: PlainCluster) -> None:
    """Without the right token there is neither a page nor a WebSocket."""
    for token in ("", "another"):
        assert server.dashboard(token=token).status_code in (302, 403)
    url = server.url.replace("http", "ws", 1) + f"nbplatform/dask/{CLUSTER}/status/ws"
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(url, subprotocols=["bokeh"], timeout=30)


# id, cluster, page
STRANGE = [
    ("no cluster", "ffffffffffff", "status"),
    ("a short id", "0123", "status"),
    ("large letters", CLUSTER.upper(), "status"),
    ("a way out", "..%2F..%2F..%2F", "status"),
]


def test_what_is_not_there_is_told(server: Server, cluster: PlainCluster) -> None:
    """Every other id is 404, whatever it tries."""
    for name, one, page in STRANGE:
        assert server.dashboard(one, page).status_code == 404, name


def test_a_cluster_that_has_gone_has_a_clear_page(server: Server, cluster: PlainCluster) -> None:
    """Killed, with all its files still there; and ended, when its file is gone."""
    cluster.started[0].kill9()
    words = f"The Dask cluster {CLUSTER} is not there: it has ended, or its scheduler has not started yet."
    assert (cluster.folder / "scheduler.json").exists()
    for _ in range(2):
        page = server.dashboard()
        assert page.status_code == 404
        assert words in page.text
        (cluster.folder / "scheduler.json").unlink(missing_ok=True)


def test_an_impostor_is_not_asked(server: Server, cluster: PlainCluster, kept: Keeper, tmp_path: Path) -> None:
    """Whoever took the port since has another certificate, and is told nothing: not even by a page."""
    other = make_cluster(kept, tmp_path)
    assert other.start_scheduler().alive()
    says = {**cluster.scheduler_file, "services": other.scheduler_file["services"]}
    (cluster.folder / "scheduler.json").write_text(json.dumps(says))
    assert server.dashboard().status_code == 404


def test_a_folder_that_others_reach_is_not_used(server: Server, cluster: PlainCluster) -> None:
    """The file in it decides where requests go."""
    cluster.folder.chmod(0o755)
    page = server.dashboard()
    assert page.status_code == 404
    assert "others can look into the folder" in page.text


def test_nothing_is_changed_by_a_dashboard(server: Server, cluster: PlainCluster) -> None:
    """Only what reads is handed on."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        url = f"{server.url}nbplatform/dask/{CLUSTER}/status"
        assert requests.request(method, url, headers={"Authorization": f"token {TOKEN}"}, timeout=30).status_code == 405


def test_looking_at_a_dashboard_is_no_activity(server: Server, cluster: PlainCluster) -> None:
    """Its pages ask without end: a forgotten tab would keep a server for ever."""
    before = server.get("api/status").json()["last_activity"]
    assert server.dashboard().ok
    assert server.get("api/status").json()["last_activity"] == before


def test_the_users_secrets_stay_with_the_server(server: Server, cluster: PlainCluster) -> None:
    """No cookie and no token of the hub reaches a node, in a header or in the address; what is for the page does."""
    context = context_of(str(cluster.folder / "tls.pem"), str(cluster.folder / "tls.key"), server=True)
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        says = {**cluster.scheduler_file, "services": {"dashboard": listening.getsockname()[1]}}
        (cluster.folder / "scheduler.json").write_text(json.dumps(says))
        heard = pool.submit(hear_one, listening, context)
        secrets = {"Cookie": "jupyterhub-session-id=secret-1", "X-XSRFToken": "secret-2", "Referer": "http://secret-3/"}
        headers = {"Authorization": f"token {TOKEN}", **secrets}
        page = requests.get(
            f"{server.url}nbplatform/dask/{CLUSTER}/a?token={TOKEN}&b=c%20d", headers=headers, timeout=30
        )
        text = heard.result(timeout=30)
    assert page.text == "heard"
    assert text.startswith("GET /a?b=c+d HTTP/1.1")
    assert TOKEN not in text
    assert "secret-" not in text


def hear_one(listening: socket.socket, context: ssl.SSLContext) -> str:
    """Answer one request as a scheduler's dashboard would, and return what it said."""
    plain, _ = listening.accept()
    with context.wrap_socket(plain, server_side=True) as stream:
        text = stream.recv(65536).decode()
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nheard")
    return text


def test_an_image_without_dask_loads_the_extension_quietly(kept: Keeper, tmp_path: Path) -> None:
    """The extension is offered to every server; where what it needs is missing it says so once, without a warning."""
    (tmp_path / "jupyter_server_proxy.py").write_text("raise ImportError('not in this image')\n")
    server = start_server(kept, tmp_path, PYTHONPATH=str(tmp_path))
    assert server.get("nbplatform/dask/ffffffffffff/status").status_code == 404
    lines = [one for one in server.process.log_text().splitlines() if "no dashboards of Dask clusters here" in one]
    assert len(lines) == 1
    assert lines[0].startswith("[I ")
    assert dashboard._jupyter_server_extension_points() == [{"module": EXTENSION}]


def test_without_slurm_nothing_of_it_is_loaded(kept: Keeper, tmp_path: Path) -> None:
    """Most sites have no site file, and most users no clusters: their servers start and answer as ever."""
    server = start_server(kept, tmp_path, NBPLATFORM_SLURM_SITE=str(tmp_path / "nowhere.yaml"))
    answer = server.dashboard()
    assert answer.status_code == 404
    assert "Dask cluster" not in answer.text
