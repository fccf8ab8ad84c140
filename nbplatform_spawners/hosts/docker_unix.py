"""HTTP over a Unix socket for requests: one small pool of connections for all addresses.

docker-py's own adapter keeps a pool for each address that was ever asked, and loses a socket at each refusal.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import requests
import requests.adapters
import urllib3
import urllib3.connection

_MOST = 2
"""Connections that are kept for a thread."""


class _Connection(urllib3.connection.HTTPConnection):
    """A connection to a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            plain.settimeout(self.timeout if isinstance(self.timeout, int | float) else None)
            plain.connect(self._path)
        except BaseException:
            plain.close()
            raise
        self.sock = plain


class _Pool(urllib3.HTTPConnectionPool):
    """The connections to one socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", maxsize=_MOST)
        self._path = path

    def _new_conn(self) -> _Connection:
        return _Connection(self._path)


class UnixAdapter(requests.adapters.HTTPAdapter):
    """What requests asks through.

    Args:
        path: of the socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._pool = _Pool(path)
        super().__init__()

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: object = None,
    ) -> _Pool:
        """Return the pool.  Called by requests for each request; there is no TLS and no proxy."""
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        """Return what follows the method in a request: the path and the query."""
        return request.path_url

    def close(self) -> None:
        """Close idle connections; new ones can be made."""
        super().close()
        self._pool.close()
        self._pool = _Pool(self._path)
