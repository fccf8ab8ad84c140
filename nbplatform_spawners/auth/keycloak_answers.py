"""Keycloak's answers over HTTP as values: what discovery and keys say, and what is an outage or a refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from ..errors import NbplatformError
from ..names import bounded
from ..oidc.refusals import LoginProblem
from ..oidc.tokens import ALGORITHMS

MAX_ANSWER = 1024 * 1024
"""Bytes that an answer may have."""
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint")


class KeycloakUnavailable(NbplatformError):
    """Keycloak cannot be asked now.  Says nothing about anybody."""


class GrantRefused(NbplatformError):
    """Keycloak positively refuses a code or a refresh token: it was used, has ended, or was revoked.

    Args:
        error: OAuth's code, such as ``invalid_grant``.
        description: Keycloak's words, bounded.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error, description)
        self.error = error
        self.description = description

    def __str__(self) -> str:
        return f"{self.error}: {self.description}"


@dataclass(frozen=True)
class Metadata:
    """What discovery tells (OpenID Connect Discovery 1.0), as far as it is used.

    Attributes:
        issuer, authorization_endpoint, token_endpoint, jwks_uri: addresses.
        end_session_endpoint: empty when there is none.
        algorithms: what id_tokens are signed with, of those that are accepted.
        raw: the whole document.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str
    algorithms: frozenset[str]
    raw: Mapping[str, Any]


def read_object(body: bytes | None, place: str, status: int) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        KeycloakUnavailable: it is none.
    """
    if body is not None and len(body) <= MAX_ANSWER:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return answer
    raise KeycloakUnavailable(f"{place} answered {status} with something that is no JSON object")


def read_metadata(document: Mapping[str, Any], issuer: str) -> Metadata:
    """Return the checked discovery document.

    Raises:
        LoginProblem: ``issuer``: it is of another issuer; OpenID Connect Discovery 1.0 section 4.3 demands the same.
        KeycloakUnavailable: an address is missing.
    """
    if document.get("issuer") != issuer:
        told = bounded(document.get("issuer"))
        raise LoginProblem("issuer", f"the login service calls itself {told}, the hub is set to {bounded(issuer)}")
    found: dict[str, str] = {}
    for endpoint in _ENDPOINTS:
        address = document.get(endpoint, "")
        if not _is_address(address) and (address or endpoint != "end_session_endpoint"):
            raise KeycloakUnavailable(f"its discovery has no usable {endpoint}")
        found[endpoint] = str(address)
    signed = document.get("id_token_signing_alg_values_supported")
    algorithms = frozenset(name for name in ALGORITHMS if isinstance(signed, list) and name in signed)
    return Metadata(issuer=issuer, algorithms=algorithms or frozenset({"RS256"}), raw=document, **found)


def read_keys(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """Return the keys of a JWKS (RFC 7517) that may sign, by their ID.

    A key of a kind that is not known, a shared one (``oct``) and one for encryption are left out.

    Raises:
        KeycloakUnavailable: there is none.
    """
    found: dict[str, jwt.PyJWK] = {}
    entries = document.get("keys")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
            continue
        try:
            found[str(entry.get("kid", ""))] = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    if not found:
        raise KeycloakUnavailable("its list of keys holds none that signs")
    return found


def _is_address(address: object) -> bool:
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
    except ValueError:
        return False
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.netloc)
