"""Warnings: exact where two rules cannot meet, so that a site without a mistake reads none."""

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.accounts.yaml_file import parse_accounts
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.rules.check import find_account_warnings, find_warnings
from nbplatform_spawners.rules.engine import holds
from nbplatform_spawners.rules.model import Match, RuleBook
from nbplatform_spawners.rules.overlap import may_overlap
from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.rules.patterns import make_patterns
from nbplatform_spawners.rules.people import People

ROOT = Path(__file__).parents[2]
NOON = datetime.fromisoformat("2026-11-23T12:00+01:00")
PROFILES = b"profiles: {cpu: {title: CPU}, gpu: {title: GPU}, gpu-pair: {title: GPUs}}\n"


def warnings_of(rules: str) -> list[str]:
    """Return the warnings for some rules."""
    book = parse_rules({"00-profiles.yaml": PROFILES, "10-rules.yaml": rules.encode()})
    return [str(warning) for warning in find_warnings(book)]


def two_rules(earlier: str, later: str) -> str:
    """Return a rule that allows before one that refuses."""
    return (
        f"rules:\n  - {{name: yes, match: {{{earlier}}}, allow: true}}\n"
        f"  - {{name: no, match: {{{later}}}, allow: false}}\n"
    )


MEETING = {
    "everyone and everyone": ("", ""),
    "one user among all": ("", "users: [bob]"),
    "the same user": ("users: [ada, bob]", "users: [bob, eve]"),
    "a wildcard and a name": ("users: ['b*']", "users: [bob]"),
    "two wildcards": ("users: ['b*']", "users: ['*b']"),
    "different groups, since one user may be in both": ("groups: [atlas]", "groups: [cms]"),
    "the same profile through a wildcard": ("profiles: [gpu]", "profiles: ['gpu*']"),
    "overlapping times": (
        "from: 2026-01-01T00:00Z, until: 2026-03-01T00:00Z",
        "from: 2026-02-01T00:00Z, until: 2026-04-01T00:00Z",
    ),
    "times with one end open": ("until: 2026-03-01T00:00Z", "from: 2026-02-01T00:00Z"),
    "a not that leaves somebody": ("not: {users: [bob]}", "users: [bob, eve]"),
    "a not on a group, for users": ("not: {groups: [guests]}", "users: [bob]"),
    "a not that needs more than the later rule says": (
        "not: {groups: [guests], users: [bob]}",
        "groups: [guests]",
    ),
    "a not that has an exception": ("not: {groups: [guests], not: {users: [bob]}}", "groups: [guests]"),
    "a not for a time that ends": ("not: {users: [bob], until: 2026-03-01T00:00Z}", "users: [bob]"),
    "providers of one wildcard": ("providers: ['*']", "providers: [edugain]"),
    "a not on a narrower wildcard": ("not: {users: ['ba*']}", "users: ['b*']"),
}
APART = {
    "different users": ("users: [ada]", "users: [bob]"),
    "a wildcard that does not fit": ("users: ['a*']", "users: [bob]"),
    "wildcards that cannot meet": ("users: ['a*']", "users: ['b*']"),
    "different profiles": ("profiles: [cpu]", "profiles: [gpu]"),
    "wildcards that meet in no profile that exists": ("profiles: ['*u']", "profiles: ['*pair']"),
    "different providers": ("providers: [edugain]", "providers: [orcid]"),
    "times one after the other": ("until: 2026-03-01T00:00Z", "from: 2026-03-01T00:00Z"),
    "a not that names the user": ("not: {users: [bob]}", "users: [bob]"),
    "a not that names the group": ("groups: [ml], not: {groups: [guests]}", "groups: [guests]"),
    "a not with a wildcard": ("not: {users: ['b*']}", "users: ['ba*', bob]"),
    "a not with question marks": ("not: {users: ['b?b']}", "users: [bob, bib]"),
    "a not in the later rule": ("groups: [ml]", "not: {groups: [ml, cms]}"),
    "a not that takes the only user both name": ("users: [ada, bob], not: {users: [bob]}", "users: [bob, eve]"),
    "a not of which each rule fulfils one half": (
        "users: [bob], not: {users: [bob], groups: [guests]}",
        "groups: [guests]",
    ),
    "a not on the profile": ("not: {profiles: ['gpu*']}", "profiles: [gpu]"),
    "a not on the provider": ("not: {providers: ['*']}", "providers: [edugain]"),
    "a not that lasts longer": (
        "not: {users: [bob], until: 2026-05-01T00:00Z}",
        "users: [bob], until: 2026-03-01T00:00Z",
    ),
    "a not whose exception is another user": ("not: {groups: [g], not: {users: [ada]}}", "groups: [g], users: [bob]"),
    "a not in a list": ("not: [{users: [eve]}, {users: [bob]}]", "users: [bob]"),
}


