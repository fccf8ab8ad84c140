"""Keycloak over HTTP: what is kept, what is asked anew, and what is an outage rather than a refusal."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tornado.httpclient import HTTPRequest

from nbplatform_spawners.auth import keycloak_provider
from nbplatform_spawners.auth.keycloak_answers import GrantRefused, KeycloakUnavailable
from nbplatform_spawners.auth.keycloak_provider import Asking, Provider
from nbplatform_spawners.oidc.refusals import LoginProblem
from nbplatform_spawners.oidc.tokens import LOGOUT_EVENT

ISSUER = "https://login.example.org/realms/site"
BASE = f"{ISSUER}/protocol/openid-connect"
KEYS = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("k1", "k2")}


def entry(name: str, **fields: Any) -> dict[str, Any]:
    """Return a key as a key set tells it."""
    plain = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[name].public_key()))
    return {**plain, "kid": name, "use": "sig", "alg": "RS256", **fields}


def token(name: str = "k1", **changes: Any) -> str:
    """Return an id_token that one of the keys signed."""
    now = int(time.time())
    payload = {"iss": ISSUER, "aud": "hub", "exp": now + 60, "iat": now, "sub": "1", **changes}
    return jwt.encode(payload, KEYS[name], algorithm="RS256", headers={"kid": name})


@dataclass
class Reply:
    """What came back."""

    code: int
    body: bytes


@dataclass
class Realm:
    """Keycloak at the wire: answers what it is told to, and counts.

    Attributes:
        keys: what its key set holds.
        metadata: changes of what its discovery tells.
        token: what the token endpoint answers.
        fault: what happens instead, when it is set.
        asked: paths, in order.
        bodies: forms that were sent.
    """

    keys: list[Any] = field(default_factory=lambda: [entry("k1")])
    metadata: dict[str, Any] = field(default_factory=dict)
    token: tuple[int, Any] = (200, {"id_token": "…"})
    fault: Callable[[], Reply] | None = None
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, list[str]]] = field(default_factory=list)

    async def __call__(self, request: HTTPRequest) -> Reply:
        """Answer a request."""
        self.asked.append(request.url.removeprefix(ISSUER))
        await asyncio.sleep(0)
        if self.fault is not None:
            return self.fault()
        if request.url.endswith("/openid-configuration"):
            return self.json(200, {**self.discovery(), **self.metadata})
        if request.url.endswith("/certs"):
            return self.json(200, {"keys": self.keys})
        self.bodies.append(parse_qs((request.body or b"").decode()))
        return self.json(*self.token)

    @staticmethod
    def discovery() -> dict[str, Any]:
        """What discovery tells."""
        names = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "certs"}
        found: dict[str, Any] = {name: f"{BASE}/{path}" for name, path in names.items()}
        algorithms = ["RS256", "HS256", "none"]
        return {**found, "issuer": ISSUER, "id_token_signing_alg_values_supported": algorithms}

    @staticmethod
    def json(status: int, body: Any) -> Reply:
        """Return a reply."""
        return Reply(status, body if isinstance(body, bytes) else json.dumps(body).encode())

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked.endswith(path) for asked in self.asked)


def refuses() -> Reply:
    """Nobody listens."""
    raise ConnectionRefusedError("connection refused")


def provider(realm: Realm, **options: Any) -> Provider:
    """Return a provider that asks this realm."""
    return Provider(ISSUER, "hub", "s3cret", Asking(**options), realm)


async def test_discovery_and_keys_are_asked_for_once() -> None:
    """Twenty tokens at once need one question each."""
    realm = Realm()
    one = provider(realm)
    payloads = await asyncio.gather(*(one.id_token(token(), None) for _ in range(20)))
    assert {payload["sub"] for payload in payloads} == {"1"}
    assert realm.count("configuration") == realm.count("certs") == 1
    assert (await one.metadata()).algorithms == {"RS256"}


async def test_a_new_key_is_found_at_once_and_made_up_ones_do_not_flood() -> None:
    """After a rotation the first token of the new key is accepted, whatever strangers have sent before.

    Logout tokens come from anybody: for their unknown keys the realm is asked once in a while.
    """
    realm = Realm()
    one = provider(realm)
    await one.id_token(token(), None)
    for _ in range(5):
        with pytest.raises(LoginProblem, match="not signed by a key"):
            await one.logout_token(token("k2"))
    assert realm.count("certs") == 2
    realm.keys = [entry("k2")]
    assert (await one.id_token(token("k2"), None))["sub"] == "1"
    assert realm.count("certs") == 3
    with pytest.raises(LoginProblem, match="not signed by a key"):
        await one.id_token(token("k1"), None)


async def test_a_key_that_was_taken_away_is_accepted_no_longer_than_keys_are_kept() -> None:
    """Its tokens may be an attacker's by now."""
    realm = Realm(keys=[entry("k1"), entry("k2")])
    one = provider(realm, keys_age=0.0)
    await one.id_token(token("k1"), None)
    realm.keys = [entry("k2")]
    with pytest.raises(LoginProblem) as refused:
        await one.id_token(token("k1"), None)
    assert refused.value.reason == "signature"


async def test_keys_hold_on_while_they_cannot_be_fetched() -> None:
    """An outage between two fetches locks nobody out."""
    realm = Realm()
    one = provider(realm, keys_age=0.0)
    await one.id_token(token(), None)
    realm.fault = refuses
    assert (await one.id_token(token(), None))["sub"] == "1"
    with pytest.raises(KeycloakUnavailable):
        await one.id_token(token("k2"), None)


