"""The notice that a server will be stopped: what is taken, what it becomes, and who is told."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.singleuser.notice import Board, Notice, parse_notice
from tests.components.servers import executed, typed

from .hub_double import OTHER_TOKEN, SERVICE_TOKEN, TOKEN
from .servers import OURS, Server, running_server, wait_for
from .test_activity import PRINTS, send, stop_kernels

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
NOTICE = "api/nbplatform/notice"
EXTEND = "api/nbplatform/extend"
SCHEMA_ID = "https://events.nbplatform.invalid/nbplatform/notice/v1"
BODY = {
    "seconds_left": 5400,
    "stop_at": "2026-07-01T13:00:00+02:00",
    "reason": "idle",
    "why": "nobody has used this server for 2 days",
    "extend": 21600,
    "extended": False,
    "idle": True,
}


def parsed(**changes: object) -> Notice:
    """The usual notice with some changes; ``...`` leaves a key out."""
    body = {key: value for key, value in {**BODY, **changes}.items() if value is not ...}
    return parse_notice(json.dumps(body).encode(), NOW)


def test_a_notice_is_shown_as_it_came_and_counts_down() -> None:
    """The time left is by the server's own clock, from the moment at which the notice came."""
    notice = parsed()
    assert notice.as_json(NOW) == {**BODY, "stop_at": "2026-07-01T13:00:00+02:00"}
    assert notice.as_json(NOW + timedelta(minutes=30))["seconds_left"] == 3600
    assert notice.as_json(NOW + timedelta(days=2))["seconds_left"] == 0


def test_what_may_be_left_out_may_and_unknown_keys_are_left_alone() -> None:
    """A hub may be newer than the server's image."""
    notice = parsed(extend=..., extended=..., idle=..., colour="red")
    assert (notice.extend, notice.extended, notice.idle) == (0, False, False)
    warned = parsed(seconds_left=None, stop_at=None, reason="not-allowed", idle=False)
    assert warned.as_json(NOW)["seconds_left"] is None


# id, changes, what is said
BAD: list[tuple[str, dict[str, object], str]] = [
    ("no seconds", {"seconds_left": ...}, "given together"),
    ("no time", {"stop_at": None}, "given together"),
    ("seconds as text", {"seconds_left": "60"}, "seconds_left must be a number"),
    ("seconds as truth", {"seconds_left": True}, "seconds_left must be a number"),
    ("seconds below zero", {"seconds_left": -1}, "seconds_left must be 0 to"),
    ("endless seconds", {"seconds_left": float("inf")}, "seconds_left must be 0 to"),
    ("seconds that are none", {"seconds_left": float("nan")}, "seconds_left must be 0 to"),
    ("very many seconds", {"seconds_left": 10**300}, "seconds_left must be 0 to"),
    ("a list", {"seconds_left": [1]}, "seconds_left must be a number"),
    ("a time without offset", {"stop_at": "2026-07-01T09:30:00"}, "stop_at must be a time"),
    ("a time of nonsense", {"stop_at": "soon"}, "stop_at must be a time"),
    ("a number as time", {"stop_at": 1785000000}, "stop_at must be a time"),
    ("a time at the end of all", {"stop_at": "9999-12-31T23:59:59-12:00"}, "stop_at must be a time"),
    ("a long time", {"stop_at": "2026-07-01T09:30:00." + "0" * 99 + "+00:00"}, "stop_at must be a time"),
    ("another reason", {"reason": "mood"}, "reason must be one of idle, max_age, account, not-allowed, got 'mood'"),
    ("a hostile reason", {"reason": "\x1b[2J" + "x" * 999}, "got '\\\\x1b"),
    ("no reason", {"reason": ...}, "got a NoneType"),
    ("a reason that cannot be looked up", {"reason": {"a": 1}}, "got a dict"),
    ("no sentence", {"why": ...}, "why must be one line"),
    ("a blank sentence", {"why": "  "}, "why must be one line"),
    ("a long sentence", {"why": "x" * 501}, "why must be one line"),
    ("two lines", {"why": "a\nb"}, "why must be one line"),
    ("control characters", {"why": "a\x1b[2Jb"}, "why must be one line"),
    ("a direction of writing turned round", {"why": "a\u202eb"}, "why must be one line"),
    ("extend below zero", {"extend": -5}, "extend must be 0 to"),
    ("extend of null", {"extend": None}, "extend must be a number"),
    ("extended as number", {"extended": 1}, "extended must be true or false"),
    ("idle as text", {"idle": "true"}, "idle must be true or false"),
]


