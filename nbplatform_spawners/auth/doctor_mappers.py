"""Which mappers a client must have so that its tokens say what the hub reads, and the JSON of those that are missing.

Pure: what Keycloak's admin API answered comes in, findings go out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..names import bounded
from .doctor_report import Finding, Level

_ATTRIBUTE = "oidc-usermodel-attribute-mapper"
_NOTE = "oidc-usersessionmodel-note-mapper"
_GROUPS = "oidc-group-membership-mapper"
_REALM_ROLES = "oidc-usermodel-realm-role-mapper"
_CLIENT_ROLES = "oidc-usermodel-client-role-mapper"
_IN_CONSOLE = {
    _ATTRIBUTE: "User Attribute",
    _NOTE: "User Session Note",
    _GROUPS: "Group Membership",
    _REALM_ROLES: "User Realm Role",
    _CLIENT_ROLES: "User Client Role",
}
"""What the admin console calls each kind under "By configuration"."""
_LEFT_OUT = "leaves it out of the ID token, which is all that the hub reads"
_WHOLE = frozenset({"int", "long"})
_READABLE = {"number": _WHOLE | {"String"}, "text": frozenset({"String", ""})}
PROVIDER_NOTE, SUBJECT_NOTE = "identity_provider", "identity_provider_identity"
"""Session notes in which Keycloak keeps the broker of a login, and the name that the person has there."""


@dataclass(frozen=True)
class Wanted:
    """A claim that the hub reads.

    Attributes:
        field: what it is for: ``uid``, ``groups``, ….
        claim: its dotted path in the token.
        kind: ``number`` or ``text``: what each value is.
        several: it is a list.
        mapper: Keycloak's kind of the mapper that is proposed where none is there.
        source: user attribute or session note that the proposed mapper copies.
        level: what it is when the claim is missing.
        without: what happens without it.
    """

    field: str
    claim: str
    kind: str = "text"
    several: bool = False
    mapper: str = _ATTRIBUTE
    source: str = ""
    level: Level = "FAILED"
    without: str = ""


def attribute(field: str, claim: str, **more: Any) -> Wanted:
    """Return a claim that copies a user attribute, the one of its last name unless ``source`` says another."""
    return Wanted(field, claim, **{"source": claim.rpartition(".")[2], **more})


def note(field: str, claim: str, source: str, without: str) -> Wanted:
    """Return a claim that copies a note of the login session; see ``Wanted``."""
    return Wanted(field, claim, mapper=_NOTE, source=source, without=without)


def groups(claim: str, level: Level, without: str) -> Wanted:
    """Return the claim with the names of the user's groups; see ``Wanted``."""
    return Wanted("groups", claim, several=True, mapper=_GROUPS, level=level, without=without)


def roles(client: str | None, without: str) -> Wanted:
    """Return the claim with the realm's roles, or with those of a client; see ``Wanted``."""
    if client is None:
        return Wanted("roles", "realm_access.roles", several=True, mapper=_REALM_ROLES, without=without)
    claim = f"resource_access.{client}.roles"
    return Wanted("roles", claim, several=True, mapper=_CLIENT_ROLES, source=client, without=without)


def proposal(wanted: Wanted) -> dict[str, Any]:
    """Return the mapper to add, as ``POST …/clients/ID/protocol-mappers/models`` takes it."""
    config = {
        "claim.name": wanted.claim,
        "id.token.claim": "true",
        "access.token.claim": "false",
        "userinfo.token.claim": "false",
    }
    if wanted.mapper == _GROUPS:
        config["full.path"] = "true"
    else:
        config["jsonType.label"] = "long" if wanted.kind == "number" else "String"  # int ends at 2**31
    if wanted.mapper == _ATTRIBUTE:
        config |= {"user.attribute": wanted.source, "multivalued": _flag(wanted.several), "aggregate.attrs": "false"}
    elif wanted.mapper == _NOTE:
        config["user.session.note"] = wanted.source
    elif wanted.mapper in (_REALM_ROLES, _CLIENT_ROLES):
        config["multivalued"] = "true"
    if wanted.mapper == _CLIENT_ROLES:
        config["usermodel.clientRoleMapping.clientId"] = wanted.source
    return {
        "name": f"nbplatform {wanted.claim}",
        "protocol": "openid-connect",
        "protocolMapper": wanted.mapper,
        "config": config,
    }


