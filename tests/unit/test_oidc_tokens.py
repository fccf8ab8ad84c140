"""Tokens: only what the issuer signed for this hub, now, counts."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nbplatform_spawners.oidc.refusals import LOGIN_REFUSALS, LoginProblem
from nbplatform_spawners.oidc.tokens import (
    ALGORITHMS,
    LOGOUT_EVENT,
    Expected,
    check_id_token,
    check_logout_token,
    key_id,
    verified_payload,
)

NOW = 1_800_000_000.0
ISSUER = "https://login.example.org/realms/site"
EXPECTED = Expected(ISSUER, "jupyterhub", NOW, leeway=30, nonce="n-1")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ELLIPTIC = ec.generate_private_key(ec.SECP256R1())
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "jupyterhub",
    "azp": "jupyterhub",
    "typ": "ID",
    "exp": NOW + 60,
    "iat": NOW - 1,
    "nonce": "n-1",
    "sub": "1",
}
LOGOUT: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "jupyterhub",
    "exp": NOW + 120,
    "iat": NOW,
    "jti": "j-1",
    "sid": "s-1",
    "sub": "1",
    "events": {LOGOUT_EVENT: {}},
}
ALL = frozenset(ALGORITHMS)


def public(key: rsa.RSAPrivateKey, **fields: str) -> jwt.PyJWK:
    """Return the public half as a key set tells it."""
    plain = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return jwt.PyJWK({**plain, "kid": "k1", "use": "sig", "alg": "RS256", **fields})


def signed(payload: Any = None, key: Any = KEY, algorithm: str = "RS256", **headers: Any) -> str:
    """Return a token."""
    body = json.dumps(GOOD if payload is None else payload).encode()
    return jwt.PyJWS().encode(body, key, algorithm=algorithm, headers={"kid": "k1", "typ": "JWT", **headers})


def raw(header: Any, payload: Any, signature: bytes = b"") -> str:
    """Return a token put together by hand."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_token_that_the_key_signed_is_read() -> None:
    """And nothing of it is changed."""
    assert verified_payload(signed(), public(KEY), ALL) == GOOD
    assert key_id(signed()) == ("RS256", "k1")


