"""What the rules grant, field by field, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import Refusal
from ..mounts import Mount
from .model import QUOTA_KEYS, Origin


@dataclass(frozen=True)
class Decided:
    """One field's value and who decided it."""

    value: Any
    origin: Origin


@dataclass(frozen=True)
class DecidedMount:
    """One mount and who decided it."""

    mount: Mount
    origin: Origin


@dataclass(frozen=True)
class DecidedEnv:
    """One environment variable and who decided it."""

    name: str
    value: str
    origin: Origin


@dataclass(frozen=True)
class Decision:
    """What one user gets for one profile at one time.  Not hashable: it holds a mapping.

    Attributes:
        user: the hub's name of the user.
        profile: the profile decided on; None when none was asked for and none is allowed.
        allowed: whether the server may be started.
        generation: of the rule book that decided.
        reason: one sentence; for a refusal it begins with the stable label.
        label: the label of a refusal; None when allowed.
        message: what the site wants a refused user to be told; None when it says nothing.
        gpus: GPUs of the profile.
        gpu_model: only hosts with this model; None for any.
        fields: key of ``model.FIELDS`` to what was decided; a field that nothing decides is absent.
        mounts, env: in the order of decision.
        hidden: targets taken away; also nothing mounted above them may show them.
        unfilled: entries left out since a placeholder has no value for this identity; for the log.
    """

    user: str
    profile: str | None
    allowed: bool
    generation: str
    reason: str
    label: str | None = None
    message: str | None = None
    gpus: int = 0
    gpu_model: str | None = None
    fields: Mapping[str, Decided] = field(default_factory=dict)
    mounts: tuple[DecidedMount, ...] = ()
    env: tuple[DecidedEnv, ...] = ()
    hidden: tuple[str, ...] = ()
    unfilled: tuple[str, ...] = ()

    def value(self, key: str, default: Any = None) -> Any:
        """Return the value of a field of ``model.FIELDS``, or ``default`` when nothing decides it."""
        found = self.fields.get(key)
        return default if found is None else found.value

    def refused(self, refusal: Refusal) -> Decision:
        """Return the same decision, refused for another reason: an expired account, say."""
        return replace(self, allowed=False, label=refusal.reason, reason=str(refusal), message=None)

    @property
    def refusal(self) -> Refusal | None:
        """The refusal to raise; None when allowed.  The site's own message comes first, then the reason."""
        if self.allowed:
            return None
        label = self.label or "not-allowed"
        sentence = self.reason.removeprefix(f"{label}: ")
        return Refusal(label, f"{self.message} ({sentence})" if self.message else sentence)

    @property
    def quota(self) -> dict[str, int]:
        """The decided limits of ``servers`` and ``gpus``; a key that nothing decides is absent."""
        return {key: self.fields[f"quota.{key}"].value for key in QUOTA_KEYS if f"quota.{key}" in self.fields}

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``nbplatform rules explain --format json`` prints."""
        return {
            "user": self.user,
            "profile": self.profile,
            "allowed": self.allowed,
            "generation": self.generation,
            "message": self.message,
            "gpus": self.gpus,
            "reason": self.reason,
            "fields": {
                key: {"value": _plain(found.value), **_origin(found.origin)} for key, found in self.fields.items()
            },
            "mounts": [{**vars(found.mount), **_origin(found.origin)} for found in self.mounts],
            "env": [{"name": found.name, "value": found.value, **_origin(found.origin)} for found in self.env],
        }


def _origin(origin: Origin) -> dict[str, str]:
    return {"by": origin.by, "where": origin.where}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
