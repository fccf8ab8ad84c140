"""What a server tells the idle culler: a real one with JupyterLab, real kernels and terminals, asked at the wire."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.culler.answers import parse_activity
from nbplatform_spawners.singleuser.activity import shows_person
from tests.components.servers import executed, typed

from .hub_double import OTHER_TOKEN, SERVICE_TOKEN, TOKEN
from .servers import OURS, Server, running_server, wait_for

ASK = "api/nbplatform/activity"
LARGE = 64 * 2**20  # bytes, more than all buffers on the way hold
WAITS = "import pathlib, time\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.05)\n"
PRINTS = "import pathlib, time\nwhile not pathlib.Path({!r}).exists(): print(1, flush=True); time.sleep(0.05)\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with JupyterLab, as a hub starts it."""
    home = tmp_path_factory.mktemp("home")
    (home / "folder").mkdir()
    (home / "text.txt").write_text("some text\n")
    (home / "page.html").write_text("<p>some text</p>\n")
    (home / "large.bin").write_bytes(bytes(LARGE))
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (home / "book.ipynb").write_text(json.dumps(notebook))
    with running_server(home, OURS, {"JUPYTERHUB_SINGLEUSER_APP": None}) as server:
        yield server


def activity(server: Server) -> Any:
    """What the server says now, asked as the culler asks."""
    answer = server.request("GET", ASK, SERVICE_TOKEN)
    assert answer.status_code == 200, answer.text
    return answer.json()


def acted(server: Server) -> datetime | None:
    """When the person last did something."""
    last = activity(server)["last_action"]
    return None if last is None else datetime.fromisoformat(last)


def test_the_answer_has_all_parts_and_times_with_an_offset(server: Server) -> None:
    """Whoever parses it finds every key, also where there is nothing to say; the culler does."""
    answer = activity(server)
    assert set(answer) == {
        *("version", "now", "started", "last_action", "kernels", "terminals", "downloads", "connections"),
        *("gpus", "gpu_problem", "extend_asked"),
    }
    assert (answer["version"], answer["gpus"], answer["gpu_problem"], answer["extend_asked"]) == (1, None, None, None)
    assert set(answer["kernels"]) == {"count", "busy", "busy_since", "last_activity", "connections"}
    assert set(answer["terminals"]) == {"count", "last_activity"}
    started, now = (datetime.fromisoformat(answer[key]) for key in ("started", "now"))
    assert started.utcoffset() is not None
    assert started < now
    assert parse_activity(answer, now).by == "server"


POLLS = [
    # what an open tab of JupyterLab 4.6 asks again and again
    "api/kernels?1785000000000",
    "api/sessions?1785000000000",
    "api/terminals?1785000000000",
    "api/kernelspecs?1785000000000",
    "api/me?1785000000000",
    "api/contents/?content=1&hash=0&1785000000000",
    "api/contents/folder?type=directory&content=1&1785000000000",
    "lab/api/workspaces?1785000000000",
    # what it asks once, or others do
    "api",
    "api/status",
    "api/contents/text.txt?type=file&content=0&hash=0",
    "api/contents/text.txt/checkpoints",
    "lab/api/settings",
    "lab/api/translations/",
    "metrics",
    "static/favicon.ico",
    ASK,
    "api/nbplatform/notice",
    "lab?no_track_activity=1",
    "api/contents/text.txt?type=file&content=1&no_track_activity=1",
]


@pytest.mark.parametrize("path", POLLS)
def test_what_an_open_tab_asks_by_itself_is_no_action(server: Server, path: str) -> None:
    """It is answered, and the person's last action stays what it was."""
    before = acted(server)
    assert server.request("GET", path).status_code < 400
    assert acted(server) == before


