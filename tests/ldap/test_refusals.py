"""What must not become an account, asked of a real LDAP server: look-alikes, two entries, none, referrals."""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.accounts.directory import AccountDirectory, NotLinked, UnknownAccount
from nbplatform_spawners.accounts.filters import escape
from nbplatform_spawners.errors import DirectoryUnavailable, Refusal
from tests.components.need import need
from tests.components.slapd import BASE, BLIND, NAMELESS, Slapd, person, slapd

from .site import EMPTY, IDP, NIS, REFERRING, TWINS, accounts, directory_of, groups, people, referral, settings_for


@pytest.fixture(scope="module")
def directory(nis: Slapd, tmp_path_factory: pytest.TempPathFactory) -> AccountDirectory:
    """The directory that most of these tests ask."""
    return directory_of(tmp_path_factory.mktemp("settings"), settings_for(nis))


META = {
    "everything": "*",
    "a prefix": "al*",
    "the end of the filter": "alice)(uid=*",
    "a filter that is true": "*)(objectClass=*",
    "an or": "x)(|(uid=alice",
    "a not": "x)(!(uid=bob)",
    "brackets alone": "()",
    "an escaped star": "\\2a",
    "an escaped letter": "\\61lice",
    "a backslash": "alice\\",
    "NUL": "alice\0",
    "NUL and more": "\0)(uid=alice",
    "a line break": "alice\n",
    "a comma": "alice,ou=people",
    "nothing": "",
    "a lone surrogate": "\ud800",
    "a look-alike": "\u0430lice",
    "a Kelvin sign": "\u212aim",
    "full width": "\uff41lice",
    "300 characters": "a" * 300,
}


@pytest.mark.parametrize("name", META.values(), ids=META)
def test_no_character_of_a_name_means_anything_in_a_filter(directory: AccountDirectory, name: str) -> None:
    """Each is the name of somebody whom nobody knows; above all, of nobody else.

    The server itself folds some of them into ``alice`` (full width, blanks): those are refused by what it answers.
    """
    with pytest.raises(Refusal) as caught:
        directory.lookup(name)
    assert isinstance(caught.value, UnknownAccount) or "use that name" in caught.value.message


@settings(deadline=None)
@given(st.text())
def test_escaping_is_that_of_the_library(text: str) -> None:
    """Ours is pure and needs no library; both agree on what must be escaped."""
    assert escape(text) == ldap_filter().escape_filter_chars(text)


def ldap_filter() -> Any:
    """Return the library's module; it may be missing where tests are only collected."""
    return importlib.import_module("ldap.filter")


LOOK_ALIKES = {
    "upper case": ("ALICE", "'alice'"),
    "lower case of one with a capital": ("upper", "'Upper'"),
    "a blank before it": (" alice", "'alice'"),
    "a blank behind it": ("alice ", "'alice'"),
    "a second name": ("second", "'alias'"),
}


