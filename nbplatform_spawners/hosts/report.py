"""What hosts said, as tables and lines for people and as objects for scripts.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..rules.explain import align
from ..rules.model import Host, Pool
from ..rules.units import format_count, format_size
from .containers import Container
from .docker_answers import HostInfo

_MOST_NAMED = 5
Level = Literal["problem", "note"]


@dataclass(frozen=True)
class Asking:
    """How hosts are asked.

    Attributes:
        tls_directory: where client certificates lie; empty for none.
        hub_id: whose containers count; empty for those of all hubs.
        limit: seconds that a call may take.
        pull_limit: seconds that fetching an image may take.
    """

    tls_directory: str = ""
    hub_id: str = ""
    limit: float = 10.0
    pull_limit: float = 1800.0


@dataclass(frozen=True)
class Target:
    """A host of the rules and its pool.  Not hashable, as the pool is not."""

    pool: Pool
    host: Host

    @property
    def memory(self) -> int:
        """Bytes that may be promised on it, overcommit included."""
        return int(self.host.memory * self.pool.overcommit)


@dataclass(frozen=True)
class HostStatus:
    """One host as it is now.

    Attributes:
        problem: why it cannot be asked, one sentence; None when it answered.
        about: what kind of problem: ``unreachable``, ``refused`` or ``tls``.
        info: what its daemon told of itself; None when it did not answer.
        containers: of the hub asked for, or of all hubs; ended ones included.
    """

    target: Target
    problem: str | None = None
    about: str = "unreachable"
    info: HostInfo | None = None
    containers: tuple[Container, ...] = ()

    @property
    def reachable(self) -> bool:
        """Whether it answered."""
        return self.problem is None

    @property
    def holding(self) -> tuple[Container, ...]:
        """The containers that hold memory and GPUs: all but those that ended."""
        return tuple(container for container in self.containers if not container.ended)

    @property
    def memory_promised(self) -> int:
        """Bytes."""
        return sum(container.memory for container in self.holding)

    @property
    def gpus_taken(self) -> tuple[str, ...]:
        """Ids of the GPUs that servers hold, in name order."""
        return tuple(sorted({gpu for container in self.holding for gpu in container.gpus}))


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        host: where; empty when it is about the rules.
        about: stable label, such as ``image``.
        message: what is wrong and what to do.
        level: a ``problem`` fails the check, a ``note`` does not.
    """

    host: str
    about: str
    message: str
    level: Level = "problem"


def status_table(statuses: Sequence[HostStatus]) -> list[str]:
    """Return the lines of ``nbplatform hosts status``: a table, then why hosts are out of reach, then a summary."""
    head = ("HOST", "POOL", "REACHABLE", "DRAIN", "MEMORY", "GPUS", "SERVERS", "ENGINE", "API")
    lines = align([head, *(_row(status) for status in statuses)])
    lost = [status for status in statuses if not status.reachable]
    why: dict[str, list[str]] = {}
    for status in lost:
        why.setdefault(status.problem or "", []).append(status.target.host.name)
    lines += [f"{named(names, _MOST_NAMED)}: {problem}" for problem, names in why.items()]
    known = [status for status in statuses if status.reachable]
    servers = format_count(sum(len(status.holding) for status in known), "server")
    where = " on them" if lost and known else ""
    lines.append(f"{len(known)} of {format_count(len(statuses), 'host')} reachable, {servers}{where}")
    return lines


def status_object(status: HostStatus) -> dict[str, Any]:
    """Return one host of ``nbplatform hosts status --json``; what is not known is null."""
    host, info, known = status.target.host, status.info, status.reachable
    return {
        "host": host.name,
        "pool": status.target.pool.name,
        "reachable": known,
        "problem": status.problem,
        "drain": host.drain,
        "memory_promised": status.memory_promised if known else None,
        "memory": status.target.memory,
        "gpus_taken": list(status.gpus_taken) if known else None,
        "gpus": list(host.gpus),
        "servers": [_server_object(container) for container in status.holding] if known else None,
        "engine": info.server_version if info else None,
        "api": info.api_version if info else None,
    }


def server_lines(containers: Iterable[Container]) -> list[str]:
    """Return the lines of a table of servers."""
    rows = [
        (
            container.user or "?",
            container.server or "(default)",
            container.state,
            format_size(container.memory) if container.memory else "-",
            ", ".join(container.gpus) or "-",
        )
        for container in sorted(containers, key=lambda found: found.owner)
    ]
    return align([("USER", "SERVER", "STATE", "MEMORY", "GPUS"), *rows]) if rows else []


def finding_lines(findings: Iterable[Finding], hosts: int) -> list[str]:
    """Return the lines of ``nbplatform hosts check``: problems first, then notes, then a summary.

    What is so on several hosts is one line.

    Args:
        findings: in any order.
        hosts: how many hosts were looked at.
    """
    lines: dict[str, list[str]] = {}
    for level in ("problem", "note"):
        where: dict[tuple[str, str], list[str]] = {}
        for finding in sorted_findings(findings, level):
            where.setdefault((finding.about, finding.message), []).append(finding.host or "rules")
        kind = "note: " if level == "note" else ""
        lines[level] = [f"{named(names, _MOST_NAMED)}: {kind}{about}: {said}" for (about, said), names in where.items()]
    counts = ", ".join(format_count(len(found), level) for level, found in lines.items())
    return [*lines["problem"], *lines["note"], f"{format_count(hosts, 'host')} looked at: {counts}"]


def sorted_findings(findings: Iterable[Finding], level: str) -> list[Finding]:
    """Return the findings of a level, the rules' own first, then host by host; each once."""
    chosen = dict.fromkeys(finding for finding in findings if finding.level == level)
    return sorted(chosen, key=lambda found: (found.host, found.about, found.message))


def finding_object(finding: Finding) -> dict[str, str | None]:
    """Return one finding of ``nbplatform hosts check --json``; ``host`` is null when it is about the rules."""
    return {
        "host": finding.host or None,
        "level": finding.level,
        "about": finding.about,
        "message": finding.message,
    }


def named(names: Sequence[str], most: int) -> str:
    """Return names with commas between them, and how many more there are than ``most``."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _row(status: HostStatus) -> tuple[str, ...]:
    host, info = status.target.host, status.info
    known = status.reachable
    promised = _size(status.memory_promised) if known else "?"
    taken = len(set(status.gpus_taken) & set(host.gpus)) if known else "?"
    return (
        host.name,
        status.target.pool.name,
        "yes" if known else "no",
        "yes" if host.drain else "-",
        f"{promised} of {format_size(status.target.memory)}",
        f"{taken} of {len(host.gpus)}" if host.gpus else "-",
        str(len(status.holding)) if known else "?",
        info.server_version if info else "-",
        info.api_version if info else "-",
    )


def _size(size: int) -> str:
    return format_size(size) if size else "0"


def _server_object(container: Container) -> dict[str, Any]:
    return {
        "user": container.user,
        "server": container.server,
        "container": container.id[:12],
        "state": container.state,
        "memory": container.memory,
        "gpus": list(container.gpus),
    }