# id, method, path, body
ACTIONS: list[tuple[str, str, str, Any]] = [
    ("the page of JupyterLab", "GET", "lab", None),
    ("a file's own page", "GET", "lab/tree/text.txt", None),
    ("a file is opened", "GET", "api/contents/text.txt?type=file&content=1&hash=1", None),
    ("a notebook is opened", "GET", "api/contents/book.ipynb?type=notebook&content=1", None),
    ("a file is shown or downloaded", "GET", "files/page.html", None),
    ("a notebook is converted", "GET", "nbconvert/script/book.ipynb", None),
    ("a file is saved", "PUT", "api/contents/new.txt", {"type": "file", "format": "text", "content": "x"}),
    ("a file is renamed", "PATCH", "api/contents/new.txt", {"path": "newer.txt"}),
    ("a checkpoint is made", "POST", "api/contents/newer.txt/checkpoints", None),
    ("a file is deleted", "DELETE", "api/contents/newer.txt", None),
    ("a setting is changed", "PUT", "lab/api/settings/@jupyterlab/apputils-extension:themes", {"raw": "{}"}),
]


@pytest.mark.parametrize(("_", "method", "path", "body"), ACTIONS, ids=[row[0] for row in ACTIONS])
def test_what_a_person_causes_is_an_action(server: Server, _: str, method: str, path: str, body: Any) -> None:
    """The last action is later than before."""
    before = acted(server)
    answer = server.request(method, path, json=body, headers={"Referer": server.url})
    assert answer.status_code < 400, answer.text
    after = acted(server)
    assert after is not None
    assert before is None or after > before


# id, method, path, token, the status
NOBODYS = [
    ("a service of the hub", "PUT", "api/contents/by-service.txt", SERVICE_TOKEN, 201),
    ("nobody", "PUT", "api/contents/by-nobody.txt", None, 403),
    ("nobody, at a page: to the hub to sign in", "GET", "lab", None, 200),
    ("somebody else", "PUT", "api/contents/by-another.txt", OTHER_TOKEN, 403),
    ("a file that is not there", "GET", "files/none.txt", TOKEN, 404),
]


@pytest.mark.parametrize(("_", "method", "path", "token", "status"), NOBODYS, ids=[row[0] for row in NOBODYS])
def test_what_is_not_the_persons_is_no_action(
    server: Server, _: str, method: str, path: str, token: str | None, status: int
) -> None:
    """Neither the hub's services nor strangers keep a server alive."""
    body = {"type": "file", "format": "text", "content": "x"} if method == "PUT" else None
    before = acted(server)
    answer = server.request(method, path, token, json=body, allow_redirects=False)
    assert answer.status_code in ((302,) if path == "lab" else (status,))
    assert acted(server) == before


@pytest.mark.parametrize("path", [ASK, "api/nbplatform/notice"])
@pytest.mark.parametrize("token", [None, "wrong", OTHER_TOKEN], ids=["none", "unknown", "another user's"])
def test_only_who_may_use_the_server_is_answered(server: Server, path: str, token: str | None) -> None:
    """Jupyter's own authentication stands before it."""
    answer = server.request("GET", path, token, allow_redirects=False)
    assert answer.status_code == 403
    assert "version" not in answer.text


def test_a_silent_cell_is_busy_since_it_began(server: Server, tmp_path: Path) -> None:
    """Jupyter's ``last_activity`` stands still while it works; its end is where the rest begins."""
    go_on = tmp_path / "go-on"
    with server.kernel_socket() as channel:
        executed(channel, "1")
        rested = wait_for(lambda: activity(server)["kernels"]["last_activity"], "the kernel's rest")
        send(channel, WAITS.format(str(go_on)))
        wait_for(lambda: activity(server)["kernels"]["busy"] == 1, "the kernel at work")
        first = activity(server)
        (model,) = server.ask("GET", "api/kernels")
        again = activity(server)
        (same,) = server.ask("GET", "api/kernels")
        assert model["last_activity"] == same["last_activity"]
        assert first["kernels"] == again["kernels"]
        assert first["kernels"]["last_activity"] is None
        assert moment(rested) < moment(first["kernels"]["busy_since"]) <= moment(first["now"])
        assert first["kernels"]["connections"] == 1
        go_on.touch()
        wait_for(lambda: activity(server)["kernels"]["busy"] == 0, "the end of the cell")
        ended = activity(server)["kernels"]
    assert ended["busy_since"] is None
    assert moment(ended["last_activity"]) > moment(first["kernels"]["busy_since"])
    stop_kernels(server)
    assert activity(server)["kernels"] == {
        "count": 0,
        "busy": 0,
        "busy_since": None,
        "last_activity": None,
        "connections": 0,
    }


