"""Two people in one notebook, through a running server: ``two_clients.py URL TOKEN PATH`` prints what each has then.

Each has a document of their own and a WebSocket to the server's room; they see each other's cells through it alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack

import httpx
from httpx_ws import aconnect_ws
from jupyter_ydoc import YNotebook
from pycrdt import Provider
from pycrdt.websocket.websocket import HttpxWebsocket

LIMIT = 30.0


async def join(stack: AsyncExitStack, url: str, token: str, path: str) -> YNotebook:
    """Enter the room of a notebook, as the front end does."""
    headers = {"Authorization": f"token {token}"}
    client = await stack.enter_async_context(httpx.AsyncClient(headers=headers, trust_env=False))
    answer = await client.put(f"{url}api/collaboration/session/{path}", json={"format": "json", "type": "notebook"})
    answer.raise_for_status()
    session = answer.json()
    room = f"{session['format']}:{session['type']}:{session['fileId']}"
    address = f"{url.replace('http', 'ws', 1)}api/collaboration/room/{room}?sessionId={session['sessionId']}"
    socket = await stack.enter_async_context(aconnect_ws(address, client))
    notebook = YNotebook()
    await stack.enter_async_context(Provider(notebook.ydoc, HttpxWebsocket(socket, room)))
    return notebook


def cells(notebook: YNotebook) -> list[str]:
    """The sources of the notebook's cells, as this person has them."""
    return [cell["source"] for cell in notebook.get()["cells"]]


async def until(notebook: YNotebook, text: str) -> None:
    """Wait until a cell with this text has arrived."""
    async with asyncio.timeout(LIMIT):
        while text not in cells(notebook):  # noqa: ASYNC110 - a document calls back from where it likes
            await asyncio.sleep(0.05)


async def main(url: str, token: str, path: str) -> None:
    """Each writes a cell that the other waits for."""
    async with AsyncExitStack() as stack:
        one, other = [await join(stack, url, token, path) for _ in range(2)]
        await until(one, "was here")
        await until(other, "was here")
        one.append_cell({"cell_type": "code", "source": "from one", "metadata": {}, "outputs": []})
        await until(other, "from one")
        other.append_cell({"cell_type": "code", "source": "from the other", "metadata": {}, "outputs": []})
        await until(one, "from the other")
        sys.stdout.write(json.dumps({"one": cells(one), "other": cells(other)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
