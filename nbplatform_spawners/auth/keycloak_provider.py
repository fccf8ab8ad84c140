"""Keycloak over HTTP: discovery, keys, tokens.  Each answer is checked; an outage is told from a refusal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import jwt
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from ..names import bounded
from ..oidc.refusals import LoginProblem
from ..oidc.tokens import Expected, check_id_token, check_logout_token, key_id, verified_payload
from .keycloak_answers import (
    MAX_ANSWER,
    GrantRefused,
    KeycloakUnavailable,
    Metadata,
    read_keys,
    read_metadata,
    read_object,
)

ALIVE_AGE = 10.0
"""Seconds for which an answer shows that Keycloak is there."""
METADATA_AGE = 3600.0
"""Seconds for which a discovery holds."""
PAUSE = 10.0
"""Seconds between two fetches for unknown keys: anybody can make up a key ID."""
AFTER_FAILURE = 2.0
"""Seconds for which nobody asks again after no answer, so that waiting logins do not wait one behind the other."""
_AT_ONCE = 64
_REFUSED_CLIENT = ("invalid_client", "unauthorized_client")
_WELL_KNOWN = "/.well-known/openid-configuration"

Fetch = Callable[[HTTPRequest], Awaitable[Any]]
T = TypeVar("T")


class _Kept(Generic[T]):
    """Something fetched and kept for a while.

    Args:
        make: fetches it.
        age: seconds for which it is kept.
        holds: whether what was there before holds on while there is no answer.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], age: float, holds: bool = True) -> None:
        self._make = make
        self._age = age
        self._holds = holds
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._at = 0.0
        self._missed_at = -PAUSE
        self._failed_at = 0.0
        self._failure: KeycloakUnavailable | None = None

    async def get(self, fits: Callable[[T], bool] = lambda value: True, pause: float = 0.0) -> T:
        """Return the value, made anew when it is old or does not fit.

        Args:
            fits: what is wanted of it.
            pause: seconds that must have passed since somebody, who also had to wait, wanted what it did not have.

        Raises:
            KeycloakUnavailable: there is none, or none that fits, and it cannot be had now.
        """
        async with self._lock:
            now, value = time.monotonic(), self._value
            if value is not None and now - self._at < self._age:
                if fits(value) or now - self._missed_at < pause:
                    return value
                self._missed_at = now if pause else self._missed_at
            if self._failure is None or now - self._failed_at > AFTER_FAILURE:
                try:
                    self._value = value = await self._make()
                    self._at, self._failure = time.monotonic(), None
                except KeycloakUnavailable as error:
                    self._failed_at, self._failure = time.monotonic(), error
            if self._failure is not None and (value is None or not self._holds or not fits(value)):
                raise KeycloakUnavailable(*self._failure.args)
            assert value is not None  # noqa: S101 - else there was a failure
            return value


@dataclass(frozen=True)
class Asking:
    """How a realm is asked.

    Attributes:
        leeway: seconds by which the clocks may differ.
        timeout: seconds that one request may take in all.
        keys_age: seconds for which keys hold; one that was taken out of use is accepted no longer than that.
        options: further arguments of each ``HTTPRequest``, such as ``ca_certs``.
    """

    leeway: float = 30.0
    timeout: float = 5.0
    keys_age: float = 300.0
    options: Mapping[str, Any] = field(default_factory=dict)