def test_what_a_busy_kernel_prints_moves_nothing(server: Server, tmp_path: Path) -> None:
    """A cell that never ends holds a GPU for weeks, and prints: it has begun when it has begun."""
    go_on = tmp_path / "go-on"
    with server.kernel_socket() as channel:
        send(channel, PRINTS.format(str(go_on)))
        wait_for(lambda: activity(server)["kernels"]["busy"] == 1, "the kernel at work")
        first, (model,) = activity(server)["kernels"], server.ask("GET", "api/kernels")
        wait_for(lambda: server.ask("GET", "api/kernels")[0]["last_activity"] > model["last_activity"], "more output")
        assert activity(server)["kernels"] == first
        go_on.touch()
        wait_for(lambda: activity(server)["kernels"]["busy"] == 0, "the end of the cell")
    stop_kernels(server)


def test_typing_in_a_terminal_is_told_also_when_it_is_closed(server: Server) -> None:
    """The last thing typed is known although nothing of it goes through a request."""
    name = server.ask("POST", "api/terminals", {})["name"]
    with server.socket(f"terminals/websocket/{name}") as channel:
        assert typed(channel, "echo one") == "one\n"
        before = activity(server)
        assert typed(channel, "echo two") == "two\n"
        after = activity(server)
    assert (before["terminals"]["count"], after["last_action"]) == (1, before["last_action"])
    assert moment(after["terminals"]["last_activity"]) > moment(before["terminals"]["last_activity"])
    server.ask("DELETE", f"api/terminals/{name}")
    gone = activity(server)["terminals"]
    assert gone["count"] == 0
    assert moment(gone["last_activity"]) > moment(before["terminals"]["last_activity"])


def test_open_sockets_are_counted_and_are_no_action(server: Server) -> None:
    """A page that has lost its WebSockets opens them again by itself."""
    wait_for(lambda: activity(server)["connections"] == 0, "the end of others' sockets")
    before = acted(server)
    with server.socket("api/events/subscribe"), server.socket("api/events/subscribe"):
        assert activity(server)["connections"] == 2
    wait_for(lambda: activity(server)["connections"] == 0, "their end")
    assert acted(server) == before


@pytest.mark.parametrize(
    "path", ["files/large.bin", "api/contents/large.bin?type=file&format=base64&content=1"], ids=["file", "contents"]
)
def test_a_download_is_seen_until_its_last_byte(server: Server, path: str) -> None:
    """A slow client is still fetching long after the server has written all of it to its own buffers."""
    with closing(slow_client(server, path)) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert activity(server)["downloads"] == 1
        while client.recv(2**20):
            pass
        wait_for(lambda: activity(server)["downloads"] == 0, "the end of the download")


def test_a_download_that_is_given_up_has_ended(server: Server) -> None:
    """The connection is gone, and with it what was under way."""
    with closing(slow_client(server, "files/large.bin")) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert activity(server)["downloads"] == 1
    wait_for(lambda: activity(server)["downloads"] == 0, "the end of the download")


def slow_client(server: Server, path: str) -> socket.socket:
    """A connection with a small window, on which a file was asked for."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    target = f"{server.url.partition(str(server.port))[2]}{path}"
    lines = (f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Authorization: token {TOKEN}")
    client.sendall("\r\n".join((*lines, f"Referer: {server.url}", "Connection: close", "", "")).encode())
    return client


def send(channel: Any, code: str) -> None:
    """Have a kernel execute something, and do not wait."""
    header = {"msg_id": "waits", "msg_type": "execute_request", "username": "", "session": "one", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    channel.send(json.dumps(message))


def moment(text: str) -> datetime:
    """A time of an answer."""
    return datetime.fromisoformat(text)


def stop_kernels(server: Server) -> None:
    """Stop every kernel of a server."""
    for kernel in server.ask("GET", "api/kernels"):
        server.ask("DELETE", f"api/kernels/{kernel['id']}")


@pytest.mark.parametrize("env", [{"JUPYTERHUB_SINGLEUSER_EXTENSION": "0"}, {"NBPLATFORM_SPEEDUPS": ""}])
def test_every_way_to_run_the_server_answers(tmp_path: Path, env: dict[str, str]) -> None:
    """JupyterHub's older application and a server without speed-ups tell as much, and take a notice."""
    with running_server(tmp_path, OURS, {"JUPYTERHUB_SINGLEUSER_APP": None, **env}) as server:
        assert server.request("GET", ASK, None, allow_redirects=False).status_code == 403
        assert server.request("GET", "lab", SERVICE_TOKEN).status_code == 200
        assert acted(server) is None
        assert server.request("GET", "lab").status_code == 200
        assert acted(server) is not None
        notice = {"seconds_left": None, "stop_at": None, "reason": "not-allowed", "why": "no rule allows it"}
        assert server.request("PUT", "api/nbplatform/notice", SERVICE_TOKEN, json=notice).status_code == 204
        assert "does not work here" not in server.log()


