"""The realms of the test Keycloak: the one that is shipped with users of the tests, and a federation that it brokers.

``site`` is ``hub_config/keycloak/realm.json`` with users, signing keys that the tests know, and two identity providers,
``edugain-saml`` and ``edugain-oidc``: both are the realm ``edugain``, which stands for a federation.
"""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from .keycloak_broker import (
    BROKER_SECRET,
    HOME,
    Plain,
    oidc_mappers,
    oidc_provider,
    saml_entity,
    saml_mappers,
    saml_provider,
)

SHIPPED = Path(__file__).parents[2] / "hub_config" / "keycloak" / "realm.json"
CLIENT = "jupyterhub"
CLIENT_SECRET = "jupyterhub-secret"
ENVIRONMENT = {"NBPLATFORM_PUBLIC_URL": "http://127.0.0.1", "NBPLATFORM_CLIENT_SECRET": CLIENT_SECRET}
"""What the shipped realm takes from the environment; a loopback address without a port stands for every port."""
FOREVER = "2099-12-31T23:59:59Z"
GROUPS = ("atlas", "cms", "deep-learning")
ENTITY_OID = "urn:oid:1.3.6.1.4.1.25178.1.2.9"  # schacHomeOrganization


@dataclass(frozen=True)
class RealmKey:
    """A signing key of a realm.

    Attributes:
        pem: the private key.
        certificate: PEM, too.
        kid: its name in Keycloak's key set.
    """

    pem: str
    certificate: str
    kid: str

    @classmethod
    def made(cls, name: str) -> RealmKey:
        """A new RSA key."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        certificate = builder.not_valid_after(now + datetime.timedelta(days=30)).sign(key, hashes.SHA256())
        unprotected = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unprotected).decode()
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        kid = base64.urlsafe_b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")
        return cls(pem, certificate.public_bytes(serialization.Encoding.PEM).decode(), kid)

    def provider(self, name: str, priority: int) -> Plain:
        """The realm's component that holds it; the highest priority signs."""
        config = {"privateKey": self.pem, "certificate": self.certificate, "priority": str(priority)}
        config |= {"enabled": "true", "active": "true", "algorithm": "RS256"}
        return {"name": name, "providerId": "rsa", "config": {key: [value] for key, value in config.items()}}


@dataclass(frozen=True)
class RealmKeys:
    """The keys of one realm: ``signing`` signs, ``older`` is in the key set as well and signed before."""

    signing: RealmKey
    older: RealmKey

    def components(self) -> list[Plain]:
        """The realm's key providers."""
        names = ("hmac-generated", "aes-generated")
        generated: list[Plain] = [{"name": name, "providerId": name, "config": {}} for name in names]
        return [self.signing.provider("signing", 200), self.older.provider("older", 100), *generated]


def filled(plain: Any, environment: Mapping[str, str]) -> Any:
    """Put the environment's values for ``${NAME}``, as Keycloak does where it imports a file (but not over REST)."""
    text = re.sub(r"\$\{([A-Z_]+)\}", lambda found: environment.get(found[1], found[0]), json.dumps(plain))
    return json.loads(text)


def shipped_realm() -> Plain:
    """The realm that is shipped, with its placeholders."""
    realm: Plain = json.loads(SHIPPED.read_text())
    return realm


def shipped_client(client_id: str, hub_url: str) -> Plain:
    """The shipped client under another id and for one hub; a loopback address without a port stands for every port.

    Args:
        client_id: the new id.
        hub_url: where browsers and Keycloak reach the hub.
    """
    client = renamed(shipped_realm()["clients"][0], client_id)
    client = filled(client, {"NBPLATFORM_PUBLIC_URL": hub_url, "NBPLATFORM_CLIENT_SECRET": CLIENT_SECRET})
    return dict(client)


def renamed(plain: Any, client_id: str) -> Any:
    """Put another client id for ``jupyterhub`` where it stands alone or in a claim's path."""
    match plain:
        case dict():
            return {key: renamed(value, client_id) for key, value in plain.items()}
        case list():
            return [renamed(value, client_id) for value in plain]
        case "jupyterhub":
            return client_id
        case "resource_access.jupyterhub.roles":
            return f"resource_access.{client_id}.roles"
    return plain


def person(name: str, password: str | None = None, *, realm: str = "site", **more: Any) -> Plain:
    """A user as Keycloak's import and REST API take it.

    Args:
        name: user name.
        password: ``NAME-pw`` when None.
        realm: whose default roles they get; Keycloak gives imported users none by itself.
        more: ``attributes`` (values are text, numbers or lists of these), ``groups`` (names), and other fields.
    """
    attributes = more.pop("attributes", {})
    groups: Sequence[str] = more.pop("groups", ())
    return {
        "username": name,
        "enabled": True,
        "email": f"{name}@{realm}.example",
        "emailVerified": True,
        "firstName": name.title(),
        "lastName": "Test",
        "credentials": [{"type": "password", "value": password or f"{name}-pw", "temporary": False}],
        "attributes": {key: texts(value) for key, value in attributes.items()},
        "groups": [f"/{group}" for group in groups],
        "realmRoles": [f"default-roles-{realm}"],
        **more,
    }