class Provider:
    """One realm, as one of its clients sees it.

    Args:
        issuer: the realm's address, exactly as it stands in tokens.
        client_id, client_secret: of the client.
        asking: how it is asked.
        fetch: sends a request; tornado's client when None.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        asking: Asking | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        asking = asking or Asking()
        self.leeway = asking.leeway
        self._secret = client_secret
        self._fetch = fetch or _client()
        self._fetch_patiently = fetch or _client()
        self._timeout = asking.timeout
        self._options = dict(asking.options)
        self._metadata = _Kept(self._discover, METADATA_AGE)
        self._alive = _Kept(self._discover, ALIVE_AGE, holds=False)
        self._keys = _Kept(self._fetch_keys, asking.keys_age)

    async def metadata(self) -> Metadata:
        """Return what discovery tells; kept for an hour, and what was found before holds on while there is no answer.

        Raises:
            KeycloakUnavailable: it cannot be asked, and never could.
            LoginProblem: ``issuer``: the realm calls itself otherwise.
        """
        return await self._metadata.get()

    async def alive(self) -> Metadata:
        """Return what discovery told within the last ten seconds: before a browser is sent there.

        Raises:
            KeycloakUnavailable, LoginProblem: as ``metadata``.
        """
        return await self._alive.get()

    async def probe(self) -> Metadata:
        """Return what discovery tells now, whatever was found before.

        Raises:
            KeycloakUnavailable, LoginProblem: as ``metadata``.
        """
        return await self._discover()

    async def key(self, kid: str, pause: float = 0.0) -> jwt.PyJWK:
        """Return the realm's key of this ID, fetched anew when it is unknown.

        Args:
            kid: the ID.
            pause: seconds between two fetches for unknown IDs, where anybody may have made them up.

        Raises:
            KeycloakUnavailable: it is unknown, and the keys cannot be fetched.
            LoginProblem: ``signature``: the realm has no such key.
        """
        keys = await self._keys.get(lambda known: kid in known, pause)
        if kid not in keys:
            raise LoginProblem("signature", "the token was not signed by a key of the login service")
        return keys[kid]

    async def _discover(self) -> Metadata:
        return read_metadata(await self._json(self.issuer.rstrip("/") + _WELL_KNOWN), self.issuer)

    async def _fetch_keys(self) -> dict[str, jwt.PyJWK]:
        return read_keys(await self._json((await self.metadata()).jwks_uri))

    async def tokens(self, *, patience: float = 0.0, **parameters: str) -> dict[str, Any]:
        """Ask the token endpoint (RFC 6749 section 4.1.3 and 6), authenticated as the client.

        Args:
            patience: seconds to wait for the answer where that is longer than ``timeout``; such requests have
                connections of their own.
            parameters: of the grant.

        Raises:
            KeycloakUnavailable: no answer, or one that says nothing about the grant.
            GrantRefused: the grant is refused.
            LoginProblem: ``client``: the client is refused.
        """
        metadata = await self.metadata()
        body = urlencode({**parameters, "client_id": self.client_id, "client_secret": self._secret})
        status, answer = await self._ask("POST", metadata.token_endpoint, body, patience)
        if status == 200:
            return answer
        error = str(answer.get("error", ""))
        description = bounded(answer.get("error_description", ""), 200)
        if error in _REFUSED_CLIENT:
            raise LoginProblem("client", "the login service refuses this hub's client ID or secret")
        if status in (400, 401) and error == "invalid_grant":
            raise GrantRefused(error, description)
        raise KeycloakUnavailable(f"the token endpoint answered {status}, {bounded(error)}: {description}")

    async def id_token(self, token: object, nonce: str | None) -> dict[str, Any]:
        """Return what a verified id_token says.

        Args:
            token: as the token endpoint gave it.
            nonce: of the login; None at a refresh.

        Raises:
            LoginProblem, KeycloakUnavailable: as ``oidc.tokens`` and ``key`` say.
        """
        payload = await self._payload(token, ("jwt",))
        check_id_token(payload, self._expected(nonce))
        return payload

    async def logout_token(self, token: object) -> dict[str, Any]:
        """Return what a verified logout token says; whether it was seen before is not known here.

        Raises:
            LoginProblem, KeycloakUnavailable: as ``id_token``.
        """
        payload = await self._payload(token, ("jwt", "logout+jwt"), PAUSE)
        check_logout_token(payload, self._expected(None))
        return payload

    def _expected(self, nonce: str | None) -> Expected:
        return Expected(self.issuer, self.client_id, time.time(), self.leeway, nonce)

    async def _payload(self, token: object, types: tuple[str, ...], pause: float = 0.0) -> dict[str, Any]:
        _, kid = key_id(token)
        metadata = await self.metadata()
        return verified_payload(str(token), await self.key(kid, pause), metadata.algorithms, types)

    # HTTP

    async def _json(self, url: str) -> dict[str, Any]:
        status, answer = await self._ask("GET", url)
        if status != 200:
            raise KeycloakUnavailable(f"{url} answered {status}")
        return answer

    async def _ask(
        self, method: str, url: str, body: str | None = None, patience: float = 0.0
    ) -> tuple[int, dict[str, Any]]:
        """Return status and JSON object; never shows the body, which holds secrets.

        Raises:
            KeycloakUnavailable: no answer in time, a 5xx, or an answer that is no JSON object.
        """
        limit = max(patience, self._timeout)
        request = HTTPRequest(
            url,
            method=method,
            body=body,
            headers={"Accept": "application/json", "User-Agent": "nbplatform"},
            **{
                "connect_timeout": self._timeout,
                "request_timeout": limit,
                "follow_redirects": False,
                **self._options,
            },
        )
        try:
            async with asyncio.timeout(limit + 1):
                response = await (self._fetch_patiently if patience else self._fetch)(request)
        except (OSError, TimeoutError, HTTPClientError, ValueError) as error:
            why = bounded(str(error) or type(error).__name__, 200)
            raise KeycloakUnavailable(f"no answer from {_place(url)}: {why}") from None
        if response.code >= 500:
            raise KeycloakUnavailable(f"{_place(url)} answered {response.code}")
        return response.code, read_object(response.body, _place(url), response.code)


def _client() -> Fetch:
    """Return a client of its own: tornado's shared one has ten connections, which a hung service would take."""
    client = SimpleAsyncHTTPClient(force_instance=True, max_clients=_AT_ONCE, max_body_size=MAX_ANSWER)
    return lambda request: client.fetch(request, raise_error=False)


def _place(url: str) -> str:
    """Return an address without its query."""
    return url.partition("?")[0]