BREAKS = """
from nbplatform_spawners.singleuser import {module}
def refuse(*args, **options): raise RuntimeError("broken on purpose")
{module}.{name} = refuse
"""
# id, module, what of it is broken, whether the address is there
BROKEN = [
    ("the look at requests", "requests_seen", "shows_person", True),
    ("the begin of downloads", "requests_seen", "may_take_long", True),
    ("the look at kernels", "watch.Watch", "_kernels", True),
    ("the start", "watch.Watch", "begin", True),
    ("the handlers", "handlers", "add_handlers", False),
]


@pytest.mark.parametrize(("_", "module", "name", "there"), BROKEN, ids=[row[0] for row in BROKEN])
def test_the_server_works_whatever_fails_in_this(tmp_path: Path, _: str, module: str, name: str, there: bool) -> None:
    """The user's requests and kernels are as ever, and the log says it at most once."""
    home, config = tmp_path / "home", tmp_path / "site" / "jupyter_server_config.py"
    home.mkdir()
    (home / "text.txt").write_text("some text")
    config.parent.mkdir()
    lines = BREAKS.format(module=module, name=name)
    if "." in module:
        lines = lines.replace(f"import {module}", f"import {module.partition('.')[0]}")
    config.write_text(lines)
    with running_server(home, OURS, {"JUPYTER_CONFIG_PATH": str(config.parent)}) as server:
        for _again in range(3):
            assert server.request("GET", "files/text.txt", headers={"Referer": server.url}).text == "some text"
        with server.kernel_socket() as channel:
            assert executed(channel, "1 + 1") == "2\n"
        assert (server.request("GET", ASK).status_code != 404) == there
        assert server.log().count("does not work here") <= 1


# id, method, path below the base, whether it shows a person
PATHS = [
    ("proxied pages", "GET", "/proxy/8787/", True),
    ("proxied calls", "POST", "/proxy/8787/rpc", True),
    ("voila", "GET", "/voila/render/a.ipynb", True),
    ("notebook 7", "GET", "/notebooks/a.ipynb", True),
    ("a page of JupyterLab's parts", "GET", "/lab/extensions/x/static/remoteEntry.js", False),
    ("a terminal's socket", "GET", "/terminals/websocket/1", False),
    ("a terminal's page", "GET", "/terminals/1", True),
    ("a word that begins alike", "GET", "/laboratory", False),
    ("the resource usage in the top bar", "GET", "/api/metrics/v1", False),
    ("JupyterLab saves its layout every ten seconds", "PUT", "/lab/api/workspaces/default", False),
    ("jupyterlab-git looks", "POST", "/git/folder/status", False),
    ("jupyterlab-git looks at the top", "POST", "/git/status", False),
    ("jupyterlab-git commits", "POST", "/git/folder/commit", True),
    ("somebody asks for more time", "POST", "/api/nbplatform/extend", False),
    ("a preflight", "OPTIONS", "/lab", False),
    ("nothing", "GET", "", False),
]


@pytest.mark.parametrize(("_", "method", "path", "shows"), PATHS, ids=[row[0] for row in PATHS])
def test_pages_of_others_are_known_too(_: str, method: str, path: str, shows: bool) -> None:
    """What is not installed here is told by its address."""
    assert shows_person(method, path, {}) is shows
