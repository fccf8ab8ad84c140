"""LDAP servers that are killed, hang, start again or talk nonsense: an outage says nothing about anybody, and ends."""

from __future__ import annotations

import importlib
import logging
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.accounts.directory import AccountDirectory, UnknownAccount
from nbplatform_spawners.errors import DirectoryUnavailable
from tests.components.need import need
from tests.components.slapd import Slapd, slapd

from .site import NIS, directory_of, groups, people, settings_for

DOWN = "it is down, not there, or speaks something else on this port"


@pytest.fixture(params=["ldaps", "StartTLS"])
def directory(request: pytest.FixtureRequest, own: Slapd, tmp_path: Path) -> AccountDirectory:
    """The directory of a server that a test may break, asked in either way, and asked once already."""
    url = own.ldaps if request.param == "ldaps" else own.ldap
    found = directory_of(tmp_path, settings_for(own, servers=[url], timeout="1s"))
    assert found.lookup("alice").identity.uid == 62001
    return found


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged about servers, without their addresses."""
    lines = [record.getMessage() for record in caplog.records]
    return [line.split(" ", 3)[3] for line in lines if line.startswith("LDAP server ")]


def test_a_killed_server_cannot_be_asked_until_it_is_back(
    own: Slapd, directory: AccountDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    """Known and unknown names alike; one line in the log for the outage, one for its end."""
    with caplog.at_level(logging.INFO):
        own.kill9()
        for name in ("alice", "nobody", "alice"):
            with pytest.raises(DirectoryUnavailable, match=DOWN):
                directory.lookup(name)
        own.start()
        assert directory.lookup("alice").identity.uid == 62001
        with pytest.raises(UnknownAccount):
            directory.lookup("nobody")
    assert told(caplog) == [f"cannot be used: {DOWN}", "answers again"]


def test_a_restart_between_two_questions_is_not_noticed(
    own: Slapd, directory: AccountDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    """The kept connections are gone, and new ones are opened."""
    with caplog.at_level(logging.INFO):
        for stop in (own.stop, own.kill9):
            stop()
            own.start()
            assert directory.lookup("alice").identity.uid == 62001
    assert told(caplog) == []


def test_a_server_that_hangs_cannot_be_asked_until_it_goes_on(own: Slapd, directory: AccountDirectory) -> None:
    """On a kept connection, on new ones, while one hangs already, and after that; the lookup comes back each time."""
    with own.hung():
        for _ in range(3):
            with pytest.raises(DirectoryUnavailable, match=r"no answer in time|no connection within|still hangs"):
                directory.lookup("alice")
    assert until_it_answers(directory) == 62001


def until_it_answers(directory: AccountDirectory) -> int:
    """Return Alice's uid once the connection that hung has given up."""
    for _ in range(50):
        try:
            return directory.lookup("alice").identity.uid
        except DirectoryUnavailable:
            threading.Event().wait(0.1)
    raise AssertionError("the server goes on, and is never asked again")


@contextmanager
def double(answer: bytes | None) -> Iterator[str]:
    """Something that is no LDAP server: says ``answer`` to whoever comes, or (None) never anything; HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            while answer is not None:
                try:
                    came, _ = listener.accept()
                except OSError:
                    return
                kept.append(came)
                came.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for one in kept:
                one.close()


DOUBLES = {
    "never answers, ldaps": (None, "ldaps", "tls"),
    "never answers, StartTLS": (None, "ldap", "tls"),
    "never answers, in the clear": (None, "ldap", "none"),
    "speaks HTTP, ldaps": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "ldaps", "tls"),
    "speaks HTTP, StartTLS": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "ldap", "tls"),
    "talks nonsense": (b"\x30\x84\xff\xff\xff\xff" + b"\x02" * 500, "ldap", "none"),
}


@pytest.mark.parametrize(("answer", "scheme", "encryption"), DOUBLES.values(), ids=DOUBLES)
def test_what_is_no_ldap_server_cannot_be_asked(
    nis: Slapd, tmp_path: Path, answer: bytes | None, scheme: str, encryption: str
) -> None:
    """It ends, also where a handshake would wait for ever; a second question does, too."""
    with double(answer) as where:
        settings = settings_for(nis, servers=[f"{scheme}://{where}"], encryption=encryption, timeout="1s")
        directory = directory_of(tmp_path, settings)
        for _ in range(2):
            with pytest.raises(DirectoryUnavailable):
                directory.lookup("alice")


@pytest.mark.parametrize("fault", ["killed", "hung", "silent"])
def test_the_next_server_is_asked_where_the_first_fails(own: Slapd, tmp_path: Path, fault: str) -> None:
    """For a while it is asked first, so that an outage costs one lookup its time limit, and not each."""
    with need(slapd(entries=[*people(), *groups(NIS)])) as second, double(None) as silent:
        own.authority.ca.write_bytes(own.authority.ca.read_bytes() + second.authority.ca.read_bytes())
        first = f"ldaps://{silent}" if fault == "silent" else own.ldaps
        directory = directory_of(tmp_path, settings_for(own, servers=[first, second.ldaps], timeout="1s"))
        if fault == "killed":
            own.kill9()
            answered_by_the_second(directory)
        elif fault == "hung":
            with own.hung():
                answered_by_the_second(directory)
        else:
            answered_by_the_second(directory)


def answered_by_the_second(directory: Any) -> None:
    """Look somebody up, twice, and look which server was asked."""
    one, two = directory._servers.servers
    asked: Counter[str] = Counter()
    for server in (one, two):
        ask = server.ask
        server.ask = lambda question, ask=ask, url=server.url: (asked.update([url]), ask(question))[1]  # type: ignore
    assert directory.lookup("alice").identity.uid == 62001
    assert directory.lookup("bob").identity.uid == 62002
    assert asked == {one.url: 1, two.url: 2}
    assert one.problem
    assert not two.problem


def test_a_connection_that_nobody_used_for_long_is_opened_anew(
    directory: AccountDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall may have forgotten it and tell neither side; until then it is used again."""
    inner: Any = directory
    (server,) = inner._servers.servers
    (first,) = server._idle
    directory.lookup("alice")
    assert [one for _, one in server._idle] == [first[1]]
    monkeypatch.setattr(importlib.import_module("nbplatform_spawners.accounts.ldap_servers"), "KEPT_FOR", 0.0)
    directory.lookup("alice")
    assert [one for _, one in server._idle] != [first[1]]


def test_many_at_once_are_all_answered_rightly(own: Slapd, directory: AccountDirectory) -> None:
    """Connections are used by one thread at a time; a few are kept."""
    names = ["alice", "bob", "Upper", "nobody"] * 50

    def uid(name: str) -> int | None:
        try:
            return directory.lookup(name).identity.uid
        except UnknownAccount:
            return None

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(uid, names)) == [62001, 62002, 62004, None] * 50
    inner: Any = directory
    assert 0 < len(inner._servers.servers[0]._idle) <= inner.settings.connections


def test_a_kill_in_the_middle_of_many_questions_gives_no_wrong_answer(own: Slapd, directory: AccountDirectory) -> None:
    """Each is answered rightly, or told that the directory cannot be asked; none is told that Alice is unknown."""

    def uid(number: int) -> int | None:
        if number == 60:
            own.kill9()
            own.start()
        try:
            return directory.lookup("alice").identity.uid
        except DirectoryUnavailable:
            return None

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(uid, range(200)))
    assert answers <= {62001, None}
    assert 62001 in answers
