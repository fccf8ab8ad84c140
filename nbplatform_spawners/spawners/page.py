"""The spawn page's form: what a user may have, what it gives and why; or why not, and whom to ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..errors import REFUSALS, Refusal
from ..rules.decision import Decision
from ..rules.model import Profile
from .facts import all_facts, idle_limits, main_facts, storage
from .links import Part, linked, paragraphs

_NOT_HERE = ("unplaceable", "storage")
"""Labels of what no permission would change."""
_NOT_NOW = {"full": "Full now", "quota": "Your quota is used up", "unreachable": "Cannot be reached now"}
_MOST_STORAGE = 6
_MOST_NAMED = 3
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Choice:
    """One profile for one user now.

    Attributes:
        decision: with a profile.
        free: what is free now, in words; None where nobody knows or counts.
        obstacle: why it could not start this moment, although it is allowed: full, say.
    """

    decision: Decision
    free: str | None = None
    obstacle: Refusal | None = None


@dataclass(frozen=True)
class PageSettings:
    """What stands around the choices.

    Attributes:
        site_name: what users call the site.
        help_text: plain text of the site; see :func:`links.paragraphs`.
        support: whom to ask: words, an e-mail address or a web address.
        servers_url: where users see and stop their servers.
        last_used: name of the profile that this server had last; chosen again when it is allowed.
        notice: a sentence above all else.
        problem: why nothing can be chosen now.
    """

    site_name: str
    help_text: str = ""
    support: str = "the support desk"
    servers_url: str = ""
    last_used: str | None = None
    notice: str | None = None
    problem: Refusal | None = None


def render_choices(settings: PageSettings, choices: Iterable[Choice], profiles: Mapping[str, Profile]) -> str:
    """Return the form's HTML; never empty, since an empty form makes the hub start without asking.

    What is chosen stands first, so that one can start at once; then what is allowed, in the order given; what is
    refused, folded away where it is more than a few: who came for one of a few sees at once why not.

    Args:
        settings: what stands around the choices.
        choices: one for each profile; none where ``settings.problem`` says why.
        profiles: by name.
    """
    found = [(choice, profiles[choice.decision.profile]) for choice in choices if choice.decision.profile]
    allowed = [_card(*pair) for pair in found if pair[0].decision.allowed]
    refused = [_refused(*pair, settings.support) for pair in found if not pair[0].decision.allowed]
    allowed.sort(key=lambda card: card["name"] != settings.last_used)
    return str(
        _template().render(
            settings=settings,
            help_text=paragraphs(settings.help_text),
            advice=_advice(settings),
            allowed=allowed,
            refused=refused,
            folded=bool(allowed) and len(refused) > _MOST_NAMED,
            refused_names=_names([one["title"] for one in refused]),
        )
    )


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("nbplatform_spawners"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("choices.html")


def _advice(settings: PageSettings) -> tuple[Part, ...]:
    """Return what to do where nothing can be chosen now; empty where all is well."""
    kind = REFUSALS.get(settings.problem.reason) if settings.problem else None
    if kind is None:
        return ()
    advice = kind.advice.format(support=settings.support)
    return linked(advice[:1].upper() + advice[1:], str(settings.problem))


def _card(choice: Choice, profile: Profile) -> dict[str, Any]:
    decision, obstacle = choice.decision, choice.obstacle
    places = storage(decision)
    shown = groupby(places[:_MOST_STORAGE], key=itemgetter(1))
    return {
        "name": profile.name,
        "title": profile.title,
        "description": profile.description,
        "state": obstacle.reason if obstacle else "",
        "badge": _NOT_NOW.get(obstacle.reason, "Not now") if obstacle else "",
        "sentence": obstacle.message if obstacle else "",
        "free": choice.free,
        "facts": main_facts(decision, profile),
        "idle": idle_limits(decision),
        "storage": [(rights, [path for path, _ in group]) for rights, group in shown],
        "more_storage": len(places[_MOST_STORAGE:]),
        "reason": decision.reason,
        "all_facts": all_facts(decision, profile),
    }


def _refused(choice: Choice, profile: Profile, support: str) -> dict[str, Any]:
    decision = choice.decision
    return {
        "name": profile.name,
        "title": profile.title,
        "description": profile.description,
        "verdict": "Not available" if decision.label in _NOT_HERE else "Not allowed",
        "message": linked(decision.message or "", decision.reason),
        "reason": decision.reason,
        "ask": linked(support, decision.reason),
    }


def _names(titles: list[str]) -> list[str]:
    """Return the first titles, shortened, and how many more there are."""
    cut = [one if len(one) <= _LONGEST_NAME else one[: _LONGEST_NAME - 1] + "…" for one in titles[:_MOST_NAMED]]
    return cut if len(titles) <= _MOST_NAMED else [*cut, f"{len(titles) - _MOST_NAMED} more"]
