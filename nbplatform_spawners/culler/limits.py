"""Which limits hold for a server now: those of the rules, else those noted at its start, else those of the command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import Refusal
from ..identity import identity_from_dict
from ..rules.decision import Decision
from ..rules.engine import decide_fields
from ..rules.model import IDLE_KEYS, Origin, RuleBook
from ..rules.units import MAX_DURATION
from .models import Running
from .policy import Limits

NOT_ANY_MORE = frozenset({"not-allowed", "quota"})
"""Labels of decisions that take away what was granted; a host that went is no reason to stop what runs elsewhere."""


@dataclass(frozen=True)
class Options:
    """The limits of the command line, as upstream's culler has them.

    Attributes:
        timeout: seconds without use for a server about which nobody else says anything; None for never.
        max_age: seconds that any server may run; None for never.
        unanswered_max: see ``Limits``.
    """

    timeout: int | None = None
    max_age: int | None = None
    unanswered_max: int | None = None


@dataclass(frozen=True)
class Standing:
    """The limits of one server, and whether the rules still allow it.

    Attributes:
        limits: that hold now.
        source: ``rules``, ``start`` (noted when it was started) or ``options``.
        off: why the rules no longer allow it; None when they do, or were not asked.
    """

    limits: Limits
    source: str
    off: str | None = None


@dataclass(frozen=True)
class LimitsFinder:
    """Finds the limits of servers by one rule book.

    Args:
        book: the rules; None where there are none, or none that can be read.
        options: what holds where nobody says anything.
        now: aware time of the decisions.
    """

    book: RuleBook | None
    options: Options
    now: datetime

    def standing(self, server: Running) -> Standing:
        """Return the limits of a server."""
        noted = server.state.get("idle")
        if self.book is not None and not server.shows_state:
            return Standing(Limits(), "start")  # the hub does not show it: nobody knows whose limits these would be
        if self.book is None or not server.state:
            return self._noted(server, noted)
        profile = str(server.state.get("profile"))
        if profile not in self.book.profiles:
            gone = f"the rules have no profile '{profile}' any more"
            return Standing(self._noted(server, noted).limits, "start", gone)
        try:
            decision = self._decide(self.book, server.state["identity"], profile)
        except (KeyError, Refusal):  # cut to fit, or of another time
            return self._noted(server, noted)
        found = {key: decision.value(f"idle.{key}") for key in IDLE_KEYS if f"idle.{key}" in decision.fields}
        refusal = decision.refusal
        off = f"the rules no longer allow it: {refusal.message}" if refusal and refusal.reason in NOT_ANY_MORE else None
        return Standing(self._limits(server, found, _origins(decision)), "rules", off)

    def _decide(self, book: RuleBook, plain: object, profile: str) -> Decision:
        if isinstance(plain, Mapping) and plain.get("cut"):
            raise KeyError("the groups were cut")
        return decide_fields(book, identity_from_dict(plain), profile=profile, now=self.now)

    def _noted(self, server: Running, noted: object) -> Standing:
        if isinstance(noted, Mapping) and noted:
            return Standing(self._limits(server, noted, {}), "start")
        return Standing(self._limits(server, {}, {}), "options")

    def _limits(self, server: Running, found: Mapping[str, Any], origins: Mapping[str, Origin]) -> Limits:
        key = "cull_after_gpu" if server.gpu_count > 0 and "cull_after_gpu" in found else "cull_after"
        longest = [one for one in (_seconds(found.get("max_age")), self.options.max_age) if one is not None]
        max_age = min(longest, default=None)
        by_rules = {"idle": key, **({"max_age": "max_age"} if max_age == found.get("max_age") else {})}
        return Limits(
            idle=_seconds(found[key]) if key in found else self.options.timeout,
            warn_before=_seconds(found.get("warn_before")) or 0,
            max_age=max_age,
            busy_max=_seconds(found.get("busy_max")),
            extend=_seconds(found.get("extend")) or 0,
            unanswered_max=self.options.unanswered_max,
            origins={name: origins[key] for name, key in by_rules.items() if key in origins},
        )


def _origins(decision: Decision) -> dict[str, Origin]:
    prefix = "idle."
    return {key.removeprefix(prefix): one.origin for key, one in decision.fields.items() if key.startswith(prefix)}


def _seconds(value: object) -> int | None:
    """Return a limit as it is noted; None for never, and for nonsense."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_DURATION else None
