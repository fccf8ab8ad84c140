"""What is right and wrong with a client and a realm, as Keycloak's admin API shows them; the rest, requests tell.

Pure: answers come in, findings go out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..names import bounded
from .doctor_report import Finding

_SEVERAL = "##"  # stands between several addresses in one attribute


@dataclass(frozen=True)
class HubAddresses:
    """The hub's own addresses that Keycloak must know.

    Attributes:
        callback: where a login comes back to.
        backchannel: where Keycloak tells of logouts.
        after_logout: where a browser goes after the logout at Keycloak; empty when it stays there.
    """

    callback: str
    backchannel: str
    after_logout: str


def judge_client(client: Mapping[str, Any], hub: HubAddresses) -> list[Finding]:
    """Return the findings about the settings of a client.

    Args:
        client: a ClientRepresentation.
        hub: the addresses of the hub that uses it.
    """
    where = f"Clients > {client.get('clientId')}"
    return [
        _redirects(client, hub, where),
        *_backchannel(client, hub, where),
        *_after_logout(client, hub, where),
    ]


def _attributes(client: Mapping[str, Any]) -> Mapping[str, Any]:
    found = client.get("attributes")
    return found if isinstance(found, Mapping) else {}


def _redirects(client: Mapping[str, Any], hub: HubAddresses, where: str) -> Finding:
    """Judge the addresses that are registered; whether the hub's own is accepted, a real request tells."""
    addresses = [str(address) for address in client.get("redirectUris") or ()]
    todo = f"{where} > Settings > Access settings: 'Valid redirect URIs' should hold {hub.callback} alone"
    wide = [address for address in addresses if _is_wide(address)]
    if wide:
        said = f"codes would be sent to any address that fits {', '.join(map(bounded, wide))}"
        return Finding("FAILED", "registered addresses", said, todo)
    others = [address for address in addresses if not _fits(address, hub.callback)]
    if addresses and len(others) == len(addresses):
        said = f"{hub.callback} is not registered, but {', '.join(map(bounded, others))}"
        return Finding("FAILED", "registered addresses", said, todo)
    if others:
        said = f"other addresses are registered, too: {', '.join(map(bounded, others))}"
        return Finding("warning", "registered addresses", said, todo)
    if not addresses:
        return Finding("FAILED", "registered addresses", "no address is registered", todo)
    return Finding("ok", "registered addresses", f"registered: {', '.join(map(bounded, addresses))}")


def _is_wide(address: str) -> bool:
    """Tell whether an address is a wildcard that leaves the host, or the whole of its paths, to anybody."""
    parts = urlsplit(address)
    if "*" in parts.netloc or address in ("*", "+"):
        return True
    return bool(parts.netloc) and parts.path in ("*", "/*")


def _fits(registered: str, callback: str) -> bool:
    """Tell whether a registered address stands for the hub's callback: the same, below it, or a loopback one."""
    if registered == callback:
        return True
    one, other = urlsplit(registered), urlsplit(callback)
    loopback = one.hostname in ("127.0.0.1", "::1", "localhost") and one.port is None
    same_host = one.netloc == other.netloc or (loopback and one.hostname == other.hostname)
    if not one.netloc:  # relative: Keycloak puts the client's root address in front
        same_host = True
    if one.path.endswith("*"):
        return same_host and other.path.startswith(one.path[:-1])
    return same_host and one.path == other.path


def _backchannel(client: Mapping[str, Any], hub: HubAddresses, where: str) -> list[Finding]:
    attributes = _attributes(client)
    url = attributes.get("backchannel.logout.url") or ""
    todo = f"{where} > Settings > Logout settings"
    if not url:
        said = "no back-channel logout URL: who is logged out at Keycloak stays logged in at the hub until the refresh"
        return [Finding("FAILED", "back-channel logout", said, f"{todo}: set it to {hub.backchannel}")]
    found = []
    if url != hub.backchannel:
        level, said = "warning", f"the URL is {bounded(url)}, the hub's own address gives {hub.backchannel}"
        if urlsplit(url).path != urlsplit(hub.backchannel).path:
            level = "FAILED"
        found.append(Finding(level, "back-channel logout", said, f"{todo}: correct it, unless it leads there"))  # type: ignore[arg-type]
    if client.get("frontchannelLogout"):
        said = "'Front channel logout' is on: Keycloak does not call the hub when a browser logs out elsewhere"
        found.append(Finding("FAILED", "back-channel logout", said, f"{todo}: switch it off"))
    if attributes.get("backchannel.logout.session.required", "true") != "true":
        said = "logout tokens come without a session: all sessions of the person end at the hub, not that one"
        todo = f"{todo}: switch on 'Backchannel logout session required'"
        found.append(Finding("warning", "back-channel logout", said, todo))
    return found or [Finding("ok", "back-channel logout", f"Keycloak tells {url}")]


