"""Which requests show that somebody is at work, and which an open page makes all by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

SAFE = ("GET", "HEAD", "OPTIONS")
PAGES = re.compile(r"/(lab|tree|notebooks|edit|consoles|terminals|view|doc|files|nbconvert|voila|proxy)(/|$)")
"""What is asked for when a person opens something."""
PARTS = re.compile(r"/lab/(api|extensions|static)/|/terminals/websocket/")
"""What a page asks for afterwards, below the same first word."""
OWN = "/api/nbplatform/"
POSTED_POLLS = re.compile(
    r"/lab/api/workspaces(/|$)|/git/(.*/)?(status|branch|changed_files|remote/fetch|remote/show|show_prefix|tags)$"
)
"""What an open page sends every few seconds: JupyterLab saves what is open where, jupyterlab-git asks by POST."""
CONTENTS = "/api/contents/"
LONG = re.compile(r"/(files|nbconvert)/")

Query = Mapping[str, Sequence[bytes]]


def shows_person(method: str, path: str, query: Query) -> bool:
    """Return whether a request is one that a person caused.

    Args:
        method: of the request, in capitals.
        path: below the server's base address, with a slash in front.
        query: the arguments of its address.
    """
    if path.startswith(OWN) or "no_track_activity" in query:
        return False
    if method not in SAFE:
        return not POSTED_POLLS.match(path)
    if method == "OPTIONS":
        return False
    return bool(PAGES.match(path) and not PARTS.match(path)) or opens_file(path, query)


def opens_file(path: str, query: Query) -> bool:
    """Return whether a request is for the content of a file: a page polls the folders it shows, never a file."""
    if not path.startswith(CONTENTS) or path.endswith("/checkpoints"):
        return False
    kind, content = (bytes(query[name][-1]) if query.get(name) else b"" for name in ("type", "content"))
    return kind in (b"file", b"notebook") and content != b"0"


def may_take_long(method: str, path: str, query: Query) -> bool:
    """Return whether a request's answer is something that a person waits for while it is sent: a download."""
    return method == "GET" and bool(LONG.match(path) or opens_file(path, query))