@pytest.mark.parametrize(("_", "changes", "said"), BAD, ids=[row[0] for row in BAD])
def test_a_bad_notice_is_refused_in_one_sentence(_: str, changes: dict[str, object], said: str) -> None:
    """Nothing of a wrong type or without bounds gets as far as a person."""
    with pytest.raises(ValueError, match=said.replace("[", "\\[")) as refused:
        parsed(**changes)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


BODIES = [b"", b"null", b"[]", b'"idle"', b"{", b"\xff\xfe", b"[" * 8000, b'{"a":' * 1500, b"1" * 8000]


@pytest.mark.parametrize("body", BODIES, ids=[repr(body[:12]) for body in BODIES])
def test_a_body_that_is_no_mapping_is_refused(body: bytes) -> None:
    """Whatever it is, and however deep."""
    with pytest.raises(ValueError, match=r"^the body (is not JSON|must be a mapping)$"):
        parse_notice(body, NOW)


def board(notice: Notice | None = None) -> Board:
    """A board on which a notice hangs."""
    one = Board()
    if notice is not None:
        one.put(notice)
    return one


def test_a_stop_can_be_put_off_once() -> None:
    """It moves by what the notice says, and the moment of asking is kept when the notice is gone."""
    one = board(parsed())
    assert one.extend(NOW + timedelta(hours=1)) is None
    assert one.notice is not None
    shown = one.notice.as_json(NOW + timedelta(hours=1))
    assert shown == {
        **BODY,
        "seconds_left": 1800 + 21600,
        "stop_at": "2026-07-01T19:00:00+02:00",
        "extended": True,
    }
    assert one.extend(NOW + timedelta(hours=2)) == "the stop has been put off already, which can be done once"
    assert one.take_away()
    assert one.extend_asked == NOW + timedelta(hours=1)


# id, the notice, why it cannot be put off
FIXED = [
    ("there is none", None, "nothing to put off"),
    ("no stop is planned", parsed(seconds_left=None, stop_at=None), "nothing to put off"),
    ("it may not be", parsed(extend=0), "cannot be put off"),
    ("it was, says the culler", parsed(extended=True), "already"),
]


@pytest.mark.parametrize(("_", "notice", "why"), FIXED, ids=[row[0] for row in FIXED])
def test_what_cannot_be_put_off_stays(_: str, notice: Notice | None, why: str) -> None:
    """It is said why, and nothing is noted as asked."""
    one = board(notice)
    assert why in str(one.extend(NOW))
    assert (one.notice, one.extend_asked) == (notice, None)


def test_a_notice_that_was_under_way_does_not_take_an_extension_back() -> None:
    """The culler looked before the person asked, and its notice of the same stop came after."""
    one = board(parsed())
    assert one.extend(NOW) is None
    one.put(parsed(stop_at="2026-07-01T13:00:20+02:00"))
    assert one.notice is not None
    assert (one.notice.extended, one.notice.as_json(NOW)["stop_at"]) == (True, "2026-07-01T19:00:20+02:00")


def test_a_later_stop_can_be_put_off_again() -> None:
    """The person came back and went away again: this is another warning."""
    one = board(parsed())
    assert one.extend(NOW) is None
    one.put(parsed(stop_at="2026-07-04T13:00:00+02:00"))
    assert one.notice is not None
    assert not one.notice.extended
    assert one.extend(NOW + timedelta(days=3)) is None
    assert one.extend_asked == NOW + timedelta(days=3)


# id, whether the notice is about idleness, seconds from it to the last action, whether it goes
ACTED = [
    ("before it", True, -1.0, False),
    ("nothing at all", True, None, False),
    ("after it", True, 1.0, True),
    ("after one that is not about idleness", False, 1.0, False),
]


@pytest.mark.parametrize(("_", "idle", "seconds", "goes"), ACTED, ids=[row[0] for row in ACTED])
def test_a_notice_of_idleness_is_void_when_the_person_acts(
    _: str, idle: bool, seconds: float | None, goes: bool
) -> None:
    """The others stay: work does not lengthen an account."""
    one = board(parsed(idle=idle))
    assert one.acted(None if seconds is None else NOW + timedelta(seconds=seconds)) is goes
    assert (one.notice is None) is goes