@pytest.mark.parametrize(
    "fault",
    [
        refuses,
        lambda: Reply(500, b"{}"),
        lambda: Reply(502, b"<html>"),
        lambda: Reply(404, b"{}"),
        lambda: Reply(200, b"<html>"),
        lambda: Reply(200, b"[]"),
        lambda: Reply(200, b"{" + b" " * 2**21 + b"}"),
        lambda: Reply(302, b""),
    ],
)
async def test_what_says_nothing_is_an_outage(fault: Callable[[], Reply]) -> None:
    """And it is not asked again at once: whoever waits behind would wait as long again."""
    realm = Realm(fault=fault)
    one = provider(realm)
    results = await asyncio.gather(*(one.metadata() for _ in range(10)), return_exceptions=True)
    assert {type(result) for result in results} == {KeycloakUnavailable}
    assert realm.count("configuration") == 1


async def test_what_comes_back_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause after an outage is short."""
    realm = Realm(fault=refuses)
    one = provider(realm)
    with pytest.raises(KeycloakUnavailable):
        await one.metadata()
    realm.fault = None
    monkeypatch.setattr(keycloak_provider, "AFTER_FAILURE", 0.0)
    assert (await one.metadata()).issuer == ISSUER


async def test_a_hung_service_costs_no_more_than_its_time() -> None:
    """Also where the client's own limit does not work."""

    class Hangs(Realm):
        async def __call__(self, request: HTTPRequest) -> Reply:
            self.asked.append(request.url)
            await asyncio.sleep(3600)
            raise AssertionError("never")

    realm = Hangs()
    one = provider(realm, timeout=-0.9)
    results = await asyncio.gather(*(one.metadata() for _ in range(10)), return_exceptions=True)
    assert {type(result) for result in results} == {KeycloakUnavailable}
    assert len(realm.asked) == 1


@pytest.mark.parametrize("issuer", [ISSUER + "/", "https://evil.example", None, 7])
async def test_a_realm_that_calls_itself_otherwise_is_refused(issuer: Any) -> None:
    """Its tokens would all be refused anyway; a person must set it right."""
    with pytest.raises(LoginProblem, match="the hub is set to"):
        await provider(Realm(metadata={"issuer": issuer})).metadata()


@pytest.mark.parametrize("address", ["", None, "javascript:alert(1)", "/relative", 7])
async def test_a_discovery_without_an_address_is_an_outage(address: Any) -> None:
    """Half a configuration is none."""
    with pytest.raises(KeycloakUnavailable, match="token_endpoint"):
        await provider(Realm(metadata={"token_endpoint": address})).metadata()


@pytest.mark.parametrize(
    "keys",
    [[], {}, None, [7], [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}], [entry("k1", use="enc")], [{"kty": "new"}]],
)
async def test_keys_that_cannot_sign_are_none(keys: Any) -> None:
    """A shared secret among the keys would let everybody sign who can read them."""
    with pytest.raises(KeycloakUnavailable):
        await provider(Realm(keys=keys)).id_token(token(), None)


async def test_a_grant_goes_with_the_clients_secret_in_the_body() -> None:
    """And with nothing in the address, which proxies log."""
    realm = Realm()
    await provider(realm).tokens(grant_type="refresh_token", refresh_token="r")
    assert realm.asked[-1] == "/protocol/openid-connect/token"
    assert realm.bodies == [
        {"grant_type": ["refresh_token"], "refresh_token": ["r"], "client_id": ["hub"], "client_secret": ["s3cret"]}
    ]


@pytest.mark.parametrize(
    ("status", "body", "raised"),
    [
        (400, {"error": "invalid_grant", "error_description": "Session not active"}, GrantRefused),
        (401, {"error": "invalid_client"}, LoginProblem),
        (401, {"error": "unauthorized_client"}, LoginProblem),
        (400, {"error": "invalid_request"}, KeycloakUnavailable),
        (400, {}, KeycloakUnavailable),
        (403, {"error": "invalid_grant"}, KeycloakUnavailable),
        (429, {"error": "slow_down"}, KeycloakUnavailable),
        (500, {"error": "invalid_grant"}, KeycloakUnavailable),
        (200, b"invalid_grant", KeycloakUnavailable),
    ],
)
async def test_only_a_positive_no_is_a_refusal(status: int, body: Any, raised: type[Exception]) -> None:
    """Everything else may be a proxy's or a broken service's answer, and ends nobody's session."""
    with pytest.raises(raised) as error:
        await provider(Realm(token=(status, body))).tokens(grant_type="refresh_token", refresh_token="r4nd0m")
    assert "s3cret" not in str(error.value)
    assert "r4nd0m" not in str(error.value)


async def test_a_logout_token_is_told_from_an_id_token() -> None:
    """By its type and what it says."""
    one = provider(Realm())
    headers = {"kid": "k1", "typ": "logout+jwt"}
    now = int(time.time())
    payload = {
        "iss": ISSUER,
        "aud": "hub",
        "exp": now + 60,
        "iat": now,
        "jti": "j",
        "sid": "s",
        "events": {LOGOUT_EVENT: {}},
    }
    signed = jwt.encode(payload, KEYS["k1"], algorithm="RS256", headers=headers)
    assert (await one.logout_token(signed))["sid"] == "s"
    with pytest.raises(LoginProblem):
        await one.id_token(signed, None)
    with pytest.raises(LoginProblem):
        await one.logout_token(token())
