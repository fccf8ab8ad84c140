"""A real kernel, as a notebook has it: runs cells of JSON from standard input and tells what they showed, as JSON."""

from __future__ import annotations

import json
import queue
import sys
import time
from typing import Any

from jupyter_client.manager import KernelManager

LIMIT = 120.0
SHOWN = ("display_data", "update_display_data", "execute_result", "stream", "error")


def run(client: Any, code: str) -> list[dict[str, Any]]:
    """Return the messages that a cell gave."""
    cell, found, limit = client.execute(code), [], time.monotonic() + LIMIT
    while time.monotonic() < limit:
        try:
            message = client.get_iopub_msg(timeout=0.5)
        except queue.Empty:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind in SHOWN:
            text = content.get("data", {}).get("text/html") or content.get("text") or content.get("evalue") or ""
            found.append({"kind": kind, "text": text})
        if kind == "status" and content["execution_state"] == "idle" and message["parent_header"]["msg_id"] == cell:
            return found
    raise TimeoutError(code)


def main() -> None:
    """Run the cells."""
    manager = KernelManager()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        sys.stdout.write(json.dumps([run(client, cell) for cell in json.load(sys.stdin)]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main()