# id, what the second notice says otherwise, whether the person is told
TOLD: list[tuple[str, dict[str, object], bool]] = [
    ("nothing", {}, False),
    ("some milliseconds", {"stop_at": "2026-07-01T13:00:00.004+02:00", "seconds_left": 5000}, False),
    ("another time", {"stop_at": "2026-07-01T14:00:00+02:00"}, True),
    ("another reason", {"reason": "max_age"}, True),
    ("another sentence", {"why": "the server is too old"}, True),
    ("it was put off on the hub's page", {"extended": True}, True),
]


@pytest.mark.parametrize(("_", "changes", "told"), TOLD, ids=[row[0] for row in TOLD])
def test_only_what_is_new_to_the_person_is_told(_: str, changes: dict[str, object], told: bool) -> None:
    """The culler sends the notice again at each pass; the time left is always the newest."""
    one = board()
    assert one.put(parsed())
    assert one.put(later := replace(parsed(**changes), since=NOW + timedelta(minutes=5))) is told
    assert one.notice == later


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a file in it."""
    home = tmp_path_factory.mktemp("home")
    (home / "text.txt").write_text("some text")
    with running_server(home) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """The same without kernels and without a notice."""
    stop_kernels(running)
    assert put(running, None).status_code == 204
    return running


def put(server: Server, body: Any) -> Any:
    """Send a notice as the culler does; None takes it away."""
    method = "DELETE" if body is None else "PUT"
    return server.request(method, NOTICE, SERVICE_TOKEN, json=body)


def put_at_rest(server: Server) -> None:
    """Send a notice when the last output, as a terminal's prompt, has come."""
    wait_for(lambda: put(server, BODY) and shown(server), "a server at rest")


def shown(server: Server) -> Any:
    """The notice as the person's page reads it."""
    return server.ask("GET", NOTICE)["notice"]


def test_a_notice_comes_and_goes(server: Server) -> None:
    """What the culler puts, the person's page reads, with less and less time."""
    assert shown(server) is None
    assert put(server, BODY).status_code == 204
    first, second = shown(server), shown(server)
    assert {**first, "seconds_left": 0} == {**BODY, "seconds_left": 0}
    assert 5300 < second["seconds_left"] < first["seconds_left"] < 5400
    assert put(server, None).status_code == 204
    assert shown(server) is None


def test_keeping_it_running_is_answered_and_kept(server: Server) -> None:
    """200 with the new time, 409 with a sentence when there is nothing (more) to put off; the culler reads it."""
    refused = server.request("POST", EXTEND)
    assert (refused.status_code, refused.json()) == (
        409,
        {"message": "no stop is planned: there is nothing to put off"},
    )
    put(server, BODY)
    kept = server.request("POST", EXTEND)
    assert kept.status_code == 200
    assert kept.json()["notice"]["extended"]
    assert kept.json()["notice"]["seconds_left"] > 5300 + 21600
    assert kept.json()["notice"] == {**shown(server), "seconds_left": kept.json()["notice"]["seconds_left"]}
    assert server.request("POST", EXTEND, json={"whatever": 1}).status_code == 409
    activity = server.ask("GET", "api/nbplatform/activity")
    assert activity["extend_asked"] is not None
    assert activity["last_action"] is None or activity["last_action"] < activity["extend_asked"]


def test_whoever_listens_is_told_of_each_change(server: Server) -> None:
    """New, the same again, put off, void: three events, with what a page would read."""
    with server.socket("api/events/subscribe") as channel:
        put(server, BODY)
        assert event(channel)["notice"]["why"] == BODY["why"]
        put(server, BODY)
        assert server.request("POST", EXTEND).status_code == 200
        assert event(channel)["notice"]["extended"] is True
        server.ask("PUT", "api/contents/new.txt", {"type": "file", "format": "text", "content": "x"})
        assert event(channel)["notice"] is None
    assert shown(server) is None


def event(channel: Any) -> Any:
    """The next event of ours."""
    while True:
        found = json.loads(channel.recv())
        if found["schema_id"] == SCHEMA_ID:
            return found


def test_a_page_that_is_opened_takes_a_notice_of_idleness_away_and_polling_does_not(server: Server) -> None:
    """An open tab keeps nothing alive; a file that is looked at does."""
    put(server, BODY)
    for path in ("api/kernels", "api/sessions", "api/contents/?content=1", NOTICE):
        server.ask("GET", path)
    assert shown(server) is not None
    assert server.request("GET", "files/text.txt", headers={"Referer": server.url}).status_code == 200
    assert shown(server) is None


