"""What the LDAP tests have in their directories, and the settings that ask for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nbplatform_spawners.accounts.directory import AccountDirectory, open_directory
from nbplatform_spawners.identity import IdRange
from tests.components.slapd import BASE, SERVICE, Item, Slapd, group, group_of_names, person, unit

TWINS = f"ou=twins,{BASE}"
REFERRING = f"ou=referring,{BASE}"
EMPTY = f"ou=empty,{BASE}"
IDP = "https://idp.example.org/shibboleth"
MEMBERS = {"users": ("alice",), "atlas": ("alice", "bob"), "Domain Users": ("alice",), "docker": ("alice",)}
GIDS = {"users": 61000, "atlas": 61100, "Domain Users": 61200, "docker": 998}
NIS, BIS = "RFC 2307", "RFC 2307bis"


def people() -> list[Item]:
    """Return the persons of either schema; each is there for one rule."""
    return [
        person("alice", 62001, 61000, linkProvider="edugain", linkSubject=f"{IDP}!{IDP}!Abc123=", shadowExpire="-1"),
        person("bob", 62002, 61000, shadowExpire="99999"),
        person("lapsed", 62003, 61000, shadowExpire="18262"),
        person("Upper", 62004, 61000),
        person("zero", 0, 61000),
        person("nowhere", 62006, 61000, homeDirectory="home/nowhere"),
        person("star", 62007, 61900),
        person("locked", 62008, 61000, nsAccountLock="TRUE"),
        person("ticks", 62009, 61000, accountExpires="132223104000000000"),
        person("stamped", 62010, 61000, endsAt="20200101000000Z", endsAtSecond="4102444800"),
        person("pair1", 62011, 61000, linkProvider="edugain", linkSubject="shared"),
        person("pair2", 62012, 61000, linkProvider="edugain", linkSubject="shared"),
        person("alias", 62013, 61000, uid=["alias", "second"]),
        unit(TWINS),
        unit(f"ou=a,{TWINS}"),
        unit(f"ou=b,{TWINS}"),
        person("twin", 62021, 61000, under=f"ou=a,{TWINS}"),
        person("twin", 62022, 61000, under=f"ou=b,{TWINS}"),
        unit(EMPTY),
        unit(REFERRING),
        person("here", 62031, 61000, under=REFERRING),
    ]


def referral(to: str) -> Item:
    """Return an entry that says that more is on another server."""
    classes = ["referral", "extensibleObject"]
    return Item(f"ou=elsewhere,{REFERRING}", {"objectClass": classes, "ou": "elsewhere", "ref": f"{to}/{BASE}"})


def groups(schema: str) -> list[Item]:
    """Return the groups, their members by name or by distinguished name; the primary group has none."""
    named = {**MEMBERS, "users": ()}
    if schema == NIS:
        return [group(name, GIDS[name], members) for name, members in named.items()]
    return [group_of_names(name, GIDS[name], members) for name, members in named.items()]


def settings_for(server: Slapd, **changed: Any) -> dict[str, Any]:
    """Return settings that ask a server over TLS; ``changed`` replaces keys, ``None`` takes one away."""
    settings = {
        "servers": [server.ldaps],
        "ca_file": str(server.ca),
        "bind_dn": SERVICE,
        "bind_password_file": str(server.password_file),
        "timeout": "2s",
        "cache": "0s",
        "accounts": {
            "base": f"ou=people,{BASE}",
            "federated": "(&(linkProvider={provider})(linkSubject={subject}))",
        },
        "groups": {"base": f"ou=groups,{BASE}"},
    }
    return {key: value for key, value in {**settings, **changed}.items() if value is not None}


def accounts(base: str = f"ou=people,{BASE}", **more: Any) -> dict[str, Any]:
    """Return the section about accounts."""
    return {"base": base, **more}


def write_settings(folder: Path, settings: Mapping[str, Any]) -> str:
    """Write a settings file; return what names the directory."""
    path = folder / "directory.yaml"
    path.write_text(yaml.safe_dump(dict(settings)))
    return f"ldap:{path}"


def directory_of(folder: Path, settings: Mapping[str, Any], gids: Sequence[int] = (1000, 70000)) -> AccountDirectory:
    """Return the directory that a hub with this range of gids would have."""
    allowed = IdRange(gid_min=gids[0], gid_max=gids[1])
    return open_directory(write_settings(folder, settings), allowed, logging.getLogger("nbplatform"))
