"""An account as a real LDAP server has it: numbers, groups of either schema, and its end."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.accounts.directory import AccountDirectory
from nbplatform_spawners.errors import Refusal
from tests.components.slapd import Slapd

from .site import accounts, directory_of, settings_for

ALICE = {
    "name": "alice",
    "uid": 62001,
    "gid": 61000,
    "groups": {"users": 61000, "atlas": 61100},
    "primary_group": "users",
    "home": "/home/alice",
    "shell": "/bin/bash",
    "provider": None,
    "unnamed_gids": [61200],
}
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(params=["nis", "bis"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> AccountDirectory:
    """The directory of a site whose groups are of either schema, with settings that name neither."""
    return directory_of(tmp_path, settings_for(request.getfixturevalue(request.param)))


def test_an_account_has_its_numbers_and_groups_in_either_schema(directory: AccountDirectory) -> None:
    """Whole: members by name (RFC 2307) or by distinguished name (RFC 2307bis); an unsafe name keeps its gid alone."""
    assert directory.lookup("alice").identity.to_dict() == ALICE
    assert dict(directory.lookup("bob").identity.groups) == {"users": 61000, "atlas": 61100}
    assert dict(directory.lookup("Upper").identity.groups) == {"users": 61000}


def test_a_primary_group_without_an_entry_keeps_its_gid(directory: AccountDirectory) -> None:
    """There is no name to match, and nothing is refused for it."""
    identity = directory.lookup("star").identity
    assert (identity.gid, identity.primary_group, dict(identity.groups)) == (61900, None, {})


def test_groups_outside_the_range_are_left_out_and_told_once(
    nis: Slapd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory that a whole centre shares has groups like docker: they must not reach a notebook, nor refuse one."""
    directory = directory_of(tmp_path, settings_for(nis))
    with caplog.at_level(logging.WARNING):
        for name in ("alice", "bob", "alice"):
            directory.lookup(name)
    assert [record.getMessage() for record in caplog.records] == [
        "group 'Domain Users' has no safe name: its members keep gid 61200, no rule can match it",
        "group 'docker' is left out: its gid, 998, is outside the range that servers may have",
    ]
    wide = directory_of(tmp_path, settings_for(nis), gids=(100, 70000))
    assert wide.lookup("alice").identity.groups["docker"] == 998


SHADOW = {"shadowExpire": "days"}
ENDS = {
    "shadowExpire, -1": ("alice", SHADOW, None),
    "shadowExpire, far away": ("bob", SHADOW, datetime(2243, 10, 16, tzinfo=UTC)),
    "shadowExpire, gone by": ("lapsed", SHADOW, datetime(2020, 1, 1, tzinfo=UTC)),
    "no attribute that says so": ("Upper", SHADOW, None),
    "accountExpires of Active Directory": ("ticks", {"accountExpires": "ticks"}, datetime(2020, 1, 1, tzinfo=UTC)),
    "a generalized time": ("stamped", {"endsAt": "generalized_time"}, datetime(2020, 1, 1, tzinfo=UTC)),
    "seconds": ("stamped", {"endsAtSecond": "seconds"}, datetime(2100, 1, 1, tzinfo=UTC)),
    "two, of which the earlier holds": (
        "stamped",
        {"endsAtSecond": "seconds", "endsAt": "generalized_time"},
        datetime(2020, 1, 1, tzinfo=UTC),
    ),
}


@pytest.mark.parametrize(("name", "written", "end"), ENDS.values(), ids=ENDS)
def test_an_account_ends_when_the_directory_says_so(
    nis: Slapd, tmp_path: Path, name: str, written: dict[str, str], end: datetime | None
) -> None:
    """The attributes and their forms are those of the settings; without any the account has no end."""
    directory = directory_of(tmp_path, settings_for(nis, accounts=accounts(valid_until=written)))
    account = directory.lookup(name)
    assert account.valid_until == end
    assert (account.refusal(NOW) is not None) == (end is not None and end < NOW)


def test_an_account_that_is_locked_is_refused(nis: Slapd, tmp_path: Path) -> None:
    """By an attribute and a value that the settings name, whatever their case."""
    directory = directory_of(tmp_path, settings_for(nis, accounts=accounts(locked={"nsaccountlock": "true"})))
    with pytest.raises(Refusal, match="account 'locked': it is locked in the directory"):
        directory.lookup("locked")
    assert directory.lookup("alice").identity.uid == 62001


OTHER_ATTRIBUTES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a home by template": ({"home": "mailHome", "home_template": "/data/{name}"}, {"home": "/data/alice"}),
    "a shell that is not there": ({"shell": "otherShell"}, {"shell": "/bin/sh"}),
    "names in other case": ({"uid": "UIDNUMBER", "name": "UID"}, {}),
    "a filter of its own": ({"filter": "(&(objectClass=posixAccount)(!(uid=bob)))"}, {}),
}


@pytest.mark.parametrize(("written", "differs"), OTHER_ATTRIBUTES.values(), ids=OTHER_ATTRIBUTES)
def test_attributes_are_those_of_the_settings(
    nis: Slapd, tmp_path: Path, written: dict[str, Any], differs: dict[str, Any]
) -> None:
    """Sites differ in where they keep what."""
    directory = directory_of(tmp_path, settings_for(nis, accounts=accounts(**written)))
    assert directory.lookup("alice").identity.to_dict() == {**ALICE, **differs}


def test_an_entry_without_a_home_is_refused_where_no_template_says_what_it_is(nis: Slapd, tmp_path: Path) -> None:
    """A home that is guessed may be somebody else's."""
    directory = directory_of(tmp_path, settings_for(nis, accounts=accounts(home="mailHome")))
    with pytest.raises(Refusal, match="account 'alice': its entry has no mailHome"):
        directory.lookup("alice")


def test_a_group_that_is_not_asked_for_grants_nothing(nis: Slapd, tmp_path: Path) -> None:
    """A filter narrows groups down, and members are looked for only where the settings say."""
    groups = {"base": "ou=groups,dc=site,dc=example", "members": {"member": "dn"}}
    directory = directory_of(tmp_path, settings_for(nis, groups=groups))
    assert dict(directory.lookup("alice").identity.groups) == {"users": 61000}
    groups = {"base": "ou=groups,dc=site,dc=example", "filter": "(&(objectClass=posixGroup)(!(cn=atlas)))"}
    directory = directory_of(tmp_path, settings_for(nis, groups=groups))
    assert dict(directory.lookup("bob").identity.groups) == {"users": 61000}


def test_an_answer_is_kept_for_as_long_as_the_settings_say(own: Slapd, tmp_path: Path) -> None:
    """With its age; the server need not be there for it, and without a cache it must."""
    directory = directory_of(tmp_path, settings_for(own, cache="5m"))
    first = directory.lookup("alice")
    own.kill9()
    assert directory.lookup("alice") is first
    assert first.as_of is not None
    assert abs(datetime.now(UTC) - first.as_of).total_seconds() < 300
