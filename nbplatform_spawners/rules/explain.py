"""Decisions as text for a person: one, a table of many, the difference of two rule books.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..mounts import Mount
from .decision import Decision
from .model import Origin
from .units import format_count, format_duration, format_size

_MOST_USERS = 20
Changes = dict[str, tuple[Any, Any]]
"""What differs between two decisions: key to what it was and what it would be."""


def printable(text: str) -> str:
    """Return text for a terminal: lines stay, every other character that cannot be printed is escaped."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def format_value(key: str, value: Any) -> str:
    """Return a field's value for people: ``16 GiB``, ``3d``, ``gpu, large``."""
    if key.startswith("idle."):
        return format_duration(value)
    if key == "memory" and value is not None:
        return format_size(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def explain(decision: Decision) -> str:
    """Return what a decision says, in lines: the sentence, then each field with its reason."""
    asked = decision.profile or "no profile"
    rows = [(key, format_value(key, found.value), *_why(found.origin)) for key, found in decision.fields.items()]
    lines = [f"{decision.user}, {asked}: {decision.reason}"]
    if decision.message:
        lines.append(f"told to the user: {decision.message}")
    model = f" of model {decision.gpu_model}" if decision.gpu_model else ""
    gpus = f", {format_count(decision.gpus, 'GPU')}{model}" if decision.gpus else ""
    lines.append(f"generation {decision.generation[:12]}{gpus}")
    mounts = [(found.mount.target, _mount(found.mount), *_why(found.origin)) for found in decision.mounts]
    env = [(found.name, found.value, *_why(found.origin)) for found in decision.env]
    for title, found in (("fields", rows), ("mounts", mounts), ("env", env)):
        if found:
            lines += ["", title, *("  " + line for line in align(found))]
    for title, entries in (("hidden", decision.hidden), ("left out, a placeholder has no value", decision.unfilled)):
        if entries:
            lines += ["", title, *("  " + entry for entry in entries)]
    return "\n".join(lines)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines with aligned columns."""
    cells = [[printable(cell).replace("\n", "\\n") for cell in row] for row in rows]
    widths = [min(max(map(len, column)), 60) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def table(decisions: Iterable[Decision]) -> str:
    """Return many decisions as a table, one a line."""
    head = ("USER", "PROFILE", "DECISION", "POOL", "HOSTS", "MEMORY", "CPU", "GPUS", "WHY")
    rows: list[Sequence[str]] = [head]
    for decision in decisions:
        shown = [
            format_value(key, decision.value(key)) if key in decision.fields else "-"
            for key in ("pool", "hosts", "memory", "cpu")
        ]
        verdict = "allowed" if decision.allowed else decision.label or "refused"
        reason = decision.reason.removeprefix(f"{decision.label}: ")
        rows.append((decision.user, decision.profile or "-", verdict, *shown, str(decision.gpus), reason))
    return "\n".join(align(rows))


def changes(old: Decision | None, new: Decision | None) -> Changes:
    """Return what a user would get that they do not get now; empty when it is the same.

    Args:
        old, new: None where the profile does not exist.
    """
    before, after = _view(old), _view(new)
    if not (old and old.allowed) and not (new and new.allowed):
        if old is None or new is None:
            return {}  # a profile that one may not have comes or goes
        before["profile"] = after["profile"]
    elif before["decision"] != after["decision"] or before.get("profile") != after.get("profile"):
        before, after = _summary(before), _summary(after)
    keys = dict.fromkeys((*before, *after))
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def describe_changes(found: Mapping[tuple[str, str], Changes]) -> str:
    """Return changes as text; users for whom the same would change stand together.

    Args:
        found: user and profile to changes.
    """
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (user, profile), change in found.items():
        lines = tuple(f"{key}: {_shown(key, old)} -> {_shown(key, new)}" for key, (old, new) in change.items())
        together.setdefault((profile, lines), []).append(user)
    return "\n".join(line for key, users in together.items() for line in _described(*key, users))


def _described(profile: str, lines: tuple[str, ...], users: list[str]) -> Iterator[str]:
    more = f" and {len(users) - _MOST_USERS} more" if len(users) > _MOST_USERS else ""
    yield f"{profile}: {', '.join(users[:_MOST_USERS])}{more}"
    for line in lines:
        yield f"  {line}"


def _view(decision: Decision | None) -> dict[str, Any]:
    """Return what somebody notices of a decision.  Of a refusal that is no more than why."""
    if decision is None:
        return {"decision": "no such profile"}
    if not decision.allowed:  # what it would have had does not matter
        told = {"message": decision.message} if decision.message else {}
        return {"profile": decision.profile, "decision": decision.label, **told}
    return {
        "profile": decision.profile,
        "decision": "allowed",
        "gpus": decision.gpus,
        "gpu_model": decision.gpu_model,
        **{key: _plain(key, found.value) for key, found in decision.fields.items() if key != "allow"},
        **{f"mount {found.mount.target}": _mount(found.mount) for found in decision.mounts},
        **{f"mount {target}": "hidden" for target in decision.hidden},
        **{f"env {found.name}": found.value for found in decision.env},
    }


def _summary(view: dict[str, Any]) -> dict[str, Any]:
    """Return the view without what is a matter of course when somebody gets another profile, or none."""
    return {key: value for key, value in view.items() if key in ("profile", "decision", "message")}


def _shown(key: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return printable(value or "nothing").replace("\n", "\\n")
    return format_value(key, value)


def _plain(key: str, value: Any) -> Any:
    return "never" if value is None and key.startswith("idle.") else value


def _mount(mount: Mount) -> str:
    options = [
        word
        for word, holds in (
            ("read-only", mount.read_only),
            (mount.propagation, mount.propagation != "private"),
            ("optional", mount.optional),
        )
        if holds
    ]
    return mount.source + (f" ({', '.join(options)})" if options else "")


def _why(origin: Origin) -> tuple[str, str]:
    return origin.by, origin.where
