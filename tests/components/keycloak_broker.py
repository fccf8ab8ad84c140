"""The federation as the site's realm sees it: two identity providers of Keycloak, and what they bring along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

BROKER_SECRET = "site-broker-secret"
HOME = "schacHomeOrganization"
"""Friendly name of the attribute with the entity ID of a person's organisation."""

Plain = dict[str, Any]


def saml_provider(realm: str, federation: str) -> Plain:
    """The federation as a SAML identity provider of a realm."""
    config = {
        "entityId": saml_entity(realm),
        "idpEntityId": federation,
        "singleSignOnServiceUrl": f"{federation}/protocol/saml",
        "nameIDPolicyFormat": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
        "principalType": "SUBJECT",
        "postBindingResponse": "true",
        "postBindingAuthnRequest": "false",
        "wantAuthnRequestsSigned": "true",
        "wantAssertionsSigned": "true",
        "validateSignature": "true",
        "useMetadataDescriptorUrl": "true",
        "metadataDescriptorUrl": f"{federation}/protocol/saml/descriptor",
        "signatureAlgorithm": "RSA_SHA256",
        "xmlSigKeyInfoKeyNameTransformer": "KEY_ID",
        "allowedClockSkew": "5",
        "syncMode": "FORCE",
    }
    return broker("edugain-saml", "EduGain (SAML)", "saml", config)


def oidc_provider(federation: str) -> Plain:
    """The federation as an OpenID Connect identity provider of a realm."""
    endpoints = f"{federation}/protocol/openid-connect"
    config = {
        "issuer": federation,
        "authorizationUrl": f"{endpoints}/auth",
        "tokenUrl": f"{endpoints}/token",
        "userInfoUrl": f"{endpoints}/userinfo",
        "jwksUrl": f"{endpoints}/certs",
        "logoutUrl": f"{endpoints}/logout",
        "useJwksUrl": "true",
        "validateSignature": "true",
        "pkceEnabled": "true",
        "pkceMethod": "S256",
        "clientId": "site-broker",
        "clientSecret": BROKER_SECRET,
        "clientAuthMethod": "client_secret_post",
        "defaultScope": "openid profile email",
        "syncMode": "FORCE",
    }
    return broker("edugain-oidc", "EduGain (OpenID Connect)", "keycloak-oidc", config)


def broker(alias: str, title: str, kind: str, config: Mapping[str, str]) -> Plain:
    """An identity provider whose users are let through to the hub."""
    return {
        "alias": alias,
        "displayName": title,
        "providerId": kind,
        "enabled": True,
        "trustEmail": False,
        "storeToken": False,
        "firstBrokerLoginFlowAlias": "first login of a federated user",
        "config": dict(config),
    }


def saml_mappers() -> list[Plain]:
    """What the site takes from the federation's SAML assertions: no claim of its own can be made of an attribute."""
    kind = "saml-username-idp-mapper"
    return [
        idp_mapper("edugain-saml", "local name", kind, template="${ALIAS}.${NAMEID}", target="LOCAL"),
        idp_mapper(
            "edugain-saml", "subject", kind, template=f"${{ATTRIBUTE.{HOME}}}!${{NAMEID}}", target="BROKER_USERNAME"
        ),
    ]


def oidc_mappers() -> list[Plain]:
    """What the site takes from the federation's tokens, into the session; without the second, the subject is a name."""
    kind = "oidc-username-idp-mapper"
    return [
        idp_mapper("edugain-oidc", "local name", kind, template="${ALIAS}.${CLAIM.sub}", target="LOCAL"),
        idp_mapper("edugain-oidc", "subject", kind, template="${CLAIM.sub}", target="BROKER_USERNAME"),
        idp_mapper(
            "edugain-oidc",
            "home organisation",
            "oidc-user-session-note-idp-mapper",
            **{"are.claim.values.regex": "true", "claims": json.dumps([{"key": "home_organisation", "value": ".+"}])},
        ),
    ]


def idp_mapper(alias: str, name: str, kind: str, **config: str) -> Plain:
    """One mapper of an identity provider, which works at each login."""
    return {
        "name": name,
        "identityProviderAlias": alias,
        "identityProviderMapper": kind,
        "config": {"syncMode": "FORCE", **config},
    }


def saml_entity(realm: str) -> str:
    """Entity ID of a site realm as the federation knows it."""
    return f"https://{realm}.example/saml"
