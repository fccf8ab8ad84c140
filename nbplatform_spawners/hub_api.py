"""The hub's REST API as services of ours need it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .hub_answers import Door as Door
from .hub_answers import is_user, read_doors, read_page
from .names import bounded
from .wire import MAX_TOLD, Answer, NoAnswer, Wire

MAX_ANSWER = 64 * 1024**2
MAX_PAGES = 10_000
MAX_ASKED = 100
"""Servers in one question for doors."""
_PAGES = "application/jupyterhub-pagination+json"


class HubError(Exception):
    """The hub did not do or say what it was asked; one sentence, never with a token.

    Args:
        message: the sentence.
        status: of the hub's answer; None when there was none, or none that can be used.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class HubApi:
    """Asks the hub, with the token of the service.  Each call ends within its time, with a whole answer or an error.

    Args:
        url: of the API, such as ``http://127.0.0.1:8081/hub/api``.
        token: of the service.
        timeout: seconds for one answer.
        concurrency: questions under way at once; the others wait, and that time is not theirs.
        page_size: users a page; 0 for as many as the hub likes.
        ssl_options: of an ``https`` address; None for the machine's own authorities.

    Raises:
        ValueError: the address or the token is none.
    """

    def __init__(  # each is a setting of its own: a class for them would be passed through once
        self,
        url: str,
        token: str,
        *,
        timeout: float = 60.0,
        concurrency: int = 10,
        page_size: int = 0,
        ssl_options: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("the address of the hub's API must be http:// or https://, without a name or password")
        if not (token and token.isascii() and token.isprintable() and " " not in token):
            raise ValueError("the token of the service must be printable ASCII without spaces")
        self.url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._page_size = page_size
        self._turn = asyncio.Semaphore(concurrency)
        self._wire = Wire(MAX_ANSWER, ssl_options)

    def __repr__(self) -> str:
        return f"<HubApi {self.url}>"

    async def meet(self) -> None:
        """Look whether the hub is there; it writes no line about that in its log.

        Raises:
            HubError: it is not.
        """
        await self._ask("GET", "/health")

    async def owner(self) -> dict[str, Any]:
        """Return the model of who the token belongs to, a user or a service, with the scopes that it has now.

        Raises:
            HubError: the hub does not know the token (its status is 403), or does not say.
        """
        return self._object(await self._ask("GET", "/user"), "/user")

    async def scopes(self) -> frozenset[str]:
        """Return what the token of the service may do.

        Raises:
            HubError: the hub does not know it, or does not say.
        """
        found = (await self.owner()).get("scopes")
        if not isinstance(found, list):
            raise HubError("the hub does not say what the service may do")
        return frozenset(one for one in found if isinstance(one, str))

    async def users(self, state: str | None = "ready") -> list[dict[str, Any]]:
        """Return the models of all users: every page, or none at all.  One seen twice, since the list shifted, is one.

        Args:
            state: of ``ready``, ``active``, ``inactive``; None for all users.

        Raises:
            HubError: a page failed, leads elsewhere or holds what is no user.
        """
        query = {**({"state": state} if state else {}), **({"limit": str(self._page_size)} if self._page_size else {})}
        path = "/users"
        url: str | None = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        found: dict[str, dict[str, Any]] = {}
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) >= MAX_PAGES:
                raise HubError(f"the hub's list of users does not end: it leads back after {len(seen)} pages")
            seen.add(url)
            answer = await self._ask_url("GET", url, path, accept=_PAGES)
            try:
                items, url = read_page(answer.json(), self.url + path)
            except ValueError as error:
                raise HubError(f"the hub's list of users cannot be used: {error}") from None
            found.update((one["name"], one) for one in items)
        return list(found.values())

    async def user(self, name: str) -> dict[str, Any] | None:
        """Return the model of a user with the servers that run, None when the hub has no such user.

        Raises:
            HubError: it does not say.
        """
        path = f"/users/{_segment(name)}"
        answer = await self._ask("GET", path, allowed=(200, 404))
        if answer.status == 404:
            return None
        model = self._object(answer, path)
        if not is_user(model) or model["name"] != name:
            raise HubError(f"the hub answers GET {path} with something that is not this user")
        return model

    async def stop(self, user: str, server: str, *, remove: bool = False) -> bool:
        """Ask the hub to stop a server.  Whether it is gone must be looked at: an answer alone proves nothing.

        Args:
            user: whose.
            server: its name; empty for the default server.
            remove: whether a named server is forgotten as well.

        Returns:
            True when the hub says that it is done, or that there is none; False when it is still at it.

        Raises:
            HubError: it does neither.
        """
        tail = f"servers/{_segment(server)}" if server else "server"
        body = {"remove": True} if remove and server else None
        answer = await self._ask("DELETE", f"/users/{_segment(user)}/{tail}", body, allowed=(200, 202, 204, 404))
        return answer.status != 202

    async def delete_user(self, name: str) -> None:
        """Have the hub forget a user; one who is gone already is no error.

        Raises:
            HubError: it does not.
        """
        await self._ask("DELETE", f"/users/{_segment(name)}", allowed=(204, 404))

    async def ask(self, servers: Sequence[tuple[str, str]]) -> list[Door] | None:
        """Return how these servers (user and name) are asked directly; those that do not run are left out.

        Returns:
            None when the hub has no such handler: it is not one of ours.

        Raises:
            HubError: it does not say.
        """
        parts = [servers[at : at + MAX_ASKED] for at in range(0, len(servers), MAX_ASKED)]
        found = await asyncio.gather(*(self._ask_some(part) for part in parts))
        doors: list[Door] = []
        for some in found:
            if some is None:
                return None
            doors += some
        return doors

    async def tell(self, board: Mapping[str, Any]) -> dict[str, Any] | None:
        """Tell the hub which servers are warned and which were stopped; None when it has no such handler.

        Raises:
            HubError: it refuses.
        """
        path = "/nbplatform/idle"
        answer = await self._ask("PUT", path, board, allowed=(200, 404))
        return None if answer.status == 404 else self._object(answer, path)

    def close(self) -> None:
        """Close what is open."""
        self._wire.close()

    async def _ask_some(self, servers: Sequence[tuple[str, str]]) -> list[Door] | None:
        path = "/nbplatform/ask"
        answer = await self._ask("POST", path, {"servers": [list(one) for one in servers]}, allowed=(200, 404))
        if answer.status == 404:
            return None
        try:
            doors = read_doors(answer.json())
        except ValueError as error:
            raise HubError(f"the hub's answer to {path} cannot be used: {error}") from None
        wanted = set(servers)
        return [door for door in doors if (door.user, door.server) in wanted]

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, allowed: tuple[int, ...] = (200,)
    ) -> Answer:
        return await self._ask_url(method, self.url + path, path, body=body, allowed=allowed)

    async def _ask_url(
        self,
        method: str,
        url: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        allowed: tuple[int, ...] = (200,),
        accept: str = "application/json",
    ) -> Answer:
        headers = {"Authorization": f"token {self._token}", "Accept": accept, "User-Agent": "nbplatform"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode("ascii")
        async with self._turn:
            try:
                answer = await self._wire.ask(method, url, self._timeout, headers, content)
            except NoAnswer as error:
                raise HubError(f"the hub does not answer {method} {path[:MAX_TOLD]}: {error}") from None
        if answer.status not in allowed:
            raise HubError(
                f"the hub answers {method} {path[:MAX_TOLD]} with status {answer.status}{answer.message(self._token)}",
                answer.status,
            )
        return answer

    def _object(self, answer: Answer, path: str) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise HubError(f"the hub's answer to {path[:MAX_TOLD]} cannot be used: it is no JSON object")
        return found


def _segment(name: str) -> str:
    """Return a name as one part of a path.

    Raises:
        HubError: no part of a path stands for it: dots alone would be another path, to a proxy in between.
    """
    try:
        if name.strip("."):
            return quote(name, safe="")
    except UnicodeEncodeError:
        pass
    raise HubError(f"the hub cannot be asked about {bounded(name)}: no address can hold this name")
