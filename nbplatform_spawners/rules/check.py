"""Warnings: what is no mistake, but probably not meant.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ..errors import Mistake
from ..names import bounded
from .model import Match, Rule, RuleBook
from .overlap import may_overlap
from .patterns import make_patterns
from .people import People

_MOST_NAMES = 5


def find_warnings(book: RuleBook) -> tuple[Mistake, ...]:
    """Return what is suspicious in a rule book, in the order of its files and lines."""
    return tuple(sorted([*_late_refusals(book), *_silent_messages(book), *_empty_rules(book)]))


def find_account_warnings(book: RuleBook, people: People, now: datetime) -> tuple[Mistake, ...]:
    """Return what is suspicious in a rule book for these accounts.

    Args:
        book: the rules.
        people: every account; those that are refused exist all the same.
        now: aware time for which the decisions are made.
    """
    groups = frozenset(group for account in people.accounts.values() for group in account.identity.groups)
    return tuple(sorted([*_strangers(book, frozenset(people.names), groups), *_unplaceable(book, people, now)]))


def _late_refusals(book: RuleBook) -> Iterator[Mistake]:
    allowing: list[Rule] = []
    for rule in book.rules:
        allow = rule.settings.fields.get("allow")
        if allow is True:
            allowing.append(rule)
        elif allow is False:
            for earlier in allowing:
                if may_overlap(earlier.match, rule.match, book.profiles):
                    yield _warn(
                        rule,
                        "'allow: false' stands behind 'allow: true' of"
                        f" rule {bounded(earlier.origin.by)} ({earlier.origin.where}), which may match the same"
                        " and decides first",
                    )
                    break


def _silent_messages(book: RuleBook) -> Iterator[Mistake]:
    for rule in book.rules:
        if rule.settings.message is not None and rule.settings.fields.get("allow") is not False:
            yield _warn(rule, "'message' says nothing without 'allow: false'")


def _empty_rules(book: RuleBook) -> Iterator[Mistake]:
    for rule in book.rules:
        settings = rule.settings
        if not (settings.fields or settings.mounts or settings.env or settings.message):
            yield _warn(rule, "it sets nothing")


def _strangers(book: RuleBook, users: frozenset[str], groups: frozenset[str]) -> Iterator[Mistake]:
    """Yield each entry that no account has, once: at the first rule that names it."""
    told: set[tuple[str, str]] = set()
    for rule in book.rules:
        for match in _with_never(rule.match):
            for what, patterns, known in (("user", match.users, users), ("group", match.groups, groups)):
                for entry in patterns.entries if patterns else ():
                    if (what, entry) not in told and not make_patterns([entry]).matched(known):
                        told.add((what, entry))
                        has = "is called" if what == "user" else "is in the group"
                        yield _warn(rule, f"no account {has} {bounded(entry)}")


def _with_never(match: Match) -> Iterator[Match]:
    yield match
    for other in match.never:
        yield from _with_never(other)


def _unplaceable(book: RuleBook, people: People, now: datetime) -> Iterator[Mistake]:
    admitted = [name for name in people.accounts if people.refusal(name, now) is None]
    for profile in book.profiles.values():
        met: dict[str, list[str]] = {}
        for name in admitted:
            decision = people.decide(book, name, profile=profile.name, now=now)
            if decision.label == "unplaceable":
                met.setdefault(decision.reason, []).append(name)
        for reason, names in met.items():
            shown = ", ".join(names[:_MOST_NAMES])
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            message = f"{profile.origin.by}: {reason} (for {shown}{more})"
            yield Mistake(profile.origin.file, profile.origin.line, message)


def _warn(rule: Rule, message: str) -> Mistake:
    return Mistake(rule.origin.file, rule.origin.line, f"rule {bounded(rule.origin.by)}: {message}")