def texts(value: object) -> list[str]:
    """A user attribute's values."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def posix(uid: int, gid: int = 61000, gids: Sequence[int] = (), valid_until: str = FOREVER) -> Plain:
    """The attributes from which the hub makes an identity."""
    return {"uid_number": uid, "gid_number": gid, "gids": list(gids), "valid_until": valid_until}


def people(realm: str) -> list[Plain]:
    """The users of the site; passwords are ``NAME-pw``."""
    return [
        person("alice", attributes=posix(62101, gids=[61100]), groups=["atlas"], realm=realm),
        person("bob", attributes=posix(62102), realm=realm),
        person("carol", attributes=posix(62103, gids=[61100, 61101]), groups=["atlas", "cms"], realm=realm),
        person("lapsed", attributes=posix(62104, valid_until="2020-01-01T00:00:00Z"), realm=realm),
        person("nouid", realm=realm),
    ]


def site_realm(name: str, keys: RealmKeys, federation: str) -> Plain:
    """The shipped realm with users, keys and identity providers; its placeholders are left.

    Args:
        name: of the realm.
        keys: its signing keys.
        federation: address of the realm that stands for the federation.
    """
    realm = copy.deepcopy(shipped_realm())
    realm["realm"] = name
    realm["components"]["org.keycloak.keys.KeyProvider"] = keys.components()
    realm["groups"] = [{"name": group} for group in GROUPS]
    realm["users"] = people(name)
    realm["identityProviders"] = [saml_provider(name, federation), oidc_provider(federation)]
    realm["identityProviderMappers"] = [*saml_mappers(), *oidc_mappers()]
    return realm


def edugain_realm(name: str, keys: RealmKeys, sites: Sequence[str]) -> Plain:
    """The realm that stands for the federation; passwords of its users are ``NAME-home-pw``.

    Args:
        name: of the realm.
        keys: its signing keys.
        sites: realms that may have their users log in here.
    """
    profile = {
        "attributes": [
            {"name": one, "permissions": {"view": ["admin", "user"], "edit": ["admin"]}}
            for one in ("username", "email", "firstName", "lastName", "home_organisation")
        ]
    }
    users = {"a.smith": "uni-a", "bob": "uni-b", "carol": "uni-c", "stranger": "uni-z"}
    return {
        "realm": name,
        "enabled": True,
        "displayName": "EduGain",
        "sslRequired": "external",
        "components": {
            "org.keycloak.keys.KeyProvider": keys.components(),
            "org.keycloak.userprofile.UserProfileProvider": [
                {"providerId": "declarative-user-profile", "config": {"kc.user.profile.config": [json.dumps(profile)]}}
            ],
        },
        "users": [
            person(
                user,
                f"{user}-home-pw",
                realm=name,
                attributes={"home_organisation": f"https://idp.{organisation}.example/entity"},
            )
            for user, organisation in users.items()
        ],
        "clients": [*(saml_client(site) for site in sites), oidc_client(sites)],
    }


def saml_client(site: str) -> Plain:
    """A site realm as the federation's SAML service provider."""
    return {
        "clientId": saml_entity(site),
        "enabled": True,
        "protocol": "saml",
        "frontchannelLogout": True,
        "fullScopeAllowed": False,
        "redirectUris": ["http://127.0.0.1:*"],
        "attributes": {
            "saml.authnstatement": "true",
            "saml.server.signature": "true",
            "saml.assertion.signature": "true",
            "saml.client.signature": "false",
            "saml.force.post.binding": "true",
            "saml.signature.algorithm": "RSA_SHA256",
            "saml_name_id_format": "persistent",
            "saml_force_name_id_format": "true",
        },
        "protocolMappers": [
            {
                "name": "home organisation",
                "protocol": "saml",
                "protocolMapper": "saml-user-attribute-mapper",
                "config": {
                    "user.attribute": "home_organisation",
                    "attribute.name": ENTITY_OID,
                    "attribute.nameformat": "URI Reference",
                    "friendly.name": HOME,
                },
            }
        ],
    }


def oidc_client(sites: Sequence[str]) -> Plain:
    """The site realms as the federation's OpenID Connect client."""
    return {
        "clientId": "site-broker",
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "secret": BROKER_SECRET,
        "standardFlowEnabled": True,
        "redirectUris": [f"http://127.0.0.1/realms/{site}/broker/edugain-oidc/endpoint" for site in sites],
        "attributes": {"pkce.code.challenge.method": "S256"},
        "protocolMappers": [
            {
                "name": "home organisation",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-usermodel-attribute-mapper",
                "config": {
                    "user.attribute": "home_organisation",
                    "claim.name": "home_organisation",
                    "jsonType.label": "String",
                    "id.token.claim": "true",
                    "access.token.claim": "true",
                    "userinfo.token.claim": "true",
                },
            }
        ],
    }
