"""Keycloak's admin API, read only: the client, its mappers, the realm, a user, and the token that they would get."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import jwt

from ..errors import NbplatformError
from ..names import bounded
from .doctor_wire import Wire
from .keycloak_answers import KeycloakUnavailable, read_object

_RIGHTS = "view-clients, view-users, view-realm and view-identity-providers of realm-management"


class AdminRefused(NbplatformError):
    """Keycloak does not let this administrator look; the text is one sentence and says what is needed."""


@dataclass(frozen=True)
class Credentials:
    """Who looks.

    Attributes:
        name: of the administrator, or the ID of a client with a service account.
        secret: password, or the client's secret.
        realm: where they are known.
        service_account: it is a client.
    """

    name: str
    secret: str = field(repr=False)
    realm: str
    service_account: bool = False


class Admin:
    """Reads one realm.

    Args:
        wire: sends the requests.
        base: Keycloak's address, without ``/realms/…``.
        realm: name of the realm, as it stands in the issuer.
    """

    def __init__(self, wire: Wire, base: str, realm: str) -> None:
        self._wire = wire
        self._base = base
        self._realm = realm
        self._token = ""

    async def log_in(self, credentials: Credentials) -> None:
        """Get a token.  Called once, first.

        Raises:
            AdminRefused: wrong credentials.
            KeycloakUnavailable: no answer.
        """
        if credentials.service_account:
            form = {"grant_type": "client_credentials", "client_id": credentials.name}
            form["client_secret"] = credentials.secret
        else:
            form = {"grant_type": "password", "client_id": "admin-cli", "username": credentials.name}
            form["password"] = credentials.secret
        url = f"{self._base}/realms/{quote(credentials.realm, safe='')}/protocol/openid-connect/token"
        begin = time.time()
        page = await self._wire.form(url, form)
        answer = read_object(page.body.encode(), url, page.status)
        if page.status != 200:
            words = bounded(answer.get("error_description") or answer.get("error") or page.status, 200)
            who = f"{bounded(credentials.name)} in the realm {bounded(credentials.realm)}"
            raise AdminRefused(f"Keycloak does not let in {who}: {words}")
        self._token = str(answer.get("access_token", ""))
        self._note_clock(begin)

    def _note_clock(self, begin: float) -> None:
        """Remember when Keycloak says that the token was made; nothing is decided on it but the clock's line."""
        try:
            made = jwt.decode(self._token, options={"verify_signature": False}).get("iat")
        except jwt.PyJWTError:
            return
        if isinstance(made, int | float):
            self._wire.note_time(float(made), begin, time.time())

    async def realm(self) -> Mapping[str, Any]:
        """Return the RealmRepresentation, as far as the administrator may see it."""
        return dict(await self._get(""))

    async def profile(self) -> Mapping[str, Any]:
        """Return the realm's user profile."""
        return dict(await self._get("/users/profile"))

    async def brokers(self) -> list[Mapping[str, Any]]:
        """Return the identity providers that are switched on."""
        return [dict(one) for one in await self._get("/identity-provider/instances") if one.get("enabled", True)]

    async def broker_mappers(self, broker: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the mappers of an identity provider."""
        alias = quote(str(broker["alias"]), safe="")
        return [dict(one) for one in await self._get(f"/identity-provider/instances/{alias}/mappers")]

    async def first_login(self, broker: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the steps of an identity provider's first login."""
        flow = quote(str(broker.get("firstBrokerLoginFlowAlias") or "first broker login"), safe="")
        return [dict(one) for one in await self._get(f"/authentication/flows/{flow}/executions")]

    async def client(self, client_id: str) -> Mapping[str, Any] | None:
        """Return the ClientRepresentation of a client ID; None when there is none."""
        return next((dict(one) for one in await self._get("/clients", clientId=client_id)), None)

    async def mappers(self, client: Mapping[str, Any], scope: str) -> list[Mapping[str, Any]]:
        """Return the client's own mappers and those of the scopes that a login has.

        Args:
            client: its representation.
            scope: what a login asks for, separated by spaces.
        """
        asked = {*scope.split(), *client.get("defaultClientScopes", ())}
        own = list(client.get("protocolMappers") or ())
        scopes = await self._get("/client-scopes")
        return own + [
            one for found in scopes if found.get("name") in asked for one in found.get("protocolMappers") or ()
        ]

    async def user(self, name: str) -> Mapping[str, Any] | None:
        """Return the UserRepresentation of exactly this name; None when there is none."""
        return next((dict(one) for one in await self._get("/users", username=name, exact="true")), None)

    async def federated(self, user_id: str) -> list[Mapping[str, Any]]:
        """Return the user's links to identity providers: ``identityProvider``, ``userId`` and ``userName`` of each."""
        return [dict(one) for one in await self._get(f"/users/{quote(user_id, safe='')}/federated-identity")]

    async def example_id_token(self, client: Mapping[str, Any], user_id: str, scope: str) -> dict[str, Any]:
        """Return the payload of the ID token that a user would get, made by the realm's own mappers.

        It has no signature, and nothing in it that only a login knows: what a session's notes hold.
        """
        path = f"/clients/{quote(str(client['id']), safe='')}/evaluate-scopes/generate-example-id-token"
        return dict(await self._get(path, userId=user_id, scope=scope))

    async def _get(self, path: str, **query: str) -> Any:
        """Return the JSON at a path of the realm.

        Raises:
            AdminRefused: the administrator may not see it.
            KeycloakUnavailable: no answer, or one that is no JSON.
        """
        url = f"{self._base}/admin/realms/{quote(self._realm, safe='')}{path}"
        page = await self._wire.json(f"{url}?{urlencode(query)}" if query else url, self._token)
        if page.status in (401, 403):
            raise AdminRefused(f"this administrator may not see {path or 'the realm'}; they need {_RIGHTS}")
        if page.status != 200:
            raise KeycloakUnavailable(f"{url} answered {page.status}")
        try:
            return json.loads(page.body)
        except ValueError:
            raise KeycloakUnavailable(f"{url} answered with something that is no JSON") from None


def place_of(issuer: str) -> tuple[str, str] | None:
    """Return Keycloak's address and the realm's name of an issuer; None when it is not of Keycloak's form."""
    base, found, realm = issuer.rstrip("/").rpartition("/realms/")
    return (base, realm) if found and realm and "/" not in realm else None
