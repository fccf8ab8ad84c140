"""A directory of 10,000 accounts in 500 groups: each answer is the right one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nbplatform_spawners.accounts.directory import UnknownAccount
from nbplatform_spawners.errors import DirectoryUnavailable
from tests.components.need import need
from tests.components.slapd import Slapd, large_site, slapd

from .site import directory_of, settings_for

ACCOUNTS, GROUPS = 10_000, 600


@pytest.fixture(scope="module")
def large() -> Iterator[Slapd]:
    """The server; one account is in every group."""
    with need(slapd(entries=large_site(ACCOUNTS, GROUPS))) as server:
        yield server


def test_each_of_ten_thousand_accounts_is_found(large: Slapd, tmp_path: Path) -> None:
    """By name, with its groups; one more than there are is unknown."""
    directory = directory_of(tmp_path, settings_for(large))
    for number in (1, 17, 4999, ACCOUNTS - 1):
        identity = directory.lookup(f"user{number}").identity
        assert identity.uid == 100_000 + number
        assert identity.groups["users"] == 50_000
        assert f"group{number % GROUPS}" in identity.groups
        assert len(identity.groups) == 3
    with pytest.raises(UnknownAccount):
        directory.lookup(f"user{ACCOUNTS}")


def test_whoever_has_more_groups_than_the_server_gives_at_once_gets_no_part_of_them(
    large: Slapd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """slapd gives 500 entries an answer: some of the groups would be a wrong answer.  Nobody else is held up by it."""
    directory = directory_of(tmp_path, settings_for(large))
    with pytest.raises(DirectoryUnavailable, match="it gives not all of an account's groups: raise its size limit"):
        directory.lookup("user0")
    assert directory.lookup("user1").identity.uid == 100_001
    assert caplog.records == []
