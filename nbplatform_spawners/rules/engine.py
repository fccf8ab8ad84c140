"""Deciding: one pure function from rule book, identity, profile and time to a decision.

For each field the first rule that matches and sets it decides; else the profile; else the defaults.
``mounts`` and ``env`` add up in the same order, the first for one target or one variable wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from ..identity import Identity
from ..mounts import Mount
from .decision import Decided, DecidedEnv, DecidedMount, Decision
from .model import FIELDS, PLACEMENT, Match, MountEntry, Origin, Profile, RuleBook, Settings
from .patterns import Patterns
from .template import Template
from .units import format_count
from .unplaceable import why_unplaceable

_NOWHERE = Origin("defaults", "", 0)
_DEFAULT_FIELDS = tuple(key for key in FIELDS if key not in ("allow", *PLACEMENT))


@dataclass(frozen=True)
class _Subject:
    """Whom a match is asked about: made once for each decision."""

    name: str
    groups: frozenset[str]
    joined: str
    provider: str | None
    profile: str
    now: datetime


class _Layer(NamedTuple):
    """One source of settings that counts for this decision, and which groups its match asks for."""

    origin: Origin
    settings: Settings
    wanted: Patterns | None = None


def decide(book: RuleBook, identity: Identity, *, profile: str | None, now: datetime) -> Decision:
    """Return what the rules grant.

    Args:
        book: the rules.
        identity: who asks, through which identity provider.
        profile: what is asked for; None for the first profile, in file order, that is allowed.
        now: aware time of the question.

    Raises:
        KeyError: the profile does not exist.
    """
    if profile is not None:
        return _decide_profile(book, identity, book.profiles[profile], now)
    for candidate in book.profiles.values():
        decision = _decide_profile(book, identity, candidate, now)
        if decision.allowed:
            return decision
    return Decision(
        user=identity.name,
        profile=None,
        allowed=False,
        generation=book.generation,
        label="not-allowed",
        reason="not-allowed: none of the profiles is allowed for you",
    )


def decide_fields(book: RuleBook, identity: Identity, *, profile: str, now: datetime) -> Decision:
    """Return what the rules grant to a server that runs, in half the time: for whoever asks of thousands.

    The same as :func:`decide` gives, without mounts and environment, and not asking whether a host could serve it.

    Args:
        book, identity, now: as for :func:`decide`.
        profile: what is asked for.

    Raises:
        KeyError: the profile does not exist.
    """
    return _decide_profile(book, identity, book.profiles[profile], now, whole=False)


def holds(match: Match, identity: Identity, *, profile: str, now: datetime) -> bool:
    """Tell whether a match holds for this identity, profile and aware time."""
    return _holds(match, _subject(identity, profile, now))


def _decide_profile(
    book: RuleBook, identity: Identity, profile: Profile, now: datetime, *, whole: bool = True
) -> Decision:
    layers = _layers(book, identity, profile, now)
    fields = _fields(layers, book.defaults_origin or _NOWHERE, book.defaults)
    mounts, hidden, lost_mounts = _mounts(layers, identity) if whole else ((), (), ())
    env, lost_env = _env(layers, identity) if whole else ((), ())
    label, message, reason = _verdict(book, profile, fields, layers, whole)
    return Decision(
        user=identity.name,
        profile=profile.name,
        allowed=label is None,
        generation=book.generation,
        reason=reason,
        label=label,
        message=message,
        gpus=profile.gpus,
        gpu_model=profile.gpu_model,
        fields=fields,
        mounts=mounts,
        env=env,
        hidden=hidden,
        unfilled=(*lost_mounts, *lost_env),
    )


def _layers(book: RuleBook, identity: Identity, profile: Profile, now: datetime) -> list[_Layer]:
    """Return what counts, in order: the rules that match, the profile, the defaults."""
    subject = _subject(identity, profile.name, now)
    names = {"users": (subject.name,), "groups": subject.groups, "profiles": (subject.profile,)}
    brokers = () if subject.provider is None else (subject.provider,)
    layers = []
    for position in book.index.candidates({**names, "providers": brokers}):
        rule = book.rules[position]
        if _holds(rule.match, subject):
            layers.append(_Layer(rule.origin, rule.settings, rule.match.groups))
    layers.append(_Layer(profile.origin, profile.settings))
    layers.append(_Layer(book.defaults_origin or _NOWHERE, book.defaults))
    return layers


def _subject(identity: Identity, profile: str, now: datetime) -> _Subject:
    return _Subject(
        identity.name, frozenset(identity.groups), "\n".join(identity.groups), identity.provider, profile, now
    )


def _holds(match: Match, subject: _Subject) -> bool:
    return (
        (match.profiles is None or match.profiles.holds(subject.profile))
        and (match.users is None or match.users.holds(subject.name))
        and (match.groups is None or match.groups.holds_any(subject.groups, subject.joined))
        and (match.providers is None or (subject.provider is not None and match.providers.holds(subject.provider)))
        and (match.starts is None or subject.now >= match.starts)
        and (match.ends is None or subject.now < match.ends)
        and not (match.never and _one_holds(match.never, subject))
    )


def _one_holds(matches: tuple[Match, ...], subject: _Subject) -> bool:
    for match in matches:  # noqa: SIM110 - any() of a generator takes twice as long; a large site asks a thousand times
        if _holds(match, subject):
            return True
    return False


def _fields(layers: list[_Layer], defaults_origin: Origin, defaults: Settings) -> Mapping[str, Decided]:
    found: dict[str, Decided] = {}
    for layer in layers[:-1]:
        placed = "pool" in found or "hosts" in found
        for key, value in layer.settings.fields.items():
            if key not in found and not (placed and key in PLACEMENT):
                found[key] = Decided(value, layer.origin)
    for key in _DEFAULT_FIELDS:
        if key not in found and key in defaults.fields:
            found[key] = Decided(defaults.fields[key], defaults_origin)
    profile = layers[-2]
    if "pool" not in found and "pool" in profile.settings.fields:  # a rule set hosts alone
        found["pool"] = Decided(profile.settings.fields["pool"], profile.origin)
    return MappingProxyType({key: found[key] for key in FIELDS if key in found})


def _mounts(
    layers: list[_Layer], identity: Identity
) -> tuple[tuple[DecidedMount, ...], tuple[str, ...], tuple[str, ...]]:
    values = _values(identity)
    mounts: dict[str, DecidedMount | None] = {}
    unfilled = []
    for layer in layers:
        for entry in layer.settings.mounts:
            for mount in _filled(entry, values, identity, layer.wanted):
                if mount is None:
                    unfilled.append(f"mount {entry.target.text} of {layer.origin.by} ({layer.origin.where})")
                else:
                    decided = DecidedMount(mount, layer.origin) if entry.source else None
                    mounts.setdefault(mount.target, decided)
    kept = tuple(decided for decided in mounts.values() if decided)
    hidden = tuple(target for target, decided in mounts.items() if decided is None)
    return kept, hidden, tuple(unfilled)


def _filled(
    entry: MountEntry, values: Mapping[str, str], identity: Identity, wanted: Patterns | None
) -> Sequence[Mount | None]:
    """Return the mount once, or once for each matched group; None where a placeholder has no value."""
    if entry.fixed:
        return (entry.fixed,)
    return [entry.filled(filling) for filling in _fillings(values, identity, wanted, entry.target, entry.source)]


def _env(layers: list[_Layer], identity: Identity) -> tuple[tuple[DecidedEnv, ...], tuple[str, ...]]:
    values = _values(identity)
    env: dict[str, DecidedEnv] = {}
    unfilled = []
    for layer in layers:
        for name, template in layer.settings.env:
            for filling in _fillings(values, identity, layer.wanted, template):
                value = template.fill(filling)
                if value is None:
                    unfilled.append(f"variable {name} of {layer.origin.by} ({layer.origin.where})")
                else:
                    env.setdefault(name, DecidedEnv(name, value, layer.origin))
    return tuple(env.values()), tuple(unfilled)


def _values(identity: Identity) -> dict[str, str]:
    """Return the values of all placeholders but ``{group}``."""
    values = {
        "username": identity.name,
        "uid": str(identity.uid),
        "gid": str(identity.gid),
        "home": identity.home,
    }
    if identity.primary_group is not None:
        values["primary_group"] = identity.primary_group
    return values


def _fillings(
    values: Mapping[str, str], identity: Identity, wanted: Patterns | None, *templates: Template | None
) -> list[Mapping[str, str]]:
    """Return the values once, or once for each matched group where a template asks for one."""
    for template in templates:
        if template and "group" in template.names:
            return [{**values, "group": group} for group in (wanted.matched(identity.groups) if wanted else ())]
    return [values]


def _verdict(
    book: RuleBook, profile: Profile, fields: Mapping[str, Decided], layers: list[_Layer], with_hosts: bool
) -> tuple[str | None, str | None, str]:
    """Return the label of a refusal (or None), the site's message and the reason's sentence."""
    allow = fields.get("allow")
    if allow is None:
        message = profile.settings.message
        return "not-allowed", message, f"not-allowed: no rule allows you the profile '{profile.name}'"
    others = (profile.origin, book.defaults_origin)
    by = _named(allow.origin, others)
    if not allow.value:
        told = next((layer.settings.message for layer in layers if layer.origin == allow.origin), None)
        return "not-allowed", told, f"not-allowed: refused by {by}"
    quota = fields.get("quota.gpus")
    if quota is not None and profile.gpus > quota.value:
        return (
            "quota",
            None,
            (
                f"quota: the profile '{profile.name}' holds {format_count(profile.gpus, 'GPU')},"
                f" your quota is {quota.value}, set by {_named(quota.origin, others)}"
            ),
        )
    values = {key: found.value for key, found in fields.items()}
    impossible = why_unplaceable(book, profile, values) if with_hosts else None
    if impossible:
        return "unplaceable", None, f"unplaceable: {impossible}"
    return None, None, f"allowed by {by}"


def _named(origin: Origin, not_rules: tuple[Origin | None, ...]) -> str:
    return f"{origin.by} ({origin.where})" if origin in not_rules else f"rule '{origin.by}'"
