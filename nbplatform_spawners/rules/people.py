"""Decisions for accounts, also for those that may not be used.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ..errors import Refusal
from ..identity import Account, IdRange
from .decision import Decision
from .engine import decide
from .model import RuleBook


@dataclass(frozen=True)
class People:
    """The accounts of a site.

    Attributes:
        accounts: by name.
        refusals: accounts that exist but whose identity is refused, by name.
        allowed: uids and gids that servers may have; the hub's own by default.
    """

    accounts: Mapping[str, Account]
    refusals: Mapping[str, Refusal]
    allowed: IdRange = field(default_factory=IdRange)

    @property
    def names(self) -> list[str]:
        """Every account's name, in name order."""
        return sorted((*self.accounts, *self.refusals))

    def decide(
        self, book: RuleBook, user: str, *, profile: str | None, now: datetime, provider: str | None = None
    ) -> Decision:
        """Return the decision for an account; one that the hub would not let in is refused.

        Args:
            book: the rules.
            user: name of the account.
            profile: what is asked for; None for the first that is allowed.
            now: aware time of the question.
            provider: identity provider that the user comes through; None for a local login.

        Raises:
            KeyError: no such account or profile.
            Refusal: the provider's name is not a safe one.
        """
        if user in self.refusals:
            if profile is not None:
                book.profiles[profile]  # unknown is unknown, whoever asks
            refused = Decision(user, profile, allowed=False, generation=book.generation, reason="")
            return refused.refused(self.refusals[user])
        account = self.accounts[user]
        identity = replace(account.identity, provider=provider) if provider else account.identity
        decision = decide(book, identity, profile=profile, now=now)
        refusal = self.refusal(user, now)
        return decision.refused(refusal) if refusal else decision

    def refusal(self, user: str, now: datetime) -> Refusal | None:
        """Return why an account may not be used, in the hub's order, or None: not safe, ended, outside the range.

        Args:
            user: name of the account.
            now: aware time of the question.

        Raises:
            KeyError: no such account.
        """
        if user in self.refusals:
            return self.refusals[user]
        account = self.accounts[user]
        return account.refusal(now) or account.identity.outside(self.allowed)

    def decide_all(self, book: RuleBook, *, now: datetime, provider: str | None = None) -> Iterator[Decision]:
        """Yield the decision for every account and profile, by name and in file order."""
        for user in self.names:
            for profile in book.profiles:
                yield self.decide(book, user, profile=profile, now=now, provider=provider)