def hmac_with_the_public_key() -> str:
    """The classic: the public key, which everybody has, taken for a shared secret."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "k1"}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(GOOD).encode()).rstrip(b"=")
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(algorithm.sign(header + b"." + body, pem)).rstrip(b"=")
    return b".".join((header, body, signature)).decode()


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (signed(key=OTHER), "signature"),
        (signed() + "A", "signature"),
        (signed()[: signed().rindex(".") + 1], "signature"),
        (signed(algorithm="RS512"), "signature"),
        (signed(key=ELLIPTIC, algorithm="ES256"), "signature"),
        (raw({"alg": "none"}, GOOD), "algorithm"),
        (raw({"alg": "None"}, GOOD), "algorithm"),
        (raw({"alg": ["RS256"]}, GOOD), "algorithm"),
        (raw({}, GOOD), "algorithm"),
        (hmac_with_the_public_key(), "algorithm"),
        (raw({"alg": "RS256", "kid": 7}, GOOD), "malformed"),
        (signed([GOOD]), "malformed"),
        (signed(typ="at+jwt"), "malformed"),
        (signed(typ="logout+jwt"), "malformed"),
        ("", "malformed"),
        ("a.b", "malformed"),
        ("a.b.c", "malformed"),
        (None, "malformed"),
        (7, "malformed"),
        ("é.é.é", "malformed"),
        ("x" * 70_000, "malformed"),
    ],
)
def test_anything_else_is_refused(token: Any, reason: str) -> None:
    """Each with the label of what is wrong."""
    with pytest.raises(LoginProblem) as refused:
        verified_payload(token, public(KEY), ALL)
    assert refused.value.reason == reason


def test_a_changed_payload_has_no_good_signature() -> None:
    """One character is enough."""
    header, _, signature = signed().split(".")
    body = base64.urlsafe_b64encode(json.dumps({**GOOD, "sub": "2"}).encode()).rstrip(b"=").decode()
    with pytest.raises(LoginProblem, match="not signed"):
        verified_payload(f"{header}.{body}.{signature}", public(KEY), ALL)


def test_an_algorithm_that_the_issuer_does_not_use_is_refused() -> None:
    """Even a good signature."""
    with pytest.raises(LoginProblem, match="does not sign with RS256"):
        verified_payload(signed(), public(KEY), frozenset({"ES256"}))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"aud": ["jupyterhub"]},
        {"aud": ["account", "jupyterhub"]},
        {"azp": None},
        {"exp": NOW - 29},
        {"iat": NOW + 29},
        {"nbf": NOW + 29},
        {"nbf": None},
        {"typ": None},
    ],
)
def test_a_good_id_token_passes(change: dict[str, Any]) -> None:
    """Clocks may differ by the leeway."""
    check_id_token({key: value for key, value in {**GOOD, **change}.items() if value is not None}, EXPECTED)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": {"jupyterhub": 1}}, "audience"),
        ({"azp": "other"}, "audience"),
        ({"aud": ["jupyterhub", "other"], "azp": None}, "audience"),
        ({"exp": NOW - 31}, "expired"),
        ({"exp": NOW - 30}, "expired"),
        ({"exp": None}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": "1800000060"}, "malformed"),
        ({"exp": float("nan")}, "malformed"),
        ({"iat": None}, "malformed"),
        ({"iat": NOW + 31}, "not-yet-valid"),
        ({"nbf": NOW + 31}, "not-yet-valid"),
        ({"nbf": "now"}, "malformed"),
        ({"nonce": "n-2"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"typ": "Bearer"}, "malformed"),
        ({"typ": "Logout"}, "malformed"),
        ({"events": {}}, "malformed"),
    ],
)
def test_an_id_token_of_somebody_elses_is_refused(change: dict[str, Any], reason: str) -> None:
    """Each check has its own label."""
    payload = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(LoginProblem) as refused:
        check_id_token(payload, EXPECTED)
    assert refused.value.reason == reason


def test_a_refreshed_token_needs_no_nonce() -> None:
    """No login has asked for it."""
    check_id_token({**GOOD, "nonce": "of the login"}, Expected(ISSUER, "jupyterhub", NOW))


@pytest.mark.parametrize("change", [{}, {"sub": None}, {"sid": None}])
def test_a_good_logout_token_passes(change: dict[str, Any]) -> None:
    """It names a session, a person, or both."""
    check_logout_token({key: value for key, value in {**LOGOUT, **change}.items() if value is not None}, EXPECTED)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"aud": "other-client"}, "audience"),
        ({"exp": NOW - 60}, "expired"),
        ({"iat": NOW - 3600, "exp": NOW + 10**6}, "expired"),
        ({"iat": NOW + 3600}, "not-yet-valid"),
        ({"nonce": "n-1"}, "malformed"),
        ({"nonce": ""}, "malformed"),
        ({"events": None}, "malformed"),
        ({"events": {}}, "malformed"),
        ({"events": {LOGOUT_EVENT: None}}, "malformed"),
        ({"events": [LOGOUT_EVENT]}, "malformed"),
        ({"jti": None}, "malformed"),
        ({"jti": ""}, "malformed"),
        ({"sid": None, "sub": None}, "malformed"),
        ({"sid": 7}, "malformed"),
        ({"sub": ["1"]}, "malformed"),
    ],
)
def test_a_logout_token_that_is_none_is_refused(change: dict[str, Any], reason: str) -> None:
    """Back-Channel Logout 1.0, section 2.6; an id_token is none."""
    payload = {**LOGOUT, **change}
    payload = {key: value for key, value in payload.items() if value is not None}
    with pytest.raises(LoginProblem) as refused:
        check_logout_token(payload, EXPECTED)
    assert refused.value.reason == reason


def test_an_id_token_is_no_logout_token() -> None:
    """Nor the other way round."""
    with pytest.raises(LoginProblem):
        check_logout_token(GOOD, EXPECTED)
    with pytest.raises(LoginProblem):
        check_id_token({**LOGOUT, "nonce": "n-1"}, EXPECTED)


def test_only_known_labels_exist() -> None:
    """A page, a status and an advice belong to each."""
    with pytest.raises(ValueError, match="no login refusal"):
        LoginProblem("whatever", "…")
    for kind in LOGIN_REFUSALS.values():
        assert 400 <= kind.status < 600
        assert kind.meaning
        assert kind.advice
