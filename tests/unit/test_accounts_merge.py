"""One account from claims and directory: which source decides what, and when both are refused."""

from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.accounts.merge import (
    DEFAULT_SOURCES,
    Disagreement,
    groups_without_gid,
    merge,
    parse_sources,
)
from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.identity import Account, Identity
from nbplatform_spawners.oidc.claims import Claims

SOON = datetime(2027, 1, 1, tzinfo=UTC)
LATER = datetime(2028, 1, 1, tzinfo=UTC)
GIDS = {"users": 61000, "atlas": 61100, "cms": 61101, "Domain Users": 61900}
CLAIMS_FIRST = parse_sources({field: ["claims", "directory"] for field in DEFAULT_SOURCES})
CLAIMS_ONLY = parse_sources({field: ["claims"] for field in DEFAULT_SOURCES})
DIRECTORY_ONLY = parse_sources({field: ["directory"] for field in DEFAULT_SOURCES})


def claims(**said: Any) -> Claims:
    """Claims of a login of alice."""
    return Claims(sub="s", username="alice", **said)


def account(valid_until: datetime | None = None, as_of: datetime | None = None, **changes: Any) -> Account:
    """The directory's account of alice."""
    plain: dict[str, Any] = {
        "name": "alice",
        "uid": 62001,
        "gid": 61000,
        "groups": {"users": 61000, "cms": 61101},
        "primary_group": "users",
        "home": "/pbs/home/alice",
        "shell": "/bin/zsh",
    }
    return Account(Identity(**{**plain, **changes}), valid_until, as_of)


FULL = claims(uid=62001, gid=61000, gids=(61700,), groups=("atlas",), home="/claimed", shell="/bin/tcsh")
DECIDED: dict[str, tuple[Claims | None, Account | None, Any, dict[str, Any]]] = {
    "the directory alone": (
        None,
        account(),
        DEFAULT_SOURCES,
        {"uid": 62001, "gid": 61000, "groups": {"users": 61000, "cms": 61101}, "home": "/pbs/home/alice"},
    ),
    "claims alone": (
        FULL,
        None,
        CLAIMS_ONLY,
        {
            "uid": 62001,
            "gid": 61000,
            "groups": {"users": 61000, "atlas": 61100},
            "primary_group": "users",
            "unnamed_gids": (61700,),
            "home": "/claimed",
            "shell": "/bin/tcsh",
        },
    ),
    "claims alone, the default table": (
        FULL,
        None,
        DEFAULT_SOURCES,
        {"uid": 62001, "groups": {"users": 61000}, "unnamed_gids": (), "home": "/claimed"},
    ),
    "both, the default table": (
        FULL,
        account(),
        DEFAULT_SOURCES,
        {"uid": 62001, "groups": {"users": 61000, "cms": 61101}, "home": "/pbs/home/alice", "shell": "/bin/zsh"},
    ),
    "both, claims first": (
        FULL,
        account(),
        CLAIMS_FIRST,
        {"groups": {"users": 61000, "atlas": 61100}, "unnamed_gids": (61700,), "home": "/claimed"},
    ),
    "claims first that say nothing": (
        claims(),
        account(),
        CLAIMS_FIRST,
        {"uid": 62001, "groups": {"users": 61000, "cms": 61101}, "home": "/pbs/home/alice", "shell": "/bin/zsh"},
    ),
    "no home and no shell anywhere": (
        claims(uid=1234, gid=61000),
        None,
        DEFAULT_SOURCES,
        {"home": "/home/alice", "shell": "/bin/bash"},
    ),
    "a primary gid without a name": (
        claims(uid=1234, gid=4711),
        None,
        DEFAULT_SOURCES,
        {"gid": 4711, "primary_group": None, "groups": {}},
    ),
    "a primary group that is not safe": (
        claims(uid=1234, gid=61900),
        None,
        DEFAULT_SOURCES,
        {"gid": 61900, "primary_group": None, "groups": {}},
    ),
    "a group that is not safe keeps its gid": (
        claims(uid=1234, gid=61000, groups=("Domain Users", "atlas", "unheard-of")),
        None,
        CLAIMS_ONLY,
        {"groups": {"users": 61000, "atlas": 61100}, "unnamed_gids": (61900,)},
    ),
    "another gid from claims where they alone decide it": (
        claims(gid=61101),
        account(),
        parse_sources({"gid": ["claims"]}),
        {"gid": 61101, "primary_group": "cms", "groups": {"users": 61000, "cms": 61101}},
    ),
    "a provider": (
        claims(uid=62001, provider="edugain", subject="x"),
        account(),
        DEFAULT_SOURCES,
        {"provider": "edugain"},
    ),
}


