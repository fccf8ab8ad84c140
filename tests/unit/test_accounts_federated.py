"""People who come through an identity provider, in the two directories that need no service."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nbplatform_spawners.accounts.directory import NotLinked, open_directory

FILE = """\
groups: {users: 61000}
accounts:
  ada:
    uid: 62001
    group: users
    federated:
      - {provider: edugain, subject: "https://idp.example.org!Abc"}
      - {provider: other, subject: "*"}
  ben: {uid: 62002, group: users}
"""
NO_LINKS = [
    ("edugain", "https://idp.example.org!abc"),
    ("EDUGAIN", "https://idp.example.org!Abc"),
    ("edugain", "*"),
    ("edugain", "ada"),
    ("other", "anybody"),
    ("", ""),
    ("edugain", "\ud800"),
]


def test_a_pair_of_the_accounts_file_is_its_account(tmp_path: Path) -> None:
    """Also after a change of the file; as a lookup by name is."""
    path = tmp_path / "accounts.yaml"
    path.write_text(FILE)
    directory = open_directory(str(path))
    assert directory.lookup_federated("edugain", "https://idp.example.org!Abc") == directory.lookup("ada")
    path.write_text(FILE.replace("Abc", "Xyz"))
    assert directory.lookup_federated("edugain", "https://idp.example.org!Xyz").identity.name == "ada"
    with pytest.raises(NotLinked):
        directory.lookup_federated("edugain", "https://idp.example.org!Abc")


@pytest.mark.parametrize(("provider", "subject"), NO_LINKS)
@pytest.mark.parametrize("kind", ["file", "nss"])
def test_only_exactly_that_pair_is(tmp_path: Path, kind: str, provider: str, subject: str) -> None:
    """Letter by letter, and no wildcards; the machine's own accounts are linked to nobody."""
    path = tmp_path / "accounts.yaml"
    path.write_text(FILE)
    directory = open_directory("nss" if kind == "nss" else str(path))
    with pytest.raises(NotLinked) as caught:
        directory.lookup_federated(provider, subject)
    assert caught.value.reason == "account"
    assert (caught.value.provider, caught.value.subject) == (provider, subject)


def test_who_is_not_linked_is_told_the_pair_bounded() -> None:
    """It is what they send to whoever can link them; it survives being sent between processes."""
    refusal = NotLinked("edugain", "https://idp.example.org!abc\n")
    assert refusal.message == (
        "no account of this site is linked to you (identity provider 'edugain', subject 'https://idp.example.org!abc\\n')"
    )
    assert len(NotLinked("p" * 5000, "s" * 5000).message) < 500
    again = pickle.loads(pickle.dumps(refusal))
    assert (type(again), again.message) == (NotLinked, refusal.message)
