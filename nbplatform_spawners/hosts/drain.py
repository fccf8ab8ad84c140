"""Where a host stands in the rules, and how its entry reads when it is drained.  Pure: no file is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ..rules.model import Pool, RuleBook
from ..rules.parse import parse_rules
from ..rules.units import format_count
from .report import HostStatus, Target, server_lines, status_object

_KEY = "drain"


@dataclass(frozen=True)
class Edit:
    """A change of one rule file.

    Attributes:
        file, line: where the host's entry begins; counted from 1.
        before, after: the lines that change, as they are and as they are to be.
    """

    file: str
    line: int
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def where(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"


def drain_edit(files: Mapping[str, bytes], host: str, *, drain: bool) -> Edit:
    """Return the change that drains a host, or takes it back.

    Args:
        files: the rule files, free of mistakes.
        host: its name.
        drain: True to drain it, False to take it back.

    Raises:
        KeyError: no file has such a host.
        ValueError: its entry is written in a way that cannot be edited here.
    """
    for name in sorted(files):
        text = files[name].decode("utf-8")
        for entry in _host_entries(text) if host in text else ():
            if _value(entry, "name") == host:
                edited = _edited(text, entry, "true" if drain else "false")
                _prove(files, name, edited, host, drain=drain)
                before, after = _changed(text, edited)
                return Edit(name, entry.start_mark.line + 1, before, after)
    raise KeyError(host)


def others_serving(book: RuleBook, pool: Pool, host: str) -> list[str]:
    """Return the pool's other hosts that take servers by the rules."""
    return [other.name for other in book.pools[pool.name].hosts if other.name != host and not other.drain]


def drain_lines(target: Target, edit: Edit, status: HostStatus, others: list[str]) -> list[str]:
    """Return what ``nbplatform hosts drain`` says.

    Args:
        target: the host.
        edit: the change that drains it, or takes it back.
        status: how it is.
        others: hosts of its pool that take servers.
    """
    host = target.host.name
    lines = [f"{host} is drained already; to take it back, write in {edit.where}"]
    if not target.host.drain:
        lines = [f"to drain {host}, write in {edit.where}"]
    lines += [*(f"- {line}" for line in edit.before), *(f"+ {line}" for line in edit.after), ""]
    if not target.host.drain:
        lines.append("The hub takes it within 2 s: nothing new starts there from then on, until you take it back.")
        if not others:
            lines.append(f"No other host of pool {target.pool.name} takes servers: whoever needs one there is refused.")
    if not status.reachable:
        return [*lines, f"What runs there now is not known: {status.problem}"]
    if not status.holding:
        return [*lines, "No server runs there now."]
    count = format_count(len(status.holding), "server")
    run = "runs" if len(status.holding) == 1 else "run"
    return [
        *lines,
        f"{count} {run} there now, and on until the owner or the culler ends it:",
        *server_lines(status.holding),
    ]


def drain_object(target: Target, edit: Edit, status: HostStatus) -> dict[str, Any]:
    """Return what ``nbplatform hosts drain --json`` prints."""
    change = {"file": edit.file, "line": edit.line, "before": list(edit.before), "after": list(edit.after)}
    return {**status_object(status), "edit": {**change, "drain": not target.host.drain}}


def _host_entries(text: str) -> Iterator[yaml.MappingNode]:
    """Yield the entry of each host in one file, with its marks."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)  # of files that were parsed before: neither deep nor endless
    except yaml.YAMLError:  # the strict reader of PyYAML refuses a letter that the other takes
        return
    for pool in _values(_child(root, "pools")):
        hosts = _child(pool, "hosts")
        for entry in hosts.value if isinstance(hosts, yaml.SequenceNode) else ():
            if isinstance(entry, yaml.MappingNode):
                yield entry


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    found = [value for name, value in node.value if name.value == key] if isinstance(node, yaml.MappingNode) else []
    return found[0] if found else None


def _values(node: yaml.Node | None) -> list[yaml.Node]:
    return [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else []


def _value(node: yaml.Node, key: str) -> str:
    found = _child(node, key)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else ""


def _edited(text: str, entry: yaml.MappingNode, value: str) -> str:
    written = _child(entry, _KEY)
    if written is not None:
        return text[: written.start_mark.index] + value + text[written.end_mark.index :]
    if entry.flow_style:
        end = entry.value[-1][1].end_mark.index
        return f"{text[:end]}, {_KEY}: {value}{text[end:]}"
    name = next(key for key, _ in entry.value if key.value == "name")
    end = text.find("\n", name.start_mark.index)
    end = len(text) if end < 0 else end
    return f"{text[:end]}\n{' ' * name.start_mark.column}{_KEY}: {value}{text[end:]}"


def _prove(files: Mapping[str, bytes], name: str, edited: str, host: str, *, drain: bool) -> None:
    """Read the edited rules: what is shown to a person does what it says and nothing else.

    Raises:
        ValueError: it does not.
    """
    was = parse_rules(files)
    now = parse_rules({**files, name: edited.encode("utf-8")})
    states = [{found.name: found.drain for pool in book.pools.values() for found in pool.hosts} for book in (was, now)]
    if states[1] != {**states[0], host: drain} or len(was.rules) != len(now.rules):
        raise ValueError(f"the entry of {host} in {name} is written in a way that this command cannot edit")


def _changed(text: str, edited: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    old, new = text.splitlines(), edited.splitlines()
    first = next(number for number, line in enumerate(new) if old[number : number + 1] != [line])
    added = len(new) - len(old)  # one line where it is written below the host's name, which is shown then
    return tuple(old[first - added : first + 1 - added]), tuple(new[first - added : first + 1])