def judge_mappers(wanted: Iterable[Wanted], mappers: Sequence[Mapping[str, Any]], client_id: str) -> list[Finding]:
    """Return one finding for each claim that the hub reads.

    Args:
        wanted: the claims.
        mappers: the client's own mappers and those of the scopes that its logins have, as the admin API lists them.
        client_id: of the hub's client.
    """
    return [_judge(one, [mapper for mapper in mappers if _makes(mapper, one, client_id)], client_id) for one in wanted]


def _makes(mapper: Mapping[str, Any], wanted: Wanted, client_id: str) -> bool:
    name = str(mapper.get("config", {}).get("claim.name", "")).replace("\\.", ".").replace("${client_id}", client_id)
    return bool(wanted.claim) and name == wanted.claim


def _judge(wanted: Wanted, found: Sequence[Mapping[str, Any]], client_id: str) -> Finding:
    check = f"claim {wanted.field}"
    if not found:
        said = f"no mapper makes the claim {wanted.claim}"
        text = f"{said}: {wanted.without}" if wanted.without else said
        return Finding(wanted.level, check, text, _where_to_add(wanted, client_id), _lines(wanted))
    problems = [problem for mapper in found if (problem := _problem(mapper, wanted))]
    if len(problems) == len(found):
        said, todo = problems[0]
        text = f"the mapper {bounded(found[0].get('name', ''))} {said}"
        if said != _LEFT_OUT:
            return Finding("FAILED", check, text, todo)
        return Finding("FAILED", check, text, f"{todo}, or {_where_to_add(wanted, client_id)}", _lines(wanted))
    return Finding("ok", check, f"the mapper {bounded(found[0].get('name', ''))} makes {wanted.claim}")


def _problem(mapper: Mapping[str, Any], wanted: Wanted) -> tuple[str, str] | None:
    """Return what is wrong with a mapper of the right claim and what to do, or None."""
    config = mapper.get("config", {})
    if config.get("id.token.claim") != "true":
        return _LEFT_OUT, "switch on 'Add to ID token' in it"
    if mapper.get("protocolMapper") not in (_ATTRIBUTE, _NOTE):
        return None  # the others make what they are called
    label = config.get("jsonType.label", "")
    if label not in _READABLE[wanted.kind]:
        want = "long" if wanted.kind == "number" else "String"
        return f"makes {wanted.claim} as {bounded(label)}", f"set its 'Claim JSON Type' to {want}"
    if wanted.several and config.get("multivalued") != "true":
        return f"makes {wanted.claim} a single value", "switch on 'Multivalued' in it"
    if not wanted.several and config.get("multivalued") == "true":
        return f"makes {wanted.claim} a list", "switch off 'Multivalued' in it"
    return None


def _where_to_add(wanted: Wanted, client_id: str) -> str:
    kind = _IN_CONSOLE[wanted.mapper]
    return (
        f"add it under Clients > {client_id} > Client scopes > {client_id}-dedicated > Add mapper > By configuration"
        f" > {kind}, or POST this to …/clients/ID/protocol-mappers/models"
    )


def _lines(wanted: Wanted) -> tuple[str, ...]:
    return tuple(json.dumps(proposal(wanted), indent=2).split("\n"))


def _flag(value: bool) -> str:
    return str(value).lower()


def attributes_of(wanted: Iterable[Wanted], mappers: Sequence[Mapping[str, Any]], client_id: str) -> dict[str, str]:
    """Return the user attributes that claims are copied from: name of the attribute to the claim's field."""
    return {
        str(mapper["config"].get("user.attribute", "")): one.field
        for one in wanted
        for mapper in mappers
        if mapper.get("protocolMapper") == _ATTRIBUTE and _makes(mapper, one, client_id)
    }
