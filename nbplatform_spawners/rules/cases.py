"""The cases that a site writes beside its rules: what it promises, and whether the rules keep it.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import BadFile, Mistake
from ..names import bounded, is_safe
from ..yaml_nodes import YamlReader, suggestion
from .case_fields import CASES
from .decision import DecidedMount, Decision
from .explain import format_value
from .keys import Block
from .kinds import NOT_SAFE, Located
from .model import Origin, RuleBook
from .people import People


@dataclass(frozen=True)
class Case:
    """One promise.

    Attributes:
        file, line: where it stands.
        user, profile, provider, at: the question; ``at`` None for now.
        expect: key to value, as the table of keys reads it.
    """

    name: str
    file: str
    line: int
    user: str
    profile: str | None
    provider: str | None
    at: datetime | None
    expect: Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """One thing that is not as expected.

    Attributes:
        what: which field.
        expected, got: as a person writes them.
        why: who decided it.
    """

    what: str
    expected: str
    got: str
    why: str


def parse_cases(files: Mapping[str, bytes], book: RuleBook, people: People) -> tuple[Case, ...]:
    """Return the cases of all files, in name order.

    Raises:
        BadFile: with all mistakes, unknown users and profiles among them.
    """
    mistakes: list[Mistake] = []
    cases = []
    for file in sorted(files):
        reader = YamlReader(file)
        root = reader.compose(files[file])
        if root is not None:
            block = CASES.read(reader, root, "", "cases")
            cases += list(_cases(reader, block, book, people))
        mistakes += reader.mistakes
    if mistakes:
        raise BadFile(mistakes)
    return tuple(cases)


def run_case(case: Case, book: RuleBook, people: People, now: datetime) -> tuple[Difference, ...]:
    """Return what the rules decide otherwise than the case expects; nothing when they keep the promise.

    Args:
        now: aware time of a case that names none.
    """
    decision = people.decide(book, case.user, profile=case.profile, provider=case.provider, now=case.at or now)
    found: list[Difference] = []
    for key, expected in case.expect.items():
        found += _CHECKS.get(key, _check_field)(key, expected, decision)
    return tuple(found)


def _cases(reader: YamlReader, file: Block, book: RuleBook, people: People) -> Iterator[Case]:
    names: dict[str, int] = {}
    for block in file.get("tests", ()):
        name: str = block.get("name", "")
        what = block.what
        if name and name in names:
            reader.wrong(block.line, f"{what}: the name stands twice, first in line {names[name]}")
        names.setdefault(name, block.line)
        user, profile, provider = (_text(block.get(key)) for key in ("user", "profile", "provider"))
        _check_known(reader, f"{what}: user", block.get("user"), people.names)
        _check_known(reader, f"{what}: profile", block.get("profile"), book.profiles)
        if provider is not None and not is_safe(provider):
            reader.wrong(block.lines["provider"], f"{what}: provider: {NOT_SAFE}")
        expect: Block | None = block.get("expect")
        if expect is not None:
            if not expect.lines:
                reader.wrong(expect.line, f"{what}: it expects nothing")
            _check_known(reader, f"{what}: expect: profile", expect.get("profile"), book.profiles)
        at = block.get("at", file.get("at"))
        yield Case(name, reader.file, block.line, user or "", profile, provider, at, expect.values if expect else {})


def _text(located: Located | None) -> str | None:
    return None if located is None else located.text


def _check_known(reader: YamlReader, what: str, name: Located | None, known: Iterable[str]) -> None:
    if name is not None and name.text not in known:
        reader.wrong(name.line, f"{what}: unknown {bounded(name.text)}{suggestion(name.text, known)}")


def _check_decision(key: str, expected: Any, decision: Decision) -> Iterator[Difference]:
    """Compare what is said of the decision as a whole."""
    shown = expected.text if isinstance(expected, Located) else expected
    got = decision.label if key == "reason" else getattr(decision, key)
    if got != shown:
        yield Difference(key, _shown(key, shown), _shown(key, got), decision.reason)


def _check_field(key: str, expected: Any, decision: Decision) -> Iterator[Difference]:
    if isinstance(expected, tuple):
        expected = tuple(name.text for name in expected)
    found = decision.fields.get(key)
    if found is None:
        yield Difference(key, _shown(key, expected), "nothing", "no rule, profile or default decides it")
    elif found.value != expected:
        yield Difference(key, _shown(key, expected), _shown(key, found.value), _why(found.origin))


def _check_group(key: str, expected: Block, decision: Decision) -> Iterator[Difference]:
    """Compare each key of ``quota`` or ``idle``."""
    for name, value in expected.values.items():
        yield from _check_field(f"{key}.{name}", value, decision)


def _check_mounts(_: str, expected: Iterable[Block], decision: Decision) -> Iterator[Difference]:
    mounts = {found.mount.target: found for found in decision.mounts}
    for block in expected:
        target = block.values["target"].rstrip("/")
        if target not in mounts:
            got = "hidden" if target in decision.hidden else "nothing is mounted there"
            yield Difference(f"mount {target}", "a mount", got, _why_not_mounted(decision))
            continue
        for key, value in block.values.items():
            got = getattr(mounts[target].mount, key)
            if key != "target" and got != value:
                yield Difference(
                    f"mount {target}: {key}", _shown(key, value), _shown(key, got), _why_mount(mounts[target])
                )


def _check_without(_: str, expected: Iterable[Located], decision: Decision) -> Iterator[Difference]:
    mounts = {found.mount.target: found for found in decision.mounts}
    for name in expected:
        target = name.text.rstrip("/")
        if target in mounts:
            got = f"{mounts[target].mount.source} is mounted there"
            yield Difference(f"mount {target}", "no mount", got, _why_mount(mounts[target]))


def _check_env(_: str, expected: Iterable[tuple[str, str, int]], decision: Decision) -> Iterator[Difference]:
    env = {found.name: found for found in decision.env}
    for name, value, _line in expected:
        found = env.get(name)
        if found is None:
            yield Difference(f"env {name}", value, "nothing", "no rule, profile or default sets it")
        elif found.value != value:
            yield Difference(f"env {name}", value, found.value, _why(found.origin))


_CHECKS: Mapping[str, Callable[[str, Any, Decision], Iterator[Difference]]] = {
    **dict.fromkeys(("allowed", "reason", "message", "profile", "gpus"), _check_decision),
    **dict.fromkeys(("quota", "idle"), _check_group),
    "mounts": _check_mounts,
    "without_mounts": _check_without,
    "env": _check_env,
}


def _shown(key: str, value: Any) -> str:
    if value is None and not key.startswith("idle."):
        return "nothing"
    return format_value(key, value)


def _why(origin: Origin) -> str:
    return f"decided by {origin.by} ({origin.where})"


def _why_mount(found: DecidedMount) -> str:
    return _why(found.origin)


def _why_not_mounted(decision: Decision) -> str:
    return decision.reason if not decision.allowed else "no rule, profile or default brings it"
