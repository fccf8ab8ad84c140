"""Questions over HTTP that may be given up: each still ends by itself, within its time, and is closed then."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from ..wire import Answer, Wire


class Asks:
    """Asks over a wire of its own.  The wire cannot close one question early, so one that is given up runs out.

    Args:
        max_answer: bytes of a body that are read at most.
        ssl_options: of ``https`` addresses; None for the machine's own authorities.
    """

    def __init__(self, max_answer: int, ssl_options: ssl.SSLContext | None = None) -> None:
        self._wire = Wire(max_answer, ssl_options)
        self._open: set[asyncio.Task[Answer]] = set()

    async def ask(
        self, method: str, url: str, seconds: float, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Return the answer, whatever its status is; see :meth:`nbplatform_spawners.wire.Wire.ask`.

        Raises:
            NoAnswer: none came in time, or it is too large or no HTTP.
        """
        task = asyncio.get_running_loop().create_task(self._wire.ask(method, url, seconds, headers, body))
        self._open.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for the questions that were given up, each at most for its own time, and close what is open."""
        if self._open:
            await asyncio.wait(self._open)
        self._wire.close()

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._open.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that one that nobody waited for is not complained of
