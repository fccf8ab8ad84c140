"""Who a server runs as."""

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.identity import MAX_ID, Account, Identity, IdRange, identity_from_dict
from nbplatform_spawners.names import is_safe

GOOD: dict[str, Any] = {
    "name": "alice",
    "uid": 62001,
    "gid": 61000,
    "groups": {"users": 61000, "atlas": 61100},
    "primary_group": "users",
    "home": "/home/alice",
    "shell": "/bin/bash",
    "provider": None,
    "unnamed_gids": (),
}
HOSTILE = {
    "up": ({"name": "../x"}, "this user name is not allowed here"),
    "root": ({"name": "root"}, "this user name is not allowed here"),
    "a line break": ({"name": "a\nb"}, r"'a\\nb'"),
    "300 characters": ({"name": "a" * 300}, r"aaa\.\.\.'"),
    "a look-alike": ({"name": "\u0430lice"}, r"'\\u0430lice'"),
    "a dot": ({"name": "."}, "not allowed here"),
    "two dots": ({"name": ".."}, "not allowed here"),
    "no name": ({"name": None}, "not allowed here"),
    "uid 0": ({"uid": 0}, "the uid, '?0'?, is not a number from 1 to 4294967294"),
    "uid below 0": ({"uid": -1}, "the uid"),
    "the uid that means no change": ({"uid": MAX_ID + 1}, "the uid"),
    "uid as text": ({"uid": "62001"}, "the uid"),
    "uid true": ({"uid": True}, "the uid"),
    "uid as a float": ({"uid": 62001.0}, "the uid"),
    "gid 0": ({"gid": 0, "primary_group": None}, "the gid"),
    "a group with gid 0": ({"groups": {"users": 61000, "wheel": 0}}, "gid of group wheel"),
    "an unnamed gid 0": ({"unnamed_gids": (0,)}, "the gid"),
    "a hostile group": ({"groups": {"users": 61000, "a/../b": 61100}}, "the group name 'a/../b' is not a safe one"),
    "a primary group it is not in": ({"primary_group": "staff"}, "does not have the gid 61000"),
    "a primary group of another gid": ({"primary_group": "atlas"}, "does not have the gid 61000"),
    "a relative home": ({"home": "home/alice"}, "the home 'home/alice' is refused"),
    "a home that leads up": ({"home": "/home/../root"}, "the home"),
    "the root as home": ({"home": "/"}, "the home '/'"),
    "a home with a line break": ({"home": "/home/a\nb"}, "the home"),
    "no home": ({"home": None}, "the home"),
    "a relative shell": ({"shell": "bash"}, "the shell 'bash'"),
    "a hostile provider": ({"provider": "x\ny"}, "the identity provider"),
}


def test_an_identity_keeps_what_it_was_given() -> None:
    """The plain dict that is stored gives the same identity again."""
    identity = Identity(**GOOD)
    assert identity_from_dict(identity.to_dict()) == identity
    assert pickle.loads(pickle.dumps(identity)) == identity


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_identity_is_refused_with_the_reason(change: dict[str, Any], message: str) -> None:
    """Whatever is not safe is refused under the label ``account``, in one printable line."""
    with pytest.raises(Refusal, match=message) as caught:
        Identity(**{**GOOD, **change})
    assert caught.value.reason == "account"
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@given(st.text())
@example("root")
def test_only_a_safe_name_becomes_an_identity(name: str) -> None:
    """No name that is not safe slips through."""
    try:
        identity = Identity(**{**GOOD, "name": name})
    except Refusal:
        assert not is_safe(name) or name == "root"
    else:
        assert is_safe(identity.name)
        assert identity.name != "root"


UNREADABLE = {
    "nothing": None,
    "a list": [],
    "text": "alice",
    "an empty dict": {},
    "no home": {key: value for key, value in GOOD.items() if key != "home"},
    "groups as a list": {**GOOD, "groups": ["users"]},
    "groups as a number": {**GOOD, "groups": 5},
    "groups that are not names": {**GOOD, "groups": {3: 61000}},
    "gids as text": {**GOOD, "unnamed_gids": ["61100"]},
    "gids as a number": {**GOOD, "unnamed_gids": 5},
    "uid 0": {**GOOD, "uid": 0},
}


@pytest.mark.parametrize("plain", UNREADABLE.values(), ids=UNREADABLE)
def test_a_stored_identity_that_is_unreadable_is_refused(plain: object) -> None:
    """What an older release or a stranger's hand has stored is a refusal, never a crash."""
    with pytest.raises(Refusal) as caught:
        identity_from_dict(plain)
    assert caught.value.reason == "account"


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3))


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), JSON))
def test_any_stored_value_is_an_identity_or_a_refusal(changes: dict[str, Any]) -> None:
    """Nothing else than ``Refusal`` leaves the reader."""
    try:
        identity = identity_from_dict({**GOOD, **changes})
    except Refusal:
        return
    assert identity_from_dict(identity.to_dict()) == identity


def test_the_primary_gid_comes_first_and_each_gid_once() -> None:
    """The order in which the groups are given to the system."""
    identity = Identity(**{**GOOD, "unnamed_gids": (61300, 61100, 61050)})
    assert identity.gids == (61000, 61050, 61100, 61300)


def test_an_identity_cannot_be_changed() -> None:
    """Neither the value nor its groups."""
    identity = Identity(**GOOD)
    with pytest.raises(AttributeError):
        identity.uid = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        identity.groups["wheel"] = 10  # type: ignore[index]


RANGES = {
    "inside": (IdRange(), None),
    "exactly": (IdRange(62001, 62001, 61000, 61100), None),
    "uid too small": (IdRange(uid_min=62002), "the uid, 62001, is outside the allowed range 62002 to 4294967294"),
    "uid too large": (IdRange(uid_max=62000), "the uid, 62001, is outside the allowed range 1000 to 62000"),
    "primary gid too small": (IdRange(gid_min=61001), "the gid, 61000, is outside"),
    "supplementary gid too large": (IdRange(gid_max=61099), "the gid of group atlas, 61100, is outside"),
}


@pytest.mark.parametrize(("allowed", "message"), RANGES.values(), ids=RANGES)
def test_numbers_outside_the_range_are_refused(allowed: IdRange, message: str | None) -> None:
    """uid, primary gid and every supplementary gid must be inside; the refusal names number and range."""
    identity = Identity(**GOOD)
    if message is None:
        identity.check(allowed)
    else:
        with pytest.raises(Refusal, match=message):
            identity.check(allowed)


def test_an_account_ends_exactly_at_its_time() -> None:
    """Valid before ``valid_until``, refused from then on, whatever offsets the two times have."""
    ends = datetime(2026, 6, 30, tzinfo=UTC)
    account = Account(Identity(**GOOD), valid_until=ends)
    assert account.refusal(ends - timedelta(microseconds=1)) is None
    refusal = account.refusal(ends)
    assert refusal is not None
    assert refusal.message == "account 'alice': it ended on 2026-06-30T00:00+00:00"
    assert Account(Identity(**GOOD)).refusal(ends) is None