def test_a_notice_that_is_not_about_idleness_stays(server: Server) -> None:
    """An age limit or an ended account is not mended by work."""
    put(server, {**BODY, "reason": "max_age", "idle": False})
    assert server.request("GET", "files/text.txt", headers={"Referer": server.url}).status_code == 200
    assert shown(server)["reason"] == "max_age"


def test_typing_and_cells_take_it_away_without_any_request(server: Server) -> None:
    """What goes through WebSockets is seen when the page or the culler asks, and every few seconds."""
    name = server.ask("POST", "api/terminals", {})["name"]
    with server.socket(f"terminals/websocket/{name}") as channel:
        assert typed(channel, "echo one") == "one\n"
        put_at_rest(server)
        assert typed(channel, "echo two") == "two\n"
        assert shown(server) is None
    with server.kernel_socket() as channel:
        executed(channel, "1")
        put_at_rest(server)
        assert executed(channel, "1 + 1") == "2\n"
        assert shown(server) is None


def test_a_cell_that_goes_on_and_on_does_not_take_it_away(server: Server, tmp_path: Path) -> None:
    """It was at work before, and prints: nobody has come back.  A cell that begins is somebody."""
    go_on = tmp_path / "go-on"
    with server.kernel_socket() as channel:
        send(channel, PRINTS.format(str(go_on)))
        kernels = lambda: server.ask("GET", "api/nbplatform/activity")["kernels"]  # noqa: E731
        wait_for(lambda: kernels()["busy"] == 1, "the kernel at work")
        put(server, BODY)
        (model, *_) = [one for one in server.ask("GET", "api/kernels") if one["execution_state"] == "busy"]
        printed = f"api/kernels/{model['id']}"
        wait_for(lambda: server.ask("GET", printed)["last_activity"] > model["last_activity"], "more output")
        assert shown(server) is not None
        with server.kernel_socket() as other:
            put(server, BODY)
            send(other, "import time; time.sleep(60)")
            wait_for(lambda: shown(server) is None, "the end of the notice")
        go_on.touch()


@pytest.mark.parametrize(("method", "path"), [("PUT", NOTICE), ("DELETE", NOTICE), ("GET", NOTICE), ("POST", EXTEND)])
@pytest.mark.parametrize("token", [None, "wrong", OTHER_TOKEN], ids=["none", "unknown", "another user's"])
def test_only_who_may_use_the_server_may_do_anything(server: Server, method: str, path: str, token: str | None) -> None:
    """Jupyter's own authentication; nothing changes."""
    put(server, BODY)
    assert server.request(method, path, token, json=BODY, allow_redirects=False).status_code == 403
    assert shown(server)["extended"] is False


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"reason": "idle"}', b"\xff", b"[" * 8000])
def test_a_bad_body_is_400_with_a_sentence(server: Server, body: bytes) -> None:
    """The notice before it stays."""
    put(server, BODY)
    answer = server.request("PUT", NOTICE, SERVICE_TOKEN, data=body)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert shown(server)["why"] == BODY["why"]


def test_a_large_body_is_refused_and_not_read(server: Server) -> None:
    """By its length, before a byte of it has come; without a length, when there is too much of it."""
    put(server, BODY)
    head = f"Content-Length: {2**30}\r\n\r\n".encode()
    assert raw(server, TOKEN, head).startswith(b"HTTP/1.1 413")
    assert raw(server, "wrong", head).startswith(b"HTTP/1.1 403")
    chunks = b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b" " * 4096 + b"\r\n"
    assert raw(server, TOKEN, chunks + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 3).startswith(b"HTTP/1.1 400")
    largest = json.dumps(BODY).encode().ljust(8192)
    assert server.request("PUT", NOTICE, SERVICE_TOKEN, data=largest).status_code == 204
    assert shown(server)["why"] == BODY["why"]


def raw(server: Server, token: str, rest: bytes) -> bytes:
    """What a server answers to the begin of a request."""
    target = f"{server.url.partition(str(server.port))[2]}{NOTICE}"
    lines = (f"PUT {target} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Authorization: token {token}", "")
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as client:
        client.sendall("\r\n".join(lines).encode() + rest)
        return client.recv(2000)


def test_a_server_may_be_told_without_speedups_and_apps(tmp_path: Path) -> None:
    """The extension is there although no speed-up is."""
    with running_server(tmp_path, OURS, {"NBPLATFORM_SPEEDUPS": ""}) as server:
        assert put(server, BODY).status_code == 204
        assert shown(server)["reason"] == "idle"