@pytest.mark.parametrize(("earlier", "later"), MEETING.values(), ids=MEETING)
def test_a_refusal_behind_a_permission_that_may_match_the_same_is_warned_of(earlier: str, later: str) -> None:
    """Such a refusal never acts for whoever matches both: the first rule decides."""
    assert warnings_of(two_rules(earlier, later)) == [
        "10-rules.yaml:3: rule 'no': 'allow: false' stands behind 'allow: true' of rule 'yes' (10-rules.yaml:2),"
        " which may match the same and decides first"
    ]


@pytest.mark.parametrize(("earlier", "later"), APART.values(), ids=APART)
def test_rules_that_never_meet_are_not_warned_of(earlier: str, later: str) -> None:
    """A warning that is wrong teaches people not to read warnings."""
    assert warnings_of(two_rules(earlier, later)) == []


def test_a_refusal_before_a_permission_is_not_warned_of() -> None:
    """That is the order in which a refusal acts."""
    rules = "rules:\n  - {name: no, match: {}, allow: false}\n  - {name: yes, match: {}, allow: true}\n"
    assert warnings_of(rules) == []


SILENT = {
    "a message alone": ("cpu: 1, message: hello", ["'message' says nothing without 'allow: false'"]),
    "a message with a permission": ("allow: true, message: hello", ["'message' says nothing without 'allow: false'"]),
    "a message with a refusal": ("allow: false, message: hello", []),
    "nothing at all": ("", ["it sets nothing"]),
    "a variable alone": ("env: {A: b}", []),
    "a mount alone": ("mounts: [{source: /a}]", []),
}


@pytest.mark.parametrize(("fields", "expected"), SILENT.values(), ids=SILENT)
def test_what_has_no_effect_is_warned_of(fields: str, expected: list[str]) -> None:
    """A message is for refused users; a rule without a field does nothing."""
    found = warnings_of(f"rules: [{{name: r, match: {{}}, {fields}}}]")
    assert found == [f"10-rules.yaml:1: rule 'r': {warning}" for warning in expected]


def test_the_message_of_a_profile_is_not_warned_of() -> None:
    """It is told to everybody whom no rule allows the profile."""
    assert find_warnings(parse_rules({"a.yaml": b"profiles: {gpu: {title: GPU, message: Ask us.}}"})) == ()


SITES = ("placement_rules", "placement_rules/example-site/placement_rules")


@pytest.mark.parametrize("site", SITES)
def test_the_sites_that_we_ship_give_no_warning(site: str) -> None:
    """What people copy has to be clean."""
    files = {path.name: path.read_bytes() for path in (ROOT / site).glob("*.yaml")}
    assert find_warnings(parse_rules(files)) == ()


ACCOUNTS = b"""\
groups: {users: 5000, atlas: 5001, empty: 5002}
accounts:
  ada: {uid: 6001, group: users, groups: [atlas]}
  bob: {uid: 6002, group: users}
  old: {uid: 6003, group: users, valid_until: 2020-01-01T00:00Z}
  zero: {uid: 0, group: users}
  low: {uid: 500, group: users}
"""


def account_warnings_of(rules: str, extra: bytes = b"") -> list[str]:
    """Return the warnings for some rules and the accounts above."""
    book = parse_rules({"00-profiles.yaml": PROFILES + extra, "10-rules.yaml": rules.encode()})
    found = parse_accounts(ACCOUNTS, "accounts.yaml")
    people = People(found.accounts, found.refusals)
    return [str(warning) for warning in find_account_warnings(book, people, NOON)]


STRANGERS = {
    "a user": ("users: [ada, eve]", ["no account is called 'eve'"]),
    "a wildcard for users": ("users: ['a*', 'e*']", ["no account is called 'e*'"]),
    "a group": ("groups: [atlas, atlsa]", ["no account is in the group 'atlsa'"]),
    "a group without members": ("groups: [empty]", ["no account is in the group 'empty'"]),
    "in a not": ("not: {users: [eve]}", ["no account is called 'eve'"]),
    "an account whose identity is refused exists": ("users: [zero]", []),
    "an account outside the range exists": ("users: [low]", []),
    "the primary group counts": ("groups: [users]", []),
    "providers are not known here": ("providers: [edugain]", []),
}


