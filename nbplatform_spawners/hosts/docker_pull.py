"""Images fetched from registries: one fetch of an image at a time on each host, shared by all who wait for it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import docker.errors
import requests
import urllib3.exceptions

from ..names import bounded
from .docker_client import Client, Clients, Endpoint, Terms
from .docker_errors import HostUnreachable, PullFailed
from .docker_lane import Lane, LaneClosed
from .docker_meanings import is_other_version, safe

Tell = Callable[[int, int], None]
"""Takes bytes done and bytes in all, as far as they are known."""
STALL = 120.0
"""Seconds without any word from the daemon after which a fetch has failed."""
_INTERVAL = 0.25
"""Seconds between two reports."""
_FULL = ("Download complete", "Verifying Checksum", "Extracting", "Pull complete")
_AWAY = r"dial tcp|no such host|i/o timeout|tls: |x509: |connection re(?:fused|set)|Client.Timeout|unexpected EOF"
_WHY = (
    ("space", re.compile(r"no space left|disk quota", re.IGNORECASE)),
    ("refused", re.compile(r"denied|unauthorized|forbidden|authentication required|no basic auth", re.IGNORECASE)),
    ("away", re.compile(_AWAY)),
    (
        "missing",
        re.compile(r"not found|manifest unknown|does not exist|name unknown|no match for platform", re.IGNORECASE),
    ),
)
_SENTENCE = {
    "space": "its disk is full",
    "refused": "the registry refuses it",
    "missing": "the registry does not have it",
    "away": "the registry does not answer",
    "stalled": "nothing came any more",
    "slow": "it took too long",
    "other": "it failed",
}


class LayerSum:
    """Adds up what a daemon tells of an image's layers."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    def take(self, event: Mapping[str, Any]) -> tuple[int, int]:
        """Take one event of a fetch; return bytes done and bytes in all, of the layers whose size is known."""
        layer, status, detail = event.get("id"), event.get("status"), event.get("progressDetail")
        if isinstance(layer, str) and isinstance(detail, Mapping):
            current, total = detail.get("current"), detail.get("total")
            if status == "Downloading" and isinstance(current, int) and isinstance(total, int) and total > 0:
                self._layers[layer] = min(current, total), total
            elif status in _FULL and layer in self._layers:
                self._layers[layer] = (self._layers[layer][1],) * 2
        return sum(done for done, _ in self._layers.values()), sum(total for _, total in self._layers.values())


class _Fetch:
    """One image on its way, and who waits for it."""

    def __init__(self) -> None:
        self.listeners: list[Tell] = []
        self.last = (0, 0)
        self.task: asyncio.Task[None] | None = None

    def tell(self, done: int, total: int) -> None:
        self.last = done, total
        for listener in tuple(self.listeners):
            listener(done, total)


class Pulls:
    """The fetches of one host, in threads and with connections of their own.

    Args:
        endpoint: of the host.
        limit: seconds that one fetch may take.
        stall: seconds without any word after which it has failed.
        threads: how many images are fetched at once.
    """

    def __init__(self, endpoint: Endpoint, limit: float, stall: float = STALL, threads: int = 4) -> None:
        self._host = endpoint.host
        self._limit = limit
        self._stall = stall
        self._clients = Clients(endpoint)
        self._lane = Lane(f"pull-{endpoint.host}", threads, self._clients.leave)
        self._fetches: dict[str, _Fetch] = {}
        self._closed = False

    async def pull(self, image: str, tell: Tell) -> None:
        """Return when an image has been fetched; a fetch that is on its way is joined, and goes on without its callers.

        Args:
            image: reference; without a tag ``latest`` is meant.
            tell: called in the event loop, four times a second at most.

        Raises:
            PullFailed: the registry or the host's disk says no, or nothing came for too long.
            HostUnreachable: the host cannot be asked.
        """
        fetch = self._fetches.get(image)
        if fetch is None:
            fetch = self._fetches[image] = _Fetch()
            fetch.task = asyncio.ensure_future(self._fetch(image, fetch))
            fetch.task.add_done_callback(partial(self._ended, image))
        assert fetch.task is not None  # noqa: S101 - set where it was made
        fetch.listeners.append(tell)
        try:
            if fetch.last != (0, 0):
                tell(*fetch.last)
            await asyncio.shield(fetch.task)
        finally:
            fetch.listeners.remove(tell)

    def close(self) -> None:
        """Fetch nothing more; fetches on their way end with their next event."""
        self._closed = True
        self._lane.close()

    def _ended(self, image: str, task: asyncio.Task[None]) -> None:
        self._fetches.pop(image, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have

    async def _fetch(self, image: str, fetch: _Fetch) -> None:
        loop = asyncio.get_running_loop()
        terms = Terms(self._limit, time.monotonic() + self._limit, repeatable=True, stall=self._stall)

        def report(done: int, total: int) -> None:
            loop.call_soon_threadsafe(fetch.tell, done, total)

        def job() -> None:
            self._clients.ask(lambda client: self._follow(client, image, report), terms)

        try:
            await self._lane.run(job, self._limit + self._stall)
        except LaneClosed as error:
            raise self._closing() from error
        except TimeoutError as error:
            raise self._failed(image, "slow") from error

    def _follow(self, client: Client, image: str, report: Tell) -> None:
        """Fetch an image in this thread."""
        layers, reported, sent = LayerSum(), 0.0, (0, 0)
        for event in self._events(client, image):
            if said := event.get("error"):
                raise self._failed(image, _why(str(said)), str(said))
            if self._closed:
                raise self._closing()
            if time.monotonic() > client.terms.deadline:
                raise self._failed(image, "slow")
            so_far = layers.take(event)
            if so_far != sent and time.monotonic() - reported >= _INTERVAL:
                reported, sent = time.monotonic(), so_far
                report(*so_far)

    def _events(self, client: Client, image: str) -> Iterator[Mapping[str, Any]]:
        """Yield what the daemon tells of a fetch."""
        try:
            for event in client.pull(image, stream=True, decode=True):
                if isinstance(event, Mapping):
                    yield event
        except docker.errors.APIError as error:
            status, said = error.status_code or 0, str(error.explanation or "")
            if is_other_version(status, said):
                raise
            raise self._failed(image, _why(said), said, status) from error
        except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
            raise self._failed(image, "stalled") from error

    def _failed(self, image: str, why: str, said: str = "", status: int = 0) -> PullFailed:
        sentence = f"host {self._host} could not fetch the image {bounded(image, 200)}: {_SENTENCE[why]}"
        return PullFailed(self._host, f"{sentence} ({safe(said)})" if said else sentence, status, image, why)

    def _closing(self) -> HostUnreachable:
        return HostUnreachable(self._host, f"host {self._host} is not asked any more")


def _why(said: str) -> str:
    return next((why for why, pattern in _WHY if pattern.search(said)), "other")