def _after_logout(client: Mapping[str, Any], hub: HubAddresses, where: str) -> list[Finding]:
    if not hub.after_logout:
        return []
    registered = _attributes(client).get("post.logout.redirect.uris") or ""
    same = registered in ("", "+")  # Keycloak then takes the addresses of logins
    addresses = client.get("redirectUris") or () if same else str(registered).split(_SEVERAL)
    if any(_is_wide(str(address)) for address in addresses):
        said = "browsers may be sent to any address after a logout"
        todo = f"{where} > Settings > Access settings: 'Valid post logout redirect URIs' should hold the hub's own"
        return [Finding("warning", "logout addresses", said, todo)]
    return []


def judge_realm(realm: Mapping[str, Any]) -> list[Finding]:
    """Return the findings about a realm as a whole; empty where all is well."""
    found = []
    if realm.get("enabled") is False:
        found.append(Finding("FAILED", "realm", "the realm is disabled", "Realm settings: switch it on, top right"))
    if realm.get("editUsernameAllowed"):
        said = "people may change their user names: one who takes a free name gets what the directory has for it"
        todo = "Realm settings > Login: switch off 'Edit username'"
        found.append(Finding("FAILED", "user names", said, todo))
    if realm.get("registrationAllowed"):
        said = "anybody may register with a user name of their choice"
        todo = "Realm settings > Login: switch off 'User registration', or never trust the name of such an account"
        found.append(Finding("FAILED", "user names", said, todo))
    if realm.get("sslRequired") == "none":
        said = "the realm answers without TLS from everywhere"
        todo = "Realm settings > General: set 'Require SSL' to 'External requests'"
        found.append(Finding("FAILED", "realm", said, todo))
    return found or [Finding("ok", "realm", "user names are the administrators' to give")]


def judge_profile(profile: Mapping[str, Any], attributes: Mapping[str, str]) -> list[Finding]:
    """Return the findings about who may change the attributes that claims are copied from.

    Args:
        profile: the realm's user profile (``/users/profile``).
        attributes: name of a user attribute to what its claim is for.
    """
    unmanaged = profile.get("unmanagedAttributePolicy") or "DISABLED"
    entries = {entry.get("name"): entry for entry in profile.get("attributes") or () if isinstance(entry, Mapping)}
    found = [
        finding
        for name, field in sorted(attributes.items())
        if name != "username" and (finding := _judge_attribute(name, field, entries.get(name), unmanaged))
    ]
    if not attributes:
        return []
    return found or [Finding("ok", "user profile", "only administrators may change what the claims are copied from")]


def _judge_attribute(name: str, field: str, entry: Mapping[str, Any] | None, unmanaged: str) -> Finding | None:
    todo = f"Realm settings > User profile > {name}: 'Who can edit?' is Admin alone"
    if entry is None:
        if unmanaged == "ENABLED":
            said = f"people may give themselves the attribute {name}, and so the {field}"
            return Finding("FAILED", "user profile", said, f"declare it: {todo}")
        if unmanaged == "DISABLED":
            said = f"the realm does not keep the attribute {name}: no user can have it"
            return Finding("FAILED", "user profile", said, f"declare it: {todo}")
        return None
    permissions = entry.get("permissions")
    editors = permissions.get("edit") if isinstance(permissions, Mapping) else ()
    if "user" in (editors or ()):
        return Finding("FAILED", "user profile", f"people may change their own {name}, and so the {field}", todo)
    return None