@pytest.mark.parametrize(("said", "kept", "sources", "expected"), DECIDED.values(), ids=DECIDED)
def test_the_first_source_that_says_something_decides(
    said: Claims | None, kept: Account | None, sources: Any, expected: dict[str, Any]
) -> None:
    """Field by field, in the order of the table; what nobody says has a default or refuses."""
    identity = merge("alice", said, kept, sources, GIDS).identity
    assert {field: getattr(identity, field) for field in expected} == expected


def test_a_group_name_that_means_another_gid_in_the_directory_is_not_the_primary_groups() -> None:
    """The number counts: the primary group then has no name, and the directory's group keeps its gid."""
    found = merge(
        "alice",
        claims(gid=61100),
        account(groups={"users": 61000, "atlas": 61999}, primary_group="users"),
        parse_sources({"gid": ["claims"]}),
        GIDS,
    ).identity
    assert (found.gid, found.primary_group, dict(found.groups)) == (61100, None, {"users": 61000, "atlas": 61999})


REFUSED: dict[str, tuple[Claims | None, Account | None, Any, type[Refusal], str]] = {
    "two uids": (
        claims(uid=62002, gid=61000),
        account(),
        DEFAULT_SOURCES,
        Disagreement,
        "account 'alice': its login says uid 62002, the account directory says 62001",
    ),
    "two uids, though claims do not decide it": (
        claims(uid=62002),
        account(),
        DIRECTORY_ONLY,
        Disagreement,
        "account 'alice': its login says uid 62002, the account directory says 62001",
    ),
    "two uids, though the directory does not decide it": (
        claims(uid=62002, gid=61000),
        account(),
        CLAIMS_ONLY,
        Disagreement,
        "account 'alice': its login says uid 62002, the account directory says 62001",
    ),
    "two gids": (
        claims(uid=62001, gid=61001),
        account(),
        DEFAULT_SOURCES,
        Disagreement,
        "account 'alice': its login says gid 61001, the account directory says 61000",
    ),
    "another account": (
        claims(),
        account(name="bob"),
        DEFAULT_SOURCES,
        Disagreement,
        "account 'alice': the directory answered with another one, 'bob'",
    ),
    "no uid": (claims(gid=1000), None, DEFAULT_SOURCES, Refusal, "nobody says its uid (claims and directory asked)"),
    "no gid": (claims(uid=1000), None, DEFAULT_SOURCES, Refusal, "nobody says its gid (claims and directory asked)"),
    "nobody at all": (None, None, DEFAULT_SOURCES, Refusal, "nobody says its uid"),
    "a uid that only the other says": (claims(), account(), CLAIMS_ONLY, Refusal, "nobody says its uid (claims asked)"),
    "a home that is no path": (
        claims(uid=1000, gid=1000, home="/a/../b"),
        None,
        DEFAULT_SOURCES,
        Refusal,
        "the home '/a/../b' is refused",
    ),
}


