"""What a decision gives, fact by fact in words, each with the rule that gave it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..mounts import Mount, parents_first
from ..rules.decision import Decision
from ..rules.model import Origin, Profile
from ..rules.units import duration_in_words, format_size


@dataclass(frozen=True)
class Fact:
    """One thing that a server has.

    Attributes:
        label, value: in words.
        by: the rule's name, ``profile NAME`` or ``defaults``.
        where: ``file:line`` of that.
        is_path: the label is a path, not words.
    """

    label: str
    value: str
    by: str
    where: str
    is_path: bool = False


def main_facts(decision: Decision, profile: Profile) -> list[tuple[str, str]]:
    """Return the label and value of what most people choose by: GPUs, memory, cores."""
    shown = {"Memory": "memory", "Cores": "cpu"}
    gpus = [("GPUs", _gpus(profile))] if profile.gpus else []
    fields = [(label, _WORDS[key](decision.value(key))) for label, key in shown.items() if key in decision.fields]
    return gpus + fields


def idle_limits(decision: Decision) -> str | None:
    """Return when a server may be stopped, in words; None when nothing decides it."""
    key = _cull_key(decision)
    limits = []
    if decision.value(key) is not None:
        limits.append(f"after {duration_in_words(decision.value(key))} without activity")
    if decision.value("idle.max_age") is not None:
        latest = f"{duration_in_words(decision.value('idle.max_age'))} after its start"
        limits.append(f"at the latest {latest}" if limits else latest)
    if not limits and not {key, "idle.max_age"} & decision.fields.keys():
        return None
    return ", ".join(limits) or "never"


def storage(decision: Decision) -> list[tuple[str, str]]:
    """Return path and rights of each mount: what can be written first, then by path."""
    mounts = parents_first(found.mount for found in decision.mounts)
    return [(one.target, _rights(one)) for one in sorted(mounts, key=lambda one: (one.read_only, one.optional))]


def all_facts(decision: Decision, profile: Profile) -> list[Fact]:
    """Return everything that a user may want to know about an allowed decision, with who decided it."""
    facts = []
    unused = {"quota.gpus"} if not profile.gpus else set()
    unused |= {"idle.cull_after", "idle.cull_after_gpu"} - {_cull_key(decision)}
    for key, label in _LABELS.items():
        found = decision.fields.get(key)
        if found is not None and key not in unused:
            facts.append(_fact(label, _WORDS.get(key, str)(found.value), found.origin))
    if profile.gpus:
        facts.insert(1, _fact("GPUs", _gpus(profile), profile.origin))
    origins = {found.mount: found.origin for found in decision.mounts}
    for mount in parents_first(origins):
        origin = origins[mount]
        facts.append(Fact(mount.target, _rights(mount), origin.by, origin.where, is_path=True))
    return facts


def _fact(label: str, value: str, origin: Origin) -> Fact:
    return Fact(label, value, origin.by, origin.where)


def _cull_key(decision: Decision) -> str:
    """Return the limit that holds for this server: one with a GPU may have its own."""
    with_gpu = "idle.cull_after_gpu"
    return with_gpu if decision.gpus and with_gpu in decision.fields else "idle.cull_after"


def _gpus(profile: Profile) -> str:
    return f"{profile.gpus} ({profile.gpu_model})" if profile.gpu_model else str(profile.gpus)


def _rights(mount: Mount) -> str:
    rights = "read only" if mount.read_only else "read and write"
    return f"{rights}, where it exists" if mount.optional else rights


def _after(words: str, never: str) -> Callable[[int | None], str]:
    """Return what says a duration within a sentence."""
    return lambda seconds: never if seconds is None else words.format(duration_in_words(seconds))


_LABELS = {
    "allow": "Allowed",
    "memory": "Memory",
    "cpu": "Cores",
    "image": "Image",
    "pool": "Pool",
    "hosts": "Hosts",
    "quota.servers": "Servers you may have at once",
    "quota.gpus": "GPUs you may have at once",
    "idle.cull_after": "May be stopped",
    "idle.cull_after_gpu": "May be stopped",
    "idle.max_age": "Ends at the latest",
    "idle.busy_max": "A busy kernel counts as activity",
    "idle.warn_before": "Warning before a stop",
    "idle.extend": "A stop may be put off",
}
"""Every field that is shown, in this order."""

_WORDS: dict[str, Callable[[Any], str]] = {
    "allow": lambda _: "yes",
    "memory": format_size,
    "cpu": lambda cores: f"{cores:g}",
    "pool": ", ".join,
    "hosts": ", ".join,
    "idle.cull_after": _after("after {} without activity", "never for want of activity"),
    "idle.cull_after_gpu": _after("after {} without activity", "never for want of activity"),
    "idle.max_age": _after("{} after its start", "never"),
    "idle.busy_max": _after("for {}", "as long as it is busy"),
    "idle.warn_before": _after("{}", "none"),
    "idle.extend": _after("once, by {}", "no"),
}
