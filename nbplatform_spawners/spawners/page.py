"""The spawn page's form: what a user may have, what it gives and why; or why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..rules.decision import Decided, DecidedMount, Decision
from ..rules.model import Profile
from ..rules.units import format_duration, format_size

_LABELS = {
    "memory": "Memory",
    "cpu": "Cores",
    "image": "Image",
    "pool": "Where",
    "hosts": "Hosts",
    "quota.servers": "Servers at once",
    "quota.gpus": "GPUs at once",
    "idle.cull_after": "May be stopped when idle for",
    "idle.cull_after_gpu": "May be stopped when idle for",
    "idle.max_age": "May be stopped after",
}

_NOT_HERE = ("unplaceable", "unreachable", "full", "storage")  # labels of what no permission would change


def render_choices(
    site_name: str, decisions: Iterable[Decision], profiles: Mapping[str, Profile], problem: str | None = None
) -> str:
    """Return the form's HTML; never empty, since an empty form makes the hub start without asking.

    Args:
        site_name: what users call the site.
        decisions: one for each profile, in the order shown.
        profiles: by name.
        problem: one sentence shown instead of profiles: nothing can be chosen now.
    """
    cards = [_card(decision, profiles[decision.profile]) for decision in decisions if decision.profile]
    chosen = next((card["name"] for card in cards if card["allowed"]), None)
    return str(_template().render(site_name=site_name, cards=cards, chosen=chosen, problem=problem))


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("nbplatform_spawners"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("choices.html")


def _card(decision: Decision, profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "title": profile.title,
        "description": profile.description,
        "gpus": profile.gpus,
        "gpu_model": profile.gpu_model,
        "allowed": decision.allowed,
        "verdict": "Not available" if decision.label in _NOT_HERE else "Not allowed",
        "reason": decision.reason,
        "message": decision.message,
        "facts": [_fact(key, decision.fields[key]) for key in _shown(decision)],
        "mounts": [_mount(one) for one in decision.mounts],
    }


def _mount(one: DecidedMount) -> dict[str, Any]:
    mount = one.mount
    return {"target": mount.target, "read_only": mount.read_only, "optional": mount.optional, "why": _why(one)}


def _shown(decision: Decision) -> list[str]:
    idle = "idle.cull_after_gpu" if decision.gpus and "idle.cull_after_gpu" in decision.fields else "idle.cull_after"
    skipped = {"idle.cull_after", "idle.cull_after_gpu"} - {idle} | (set() if decision.gpus else {"quota.gpus"})
    return [key for key in _LABELS if key in decision.fields and key not in skipped]


def _fact(key: str, decided: Decided) -> dict[str, str]:
    value: Any = decided.value
    if key == "memory":
        shown = format_size(value)
    elif key.startswith("idle."):
        shown = format_duration(value)
    elif isinstance(value, tuple):
        shown = ", ".join(value)
    else:
        shown = f"{value:g}" if isinstance(value, float) else str(value)
    return {"label": _LABELS[key], "value": shown, "why": _why(decided)}


def _why(decided: Any) -> str:
    return f"{decided.origin.by} ({decided.origin.where})"
