"""What anybody with the client's secret can see of a realm: by the same requests as the hub's and a browser's."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..names import bounded
from ..oidc.refusals import LoginProblem
from .doctor_report import Finding
from .doctor_wire import Page, Wire
from .keycloak_answers import GrantRefused, KeycloakUnavailable, Metadata, read_keys, read_object
from .keycloak_provider import Provider

_NEARLY = 0.5  # of the leeway: clocks that differ by more will soon differ by too much
_ELSEWHERE = "https://elsewhere.invalid/hub/oauth_callback"  # RFC 6761: nobody can have it
_SETTINGS = "Settings > Capability config"


@dataclass(frozen=True)
class Asked:
    """What the hub asks of Keycloak.

    Attributes:
        callback: the hub's ``oauth_callback``.
        after_logout: where a browser goes after a logout; empty when it is not asked for.
        scope: what a login asks for, separated by spaces.
        extra: further parameters of a login.
    """

    callback: str
    after_logout: str
    scope: str
    extra: Mapping[str, str]


class PublicChecks:
    """Checks that need no administrator.

    Args:
        provider: the realm, as the hub sees it; its requests go through ``wire``.
        wire: sends requests.
        asked: what the hub asks.
    """

    def __init__(self, provider: Provider, wire: Wire, asked: Asked) -> None:
        self._provider = provider
        self._wire = wire
        self._asked = asked
        self._client = f"Clients > {provider.client_id}"

    async def all(self) -> AsyncIterator[Finding]:
        """Yield the findings; only the first where nothing else can be asked."""
        try:
            metadata = await self._provider.metadata()
        except (KeycloakUnavailable, LoginProblem) as error:
            yield _no_discovery(self._provider.issuer, error)
            return
        yield Finding("ok", "discovery", f"{metadata.issuer} answers and calls itself so")
        yield judge_tls(metadata)
        checks = {
            "keys": self._keys,
            "client secret": self._secret,
            "login page": self._login_page,
            "pkce": self._pkce,
            "flows": self._flows,
            "redirect addresses": self._elsewhere,
            "logout": self._logout,
        }
        for name, check in checks.items():
            try:
                yield await check(metadata)
            except KeycloakUnavailable as error:
                yield Finding("FAILED", name, str(error), "see whether Keycloak and what is in front of it are well")

    async def _keys(self, metadata: Metadata) -> Finding:
        page = await self._wire.page(metadata.jwks_uri)
        keys = read_keys(read_object(page.body.encode(), metadata.jwks_uri, page.status))
        told = ", ".join(f"{bounded(kid, 20)} ({key.algorithm_name})" for kid, key in sorted(keys.items()))
        if "" in keys:
            todo = "give the keys IDs: Realm settings > Keys"
            return Finding("FAILED", "keys", "a key has no ID, so that keys cannot be changed", todo)
        return Finding("ok", "keys", f"{len(keys)} that sign: {told}")

    async def _secret(self, metadata: Metadata) -> Finding:
        try:
            await self._provider.tokens(grant_type="refresh_token", refresh_token="none")  # noqa: S106 - none at all
        except GrantRefused:
            pass  # the client was known, and what it showed is no token
        except LoginProblem:
            todo = f"compare c.KeycloakAuthenticator.client_secret with {self._client} > Credentials"
            return Finding("FAILED", "client secret", "Keycloak refuses the client ID or its secret", todo)
        wrong = {"grant_type": "refresh_token", "refresh_token": "none", "client_secret": secrets.token_urlsafe()}
        page = await self._wire.form(metadata.token_endpoint, {**wrong, "client_id": self._provider.client_id})
        if page.status != 401:
            todo = f"{self._client} > {_SETTINGS}: switch on 'Client authentication'"
            return Finding("FAILED", "client secret", "the client is public: any secret is accepted", todo)
        return Finding("ok", "client secret", "accepted, and another one is not")

    async def _login_page(self, metadata: Metadata) -> Finding:
        page = await self._begin(metadata)
        if _shows_login(page, self._asked.callback):
            return Finding("ok", "login page", f"Keycloak would send codes to {self._asked.callback}")
        said, todo = self._why_no_login(page)
        return Finding("FAILED", "login page", said, todo)

    def _why_no_login(self, page: Page) -> tuple[str, str]:
        """Return what Keycloak said in place of a login page, and what to do."""
        error = page.sent.get("error", "")
        words = bounded(page.sent.get("error_description", "") or error or page.words, 200)
        said = f"no login page, but {page.status}: {words}"
        if "redirect_uri" in words:
            todo = f"{self._client} > Settings > Access settings: add {self._asked.callback} to 'Valid redirect URIs'"
        elif error == "unauthorized_client":
            todo = f"{self._client} > {_SETTINGS}: switch on 'Standard flow'"
        elif error == "invalid_scope":
            todo = f"{self._client} > Client scopes: add what c.KeycloakAuthenticator.scope names, or take it out there"
        elif "code challenge" in words.replace("_", " "):
            todo = f"{self._client} > {_SETTINGS}: set 'PKCE Method' to S256"
        else:
            todo = f"see whether the client {self._provider.client_id} exists in this realm and is switched on"
        return said, todo

    async def _pkce(self, metadata: Metadata) -> Finding:
        page = await self._begin(metadata, pkce=False)
        if "code_challenge" in page.sent.get("error_description", ""):
            return Finding("ok", "pkce", "a login without PKCE is refused")
        if _shows_login(page, self._asked.callback):
            todo = f"{self._client} > {_SETTINGS}: switch on 'Require PKCE' and set 'PKCE Method' to S256"
            return Finding("warning", "pkce", "Keycloak lets logins begin without PKCE; the hub uses it anyhow", todo)
        return Finding("skipped", "pkce", "cannot be told", "mend the login page first")

    async def _flows(self, metadata: Metadata) -> Finding:
        page = await self._begin(metadata, response_type="id_token token")
        where = f"{self._client} > {_SETTINGS}"
        if _shows_login(page, self._asked.callback):
            said = "the implicit flow is on: tokens would travel in addresses"
            return Finding("FAILED", "flows", said, f"{where}: switch off 'Implicit flow'")
        if await self.direct_grants(metadata):
            said = "direct access grants are on: whoever has the client's secret may try passwords without a browser"
            todo = f"{where}: switch off 'Direct access grants'; the hub does not use them"
            return Finding("warning", "flows", said, todo)
        return Finding("ok", "flows", "neither the implicit flow nor direct access grants are on")

    async def direct_grants(self, metadata: Metadata) -> bool:
        """Tell whether the client may ask for tokens with a password; no password is tried."""
        try:
            await self._provider.tokens(grant_type="password")
        except (LoginProblem, GrantRefused):
            return False
        except KeycloakUnavailable as error:
            if "invalid_request" not in str(error):
                raise
            return True  # the user's name is missing: the flow itself is allowed
        return True

    async def _elsewhere(self, metadata: Metadata) -> Finding:
        page = await self._begin(metadata, redirect_uri=_ELSEWHERE)
        if page.status == 400:
            return Finding("ok", "redirect addresses", "codes are not sent to another host")
        todo = f"{self._client} > Settings > Access settings: 'Valid redirect URIs' should hold {self._asked.callback}"
        said = "codes would be sent to any host: whoever lures a user to a link gets in as that user"
        return Finding("FAILED", "redirect addresses", said, f"{todo} alone")

    async def _logout(self, metadata: Metadata) -> Finding:
        if not metadata.end_session_endpoint:
            todo = "without it a logout at the hub leaves the session at Keycloak"
            return Finding("FAILED", "logout", "discovery names no end_session_endpoint", todo)
        if not self._asked.after_logout:
            return Finding("ok", "logout", f"at {metadata.end_session_endpoint}")
        query = {"client_id": self._provider.client_id, "post_logout_redirect_uri": self._asked.after_logout}
        page = await self._wire.page(metadata.end_session_endpoint, **query)
        if page.status < 400:
            return Finding("ok", "logout", f"browsers come back to {self._asked.after_logout}")
        todo = f"{self._client} > Settings > Access settings: add it to 'Valid post logout redirect URIs'"
        said = f"Keycloak does not send browsers back to {self._asked.after_logout} ({page.status}: {page.words})"
        return Finding("FAILED", "logout", said, todo)

    async def _begin(self, metadata: Metadata, *, pkce: bool = True, **other: str) -> Page:
        """Begin a login as the hub does, as far as the first page."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(secrets.token_bytes(32)).digest()).decode().rstrip("=")
        query = {
            **self._asked.extra,
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": self._asked.callback,
            "scope": self._asked.scope,
            "state": secrets.token_urlsafe(),
            "nonce": secrets.token_urlsafe(),
            **({"code_challenge": challenge, "code_challenge_method": "S256"} if pkce else {}),
            **other,
        }
        return await self._wire.page(metadata.authorization_endpoint, **query)


