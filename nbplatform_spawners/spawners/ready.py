"""Waiting for a server that has just been started: short looks, and no longer than it lives.

The hub waits in its own way after ``start()``, with pauses that grow up to seconds.  A spawner that returns from
``start()`` only when the server answers spares its users these: the hub's first look is immediate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ssl import SSLContext

from aiohttp import ClientError, ClientSession, ClientTimeout

LEAST = 0.01
"""Seconds between two looks at least, whatever is asked for."""
REQUEST_LIMIT = 5.0
"""Seconds that one request may take; a server that accepts and stays silent is asked again."""


async def wait_until_ready(
    url: str, interval: float, look: Callable[[], Awaitable[bool]], tls: SSLContext | None = None
) -> None:
    """Return when a server answers, as the hub understands it: with any status below 500, also a refusal.

    Called by a backend's ``apply_plan`` when the server exists.  The hub's ``start_timeout`` bounds it.

    Args:
        url: what to ask: the server's ``api``.
        interval: seconds between two looks.  0: return at once, since the hub waits in its own way.
        look: the backend's own look at the server, once an interval, also while a request is under way.  It raises
            when waiting is in vain (the server has ended), and tells whether the server may be asked now.  It has
            the last word: it looks once more after the answer.
        tls: how the server is asked where hub and servers talk over TLS of their own.

    Raises:
        Exception: what ``look`` raises.
    """
    if interval <= 0:
        return
    pause = max(interval, LEAST)
    # A session of its own: in the hub's, many that hang would be a queue before the hub's own requests.
    async with ClientSession(timeout=ClientTimeout(total=REQUEST_LIMIT)) as session:
        request: asyncio.Task[bool] | None = None
        try:
            while True:
                may_ask = await look()
                if request is not None and request.done():
                    if request.result():
                        return
                    request = None
                if request is None and may_ask:
                    request = asyncio.create_task(_answers(session, url, tls))
                await _pause(pause, request)
        finally:
            if request is not None:
                request.cancel()
                await asyncio.wait({request})


async def _pause(seconds: float, request: asyncio.Task[bool] | None) -> None:
    """Sleep; a good answer ends it at once, a bad one does not."""
    begin = asyncio.get_running_loop().time()
    if request is not None:
        await asyncio.wait({request}, timeout=seconds)
        if request.done() and request.result():
            return
    await asyncio.sleep(max(0.0, begin + seconds - asyncio.get_running_loop().time()))


async def _answers(session: ClientSession, url: str, tls: SSLContext | None) -> bool:
    try:
        async with session.get(url, allow_redirects=False, ssl=tls or True) as answer:
            return answer.status < 500
    except (ClientError, OSError):  # a request that took too long is an OSError, too
        return False
