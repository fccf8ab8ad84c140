"""Threads of one host, for calls that block: what hangs there delays nobody else, and nothing waits longer than it may.

The threads are daemons, so that a host that hangs does not delay the hub's end.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_IDLE = 60.0
"""Seconds after which a thread without work ends."""
_MOST_LOST = 4
"""How many times as many threads as a lane has may hang beyond their time before no more are started for them."""


class LaneClosed(Exception):
    """Nothing is done any more."""


class Lane:
    """A few threads, started when there is work.

    Args:
        name: of the threads.
        threads: how many calls run at once.
        leave: called in each thread before it ends.
    """

    def __init__(self, name: str, threads: int, leave: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._threads = threads
        self._leave = leave
        self._wake = threading.Condition()
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._idle = 0
        self._alive = 0
        self._lost: set[Future[Any]] = set()
        self._closed = False

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Queue a job and return its outcome to come, which can be cancelled until the job begins.

        Raises:
            LaneClosed: the lane was closed.
        """
        future: Future[T] = Future()
        with self._wake:
            if self._closed:
                raise LaneClosed(self._name)
            self._jobs.append((future, job))
            self._staff()
        return future

    async def run(self, job: Callable[[], T], limit: float) -> T:
        """Run a job and return what it returns; one that has not begun when its caller leaves never begins.

        Args:
            job: what blocks.
            limit: seconds that it may take, waiting for its turn included.

        Raises:
            TimeoutError: it did not end in time; it may still be running.
            LaneClosed: the lane was closed.
        """
        future = self.submit(job)
        waiting = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait((waiting,), timeout=limit)
            if done:
                return waiting.result()
        finally:
            waiting.cancel()
        self.give_up(future)
        raise TimeoutError

    def give_up(self, future: Future[Any]) -> bool:
        """Wait no longer for a job: it never begins, or another thread takes the place of the one that it holds.

        Returns:
            whether it surely did not begin.
        """
        if future.cancel():
            return True
        with self._wake:
            if not future.done() and len(self._lost) < _MOST_LOST * self._threads:
                self._lost.add(future)
                self._alive -= 1
                self._staff()
        return False

    def close(self) -> None:
        """Begin nothing more; what runs is left to end."""
        with self._wake:
            self._closed = True
            waiting = [future for future, _ in self._jobs]
            self._jobs.clear()
            self._wake.notify_all()
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(LaneClosed(self._name))

    def _staff(self) -> None:
        """See that somebody takes the next job.  Called with the lock held."""
        if self._idle >= len(self._jobs) > 0:
            self._wake.notify()
        elif self._jobs and self._alive < self._threads:
            self._alive += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        try:
            while (taken := self._next()) is not None:
                future, job = taken
                if future.set_running_or_notify_cancel():
                    _fulfil(future, job)
                del job
                if self._was_lost(future):
                    return
        finally:
            self._leave()

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._wake:
            while not self._jobs:
                self._idle += 1
                woken = not self._closed and self._wake.wait(_IDLE)
                self._idle -= 1
                if not self._jobs and (self._closed or not woken):
                    self._alive -= 1
                    return None
            return self._jobs.popleft()

    def _was_lost(self, future: Future[Any]) -> bool:
        with self._wake:
            if future in self._lost:
                self._lost.remove(future)
                return True
            return False


def _fulfil(future: Future[T], job: Callable[[], T]) -> None:
    try:
        future.set_result(job())
    except BaseException as error:  # noqa: BLE001 - it is the caller's, whatever it is
        future.set_exception(error)
