"""A connection to a daemon of which one direction can be ended while the other is still read, over TLS too.

Python's TLS sockets cannot do that without losing what arrives meanwhile, so TLS is done in memory here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from urllib.parse import urlsplit

from .docker_tls import Certificates, context_of

T = TypeVar("T")
_CHUNK = 1 << 16
_ENDED = (ssl.SSLZeroReturnError, ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)


class Pipe:
    """A connection.

    Args:
        url: of the daemon, ``tcp://`` or ``unix://``.
        files: the certificates, for TCP.
        limit: seconds to connect.

    Raises:
        OSError: no connection comes about; ``ssl.SSLError`` where TLS is the reason.
    """

    def __init__(self, url: str, files: Certificates | None, limit: float) -> None:
        parts = urlsplit(url)
        self._held = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._socket = _connected(
            f"{parts.netloc}{parts.path}" if files is None else (parts.hostname, parts.port), limit
        )
        if files is None:
            return
        try:
            self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context_of(files).wrap_bio(self._in, self._out, server_hostname=parts.hostname)
            self._step(self._tls.do_handshake)
        except BaseException:
            self.close()
            raise

    def allow(self, seconds: float) -> None:
        """Let each wait for the other side take so long at most."""
        self._socket.settimeout(seconds)

    def send(self, content: bytes) -> None:
        """Send all of it; what the other side does not want to read any more is dropped."""
        with suppress(*_ENDED):
            if self._tls is None:
                self._socket.sendall(content)
                return
            for start in range(0, len(content), _CHUNK):
                tls, chunk = self._tls, memoryview(content)[start : start + _CHUNK]
                while chunk:
                    written = self._step(lambda tls=tls, chunk=chunk: tls.write(chunk))  # type: ignore[misc]
                    chunk = chunk[written:]

    def end_input(self) -> None:
        """Tell the other side that nothing more is sent."""
        with suppress(OSError):
            if self._tls is None:
                self._socket.shutdown(socket.SHUT_WR)
                return
            # The goodbye drops what was received and not read; so all of that is read first.
            with suppress(ssl.SSLWantReadError):
                while got := self._tls.read(_CHUNK):
                    self._held += got
            with suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
            self._flush()

    def read(self, size: int) -> bytes:
        """Return so many bytes, or fewer where the connection ended.

        Raises:
            TimeoutError: nothing came for as long as is allowed.
        """
        while len(self._held) < size:
            got = self._receive()
            if not got:
                break
            self._held += got
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def line(self, most: int) -> bytes:
        """Return a line without its end, or ``most`` bytes of it.

        Raises:
            TimeoutError: nothing came for as long as is allowed.
        """
        while b"\n" not in self._held and len(self._held) < most:
            got = self._receive()
            if not got:
                break
            self._held += got
        end = self._held.find(b"\n", 0, most)
        return self.read(end + 1 if end >= 0 else most).rstrip(b"\r\n")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_CHUNK) if self._tls is None else self._step(self._read_tls)
        except _ENDED:
            return b""

    def _read_tls(self) -> bytes:
        assert self._tls is not None  # noqa: S101 - seen to by who calls
        return self._tls.read(_CHUNK)

    def _step(self, step: Callable[[], T]) -> T:
        """Do one step of TLS, and send and receive what it needs for that."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self._flush()
                if got := self._socket.recv(_CHUNK):
                    self._in.write(got)
                else:
                    self._in.write_eof()
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # it tells the other side why
                raise
            else:
                self._flush()
                return done

    def _flush(self) -> None:
        if self._out.pending:
            self._socket.sendall(self._out.read())


def _connected(address: str | tuple[str | None, int | None], limit: float) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address, limit)
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plain.settimeout(limit)
        plain.connect(address)
    except BaseException:
        plain.close()
        raise
    return plain
