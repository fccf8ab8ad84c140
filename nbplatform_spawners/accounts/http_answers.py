"""What an HTTP account service answers: the JSON of one account, every field of it checked."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from ..errors import Refusal
from ..identity import Account, Identity, IdRange
from ..mounts import clean_path
from ..names import bounded
from ..rules.units import parse_time
from .granted import Granted, granted

MAX_ANSWER = 1024**2
"""Bytes that an answer may have."""
NEEDED = ("name", "uid", "gid", "groups", "home", "shell", "valid_until")
"""The fields of an account; all of them must be there."""


class Garbage(ValueError):
    """An answer is not what an account service says; tells what is wrong with it, never what it holds as a whole."""


def parse_json(content: bytes) -> dict[str, Any]:
    """Return the object that an answer holds.

    Raises:
        Garbage: it is not one JSON object in UTF-8, a key stands in it twice, or it has more than 1 MiB.
    """
    if len(content) > MAX_ANSWER:
        raise Garbage(f"an answer of more than {MAX_ANSWER} bytes")
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Garbage("an answer that is not UTF-8 text") from None
    except Garbage:
        raise
    except (ValueError, RecursionError) as error:
        raise Garbage(f"an answer that is no JSON: {bounded(error)}") from None
    if not isinstance(found, dict):
        raise Garbage("an answer that is no JSON object")
    return found


def read_account(answer: dict[str, Any], allowed: IdRange) -> tuple[Account, Granted]:
    """Return the account that an answer describes, and what became of its groups.

    Args:
        answer: the JSON object; keys beyond the needed ones mean nothing here.
        allowed: the gids that servers may have.

    Raises:
        Garbage: a field is missing or of another type.
        Refusal: ``account``: a value is not safe.
    """
    if missing := [key for key in NEEDED if key not in answer]:
        raise Garbage(f"an account without {', '.join(map(repr, missing))}")
    name = _text(answer, "name")
    gid = _number("gid", answer["gid"])
    got = granted(_groups(answer["groups"]), gid, allowed)
    identity = Identity(
        name=name,
        uid=_number("uid", answer["uid"]),
        gid=gid,
        groups=got.named,
        primary_group=got.primary,
        home=_path(name, answer, "home"),
        shell=_path(name, answer, "shell"),
        unnamed_gids=got.unnamed,
    )
    return Account(identity, _end(answer["valid_until"])), got


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Garbage("an answer with a key that stands in it twice")
    return found


def _no_constant(text: str) -> None:
    raise Garbage(f"an answer with {text}, which JSON does not have")


def _text(answer: dict[str, Any], key: str) -> str:
    if not isinstance(answer[key], str):
        raise Garbage(f"an account whose {key!r} is no text")
    return str(answer[key])


def _number(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Garbage(f"an account whose {what!r} is no whole number")
    return value


def _groups(value: object) -> list[tuple[str, int]]:
    if not isinstance(value, dict):
        raise Garbage("an account whose 'groups' is no object of names and gids")
    return [(name, _number("groups", gid)) for name, gid in value.items()]


def _path(name: str, answer: dict[str, Any], key: str) -> str:
    path = _text(answer, key)
    try:
        return clean_path(path)
    except ValueError as error:
        raise Refusal("account", f"account {bounded(name)}: the {key} {bounded(path)} is refused: {error}") from None


def _end(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Garbage("an account whose 'valid_until' is neither text nor null")
    try:
        return parse_time(value)
    except ValueError as error:
        raise Garbage(f"an account whose 'valid_until' is {bounded(value)}: {error}") from None
