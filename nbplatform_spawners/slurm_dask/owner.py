"""The owner's link: one connection that says, as long as it stands, that the notebook is there and the scheduler is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from distributed.comm.core import CommClosedError, connect

_FIRST_TRY = 5.0
_TRY = 2.0
_PAUSE = 0.5


class OwnerLink:
    """Keeps the connection; when it breaks, tries to mend it until the scheduler is gone or the grace is over.

    Args:
        address: the scheduler's.
        connection: arguments for Dask's ``connect``.
        grace: seconds that the scheduler waits for its owner.
        alive: whether the scheduler's job still is; asked when the connection is broken.
        lost: called once, when there is no hope.
    """

    def __init__(
        self,
        address: str,
        connection: dict[str, Any],
        grace: float,
        alive: Callable[[], Awaitable[bool]],
        lost: Callable[[], None],
    ) -> None:
        self._address, self._connection, self._grace = address, connection, grace
        self._alive, self._lost = alive, lost
        self._comm: Any = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            OSError: the scheduler does not answer.
        """
        await self._connect(_FIRST_TRY)
        self._task = asyncio.ensure_future(self._keep())

    async def close(self) -> None:
        """Let go: the scheduler ends after its grace if nobody else ends it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._comm is not None:
            self._comm.abort()

    async def _connect(self, limit: float) -> None:
        comm = await connect(self._address, timeout=limit, **self._connection)
        try:
            await comm.write({"op": "nbplatform_owner", "reply": False})
            await asyncio.wait_for(comm.read(), limit)
        except BaseException:
            comm.abort()
            raise
        self._comm = comm

    async def _keep(self) -> None:
        while True:
            try:
                while True:
                    await self._comm.read()
            except (CommClosedError, OSError):
                self._comm.abort()
            if not await self._mended():
                self._lost()
                return

    async def _mended(self) -> bool:
        end = time.monotonic() + self._grace
        while time.monotonic() < end:
            try:
                await self._connect(_TRY)
            except (OSError, TimeoutError):
                if not await self._alive():
                    return False
                await asyncio.sleep(_PAUSE)
            else:
                return True
        return False