@pytest.mark.parametrize(("match", "expected"), STRANGERS.values(), ids=STRANGERS)
def test_users_and_groups_that_no_account_has_are_warned_of(match: str, expected: list[str]) -> None:
    """With accounts a misspelt name is found."""
    found = account_warnings_of(f"rules: [{{name: r, match: {{{match}}}, cpu: 1}}]")
    assert found == [f"10-rules.yaml:1: rule 'r': {warning}" for warning in expected]


def test_a_stranger_is_told_once() -> None:
    """A list that twenty rules use is one warning, not twenty."""
    rules = "rules:\n" + "".join(f"  - {{name: r{number}, match: {{users: [eve]}}, cpu: 1}}\n" for number in range(20))
    assert len(account_warnings_of(rules)) == 1


def test_whoever_would_be_unplaceable_is_warned_of() -> None:
    """A profile that no host could ever serve is found before a user finds it; refused accounts do not matter."""
    pools = b'pools: {p: {hosts: [{name: h, url: "tcp://h:1", memory: 8G}]}}\n'
    rules = (
        "rules:\n  - {name: a, match: {profiles: [cpu]}, allow: true, pool: p, memory: 4G}\n"
        "  - {name: b, match: {profiles: [gpu]}, allow: true, pool: p, memory: 16G}\n"
    )
    (warning,) = account_warnings_of(rules, pools)
    assert warning.startswith("00-profiles.yaml:1: profile gpu: unplaceable: 16 GiB of memory")
    assert warning.endswith("(for ada, bob)")


NAMES = st.sampled_from(["ada", "bob", "a*", "*b", "?ob", "*"])
LISTS = st.none() | st.lists(NAMES, min_size=1, max_size=2).map(make_patterns)
HOURS = st.none() | st.integers(8, 12).map(lambda hour: NOON.replace(hour=hour))


def matches(depth: int = 2) -> st.SearchStrategy[Match]:
    """Return matches over a handful of names."""
    never = st.lists(matches(depth - 1), max_size=2).map(tuple) if depth else st.just(())
    return st.builds(
        Match, users=LISTS, groups=LISTS, profiles=LISTS, providers=LISTS, starts=HOURS, ends=HOURS, never=never
    )


PEOPLE = st.builds(
    lambda name, groups, provider: Identity(
        name, 5000, 5000, {group: 5000 + number for number, group in enumerate(groups)}, None, "/h", provider=provider
    ),
    st.sampled_from(["ada", "bob", "eve"]),
    st.sets(st.sampled_from(["ada", "bob"])).map(sorted),
    st.sampled_from([None, "ada", "bob"]),
)


@given(matches(), matches(), PEOPLE, st.sampled_from(["ada", "bob"]), st.integers(7, 12))
def test_no_overlap_means_that_nobody_ever_fits_both(
    one: Match, other: Match, identity: Identity, profile: str, hour: int
) -> None:
    """The check is allowed to warn too often, never to miss a refusal that does not act."""
    now = NOON.replace(hour=hour, minute=30)
    both = all(holds(match, identity, profile=profile, now=now) for match in (one, other))
    assert not both or may_overlap(one, other, ["ada", "bob"])


def test_a_thousand_rules_are_checked() -> None:
    """Every refusal is compared with every permission before it, however many there are."""
    allow = "".join(f"  - {{name: a{number}, match: {{users: [u{number}]}}, allow: true}}\n" for number in range(500))
    refuse = "".join(f"  - {{name: r{number}, match: {{users: [u{number}]}}, allow: false}}\n" for number in range(500))
    assert len(warnings_of("rules:\n" + allow + refuse)) == 500


def test_warnings_come_in_the_order_of_files_and_lines() -> None:
    """The output reads as the files do."""
    rules = "rules:\n" + "".join(f"  - {{name: r{number}, match: {{}}}}\n" for number in range(12))
    book: RuleBook = parse_rules({"00.yaml": PROFILES, "10.yaml": rules.encode()})
    assert [warning.line for warning in find_warnings(book)] == list(range(2, 14))
