"""Answers that are kept: for how long, how many, and what is never kept."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime

import pytest

from nbplatform_spawners.accounts import cached
from nbplatform_spawners.accounts.cached import CachedDirectory
from nbplatform_spawners.accounts.directory import AccountDirectory, NotLinked, UnknownAccount
from nbplatform_spawners.errors import DirectoryUnavailable
from nbplatform_spawners.identity import Account, Identity


class CountingDirectory:
    """Knows whoever is in ``known``, counts the questions, and can be away."""

    absence_is_proof = True

    def __init__(self) -> None:
        self.known: dict[str, int] = {"ada": 62001, "ben": 62002}
        self.asked: Counter[object] = Counter()
        self.away = False

    def lookup(self, name: str) -> Account:
        """Return the account of a name."""
        self.asked[name] += 1
        if self.away:
            raise DirectoryUnavailable("away")
        if name not in self.known:
            raise UnknownAccount(name)
        uid = self.known[name]
        return Account(Identity(name, uid, 61000, {"users": 61000}, "users", f"/home/{name}"))

    def lookup_federated(self, provider: str, subject: str) -> Account:
        """Return the account whose name is the subject."""
        try:
            return self.lookup(subject)
        except UnknownAccount:
            raise NotLinked(provider, subject) from None


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


@pytest.fixture
def inner() -> CountingDirectory:
    """The directory behind the cache."""
    return CountingDirectory()


@pytest.fixture
def clock() -> Clock:
    """The cache's clock."""
    return Clock()


@pytest.fixture
def directory(inner: CountingDirectory, clock: Clock) -> AccountDirectory:
    """The directory with its cache of a minute."""
    return CachedDirectory(inner, 60.0, clock)


def test_an_answer_is_kept_for_its_time_and_says_how_old_it_is(
    directory: AccountDirectory, inner: CountingDirectory, clock: Clock
) -> None:
    """The same answer with the same age; after that the directory is asked again."""
    before = datetime.now(UTC)
    first = directory.lookup("ada")
    assert first.as_of is not None
    assert before <= first.as_of <= datetime.now(UTC)
    clock.now += 59.9
    inner.known["ada"] = 62099
    assert directory.lookup("ada") is first
    clock.now += 0.1
    assert directory.lookup("ada").identity.uid == 62099
    assert inner.asked == {"ada": 2}


def test_names_and_pairs_are_kept_apart(directory: AccountDirectory, inner: CountingDirectory) -> None:
    """Neither may be taken for the other, nor one pair for another."""
    directory.lookup("ada")
    assert directory.lookup_federated("edugain", "ada").identity.name == "ada"
    assert directory.lookup_federated("other", "ada").identity.name == "ada"
    assert directory.lookup_federated("edugain", "ben").identity.name == "ben"
    assert inner.asked == {"ada": 3, "ben": 1}


def test_what_is_no_account_is_never_kept(directory: AccountDirectory, inner: CountingDirectory) -> None:
    """Somebody who is entered now can log in now; an outage is one at each question."""
    for _ in range(2):
        with pytest.raises(UnknownAccount):
            directory.lookup("new")
        with pytest.raises(NotLinked):
            directory.lookup_federated("edugain", "new")
    inner.known["new"] = 62003
    assert directory.lookup("new").identity.uid == 62003
    inner.away = True
    for _ in range(2):
        with pytest.raises(DirectoryUnavailable):
            directory.lookup("ben")
    assert inner.asked == {"new": 5, "ben": 2}


def test_an_answer_is_not_kept_longer_because_of_an_outage(
    directory: AccountDirectory, inner: CountingDirectory, clock: Clock
) -> None:
    """How long known users may go on is decided elsewhere; and a gone account does not come back from the cache."""
    directory.lookup("ada")
    clock.now += 60
    inner.away = True
    with pytest.raises(DirectoryUnavailable):
        directory.lookup("ada")
    inner.away = False
    del inner.known["ada"]
    with pytest.raises(UnknownAccount):
        directory.lookup("ada")
    clock.now -= 60
    with pytest.raises(UnknownAccount):
        directory.lookup("ada")


def test_the_number_of_answers_is_bounded(
    inner: CountingDirectory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest goes first."""
    monkeypatch.setattr(cached, "MOST_ANSWERS", 3)
    inner.known = {name: 62000 + number for number, name in enumerate("abcd", 1)}
    directory = CachedDirectory(inner, 60.0, clock)
    for name in "abcd":
        directory.lookup(name)
    for name in "bcd":
        directory.lookup(name)
    assert set(inner.asked.values()) == {1}
    directory.lookup("a")
    assert inner.asked["a"] == 2
    assert cached.MOST_ANSWERS == 3


def test_it_proves_what_the_directory_behind_it_proves(inner: CountingDirectory) -> None:
    """A cache changes nothing about that."""
    assert CachedDirectory(inner, 60.0).absence_is_proof
    inner.absence_is_proof = False
    assert not CachedDirectory(inner, 60.0).absence_is_proof


def test_many_threads_get_the_right_answers(directory: AccountDirectory, inner: CountingDirectory) -> None:
    """Each the account that it asked for."""
    inner.known = {f"u{number}": 62000 + number for number in range(20)}
    wrong: list[str] = []

    def ask() -> None:
        for number in range(20):
            if directory.lookup(f"u{number}").identity.uid != 62000 + number:
                wrong.append(f"u{number}")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(count <= 8 for count in inner.asked.values())
