"""What the hub answers a service with: every field checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from .names import bounded
from .times import read_time


@dataclass(frozen=True)
class Door:
    """How one server is asked directly.

    Attributes:
        user, server: whose, and its name.
        url: the hub's own address of it, with its base URL and a slash at the end.
        token: good for this server alone, and for 5 minutes.
        extend_asked: when its user asked the hub to put off a stop (aware); None when they did not.
    """

    user: str
    server: str
    url: str
    token: str = field(repr=False)
    extend_asked: datetime | None = None


def read_page(page: Any, url: str) -> tuple[list[dict[str, Any]], str | None]:
    """Return the users of one page, and the address of the next one; None after the last.

    Args:
        page: the parsed JSON; a list is the whole list.
        url: the address of the list without its query; the next page must have the same.

    Raises:
        ValueError: it is no page, or goes on elsewhere: the token must not be sent there.
    """
    items, around = (page.get("items"), page.get("_pagination")) if isinstance(page, dict) else (page, {})
    if not isinstance(items, list) or not isinstance(around, dict) or not all(map(is_user, items)):
        raise ValueError("it is no page of users")
    following = around.get("next")
    if following is None:
        return items, None
    told = following.get("url") if isinstance(following, dict) else None
    if not isinstance(told, str):
        raise ValueError("the next page has no address")
    address = urljoin(url, told)
    if urlsplit(address)[:3] != urlsplit(url)[:3]:
        raise ValueError(f"it goes on at another address, {bounded(address)}, which is not followed")
    return items, address


def read_doors(answer: Any) -> list[Door]:
    """Return the doors to servers.

    Args:
        answer: the parsed JSON of ``POST nbplatform/ask``.

    Raises:
        ValueError: it is another answer.
    """
    listed = answer.get("servers") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no list of servers")
    return [_door(one) for one in listed]


def is_user(model: Any) -> bool:
    """Tell whether this is the model of a user: with a name, and servers if any by their names."""
    return (
        isinstance(model, dict)
        and isinstance(model.get("name"), str)
        and isinstance(model.get("servers", {}), dict)
        and all(isinstance(one, dict) for one in model.get("servers", {}).values())
    )


def _door(plain: Any) -> Door:
    texts = [plain.get(key) for key in ("user", "server", "url", "token")] if isinstance(plain, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("one of the servers lacks its name, address or token")
    user, server, url, token = map(str, texts)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("the address of a server is none")
    if not (token and token.isascii() and token.isprintable()):
        raise ValueError("the token of a server is none")
    asked = plain.get("extend_asked")
    return Door(user, server, url.rstrip("/") + "/", token, None if asked is None else read_time(asked))
