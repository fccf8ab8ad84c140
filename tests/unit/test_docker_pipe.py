"""A connection whose input ends while its output is still read."""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.docker_pipe import Pipe
from nbplatform_spawners.hosts.docker_tls import Certificates, find_certificates
from tests.components.docker_pki import Authority

Serve = Callable[[Callable[[socket.socket], None]], tuple[str, Certificates | None]]


@pytest.fixture(params=["unix", "TLS 1.2", "TLS 1.3"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """Something that serves one connection in a thread, and returns how it is reached."""
    authority = Authority(tmp_path / "pki")
    threads = []

    def begin(talk: Callable[[socket.socket], None]) -> tuple[str, Certificates | None]:
        listener = socket.socket(socket.AF_UNIX if request.param == "unix" else socket.AF_INET)
        listener.bind(str(tmp_path / "s") if request.param == "unix" else ("127.0.0.1", 0))
        listener.listen()

        def run() -> None:
            with listener, closing(listener.accept()[0]) as plain:
                if request.param == "unix":
                    talk(plain)
                    return
                with context(authority, request.param).wrap_socket(plain, server_side=True) as secure:
                    talk(secure)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        if request.param == "unix":
            return f"unix://{tmp_path / 's'}", None
        files = find_certificates(str(authority.client()), "host")
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}", files

    yield begin
    for thread in threads:
        thread.join(10)


def context(authority: Authority, version: str) -> ssl.SSLContext:
    """Return what a server shows, in one version of TLS."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = made.maximum_version = ssl.TLSVersion[version.replace(" ", "v").replace(".", "_")]
    made.load_cert_chain(*authority.server("host", ["127.0.0.1"]))
    made.load_verify_locations(authority.ca)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side has ended its direction."""
    whole = b""
    while got := connection.recv(1 << 16):
        whole += got
    return whole


def test_what_came_before_the_input_ended_is_not_lost_and_what_comes_after_it_neither(serve: Serve) -> None:
    """A command writes whenever it likes."""
    heard: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"early")
        heard.append(read_all(connection))
        connection.sendall(b"late" * 50_000)

    with closing(Pipe(*serve(talk), 10)) as pipe:
        pipe.allow(10)
        pipe.send(b"x" * 300_000)
        select.select([pipe._socket], [], [], 10)  # "early" is there, and not yet read
        pipe.end_input()
        assert pipe.read(5) == b"early"
        assert pipe.read(1_000_000) == b"late" * 50_000
        assert pipe.read(1) == b""
    assert heard == [b"x" * 300_000]


def test_lines_and_bytes_come_from_the_same_stream(serve: Serve) -> None:
    """The head of an answer is lines; none of what follows is swallowed, and a line has a bound."""
    with closing(
        Pipe(*serve(lambda connection: connection.sendall(b"HTTP/1.1 101\r\n\r\nrest" + b"y" * 99)), 10)
    ) as pipe:
        assert [pipe.line(50), pipe.line(50), pipe.read(4), pipe.line(10)] == [b"HTTP/1.1 101", b"", b"rest", b"y" * 10]


def test_a_silent_other_side_is_waited_for_as_long_as_allowed(serve: Serve) -> None:
    """Then the caller is told."""
    done = threading.Event()
    with closing(Pipe(*serve(lambda _: (done.wait(10), None)[1]), 10)) as pipe:
        pipe.allow(0.05)
        with pytest.raises(TimeoutError):
            pipe.read(1)
        done.set()


def test_input_that_nobody_reads_is_dropped(serve: Serve) -> None:
    """A command may end before it has read all of it."""
    with closing(Pipe(*serve(lambda _: None), 10)) as pipe:
        pipe.allow(10)
        for _ in range(20):
            pipe.send(b"x" * 500_000)
        pipe.end_input()
        assert pipe.read(1) == b""
