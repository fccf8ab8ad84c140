"""Tokens that must not log anybody in, made of the real ones of a login: a table for our hub and for the stock one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization

from tests.components.keycloak_realms import CLIENT_SECRET, RealmKey, RealmKeys
from tests.keycloak.tokens import MISSING, Plain, payload_of, seconds_from_now, signed, unsigned, with_claims

STRANGE = RealmKey.made("a stranger's")


@dataclass(frozen=True)
class Real:
    """What there is to forge with.

    Attributes:
        answer: of the token endpoint, whole.
        keys: of the realm, private ones included.
        other: of another realm of the same Keycloak.
    """

    answer: Plain
    keys: RealmKeys
    other: RealmKeys

    @property
    def payload(self) -> Plain:
        """What the real id_token says."""
        return payload_of(self.answer["id_token"])

    def says(self, **changes: Any) -> str:
        """A token of the realm's own key that says something else; ``MISSING`` takes a claim away."""
        return signed(with_claims(self.payload, **changes), self.keys.signing)


@dataclass(frozen=True)
class Forgery:
    """One token that must not do.

    Attributes:
        name: what is wrong, in words.
        make: gives what stands for the id_token in the answer.
        reason: the label with which our hub refuses.
        stock: the stock hub logs the bearer in.
    """

    name: str
    make: Callable[[Real], Any]
    reason: str
    stock: bool = False


def with_other_payload(real: Real) -> str:
    """The real token, with another uid put in behind the signature's back."""
    head, _, signature = real.answer["id_token"].split(".")
    return f"{head}.{encoded(with_claims(real.payload, uid_number=62102))}.{signature}"


def without_signature(real: Real) -> str:
    """The real token up to its signature."""
    return str(real.answer["id_token"].rpartition(".")[0] + ".")


def by_public_key(real: Real) -> str:
    """HMAC with the realm's public key, which everybody has, as the secret."""
    public = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).prepare_key(real.keys.signing.pem)
    pem = public.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return by_hmac(real, pem)


def by_hmac(real: Real, secret: bytes) -> str:
    """HMAC with some secret."""
    head = encoded({"alg": "HS256", "typ": "JWT", "kid": real.keys.signing.kid})
    text = f"{head}.{encoded(real.payload)}"
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def with_its_key_in_it(real: Real) -> str:
    """Signed by a key that the token's own header brings along."""
    private = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).prepare_key(STRANGE.pem)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return signed(real.payload, STRANGE, jwk=jwk)


def by_another_hash(real: Real) -> str:
    """The realm's key, with a hash that the realm does not use for it."""
    return jwt.encode(real.payload, real.keys.signing.pem, algorithm="RS512", headers={"kid": real.keys.signing.kid})


def encoded(part: Plain) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def logout_token(real: Real) -> str:
    """A logout token with all that an id_token has."""
    events = {"http://schemas.openid.net/event/backchannel-logout": {}}
    return signed({**real.payload, "events": events}, real.keys.signing, typ="logout+jwt")


SIGNATURES = (
    Forgery(
        "signed by a stranger's key under the realm's key id",
        lambda real: signed(real.payload, STRANGE, kid=real.keys.signing.kid),
        "signature",
        True,
    ),
    Forgery("signed by a stranger's key", lambda real: signed(real.payload, STRANGE), "signature", True),
    Forgery("signed by a stranger's key that it brings along", with_its_key_in_it, "signature", True),
    Forgery(
        "signed by a key that its header points to",
        lambda real: signed(real.payload, STRANGE, jku="http://127.0.0.1:9/keys"),
        "signature",
        True,
    ),
    Forgery(
        "signed by another realm of this Keycloak",
        lambda real: signed(real.payload, real.other.signing),
        "signature",
        True,
    ),
    Forgery("signed by the realm with another hash", by_another_hash, "signature", True),
    Forgery("changed after it was signed", with_other_payload, "signature", True),
    Forgery("without its signature", without_signature, "signature", True),
    Forgery("alg none", lambda real: unsigned(real.payload), "algorithm", True),
    Forgery("alg nOnE", lambda real: unsigned(real.payload, "nOnE"), "algorithm", True),
    Forgery(
        "RS256 named and nothing signed",
        lambda real: unsigned(real.payload, "RS256", kid=real.keys.signing.kid),
        "signature",
        True,
    ),
    Forgery("HMAC with the public key", by_public_key, "algorithm", True),
    Forgery("HMAC with the client's secret", lambda real: by_hmac(real, CLIENT_SECRET.encode()), "algorithm", True),
    Forgery(
        "an unknown critical header", lambda real: signed(real.payload, real.keys.signing, crit=["x"], x=1), "malformed"
    ),
)
"""Not signed by the realm, as a token has to be."""

