"""Calls to one daemon from the event loop: each in a thread of the host's own, each with an end in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Required, TypedDict, TypeVar
from urllib.parse import urlsplit

from .docker_client import Client, Clients, Endpoint, Terms
from .docker_errors import HostError, HostUnreachable
from .docker_lane import Lane, LaneClosed

T = TypeVar("T")
_GRACE = 0.5
"""Seconds that a thread gets beyond its call's limit, to tell itself why there is no answer."""


class HostOptions(TypedDict, total=False):
    """The keywords of :class:`~.docker_host.DockerHost`."""

    hub_id: Required[str]
    port: int
    limit: float
    threads: int
    pull_limit: float
    client_kwargs: Mapping[str, Any] | None


@dataclass(frozen=True)
class HostSettings:
    """The same with what holds where nothing is said; the host's own text tells what each means."""

    hub_id: str
    port: int = 8888
    limit: float = 10.0
    threads: int = 8
    pull_limit: float = 1800.0
    client_kwargs: Mapping[str, Any] | None = None


class Calls:
    """What is asked of one host.

    Args:
        endpoint: where its daemon listens.
        limit: seconds that a call may take.
        threads: how many run at once; more wait for their turn, within their limit.
    """

    def __init__(self, endpoint: Endpoint, limit: float, threads: int) -> None:
        self.host = endpoint.host
        self.limit = limit
        self.clients = Clients(endpoint)
        self._lane = Lane(f"docker-{endpoint.host}", threads, self.clients.leave)
        self._cleaning: set[asyncio.Task[None]] = set()

    async def ask(self, job: Callable[[Client], T], *, limit: float | None = None, repeatable: bool = True) -> T:
        """Do a job in a thread and return what it returns.

        Args:
            job: takes the thread's client.
            limit: seconds it may take, where that is not the host's own limit.
            repeatable: doing it twice does no harm.

        Raises:
            HostError: the host refuses, or cannot be asked.
        """
        seconds = self.limit if limit is None else limit
        terms = Terms(seconds, time.monotonic() + seconds, repeatable)
        try:
            return await self._lane.run(lambda: self.clients.ask(job, terms), seconds + _GRACE)
        except TimeoutError as error:
            raise self._unanswered(seconds) from error
        except LaneClosed as error:
            raise self._closed() from error

    async def make(self, job: Callable[[Client], str], undo: Callable[[str], Awaitable[None]]) -> str:
        """Make something and return its id; what comes into being after its caller has left is undone.

        The thread waits as long again as its caller does, since a host that is slow may still do it.  A cancelled
        caller leaves when it is undone, or after that time.

        Args:
            job: takes the thread's client, returns the id.
            undo: removes what has the id; may raise HostError.

        Raises:
            HostError: the host refuses, or cannot be asked.
        """
        terms = Terms(self.limit, time.monotonic() + 2 * self.limit, repeatable=False)
        try:
            made = self._lane.submit(lambda: self.clients.ask(job, terms))
        except LaneClosed as error:
            raise self._closed() from error
        waiting = asyncio.wrap_future(made)
        try:
            await asyncio.wait((waiting,), timeout=self.limit)
        except asyncio.CancelledError:
            if not self._lane.give_up(made):
                await asyncio.shield(self._clean(waiting, undo))
            raise
        if not waiting.done():
            if not self._lane.give_up(made):
                self._clean(waiting, undo)
            raise self._unanswered(self.limit)
        try:
            return waiting.result()
        except LaneClosed as error:
            raise self._closed() from error

    def close(self) -> None:
        """Ask nothing more; what is on its way ends with its time limit."""
        self._lane.close()

    def _clean(self, waiting: asyncio.Future[str], undo: Callable[[str], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._undo_late(waiting, undo))
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)
        return task

    async def _undo_late(self, waiting: asyncio.Future[str], undo: Callable[[str], Awaitable[None]]) -> None:
        with suppress(HostError, TimeoutError, LaneClosed):
            async with asyncio.timeout(2 * self.limit + _GRACE):
                late = await waiting
            await undo(late)

    def _unanswered(self, limit: float) -> HostUnreachable:
        return HostUnreachable(self.host, f"host {self.host} cannot be asked: it does not answer within {limit:g} s")

    def _closed(self) -> HostUnreachable:
        return HostUnreachable(self.host, f"host {self.host} is not asked any more")


def address_of(endpoint: Endpoint) -> str:
    """Return where a host's published ports are reached: the address in its URL; this machine's own for a socket.

    Raises:
        ValueError: the URL cannot be used, or there are no certificates for TCP.
    """
    name, url = endpoint.host, endpoint.url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"host {name}: {url!r} is no URL of a Docker daemon: {error}") from error
    if parts.scheme == "unix" and parts.path:
        return "127.0.0.1"
    if parts.scheme != "tcp" or not parts.hostname or not port or parts.path.strip("/") or parts.username:
        raise ValueError(f"host {name}: {url!r} is no URL of a Docker daemon: use tcp://ADDRESS:2376 or unix:///PATH")
    if endpoint.certificates is None:
        raise ValueError(
            f"host {name}: {url} needs TLS client certificates: set tls_directory to a folder that holds ca.pem, "
            "cert.pem and key.pem, or has them for one host alone in a folder of its name"
        )
    return parts.hostname


def object_of(answer: Any) -> Mapping[str, Any]:
    """Return an answer that is an object.

    Raises:
        ValueError: it is something else: no Docker daemon gave it.
    """
    if not isinstance(answer, Mapping):
        raise ValueError("not the answer of a Docker daemon")
    return answer


def id_of(answer: Any) -> str:
    """Return the id of something that was made.

    Raises:
        ValueError: there is none in the answer.
    """
    found = object_of(answer).get("Id")
    if not isinstance(found, str) or not found.isalnum():
        raise ValueError("no id in the answer")
    return found
