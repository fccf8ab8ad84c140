"""A TCP proxy that makes connections slow, or breaks them.

Usage: delay_main.py LISTEN:PORT TARGET:PORT DELAY RATE BREAK

DELAY, in seconds, is added to each exchange: to what a client says first, or after the server has spoken.  The first
words of a TLS handshake are let through, so that a call over a new connection costs one delay, as over an old one.
RATE, in bytes a second, bounds the answers of all connections together; 0 is no bound.  After BREAK bytes of answers
every connection is reset, and so is each new one; 0 is never.

Started by :mod:`tests.components.delay` as a script.  It needs the standard library alone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from dataclasses import dataclass, field

CHUNK = 16 * 1024
TLS_HANDSHAKE = 0x16


@dataclass
class Proxy:
    """What all connections share.

    Attributes:
        target: where connections lead.
        delay: seconds added to each exchange.
        rate: bytes a second for all answers; 0 is no bound.
        limit: bytes of answers after which all is reset; 0 is never.
        said: bytes of answers so far.
        turn: held while an answer waits for its share of the rate.
    """

    target: tuple[str, int]
    delay: float
    rate: float
    limit: int
    said: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        try:
            inner_reader, inner_writer = await asyncio.open_connection(*self.target)
        except OSError:
            reset(writer)
            return
        link = Link(self, writer, inner_writer)
        tasks = [asyncio.create_task(link.ask(reader)), asyncio.create_task(link.answer(inner_reader))]
        try:
            await asyncio.gather(*tasks)
        except OSError:
            reset(writer)
        finally:
            for task in tasks:
                task.cancel()
            writer.close()
            inner_writer.close()


@dataclass
class Link:
    """One connection through the proxy.

    Attributes:
        proxy: what it belongs to.
        client: where answers go.
        server: where requests go.
        asking: whether the client spoke last.
        begun: whether the client has spoken at all.
    """

    proxy: Proxy
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    asking: bool = False
    begun: bool = False

    async def ask(self, reader: asyncio.StreamReader) -> None:
        """Hand on what the client says, each exchange later."""
        while data := await reader.read(CHUNK):
            if not self.asking and (self.begun or data[0] != TLS_HANDSHAKE):
                await asyncio.sleep(self.proxy.delay)
            self.begun = self.asking = True
            self.server.write(data)
            await self.server.drain()
        self.server.write_eof()

    async def answer(self, reader: asyncio.StreamReader) -> None:
        """Hand on what the server says, as fast as it may be said."""
        while data := await reader.read(CHUNK):
            self.asking = False
            proxy = self.proxy
            if proxy.limit and proxy.said >= proxy.limit:
                raise ConnectionResetError
            proxy.said += len(data)
            if proxy.rate:
                async with proxy.turn:
                    await asyncio.sleep(len(data) / proxy.rate)
            self.client.write(data)
            await self.client.drain()
        self.client.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash does, not orderly."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def address(text: str) -> tuple[str, int]:
    """Take an address apart."""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def main(listen: str, target: str, delay: str, rate: str, limit: str) -> None:
    """Serve until the process is ended."""
    proxy = Proxy(address(target), float(delay), float(rate), int(limit))
    host, port = address(listen)
    server = await asyncio.start_server(proxy.serve, host, port, backlog=200)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
