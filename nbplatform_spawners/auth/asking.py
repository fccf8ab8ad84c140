"""Blocking questions put in threads, under a time limit, so that a hung directory never hangs the hub."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import DirectoryUnavailable

T = TypeVar("T")
MOST_AT_ONCE = 16
"""Questions under way at once: with a directory that hangs for ever, at most this many threads are lost."""


class Asker:
    """Runs blocking questions in daemon threads, a bounded number at once.

    Not an executor: its threads are waited for when the interpreter ends, and a hung question would keep the hub
    from stopping.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MOST_AT_ONCE)

    async def ask(self, question: Callable[[], T], limit: float) -> T:
        """Return the answer of ``question``, or raise what it raises.

        Args:
            question: called in a thread of its own.
            limit: seconds for finding a free thread and for the answer together.

        Raises:
            DirectoryUnavailable: no answer within the limit.
        """
        try:
            async with asyncio.timeout(limit):
                await self._free.acquire()
                return await self._in_thread(question)
        except TimeoutError:
            raise DirectoryUnavailable(f"no answer within {limit:g} seconds") from None

    def _in_thread(self, question: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def hand_over(result: Any, error: BaseException | None) -> None:
            self._free.release()
            if answer.done():
                return  # nobody waits any more
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        def run() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = question()
            except BaseException as raised:  # noqa: BLE001 - handed over to the one who asked
                error = raised
            with contextlib.suppress(RuntimeError):  # the hub has ended meanwhile
                loop.call_soon_threadsafe(hand_over, result, error)

        try:
            threading.Thread(target=run, name="nbplatform-ask", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            self._free.release()
            raise DirectoryUnavailable("no thread can be started") from None
        return answer
