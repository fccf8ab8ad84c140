"""What the doctor found, as lines for people and as one object for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..rules.explain import printable

Level = Literal["ok", "warning", "FAILED", "skipped"]
HEALTHY, SICK, REFUSED = 0, 1, 3
_WIDTH = len("warning")


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        level: ``ok``; ``warning``, somebody should look; ``FAILED``, logins or their safety suffer; ``skipped``, it
            could not be looked at, and ``todo`` says what that takes.
        check: name of the check, stable for scripts.
        said: what was seen, one sentence without a full stop.
        todo: what to do about it; empty for what is well.
        lines: what to copy, such as the JSON of a mapper.
    """

    level: Level
    check: str
    said: str
    todo: str = ""
    lines: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as a plain dict."""
        return {
            "check": self.check,
            "level": self.level,
            "message": self.said,
            "todo": self.todo or None,
            "lines": list(self.lines),
        }


@dataclass(frozen=True)
class Verdict:
    """What a login of the test user would end in.

    Attributes:
        user: the name that was asked about.
        claims: what the hub would read from the token; None when there is no token.
        account: the account as the hub would see it: the identity's dict with ``valid_until``, None when refused.
        refused: why the login would be refused, None when it would not.
    """

    user: str
    claims: Mapping[str, Any] | None = None
    account: Mapping[str, Any] | None = None
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as a plain dict."""
        account = dict(self.account) if self.account is not None else None
        claims = dict(self.claims) if self.claims is not None else None
        return {"user": self.user, "claims": claims, "identity": account, "refused": self.refused}


@dataclass
class Report:
    """What all checks found, in their order.

    Attributes:
        about: what was checked: ``issuer`` and ``client_id``.
        findings: one for each check.
        verdict: what became of the test user; None when none was named, or nobody could tell.
    """

    about: Mapping[str, str]
    findings: list[Finding] = field(default_factory=list)
    verdict: Verdict | None = None

    def add(self, findings: Iterable[Finding]) -> None:
        """Add what some checks found."""
        self.findings.extend(findings)

    @property
    def status(self) -> int:
        """The exit status: 1 when a check failed, else 3 when the user would be refused, else 0."""
        if any(finding.level == "FAILED" for finding in self.findings):
            return SICK
        return REFUSED if self.verdict is not None and self.verdict.refused is not None else HEALTHY

    def as_json(self) -> str:
        """Return the report as one JSON object."""
        person = self.verdict.to_dict() if self.verdict is not None else None
        checks = [finding.to_dict() for finding in self.findings]
        return json.dumps({**self.about, "checks": checks, "login": person, "status": self.status}, indent=2)

    def as_lines(self) -> Iterator[str]:
        """Yield the report as lines for people: one for each check, what to copy below it, the person at the end."""
        yield f"realm {self.about['issuer']}, client {self.about['client_id']}"
        yield ""
        for finding in self.findings:
            yield from map(printable, finding_lines(finding))
        if self.verdict is not None:
            yield ""
            yield from map(printable, verdict_lines(self.verdict))
        yield ""
        yield self._summary()

    def _summary(self) -> str:
        counts = [(sum(finding.level == level for finding in self.findings), level) for level in _LEVELS]
        return ", ".join(f"{count} {level}" for count, level in counts if count)


_LEVELS: tuple[Level, ...] = ("FAILED", "warning", "skipped", "ok")


def finding_lines(finding: Finding) -> Iterator[str]:
    """Yield a finding as one line, and what to copy indented below it."""
    todo = f"; {finding.todo}" if finding.todo else ""
    yield f"{finding.level:{_WIDTH}}  {finding.check}: {finding.said}{todo}"
    for line in finding.lines:
        yield f"{'':{_WIDTH}}    {line}"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield what a login would end in: the claims, then the account or the reason."""
    if verdict.claims is not None:
        said = {name: value for name, value in verdict.claims.items() if value not in (None, [], ())}
        yield f"claims of {verdict.user}"
        yield from _table(said)
    if verdict.refused is not None:
        yield f"{verdict.user} would be refused: {verdict.refused}"
    elif verdict.account is not None:
        yield f"{verdict.user} would be let in as"
        yield from _table(verdict.account)


def _table(values: Mapping[str, Any]) -> Iterator[str]:
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        yield f"  {name:{width}}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
