"""Checks of signed tokens: OpenID Connect Core 1.0 section 3.1.3.7, and Back-Channel Logout 1.0 section 2.6."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from ..names import bounded
from .refusals import LoginProblem

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Signatures by a key pair.  Never ``none``, nor ``HS256``: with it the public key, or the client's secret, signs."""
MAX_TOKEN = 64 * 1024
"""Characters that a token may have."""
MAX_LOGOUT_AGE = 600.0
"""Seconds after which a logout token is too old, whatever it says itself."""
MAX_TIME = 253_402_300_799
"""Seconds since 1970 at the end of the year 9999."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True)
class Expected:
    """What a token must say.

    Attributes:
        issuer: exactly this ``iss``.
        client_id: in ``aud``; and ``azp``, where it is there.
        now: seconds since 1970.
        leeway: seconds by which the clocks may differ.
        nonce: of this login; None where no login asked, as at a refresh.
    """

    issuer: str
    client_id: str
    now: float
    leeway: float = 30.0
    nonce: str | None = None


def key_id(token: object) -> tuple[str, str]:
    """Return the algorithm and the key ID that a token names in its header.  Nothing is verified yet.

    Raises:
        LoginProblem: ``malformed``, or ``algorithm``.
    """
    if not isinstance(token, str) or not token.isascii() or len(token) > MAX_TOKEN:
        raise LoginProblem("malformed", f"the login service sent no token of at most {MAX_TOKEN} characters")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise LoginProblem("malformed", "the login service sent something that is no token") from None
    algorithm, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise LoginProblem("algorithm", f"the token's signature algorithm {bounded(algorithm)} is not accepted")
    if not isinstance(kid, str):
        raise LoginProblem("malformed", "the token's key ID is no text")
    return algorithm, kid


def verified_payload(
    token: str, key: Any, allowed: Collection[str], types: Collection[str] = ("jwt",)
) -> dict[str, Any]:
    """Return what a token says once its signature is found good; what it says is not judged here.

    Args:
        token: in the compact form.
        key: a ``jwt.PyJWK`` of the issuer.
        allowed: algorithms that this issuer signs with; those not of :data:`ALGORITHMS` are left out.
        types: what ``typ`` of its header may be, in lower case; a token without one may have none.

    Raises:
        LoginProblem: ``malformed``, ``algorithm`` or ``signature``.
    """
    algorithm, _ = key_id(token)
    if algorithm not in allowed:
        raise LoginProblem("algorithm", f"the login service does not sign with {algorithm}")
    try:
        whole = jwt.PyJWS(algorithms=[algorithm]).decode_complete(token, key=key, algorithms=[algorithm])
        payload = json.loads(whole["payload"])
    except (jwt.InvalidSignatureError, jwt.InvalidKeyError, jwt.InvalidAlgorithmError):
        raise LoginProblem("signature", "the token was not signed by the login service") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise LoginProblem("malformed", "the token cannot be read") from None
    kind = whole["header"].get("typ", "jwt")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in types:
        raise LoginProblem("malformed", f"the token is of the type {bounded(kind)}")
    if not isinstance(payload, dict):
        raise LoginProblem("malformed", "the token holds no object")
    return payload


def check_id_token(payload: Mapping[str, Any], expected: Expected) -> None:
    """Check what an id_token says of itself.

    Raises:
        LoginProblem: ``issuer``, ``audience``, ``expired``, ``not-yet-valid``, ``nonce`` or ``malformed``.
    """
    _check_origin(payload, expected)
    party = payload.get("azp")
    several = isinstance(payload.get("aud"), list) and len(payload["aud"]) > 1
    if (party is not None or several) and party != expected.client_id:
        raise LoginProblem("audience", f"the token was issued to {bounded(party)}, not to this hub")
    _check_times(payload, expected)
    if payload.get("typ", "ID") != "ID":  # Keycloak's own claim; its access tokens say Bearer
        raise LoginProblem("malformed", f"the token is a {bounded(payload['typ'])} token, no id_token")
    if "events" in payload:
        raise LoginProblem("malformed", "the token is a logout token, no id_token")
    if expected.nonce is not None and payload.get("nonce") != expected.nonce:
        raise LoginProblem("nonce", "the token belongs to another login")


def check_logout_token(payload: Mapping[str, Any], expected: Expected) -> None:
    """Check what a logout token says of itself; whether its ``jti`` was seen before is not known here.

    Raises:
        LoginProblem: ``issuer``, ``audience``, ``expired``, ``not-yet-valid`` or ``malformed``.
    """
    _check_origin(payload, expected)
    _check_times(payload, expected)
    if payload["iat"] < expected.now - MAX_LOGOUT_AGE - expected.leeway:
        raise LoginProblem("expired", f"the logout token is older than {MAX_LOGOUT_AGE:g} seconds")
    events = payload.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(LOGOUT_EVENT), Mapping):
        raise LoginProblem("malformed", "the token is no logout token")
    if "nonce" in payload:
        raise LoginProblem("malformed", "the token has a nonce: it may be an id_token")
    if not _is_text(payload.get("jti")):
        raise LoginProblem("malformed", "the logout token has no jti")
    named = [payload[claim] for claim in ("sid", "sub") if claim in payload]
    if not named or not all(_is_text(value) for value in named):
        raise LoginProblem("malformed", "the logout token names neither a session nor a person")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255


def _check_origin(payload: Mapping[str, Any], expected: Expected) -> None:
    issuer, audience = payload.get("iss"), payload.get("aud")
    if issuer != expected.issuer:
        raise LoginProblem("issuer", f"the token comes from {bounded(issuer)}, not from {bounded(expected.issuer)}")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.client_id not in audiences:
        raise LoginProblem("audience", f"the token is for {bounded(audience)}, not for this hub")


def _check_times(payload: Mapping[str, Any], expected: Expected) -> None:
    times = {claim: payload.get(claim) for claim in ("exp", "iat", "nbf")}
    for claim, time in times.items():
        absent = time is None and claim == "nbf"
        readable = isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time <= MAX_TIME
        if not absent and not readable:  # JSON as Python reads it has NaN and Infinity, too
            raise LoginProblem("malformed", f"the token's {claim} is {bounded(time)}, not a time")
    if expected.now >= payload["exp"] + expected.leeway:
        late = int(expected.now - payload["exp"])
        raise LoginProblem("expired", f"the token ended {late} seconds ago; the clocks of hub and Keycloak may differ")
    begins = max(payload["iat"], payload.get("nbf") or 0)
    if begins > expected.now + expected.leeway:
        early = int(begins - expected.now)
        raise LoginProblem("not-yet-valid", f"the token begins in {early} seconds; the clocks may differ")