ORIGINS = (
    Forgery("another issuer", lambda real: real.says(iss="https://login.example.org/realms/site"), "issuer", True),
    Forgery(
        "another realm", lambda real: real.says(iss=real.payload["iss"].replace("site", "edugain")), "issuer", True
    ),
    Forgery("an issuer with a slash more", lambda real: real.says(iss=real.payload["iss"] + "/"), "issuer", True),
    Forgery("no issuer", lambda real: real.says(iss=MISSING), "issuer", True),
    Forgery("a list of issuers", lambda real: real.says(iss=[real.payload["iss"]]), "issuer", True),
    Forgery("for another client", lambda real: real.says(aud="grafana"), "audience"),
    Forgery("for nobody", lambda real: real.says(aud=MISSING), "audience"),
    Forgery(
        "for a client whose name ours begins with", lambda real: real.says(aud=real.payload["aud"][:-1]), "audience"
    ),
    Forgery(
        "for others, too, and issued to one of them",
        lambda real: real.says(aud=["grafana", real.payload["aud"]], azp="grafana"),
        "audience",
        True,
    ),
    Forgery(
        "for others, too, and issued to nobody",
        lambda real: real.says(aud=["grafana", real.payload["aud"]], azp=MISSING),
        "audience",
        True,
    ),
    Forgery("issued to another client", lambda real: real.says(azp="grafana"), "audience", True),
    Forgery("of another login", lambda real: real.says(nonce="another"), "nonce", True),
    Forgery("of no login", lambda real: real.says(nonce=MISSING), "nonce", True),
)
"""Signed by the realm, and not for this login."""

TIMES = (
    Forgery("ended", lambda real: real.says(exp=seconds_from_now(-60)), "expired"),
    Forgery("ended long ago", lambda real: real.says(exp=0), "expired"),
    Forgery("without an end", lambda real: real.says(exp=MISSING), "malformed", True),
    Forgery("an end that is text", lambda real: real.says(exp="never"), "malformed"),
    Forgery("an end that is no number", lambda real: real.says(exp=float("nan")), "malformed"),
    Forgery("issued in the future", lambda real: real.says(iat=seconds_from_now(90)), "not-yet-valid", True),
    Forgery("begins in the future", lambda real: real.says(nbf=seconds_from_now(90)), "not-yet-valid", True),
    Forgery("begins never", lambda real: real.says(nbf=float("inf")), "malformed", True),
    Forgery("issued at no time", lambda real: real.says(iat=MISSING), "malformed", True),
    Forgery("issued at true", lambda real: real.says(iat=True), "malformed", True),
)
"""Signed by the realm, and not now."""

OTHER_THINGS = (
    Forgery("an access token", lambda real: real.answer["access_token"], "malformed", True),
    Forgery("a refresh token", lambda real: real.answer["refresh_token"], "algorithm"),
    Forgery("a logout token", logout_token, "malformed", True),
    Forgery("an id_token that says events", lambda real: real.says(events={}), "malformed", True),
    Forgery("nothing", lambda real: None, "malformed"),
    Forgery("a number", lambda real: 5, "malformed"),
    Forgery("empty text", lambda real: "", "malformed"),
    Forgery("no token", lambda real: "not.a.token", "malformed"),
    Forgery("five parts", lambda real: "e30.e30.e30.e30.e30", "malformed"),
    Forgery("a signed list", lambda real: signed_list(real), "malformed"),
    Forgery("text beyond ASCII", lambda real: real.answer["id_token"] + "é", "malformed"),
    Forgery("very much text", lambda real: real.says(more="x" * 100_000), "malformed", True),
)
"""No id_tokens."""

FORGERIES = (*SIGNATURES, *ORIGINS, *TIMES, *OTHER_THINGS)


def signed_list(real: Real) -> str:
    """A list where an object has to be, signed by the realm."""
    key = real.keys.signing
    return jwt.PyJWS().encode(b"[1]", key.pem, algorithm="RS256", headers={"kid": key.kid})