@pytest.mark.parametrize(("said", "kept", "sources", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_missing_or_contradicts_is_refused(
    said: Claims | None, kept: Account | None, sources: Any, kind: type[Refusal], message: str
) -> None:
    """Never a guess: a wrong uid is another person's files."""
    with pytest.raises(kind) as caught:
        merge("alice", said, kept, sources, GIDS)
    assert caught.value.reason == "account"
    assert message in caught.value.message
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_the_end_is_the_earlier_one_and_the_age_is_the_directorys() -> None:
    """Whoever says that an account ends is believed."""
    for one, other, expected in (
        (SOON, LATER, SOON),
        (LATER, SOON, SOON),
        (None, SOON, SOON),
        (SOON, None, SOON),
        (None, None, None),
    ):
        found = merge("alice", claims(uid=62001, valid_until=one), account(other, as_of=LATER), DEFAULT_SOURCES, GIDS)
        assert (found.valid_until, found.as_of) == (expected, LATER)


def test_groups_without_a_gid_are_named() -> None:
    """They are dropped, and can be told of."""
    assert groups_without_gid(claims(groups=("z", "atlas", "a")), GIDS) == ("a", "z")


SOURCES = {
    "no table": (["uid"], "a table is expected"),
    "an unknown field": ({"guid": ["claims"]}, "unknown field 'guid', did you mean 'uid'?"),
    "a text": ({"uid": "claims"}, "uid: a list of at least one"),
    "an empty list": ({"uid": []}, "uid: a list of at least one"),
    "an unknown source": ({"uid": ["claim"]}, "uid: unknown source 'claim', did you mean 'claims'?"),
    "twice the same": ({"uid": ["claims", "claims"]}, "uid: a source stands there twice"),
    "no text": ({"uid": [None]}, "uid: unknown source 'None'"),
}


@pytest.mark.parametrize(("raw", "message"), SOURCES.values(), ids=SOURCES)
def test_a_wrong_table_of_sources_is_refused(raw: Any, message: str) -> None:
    """With what was probably meant."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse_sources(raw)


def test_every_mistake_of_a_table_is_named_and_the_rest_keeps_its_default() -> None:
    """One a line."""
    with pytest.raises(ValueError, match=r"^uid: .*\nunknown field 'x'\ngid: .*$"):
        parse_sources({"uid": [], "x": ["claims"], "gid": ["?"]})
    assert parse_sources({"groups": ["claims"]}) == {**DEFAULT_SOURCES, "groups": ("claims",)}


# Whatever both say

NUMBERS = st.sampled_from([1000, 62001, 62002, 61000])
MAYBE = st.none() | NUMBERS
ENDS = st.none() | st.integers(0, 3).map(lambda days: SOON + timedelta(days=days))
NAMED = st.sampled_from(["atlas", "cms", "Domain Users", "unheard-of"])
SAID = st.builds(
    Claims,
    sub=st.just("s"),
    uid=MAYBE,
    gid=MAYBE,
    gids=st.lists(NUMBERS, max_size=2).map(tuple),
    groups=st.lists(NAMED, max_size=2).map(tuple),
    valid_until=ENDS,
)
KEPT = st.none() | st.builds(
    lambda uid, gid, end: account(end, uid=uid, gid=gid, groups={"g": gid}, primary_group="g"), NUMBERS, NUMBERS, ENDS
)
TABLES = st.fixed_dictionaries(
    {
        field: st.sampled_from([("claims",), ("directory",), ("claims", "directory"), ("directory", "claims")])
        for field in DEFAULT_SOURCES
    }
)


@given(SAID, KEPT, TABLES)
def test_no_number_comes_from_nowhere_and_no_contradiction_passes(
    said: Claims, kept: Account | None, table: dict[str, tuple[str, ...]]
) -> None:
    """A uid was said by a source, a gid by a source or the site's table; two uids refuse; the end is the earlier."""
    two_uids = kept is not None and said.uid is not None and said.uid != kept.identity.uid
    two_gids = kept is not None and said.gid is not None and said.gid != kept.identity.gid and len(table["gid"]) > 1
    try:
        found = merge("alice", said, kept, table, GIDS)
    except Disagreement:
        assert two_uids or two_gids
        return
    except Refusal:
        says = {"claims": said, "directory": kept.identity if kept else claims()}
        assert any(all(getattr(says[one], field) is None for one in table[field]) for field in ("uid", "gid"))
        return
    assert not two_uids
    assert not two_gids
    directory = kept.identity if kept else None
    assert found.identity.uid in {said.uid, directory.uid if directory else None}
    told = {said.gid, *said.gids, *(GIDS[name] for name in said.groups if name in GIDS)}
    assert {*found.identity.gids} <= told | ({*directory.gids} if directory else set())
    ends = [end for end in (said.valid_until, kept.valid_until if kept else None) if end]
    assert found.valid_until == min(ends, default=None)
