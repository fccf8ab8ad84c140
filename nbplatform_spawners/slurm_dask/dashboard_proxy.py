"""Hands requests on to the dashboard of one cluster, with the cluster's certificate on both sides."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from jupyter_server_proxy.handlers import ProxyHandler  # type: ignore[import-untyped]
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import HTTPError
from tornado.websocket import WebSocketError, websocket_connect

from .certificates import context_of
from .errors import ClusterFailed, ClusterRefused
from .folder import CERT, KEY, ClusterFolder
from .here import folder_root, load_site

CONNECT_LIMIT = 10.0
"""Seconds in which a scheduler must take a connection."""
ANSWER_LIMIT = 60.0
"""Seconds in which it must have answered."""
KEPT_BACK = ("Authorization", "Cookie", "X-XSRFToken", "Referer")
"""Headers that are for the notebook server alone."""
SAFE = {"http": "https", "ws": "wss"}
NO_ANSWER = 599
"""Tornado's status for a server that does not answer in time."""
GONE = "The Dask cluster {} is not there: it has ended, or its scheduler has not started yet."


class NotThere(Exception):
    """There is no dashboard that could be asked; the message is the sentence for the user."""


@dataclass(frozen=True)
class Dashboard:
    """Where the dashboard of one cluster is, and how to speak with it."""

    host: str
    port: int
    context: ssl.SSLContext


def find_dashboard(root: str, cluster: str) -> Dashboard | None:
    """Return the dashboard of a cluster; None when the cluster is not there.

    Args:
        root: the folder that holds those of the user's clusters.
        cluster: its id.

    Raises:
        ClusterFailed: the folder or a file is not the user's own, or holds something else.
    """
    folder = ClusterFolder(Path(root, cluster))
    if not os.path.lexists(folder.path):
        return None
    content = folder.read("scheduler.json")
    if not content:
        return None
    try:
        says = json.loads(content)
        address = urlsplit(says["address"])
        port = int(says["services"]["dashboard"])
        usable = address.scheme == "tls" and address.hostname and 0 < port < 65536
    except (ValueError, KeyError, TypeError):
        return None  # Dask is just writing it
    if not usable:
        raise ClusterFailed("the scheduler's file names no dashboard that could be asked")
    host = str(address.hostname)
    try:
        context = context_of(str(folder.path / CERT), str(folder.path / KEY), server=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterFailed(f"the cluster's certificate cannot be used: {error.strerror or error}") from None
    return Dashboard(f"[{host}]" if ":" in host else host, port, context)


class DashboardHandler(ProxyHandler):  # type: ignore[misc]  # jupyter-server-proxy has no types
    """Requests and WebSockets of one cluster's dashboard, from whoever may use this server."""

    _track_activity = False  # its pages ask without end, and nobody has to sit in front of them

    def __init__(self, *args: Any, place: str, **kwargs: Any) -> None:
        super().__init__(*args, host_allowlist=lambda *_: True, update_last_activity=False, **kwargs)
        self._place = place
        self._context: ssl.SSLContext | None = None

    async def http_get(self, cluster: str, path: str) -> None:
        """Answer a request for a page.  Called by jupyter-server-proxy when a request is none for a WebSocket."""
        if not path:
            self.redirect(f"{self.base_url}{self._place}/{cluster}/status")
            return
        try:
            found = await self._find(cluster)
            await self.proxy(found.host, found.port, path)
        except NotThere as error:
            self._say(str(error))
        except (HTTPError, OSError) as error:
            if isinstance(error, HTTPError) and error.status_code != NO_ANSWER:
                raise
            self.log.info("the dashboard of Dask cluster %s does not answer: %s", cluster, error)
            self._say(GONE.format(cluster))

    async def head(self, cluster: str, path: str) -> None:
        """Answer as for a page.  Called by Tornado."""
        await self.http_get(cluster, path or "/")

    async def refuse(self, *_: str) -> None:
        """Refuse what would change something: a dashboard is for looking at.  Called by Tornado."""
        raise HTTPError(405)

    post = put = delete = patch = options = refuse

    async def open(self, cluster: str, path: str) -> None:
        """Join a WebSocket with one to the dashboard.  Called by Tornado when the page has opened it."""
        try:
            found = await self._find(cluster)
            url = self.get_client_uri("ws", found.host, found.port, path)
            request = HTTPRequest(
                url, headers=self.proxy_request_headers(), ssl_options=found.context, connect_timeout=CONNECT_LIMIT
            )
            self.ws = await websocket_connect(
                request, on_message_callback=self._hand_back, subprotocols=self._requested_subprotocols
            )
        except (NotThere, HTTPClientError, WebSocketError, OSError) as error:
            self.log.info("the dashboard of Dask cluster %s does not answer: %s", cluster, error)
            self.close(1001, "the Dask cluster is not there")

    def _hand_back(self, message: str | bytes | None) -> None:
        if message is None:
            self.close()
        elif self.ws_connection is not None:
            self.write_message(message, binary=isinstance(message, bytes))

    def _say(self, sentence: str) -> None:
        """Answer with Jupyter's own page for an error, and a sentence on it."""
        words = {"status_code": 404, "status_message": "Dask cluster", "message": sentence, "exception": ""}
        self.set_status(404)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.finish(self.render_template("error.html", **words))

    async def _find(self, cluster: str) -> Dashboard:
        self.proxy_base = f"{self._place}/{cluster}"
        try:
            root = folder_root(load_site(os.environ))
            found = await asyncio.to_thread(find_dashboard, root, cluster)
        except (ClusterFailed, ClusterRefused) as error:
            raise NotThere(error.message) from None
        if found is None:
            raise NotThere(GONE.format(cluster))
        self._context = found.context
        return found

    def get_client_uri(self, protocol: str, host: str, port: int, proxied_path: str) -> str:
        """Return where to ask: never in the clear, and without the server's token.  Called by jupyter-server-proxy."""
        asked = urlsplit(super().get_client_uri(SAFE[protocol], host, port, proxied_path))
        query = [one for one in parse_qsl(asked.query, keep_blank_values=True) if one[0] != "token"]
        return str(urlunsplit(asked._replace(query=urlencode(query))))

    def proxy_request_options(self) -> dict[str, Any]:
        """Return how to ask: with the cluster's certificate, and only whom has the same.  Called as above."""
        limits = {"connect_timeout": CONNECT_LIMIT, "request_timeout": ANSWER_LIMIT}
        return {"follow_redirects": False, "ssl_options": self._context, **limits}

    def proxy_request_headers(self) -> Any:
        """Return what the dashboard is told of the request: nobody's secrets.  Called as above."""
        headers = super().proxy_request_headers()
        for name in KEPT_BACK:
            headers.pop(name, None)
        return headers
