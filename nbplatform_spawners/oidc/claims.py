"""What a verified token says of a person, typed: missing is not empty, and a wrong type is never ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ..identity import MAX_ID
from ..names import bounded
from .refusals import LoginProblem

_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
_FIELD = re.compile(r"\{([a-z_]*)\}")
MAX_TEXT = 1024
"""Characters that one text of a claim may have."""
MAX_ENTRIES = 4096
"""Entries that one list may have."""


@dataclass(frozen=True)
class ClaimNames:
    """Where a token says what: claim names, with dots between nested ones; empty where a site has no such claim.

    Attributes:
        username, uid, gid, gids, groups, home, shell, valid_until: of the account; see ``Claims``.
        provider: alias of the identity provider that was brokered.
        subject: who the person is there.
        home_organisation: entity ID of the home organisation, where many come through one broker.
        subject_template: how the subject is composed from ``{subject}``, ``{home_organisation}``, ``{provider}``.
    """

    username: str = "preferred_username"
    uid: str = "uid_number"
    gid: str = "gid_number"
    gids: str = "gids"
    groups: str = "groups"
    home: str = ""
    shell: str = ""
    valid_until: str = "valid_until"
    provider: str = "identity_provider"
    subject: str = "identity_provider_subject"
    home_organisation: str = ""
    subject_template: str = "{subject}"


@dataclass(frozen=True)
class Claims:
    """What one verified token says; None, or empty, where it says nothing.

    Attributes:
        sub: the person at the issuer, for ever.
        sid: the login session at the issuer.
        username: the name there.
        uid, gid: numbers of the account.
        gids: numbers of supplementary groups.
        groups: names of groups.
        home, shell: paths.
        valid_until: aware; the account ends then.
        provider: alias of the identity provider that was brokered; None for a local login.
        subject: who the person is there, composed; None exactly when ``provider`` is.
        roles: realm roles by their name, client roles as ``CLIENT:NAME``.
    """

    sub: str
    sid: str | None = None
    username: str | None = None
    uid: int | None = None
    gid: int | None = None
    gids: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    home: str | None = None
    shell: str | None = None
    valid_until: datetime | None = None
    provider: str | None = None
    subject: str | None = None
    roles: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the plain dict that is kept in ``auth_state["keycloak"]["claims"]``."""
        plain = asdict(self)
        plain["valid_until"] = self.valid_until.isoformat() if self.valid_until else None
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def read_claims(payload: Mapping[str, Any], names: ClaimNames) -> Claims:
    """Return what the payload of a verified token says.

    Args:
        payload: of an id_token.
        names: where to look.

    Raises:
        LoginProblem: ``claims``: something that is there has the wrong type, or ``sub`` is missing; names the claim.
    """
    provider = _text(payload, names.provider)
    sub = _text(payload, "sub")
    if sub is None:
        raise _wrong("sub", "is missing")
    return Claims(
        sub=sub,
        sid=_text(payload, "sid"),
        username=_text(payload, names.username),
        uid=_number(payload, names.uid),
        gid=_number(payload, names.gid),
        gids=tuple(_whole(names.gids, entry) for entry in _entries(payload, names.gids)),
        groups=tuple(_group(names.groups, entry) for entry in _entries(payload, names.groups)),
        home=_text(payload, names.home),
        shell=_text(payload, names.shell),
        valid_until=_time(payload, names.valid_until),
        provider=provider,
        subject=_subject(payload, names, provider) if provider is not None else None,
        roles=_roles(payload),
    )


def claims_from_dict(plain: object) -> Claims:
    """Return the claims that ``Claims.to_dict`` made plain.

    Raises:
        LoginProblem: ``claims``: they are unreadable.
    """
    try:
        fields: dict[str, Any] = dict(plain)  # type: ignore[call-overload]
        until = fields.get("valid_until")
        fields["valid_until"] = datetime.fromisoformat(until) if until else None
        fields.update({key: tuple(value) for key, value in fields.items() if isinstance(value, list)})
        return Claims(**fields)
    except (TypeError, ValueError) as error:
        raise LoginProblem("claims", "what is stored of your login is unreadable; log in again") from error


