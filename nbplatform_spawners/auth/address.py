"""From where a request came: pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection


def browser_address(forwarded: str, trusted: Collection[str], peer: object) -> str:
    """Return the address of the browser, else of the peer, always one that parses; ``-`` where there is neither.

    Nothing of the header is returned as it stands: anybody may have written it, and the result is logged.  Where the
    last entry is no address, those before it are not looked at: whoever wrote the last one may have made them up.

    Args:
        forwarded: ``X-Forwarded-For``, several joined by commas; empty when there was none.
        trusted: addresses of proxies whose own entries are skipped.
        peer: the connection's other end as a socket tells it; what is no tuple is a Unix socket.
    """
    entries = (entry.strip() for entry in reversed(forwarded.split(",")))
    last = next((entry for entry in entries if entry and entry not in trusted), "")
    host = str(peer[0]) if isinstance(peer, tuple) and peer else ""
    return _plain(last) or _plain(host) or "-"


def _plain(text: str) -> str:
    """Return an address as ``ipaddress`` writes it, empty when it is none."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(parsed).partition("%")[0]  # after the per cent sign an IPv6 address may have any text
