"""The rule book as frozen values: what the YAML files say, checked and converted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ..mounts import Mount, Propagation, clean_path
from .index import RuleIndex, make_index
from .patterns import Patterns
from .template import Template

PLACEMENT = ("pool", "hosts")
"""The fields that one rule decides together."""
QUOTA_KEYS = ("servers", "gpus")
IDLE_KEYS = ("cull_after", "cull_after_gpu", "warn_before", "max_age", "busy_max", "extend")
FIELDS = (
    "allow",
    *PLACEMENT,
    "image",
    "memory",
    "cpu",
    *(f"quota.{key}" for key in QUOTA_KEYS),
    *(f"idle.{key}" for key in IDLE_KEYS),
)
"""Every field that the first who sets it decides, in the order in which they are shown."""


@dataclass(frozen=True)
class Origin:
    """Where a rule, a profile or the defaults stand.

    Attributes:
        by: the rule's name, ``profile NAME`` or ``defaults``.
        file, line: its first line.
    """

    by: str
    file: str
    line: int

    @property
    def where(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class MountEntry:
    """One entry of a ``mounts`` list.

    Attributes:
        target: where it appears; defaults to the source.
        source: path on the host; None for ``hide: true``, which takes the target away.
        fixed: the mount where no placeholder is to be filled in, made once; a hidden target is its own source.

    Raises:
        ValueError: a path without placeholders is not a clean one.
    """

    target: Template
    source: Template | None = None
    read_only: bool = False
    propagation: Propagation = "private"
    optional: bool = False
    fixed: Mount | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = self.target.names or (self.source and self.source.names)
        object.__setattr__(self, "fixed", None if names else self.filled({}))

    def filled(self, values: Mapping[str, str]) -> Mount | None:
        """Return the mount with its placeholders filled in, or None when ``values`` lacks one."""
        target = self.target.fill(values)
        source = self.source.fill(values) if self.source else target
        if target is None or source is None:
            return None
        path = clean_path(target)
        return Mount(
            path if source == target else clean_path(source), path, self.read_only, self.propagation, self.optional
        )


@dataclass(frozen=True)
class Settings:
    """The fields that a rule, a profile or the defaults set.  Not hashable: it holds a mapping.

    Attributes:
        fields: key of ``FIELDS`` to value: ``allow`` bool, ``pool`` and ``hosts`` tuple of names, ``image`` text,
            ``memory`` bytes, ``cpu`` float, ``quota.*`` int, ``idle.*`` seconds or None for never.
        message: what a refused user is told; None when nothing is said.
        mounts, env: in the order written.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    message: str | None = None
    mounts: tuple[MountEntry, ...] = ()
    env: tuple[tuple[str, Template], ...] = ()


@dataclass(frozen=True)
class Match:
    """When a rule holds: all that is set must hold.

    Attributes:
        users, groups, profiles, providers: None when the key is not written.
        starts, ends: aware times; holds from ``starts`` on and before ``ends``.
        never: matches none of which may hold (``not``).
    """

    users: Patterns | None = None
    groups: Patterns | None = None
    profiles: Patterns | None = None
    providers: Patterns | None = None
    starts: datetime | None = None
    ends: datetime | None = None
    never: tuple[Match, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One rule: when its match holds, its settings count.  Not hashable, as its settings are not."""

    origin: Origin
    match: Match
    settings: Settings


@dataclass(frozen=True)
class Profile:
    """What a user may ask for.  Not hashable, as its settings are not.

    Attributes:
        gpus: how many GPUs it holds.
        gpu_model: only hosts with this model may serve it; None for any.
    """

    name: str
    origin: Origin
    title: str
    description: str = ""
    gpus: int = 0
    gpu_model: str | None = None
    settings: Settings = Settings()


@dataclass(frozen=True)
class Host:
    """One Docker daemon.

    Attributes:
        memory: bytes.
        cpus: number of CPUs; None when not written.
        gpus: ids of its GPUs.
        memory_per_gpu: bytes kept free for each GPU that is not granted.
        drain: takes no new servers.
    """

    name: str
    url: str
    memory: int
    cpus: float | None = None
    gpu_model: str | None = None
    gpus: tuple[str, ...] = ()
    memory_per_gpu: int = 0
    drain: bool = False


@dataclass(frozen=True)
class Pool:
    """Hosts that serve the same purpose.  Not hashable: it holds mappings.

    Attributes:
        overcommit: memory promised may reach this many times the hosts' memory.
        reserved: reached only through a rule.
        strategy: ``spread``, the host with the most free memory, or ``pack``, the one with the least that still fits.
        node_selector, tolerations: for Kubernetes, as its API takes them.
    """

    name: str
    hosts: tuple[Host, ...] = ()
    overcommit: float = 1.0
    reserved: bool = False
    strategy: Literal["spread", "pack"] = "spread"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class RuleBook:
    """All files of one directory, as one value.  Not hashable: ``generation`` says which it is.

    Attributes:
        pools, profiles: by name, in file order.
        rules: in file order: the first that matches and sets a field decides it.
        defaults: what holds behind rules and profiles.
        defaults_origin: where the defaults stand; None when there are none.
        lists: the named lists, for display; the rules hold their entries already.
        generation: content hash of the files.
        index: which rules are worth a look for whom; made once, with the book.
    """

    pools: Mapping[str, Pool]
    profiles: Mapping[str, Profile]
    rules: tuple[Rule, ...]
    defaults: Settings
    defaults_origin: Origin | None
    lists: Mapping[str, tuple[str, ...]]
    generation: str
    index: RuleIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", make_index(_demands(rule.match) for rule in self.rules))


def _demands(match: Match) -> dict[str, Patterns]:
    """Return the lists of names of a match, those that few people fit first."""
    lists = {"users": match.users, "groups": match.groups, "profiles": match.profiles, "providers": match.providers}
    return {key: patterns for key, patterns in lists.items() if patterns is not None}