def template_problem(template: str) -> str | None:
    """Return why ``template`` composes no subject, or None."""
    fields = _FIELD.findall(template)
    if {*fields} - {"subject", "home_organisation", "provider"} or "subject" not in fields:
        return "it has {subject}, and may have {home_organisation} and {provider}"
    if "}{" in template:
        return "something must stand between two of its fields, such as '!'"
    return None


def _find(payload: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, None where there is none; a claim whose own name has dots comes first."""
    if not path:
        return None
    if path in payload:
        return payload[path]
    found: Any = payload
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def _text(payload: Mapping[str, Any], path: str) -> str | None:
    found = _find(payload, path)
    return None if found is None else _checked_text(path, found)


def _checked_text(path: str, found: object) -> str:
    if not isinstance(found, str) or not 0 < len(found) <= MAX_TEXT or not found.isprintable():
        raise _wrong(path, f"is {bounded(found)}, not printable text of 1 to {MAX_TEXT} characters")
    return found


def _number(payload: Mapping[str, Any], path: str) -> int | None:
    found = _find(payload, path)
    return None if found is None else _whole(path, found)


def _whole(path: str, found: object) -> int:
    if isinstance(found, str) and _NUMBER.fullmatch(found):
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found <= MAX_ID:
        raise _wrong(path, f"is {bounded(found)}, not a whole number from 1 to {MAX_ID}")
    return found


def _entries(payload: Mapping[str, Any], path: str) -> list[Any]:
    found = _find(payload, path)
    if found is None:
        return []
    if not isinstance(found, list) or len(found) > MAX_ENTRIES:
        raise _wrong(path, f"is {bounded(found)}, not a list of at most {MAX_ENTRIES} entries")
    return found


def _group(path: str, found: object) -> str:
    """Return a group's name; Keycloak's mapper writes the path ``/name`` when it is told to."""
    text = _checked_text(path, found)
    return text[1:] if text.startswith("/") and "/" not in text[1:] else text


def _time(payload: Mapping[str, Any], path: str) -> datetime | None:
    """Return a time: ISO 8601 with an offset, or seconds since 1970."""
    found = _find(payload, path)
    if found is None:
        return None
    try:
        if isinstance(found, int) and not isinstance(found, bool):
            return datetime.fromtimestamp(found, UTC)
        time = datetime.fromisoformat(found)
        if time.tzinfo is not None:
            return time
    except (TypeError, ValueError, OverflowError, OSError):
        pass
    raise _wrong(path, f"is {bounded(found)}, neither a time with date and offset nor seconds since 1970")


def _subject(payload: Mapping[str, Any], names: ClaimNames, provider: str) -> str:
    """Return who a brokered person is; every part that the template names must be there.

    A part must not hold the character that ends it in the template, or two people could be composed alike.
    """
    parts = {"provider": provider}
    for field, path in (("subject", names.subject), ("home_organisation", names.home_organisation)):
        found = _text(payload, path)
        if found is not None:
            parts[field] = found

    def part(field: re.Match[str]) -> str:
        if field[1] not in parts:
            path = names.subject if field[1] == "subject" else names.home_organisation
            raise _wrong(path or field[1], f"is missing; a login through {bounded(provider)} needs it")
        end = names.subject_template[field.end() : field.end() + 1]
        if end and end in parts[field[1]]:
            raise _wrong(field[1], f"is {bounded(parts[field[1]])}; it must not hold {end!r}, which ends it")
        return parts[field[1]]

    return _FIELD.sub(part, names.subject_template)


def _roles(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Return realm and client roles as Keycloak's own mappers write them."""
    found = [_checked_text("realm_access.roles", role) for role in _entries(payload, "realm_access.roles")]
    clients = payload.get("resource_access", {})
    if not isinstance(clients, Mapping):
        raise _wrong("resource_access", f"is {bounded(clients)}, not an object")
    for client, access in clients.items():
        path = f"resource_access.{bounded(client)}.roles"
        roles = access.get("roles", []) if isinstance(access, Mapping) else None
        if not isinstance(roles, list):
            raise _wrong(path, f"is {bounded(roles)}, not a list")
        found += [f"{client}:{_checked_text(path, role)}" for role in roles]
    return tuple(found)


def _wrong(path: str, why: str) -> LoginProblem:
    return LoginProblem("claims", f"the claim {path} {why}")