def _shows_login(page: Page, callback: str) -> bool:
    """Tell whether a login begins: Keycloak's page, or straight on to an identity provider."""
    if page.status == 200:
        return True
    return 300 <= page.status < 400 and not page.location.startswith(callback) and "error" not in page.sent


def _no_discovery(issuer: str, error: Exception) -> Finding:
    if isinstance(error, LoginProblem):
        todo = "set c.KeycloakAuthenticator.issuer to what Keycloak calls itself, or its --hostname to what it is here"
        return Finding("FAILED", "discovery", error.message, todo)
    todo = f"open {bounded(f'{issuer}/.well-known/openid-configuration', 250)} from this machine"
    said = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        todo = "give the hub the authority that signed it: c.KeycloakAuthenticator.http_request_kwargs, ca_certs"
    return Finding("FAILED", "discovery", said, todo)


def judge_tls(metadata: Metadata) -> Finding:
    """Return the finding about how passwords and tokens travel."""
    addresses = [metadata.issuer, metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri]
    plain = [address for address in addresses if urlsplit(address).scheme != "https"]
    if not plain:
        return Finding("ok", "tls", "every address is https, and its certificate is trusted")
    said = f"{urlsplit(plain[0]).netloc} is asked over plain HTTP: passwords and tokens can be read on the way"
    todo = "put TLS in front of Keycloak and set its --hostname to the https address"
    return Finding("warning" if all(map(_is_loopback, plain)) else "FAILED", "tls", said, todo)


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def judge_clock(skews: list[float], leeway: float) -> Finding:
    """Return the finding about the clocks.

    Args:
        skews: seconds by which Keycloak's clock was ahead, as each answer told.
        leeway: seconds that the hub allows.
    """
    if not skews:
        todo = "Keycloak tells no time without a token: name an administrator (--admin-user) or use --login"
        return Finding("skipped", "clock", "cannot be told", todo)
    skew = max(skews, key=abs)
    said = f"Keycloak's clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}; {leeway:g} s are allowed"
    todo = "let both machines follow a time server (chrony, systemd-timesyncd)"
    if abs(skew) > leeway:
        return Finding("FAILED", "clock", said, todo)
    if abs(skew) > leeway * _NEARLY:
        return Finding("warning", "clock", said, todo)
    return Finding("ok", "clock", said if round(skew) else "both clocks agree")
