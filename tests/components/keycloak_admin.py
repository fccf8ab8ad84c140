"""Keycloak's administrator: users, clients, realms, sessions and keys over its REST API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from .keycloak import ADMIN, SITE, Keycloak
from .keycloak_broker import Plain
from .keycloak_realms import person, texts

TIMEOUT = 60.0
FIELDS = frozenset(("password", "attributes", "groups", "enabled", "email", "firstName", "lastName", "requiredActions"))
EARLY = 10.0  # seconds before its end that a token is renewed


class AdminRefused(Exception):
    """Keycloak did not do what its administrator asked; the message holds its answer."""


class Admin:
    """The administrator of one Keycloak.

    Args:
        keycloak: whose.
        host: an issuer's or gate's address that Keycloak takes for its own while it does what is asked, so that the
            logout tokens that it sends have that issuer; its own address when empty.
    """

    def __init__(self, keycloak: Keycloak, host: str = "") -> None:
        self.keycloak = keycloak
        self._session = requests.Session()
        self._session.trust_env = False
        if host:
            self._session.headers["Host"] = urlsplit(host).netloc
        self._until = 0.0

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Send one request below ``/admin/realms`` and return the JSON of the answer, None where it has none.

        Raises:
            AdminRefused: Keycloak refuses.
        """
        return self._sent(method, path, body, query)

    def make_realm(self, realm: Plain) -> None:
        """Make a realm; a file's placeholders are not replaced here (see ``keycloak_realms.filled``)."""
        self.ask("POST", "", realm)

    def remove_realm(self, name: str) -> None:
        """Remove a realm with all that it holds."""
        self.ask("DELETE", f"/{name}")

    def reset_realm(self, realm: Plain) -> None:
        """Remove a realm if it is there and make it anew; its users get new ids unless the realm says them."""
        if any(known["realm"] == realm["realm"] for known in self.ask("GET", "", briefRepresentation="true")):
            self.remove_realm(realm["realm"])
        self.make_realm(realm)

    def set_realm(self, name: str = SITE, **settings: Any) -> None:
        """Change single settings of a realm, such as ``accessTokenLifespan``."""
        self.ask("PUT", f"/{name}", settings)

    def make_user(self, user: Plain, realm: str = SITE) -> str:
        """Make a user (see ``keycloak_realms.person``) and return their id, which is the tokens' ``sub``."""
        self.ask("POST", f"/{realm}/users", {key: value for key, value in user.items() if key != "realmRoles"})
        return self.user_id(user["username"], realm)

    @contextmanager
    def user(self, name: str, realm: str = SITE, **more: Any) -> Iterator[str]:
        """A user who is there while the block runs; gives their id.

        Args:
            name: user name; the password is ``NAME-pw``.
            realm: where.
            more: fields of ``keycloak_realms.person``; every other name is an attribute, such as ``uid_number``.
        """
        fields = {key: more.pop(key) for key in FIELDS & more.keys()}
        fields["attributes"] = {**fields.get("attributes", {}), **more}
        made = self.make_user(person(name, realm=realm, **fields), realm)
        try:
            yield made
        finally:
            self.ask("DELETE", f"/{realm}/users/{made}")

    def user_id(self, name: str, realm: str = SITE) -> str:
        """The id of a user."""
        return str(self._user(name, realm)["id"])

    def set_user(self, name: str, realm: str = SITE, **fields: Any) -> None:
        """Change fields of a user, such as ``enabled=False``."""
        user = self._user(name, realm)
        self.ask("PUT", f"/{realm}/users/{user['id']}", {**user, **fields})

    def set_attributes(self, name: str, realm: str = SITE, **attributes: Any) -> None:
        """Change attributes of a user; None takes one away."""
        user = self._user(name, realm)
        new = {**user.get("attributes", {}), **{key: texts(one) for key, one in attributes.items() if one is not None}}
        for key in (key for key, value in attributes.items() if value is None):
            new.pop(key, None)
        self.ask("PUT", f"/{realm}/users/{user['id']}", {**user, "attributes": new})

    def give_role(self, name: str, role: str, client_id: str = "", realm: str = SITE) -> None:
        """Give a user a role of the realm, or of a client."""
        place = f"clients/{self.client_uuid(client_id, realm)}/roles" if client_id else "roles"
        found = self.ask("GET", f"/{realm}/{place}/{quote(role, safe='')}")
        kind = f"clients/{self.client_uuid(client_id, realm)}" if client_id else "realm"
        self.ask("POST", f"/{realm}/users/{self.user_id(name, realm)}/role-mappings/{kind}", [found])

    def sessions(self, name: str, realm: str = SITE) -> list[Plain]:
        """The sessions of a user; the id of each is the tokens' ``sid``."""
        return list(self.ask("GET", f"/{realm}/users/{self.user_id(name, realm)}/sessions"))

    def end_session(self, sid: str, realm: str = SITE) -> None:
        """End one session; Keycloak tells the clients over the back channel."""
        self.ask("DELETE", f"/{realm}/sessions/{sid}", isOffline="false")

    def logout(self, name: str, realm: str = SITE) -> None:
        """End all sessions of a user; Keycloak tells the clients over the back channel."""
        self.ask("POST", f"/{realm}/users/{self.user_id(name, realm)}/logout")

    def make_client(self, client: Plain, realm: str = SITE) -> None:
        """Make a client, with the roles ``user`` and ``admin`` and the realm's role that the shipped one may see."""
        self.ask("POST", f"/{realm}/clients", client)
        uuid = self.client_uuid(client["clientId"], realm)
        for role in ("user", "admin"):
            self.ask("POST", f"/{realm}/clients/{uuid}/roles", {"name": role})
        operators = self.ask("GET", f"/{realm}/roles/jupyter-operators")
        self.ask("POST", f"/{realm}/clients/{uuid}/scope-mappings/realm", [operators])

    def remove_client(self, client_id: str, realm: str = SITE) -> None:
        """Remove a client."""
        self.ask("DELETE", f"/{realm}/clients/{self.client_uuid(client_id, realm)}")

    def set_client(self, client_id: str, realm: str = SITE, **settings: Any) -> None:
        """Change settings of a client; those in ``attributes`` are added to the ones that it has."""
        uuid = self.client_uuid(client_id, realm)
        client = self.ask("GET", f"/{realm}/clients/{uuid}")
        attributes = {**client["attributes"], **settings.pop("attributes", {})}
        self.ask("PUT", f"/{realm}/clients/{uuid}", {**client, **settings, "attributes": attributes})

    def client_uuid(self, client_id: str, realm: str = SITE) -> str:
        """Keycloak's own id of a client."""
        found = self.ask("GET", f"/{realm}/clients", clientId=client_id)
        if not found:
            raise AdminRefused(f"the realm {realm} has no client {client_id}")
        return str(found[0]["id"])

    def remove_key(self, name: str, realm: str = SITE) -> None:
        """Take a signing key out of a realm: ``signing`` or ``older``."""
        kind = "org.keycloak.keys.KeyProvider"
        found = self.ask("GET", f"/{realm}/components", name=name, type=kind)
        self.ask("DELETE", f"/{realm}/components/{found[0]['id']}")

    def add_key(self, provider: Plain, realm: str = SITE) -> None:
        """Add a signing key to a realm (see ``keycloak_realms.RealmKey.provider``)."""
        uuid = self.ask("GET", f"/{realm}")["id"]
        kind = "org.keycloak.keys.KeyProvider"
        self.ask("POST", f"/{realm}/components", {**provider, "providerType": kind, "parentId": uuid})

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _user(self, name: str, realm: str) -> Plain:
        found = self.ask("GET", f"/{realm}/users", username=name, exact="true")
        if not found:
            raise AdminRefused(f"the realm {realm} has no user {name}")
        return dict(found[0])

    def _sent(self, method: str, path: str, body: Any, query: Plain) -> Any:
        answer = self._checked(method, path, body, query)
        return answer.json() if answer.text else None

    def _checked(self, method: str, path: str, body: Any, query: Plain) -> requests.Response:
        if time.monotonic() > self._until - EARLY:
            self._log_in()
        address = f"{self.keycloak.url}/admin/realms{path}"
        answer = self._session.request(method, address, json=body, params=query, timeout=TIMEOUT)
        if answer.status_code >= 400:
            raise AdminRefused(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def _log_in(self) -> None:
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": ADMIN,
            "password": self.keycloak.password,
        }
        address = f"{self.keycloak.url}/realms/master/protocol/openid-connect/token"
        answer = self._session.post(address, data=form, timeout=TIMEOUT)
        if answer.status_code != 200:
            raise AdminRefused(f"the administrator cannot log in: {answer.status_code} {answer.text[:500]}")
        found = answer.json()
        self._session.headers["Authorization"] = f"Bearer {found['access_token']}"
        self._until = time.monotonic() + found["expires_in"]
