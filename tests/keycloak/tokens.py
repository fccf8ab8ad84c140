"""Tokens as from Keycloak: signed with a realm's real key, right but for what a test changes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import jwt

from tests.components.keycloak_realms import RealmKey

Plain = dict[str, Any]


class Missing(Enum):
    """The value of a claim that is taken away."""

    MISSING = "missing"


MISSING: Any = Missing.MISSING


def payload_of(token: str) -> Plain:
    """What a token says, unverified."""
    found: Plain = jwt.decode(token, options={"verify_signature": False})
    return found


def signed(payload: Plain, key: RealmKey, **header: Any) -> str:
    """A token as the realm signs it.

    Args:
        payload: what it says.
        key: the realm's key.
        header: further fields, or other values.
    """
    text = json.dumps(payload).encode()  # as it is: PyJWT's encoder for claims refuses some that a test wants
    return jwt.PyJWS().encode(text, key.pem, algorithm="RS256", headers={"kid": key.kid, **header})


def unsigned(payload: Plain, algorithm: str = "none", **header: Any) -> str:
    """A token without a signature, whose header names an algorithm."""
    parts = ({"alg": algorithm, "typ": "JWT", **header}, payload)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def with_claims(payload: Plain, **changes: Any) -> Plain:
    """A payload with other claims; ``MISSING`` takes one away."""
    return {name: value for name, value in {**payload, **changes}.items() if value is not MISSING}


def id_token_changed(key: RealmKey, **changes: Any) -> Callable[[Plain], Plain]:
    """For ``Gate.change(TOKEN, …)``: the id_token says something else, signed with the realm's own key.

    A change that is a function is given the claim's value, None where there is none.
    """

    def change(answer: Plain) -> Plain:
        payload = payload_of(answer["id_token"])
        new = {name: value(payload.get(name)) if callable(value) else value for name, value in changes.items()}
        return {**answer, "id_token": signed(with_claims(payload, **new), key)}

    return change


def id_token_replaced(token: Callable[[Plain], str]) -> Callable[[Plain], Plain]:
    """For ``Gate.change(TOKEN, …)``: another id_token, made of what the real one says."""
    return lambda answer: {**answer, "id_token": token(payload_of(answer["id_token"]))}


def seconds_from_now(seconds: float) -> int:
    """A time as tokens have it."""
    return int(time.time() + seconds)