@pytest.mark.parametrize(("name", "known_as"), LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_a_name_that_only_the_server_takes_for_the_same_is_refused(
    directory: AccountDirectory, name: str, known_as: str
) -> None:
    """LDAP compares without regard to case; two names of one uid would be two users of the hub."""
    with pytest.raises(Refusal, match=f"the directory knows it as {known_as}; use that name") as caught:
        directory.lookup(name)
    assert not isinstance(caught.value, UnknownAccount)


def test_of_several_names_the_one_in_the_distinguished_name_counts(directory: AccountDirectory) -> None:
    """As SSSD has it."""
    assert directory.lookup("alias").identity.uid == 62013


NOT_SAFE = {
    "uid 0": ("zero", "the uid, '0', is not a number from 1"),
    "a relative home": ("nowhere", "its homeDirectory 'home/nowhere' is refused"),
}


@pytest.mark.parametrize(("name", "why"), NOT_SAFE.values(), ids=NOT_SAFE)
def test_an_account_that_is_not_safe_is_refused(directory: AccountDirectory, name: str, why: str) -> None:
    """With the reason."""
    with pytest.raises(Refusal, match=why):
        directory.lookup(name)


def test_two_entries_for_a_name_are_refused(nis: Slapd, tmp_path: Path) -> None:
    """In two branches, with two uids: nobody knows which is meant, so it is neither."""
    directory = directory_of(tmp_path, settings_for(nis, accounts=accounts(TWINS)))
    with pytest.raises(Refusal, match="account 'twin': the directory has several entries") as caught:
        directory.lookup("twin")
    assert not isinstance(caught.value, UnknownAccount)


def test_nobody_is_unknown_and_that_is_proof(directory: AccountDirectory) -> None:
    """The server answered, and it shows other accounts."""
    assert directory.absence_is_proof
    with pytest.raises(UnknownAccount, match="account 'nobody': this site has no such account"):
        directory.lookup("nobody")


NO_PROOF = {
    "a branch without accounts": ({"accounts": accounts(EMPTY)}, "it shows no account at all below"),
    "a branch that is not there": ({"accounts": accounts(f"ou=none,{BASE}")}, "a base of the settings is not there"),
    "groups that are not there": ({"groups": {"base": f"ou=none,{BASE}"}}, "a base of the settings is not there"),
    "a service account that sees nothing": ({"bind_dn": BLIND}, "a base of the settings is not there"),
    "a service account that sees no names": ({"bind_dn": NAMELESS}, "it shows no account at all below"),
    "nobody asking": ({"bind_dn": None, "bind_password_file": None}, "a base of the settings is not there"),
    "a base that is no name": ({"accounts": accounts("nonsense=,x")}, "Invalid DN syntax"),
}


@pytest.mark.parametrize(("changed", "why"), NO_PROOF.values(), ids=NO_PROOF)
def test_a_server_that_shows_nothing_proves_nothing(
    nis: Slapd, tmp_path: Path, changed: dict[str, object], why: str
) -> None:
    """Emptied, filled anew, or with other rules about who may look: nobody's servers end by it."""
    directory = directory_of(tmp_path, settings_for(nis, **changed))
    with pytest.raises(DirectoryUnavailable, match=why):
        directory.lookup("alice" if "groups" in changed else "nobody")


def test_a_password_that_is_refused_is_no_answer(nis: Slapd, tmp_path: Path) -> None:
    """The message names neither the password nor anybody's account."""
    secret = tmp_path / "secret"
    secret.write_text("a wrong one\n")
    secret.chmod(0o600)
    directory = directory_of(tmp_path, settings_for(nis, bind_password_file=str(secret)))
    with pytest.raises(DirectoryUnavailable, match="it refuses bind_dn with this password") as caught:
        directory.lookup("alice")
    assert "a wrong one" not in str(caught.value)


# Referrals


class Canary:
    """Stands where a referral points to and notes who comes; says nothing."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ldap://127.0.0.1:{self.listener.getsockname()[1]}"
        self.visits = 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                came, _ = self.listener.accept()
            except OSError:
                return
            self.visits += 1
            came.close()


@contextmanager
def canary() -> Iterator[Canary]:
    """A place to be referred to."""
    one = Canary()
    try:
        yield one
    finally:
        one.listener.shutdown(socket.SHUT_RDWR)
        one.listener.close()


def test_a_referral_is_never_followed(tmp_path: Path) -> None:
    """Who is here is found; who is not may be where it points, so that is no proof; nobody is asked there."""
    with canary() as bird, need(slapd(entries=[*people(), *groups(NIS), referral(bird.url)])) as server:
        directory = directory_of(tmp_path, settings_for(server, accounts=accounts(REFERRING)))
        assert directory.lookup("here").identity.uid == 62031
        with pytest.raises(DirectoryUnavailable, match="it refers to another server, which is not asked"):
            directory.lookup("nobody")
        whole = settings_for(server, accounts=accounts(f"ou=elsewhere,{REFERRING}"))
        with pytest.raises(DirectoryUnavailable, match="it refers to another server, which is not asked"):
            directory_of(tmp_path, whole).lookup("alice")
        assert bird.visits == 0
        with socket.create_connection(("127.0.0.1", int(bird.url.rpartition(":")[2]))) as visitor:
            visitor.recv(1)
        assert bird.visits == 1, "the canary sees who comes"


# Links to identity providers

SUBJECT = f"{IDP}!{IDP}!Abc123="
NO_LINKS = {
    "another provider": ("other", SUBJECT),
    "another subject": ("edugain", "somebody"),
    "a subject in another case": ("edugain", SUBJECT.lower()),
    "a provider in another case": ("EDUGAIN", SUBJECT),
    "every subject": ("edugain", "*"),
    "a prefix": ("edugain", f"{IDP}*"),
    "the end of the filter": ("edugain", f"{SUBJECT})(uid=*"),
    "every provider": ("*)(linkProvider=*", SUBJECT),
    "a blank behind it": ("edugain", f"{SUBJECT} "),
    "a placeholder": ("edugain", "{provider}"),
    "NUL": ("edugain", f"{SUBJECT}\0"),
    "a lone surrogate": ("edugain", "\ud800"),
    "no subject": ("edugain", ""),
    "no provider": ("", SUBJECT),
    "a user name": ("edugain", "alice"),
}


def test_a_linked_person_is_found_by_provider_and_subject(directory: AccountDirectory) -> None:
    """Whatever characters a subject has."""
    assert directory.lookup_federated("edugain", SUBJECT).identity.name == "alice"


@pytest.mark.parametrize(("provider", "subject"), NO_LINKS.values(), ids=NO_LINKS)
def test_only_exactly_this_pair_is_linked(directory: AccountDirectory, provider: str, subject: str) -> None:
    """The server's schema compares them without regard to case, and that is not enough."""
    with pytest.raises(NotLinked):
        directory.lookup_federated(provider, subject)


def test_a_pair_that_two_accounts_have_is_refused(directory: AccountDirectory) -> None:
    """And is not taken for unknown: somebody has to mend it."""
    with pytest.raises(Refusal, match="several entries") as caught:
        directory.lookup_federated("edugain", "shared")
    assert not isinstance(caught.value, NotLinked)


def test_two_subjects_that_differ_by_case_are_two_persons(tmp_path: Path) -> None:
    """The server finds both for either; each gets their own account."""
    two = [
        person("anna", 62101, 61000, linkProvider="edugain", linkSubject="Q29z"),
        person("bert", 62102, 61000, linkProvider="edugain", linkSubject="q29Z"),
    ]
    with need(slapd(entries=two)) as server:
        directory = directory_of(tmp_path, settings_for(server))
        assert directory.lookup_federated("edugain", "Q29z").identity.name == "anna"
        assert directory.lookup_federated("edugain", "q29Z").identity.name == "bert"


def test_without_a_filter_for_links_nobody_is_linked(nis: Slapd, tmp_path: Path) -> None:
    """The default."""
    directory = directory_of(tmp_path, settings_for(nis, accounts=accounts()))
    with pytest.raises(NotLinked, match="no account of this site is linked to you"):
        directory.lookup_federated("edugain", SUBJECT)
