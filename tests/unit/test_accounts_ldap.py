"""What is pure about LDAP: settings, filters, ends and entries; and the message where the client is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.accounts.ends import END_KINDS
from nbplatform_spawners.accounts.filters import parse_filter, parse_link_filter
from nbplatform_spawners.accounts.granted import granted
from nbplatform_spawners.accounts.ldap_entries import LdapEntry, account_of, groups_of, is_linked, name_of
from nbplatform_spawners.accounts.ldap_settings import (
    AccountSettings,
    GroupSettings,
    LdapSettings,
    parse_ldap_settings,
)
from nbplatform_spawners.errors import BadFile, Refusal
from nbplatform_spawners.identity import IdRange

SMALLEST = """\
servers: [ldaps://ldap.example.org]
accounts: {base: "ou=people,dc=example,dc=org"}
groups: {base: "ou=groups,dc=example,dc=org"}
"""
PEOPLE, GROUPS = "ou=people,dc=example,dc=org", "ou=groups,dc=example,dc=org"


def parsed(text: str) -> LdapSettings:
    """Return what a settings file says."""
    return parse_ldap_settings(text.encode(), "directory.yaml")


def mistakes(text: str) -> list[str]:
    """Return the mistakes of a settings file."""
    with pytest.raises(BadFile) as caught:
        parsed(text)
    return [str(mistake) for mistake in caught.value.mistakes]


# Settings


def test_three_lines_are_enough() -> None:
    """Everything else has a default: RFC 2307 and 2307bis, encrypted, shadowExpire, five minutes."""
    assert parsed(SMALLEST) == LdapSettings(
        servers=("ldaps://ldap.example.org",),
        encrypted=True,
        timeout=3,
        cache=300,
        connections=4,
        accounts=AccountSettings(base=PEOPLE),
        groups=GroupSettings(base=GROUPS),
    )
    assert parsed(SMALLEST).accounts.ends == {"shadowExpire": "days"}
    assert parsed(SMALLEST).groups.members == {"memberUid": "name", "member": "dn"}


def test_every_key_is_read() -> None:
    """Nothing that is written is without effect."""
    text = """\
servers: [ldap://a.example.org:3389, "ldap://[::1]"]
encryption: none
ca_file: /etc/ssl/site.pem
bind_dn: cn=hub,dc=example,dc=org
bind_password_file: /etc/jupyterhub/ldap-password
timeout: 5s
cache: 0s
connections: 8
accounts:
  base: ou=people,dc=example,dc=org
  filter: (&(objectClass=user)(uidNumber>=1000))
  name: sAMAccountName
  uid: uidNum
  gid: gidNum
  home: unixHome
  home_template: /data/{name}
  shell: sh
  valid_until: {accountExpires: ticks, endsAt: generalized_time}
  locked: {nsAccountLock: "true", lockedAt: "*"}
  federated: (&(idp={provider})(sub={subject}))
groups:
  base: ou=groups,dc=example,dc=org
  filter: (objectClass=group)
  name: groupName
  gid: groupGid
  members: {uniqueMember: dn}
"""
    found = parsed(text)
    assert found.accounts.federated is not None
    assert found == LdapSettings(
        servers=("ldap://a.example.org:3389", "ldap://[::1]"),
        encrypted=False,
        ca_file="/etc/ssl/site.pem",
        bind_dn="cn=hub,dc=example,dc=org",
        bind_password_file="/etc/jupyterhub/ldap-password",
        timeout=5,
        cache=0,
        connections=8,
        accounts=AccountSettings(
            base=PEOPLE,
            filter="(&(objectClass=user)(uidNumber>=1000))",
            name="sAMAccountName",
            uid="uidNum",
            gid="gidNum",
            home="unixHome",
            home_template="/data/{name}",
            shell="sh",
            ends={"accountExpires": "ticks", "endsAt": "generalized_time"},
            locks={"nsAccountLock": "true", "lockedAt": "*"},
            federated=found.accounts.federated,
        ),
        groups=GroupSettings(
            base=GROUPS, filter="(objectClass=group)", name="groupName", gid="groupGid", members={"uniqueMember": "dn"}
        ),
    )
    assert found.accounts.federated.compared == (("idp", "{provider}"), ("sub", "{subject}"))


MISTAKES = {
    "an empty file": ("", ["directory.yaml:1: the file is empty"]),
    "a list": ("[]", ["directory.yaml:1: the settings: keys and values is expected, not a list"]),
    "no server": (SMALLEST.replace("[ldaps://ldap.example.org]", "[]"), ["servers: the list is empty"]),
    "a misspelt key": (
        SMALLEST + "encrpytion: tls\n",
        ["directory.yaml:4: the settings: unknown key 'encrpytion', did you mean 'encryption'?"],
    ),
    "a password": (
        SMALLEST + "bind_dn: cn=hub\npassword: secret-thing\n",
        ["'bind_dn' and 'bind_password_file' belong", "unknown key 'password', did you mean"],
    ),
    "a secret under another name": (
        SMALLEST + "credentials_token: secret-thing\n",
        ["unknown key 'credentials_token'; a secret stands in a file of its own"],
    ),
    "a server of another kind": (SMALLEST.replace("ldaps:", "https:"), ["ldaps://HOST, ldap://HOST or the same"]),
    "a server with a password": (SMALLEST.replace("ldap.ex", "me:pw@ldap.ex"), ["ldaps://HOST, ldap://HOST or"]),
    "a port too large": (SMALLEST.replace("example.org]", "example.org:70000]"), ["ldaps://HOST, ldap://HOST or"]),
    "no encryption and ldaps": (SMALLEST + "encryption: none\n", ["'none' and a server with ldaps:// contradict"]),
    "encryption: false": (SMALLEST + "encryption: false\n", ["tls or none is expected"]),
    "a relative path": (SMALLEST + "ca_file: ca.pem\n", ["ca_file: 'ca.pem': the path is relative"]),
    "a time limit of nothing": (SMALLEST + "timeout: 0s\n", ["a duration from 1s to 60s is expected"]),
    "a time limit of never": (SMALLEST + "timeout: never\n", ["a duration from 1s to 60s is expected"]),
    "a cache for ever": (SMALLEST + "cache: never\n", ["a duration of at most 1h is expected"]),
    "no connections": (SMALLEST + "connections: 0\n", ["a number from 1 to 64 is expected"]),
    "no accounts": ("servers: [ldaps://a]\ngroups: {base: dc=x}\n", ["the key 'accounts' is missing"]),
    "no base": (SMALLEST.replace('base: "ou=p', 'nase: "ou=p'), ["the key 'base' is missing", "did you mean 'name'?"]),
    "a filter without brackets": (
        SMALLEST.replace('org"}\ngroups', 'org", filter: objectClass=x}\ngroups'),
        ["a filter stands in brackets"],
    ),
    "an end of no kind": (
        SMALLEST.replace('org"}\ngroups', 'org", valid_until: {shadowExpire: day}}\ngroups'),
        ["days or seconds or generalized_time or ticks is expected, did you mean 'days'?"],
    ),
    "no attribute": (
        SMALLEST.replace('org"}\ngroups', 'org", uid: "uid)(x=*"}\ngroups'),
        ["accounts: uid: 'uid)(x=*': the name of an attribute is expected"],
    ),
    "no attribute as a key": (
        SMALLEST.replace('org"}\ngroups', 'org", locked: {"a)(b": "1"}}\ngroups'),
        ["'a)(b': the name of an attribute is expected"],
    ),
    "links by the subject alone": (
        SMALLEST.replace('org"}\ngroups', 'org", federated: "(sub={subject})"}\ngroups'),
        ["{provider} is missing: an account is linked to a provider and a subject, to both"],
    ),
    "no members": (SMALLEST[:-2] + ", members: {}}\n", ["an attribute with 'name' or 'dn' is expected"]),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_line(text: str, said: list[str]) -> None:
    """Each, and nothing besides; never a secret."""
    found = mistakes(text)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True)), found
    assert "secret-thing" not in "".join(found)


def test_all_mistakes_are_named_at_once() -> None:
    """In the order of the file."""
    found = mistakes("servers: [x]\ntimeout: soon\naccounts: {bas: dc=x}\nsize: 3\n")
    assert [line.split(": ", 1)[0] for line in found] == [
        "directory.yaml:1",
        "directory.yaml:1",
        "directory.yaml:2",
        "directory.yaml:3",
        "directory.yaml:3",
        "directory.yaml:4",
    ]


# Filters

GOOD_FILTERS = [
    "(objectClass=posixAccount)",
    "(&(a=b)(|(c=d)(!(e=f))))",
    "(uid=*)",
    "(uidNumber>=1000)",
    "(userAccountControl:1.2.840.113556.1.4.803:=2)",
    "(cn=a\\28b\\29)",
    "(a=)",
]
BAD_FILTERS = [
    "",
    "a=b",
    "(a=b",
    "(a=b)x",
    "(&)",
    "(!(a=b)(c=d))",
    "()",
    "(a)",
    "((a=b))",
    "(&(a=b)",
    "(a=b\0)",
    "(" * 99,
]


@pytest.mark.parametrize("text", GOOD_FILTERS)
def test_a_filter_is_taken_as_it_is(text: str) -> None:
    """Whatever RFC 4515 has."""
    assert parse_filter(text) == text


@pytest.mark.parametrize("text", BAD_FILTERS)
def test_what_is_no_filter_is_a_mistake_at_the_start(text: str) -> None:
    """Not at the first login."""
    with pytest.raises(ValueError, match=r"expected|brackets|missing|follows|character"):
        parse_filter(text)


BAD_LINKS = {
    "no placeholder": ("(a=b)", "is missing"),
    "no provider": ("(a={subject})", "{provider} is missing"),
    "an unknown one": ("(&(a={provider})(b={subject})(c={user}))", "unknown placeholder {user}"),
    "a wildcard": ("(&(a={provider})(b={subject}*))", "ATTRIBUTE=VALUE, without"),
    "a comparison by order": ("(&(a={provider})(b>={subject}))", "ATTRIBUTE=VALUE, without"),
    "a rule of its own": ("(&(a={provider})(b:caseIgnoreMatch:={subject}))", "ATTRIBUTE=VALUE, without"),
    "in an attribute": ("(&(a={provider})({subject}=b))", "ATTRIBUTE=VALUE is expected"),
    "behind a backslash": ("(&(a={provider})(b=\\{subject}))", "holds no"),
}


@pytest.mark.parametrize(("text", "why"), BAD_LINKS.values(), ids=BAD_LINKS)
def test_a_filter_for_links_compares_both_exactly(text: str, why: str) -> None:
    """Anything else could give one person another's account."""
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_link_filter(text)


def test_both_may_stand_in_one_value() -> None:
    """As some products keep links."""
    link = parse_link_filter("(&(objectClass=x)(voPersonExternalID={provider}!{subject}))")
    assert link.filled("idp", "a*(b)") == "(&(objectClass=x)(voPersonExternalID=idp!a\\2a\\28b\\29))"
    assert link.exact("idp", "a*(b)") == (("voPersonExternalID", "idp!a*(b)"),)
    assert link.filled("{subject}", "x") == "(&(objectClass=x)(voPersonExternalID={subject}!x))"


@given(st.text(), st.text())
def test_nothing_that_is_filled_in_changes_a_filter(provider: str, subject: str) -> None:
    """Two comparisons before, two after, whatever the values hold; and unescaped they are what was given."""
    link = parse_link_filter("(&(a={provider})(b={subject}))")
    found = re.fullmatch(r"\(&\(a=([^()*\0]*)\)\(b=([^()*\0]*)\)\)", link.filled(provider, subject))
    assert found is not None
    assert [unescaped(found[1]), unescaped(found[2])] == [provider, subject]


def unescaped(text: str) -> str:
    """Return what a server makes of a value in a filter."""
    return re.sub(r"\\([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


# Ends

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ENDS = [
    ("days", "-1", None),
    ("days", "0", EPOCH),
    ("days", "20000", EPOCH + 20000 * DAY),
    ("days", "99999999", None),
    ("seconds", "-1", None),
    ("seconds", "86400", EPOCH + DAY),
    ("seconds", "9" * 19, None),
    ("ticks", "0", None),
    ("ticks", "9223372036854775807", None),
    ("ticks", "116444736000000000", EPOCH),
    ("generalized_time", "20270630220000Z", datetime(2027, 6, 30, 22, tzinfo=UTC)),
    ("generalized_time", "20270630220000.5Z", datetime(2027, 6, 30, 22, tzinfo=UTC)),
    ("generalized_time", "2027063022Z", datetime(2027, 6, 30, 22, tzinfo=UTC)),
    ("generalized_time", "202706302200+0200", datetime(2027, 6, 30, 20, tzinfo=UTC)),
    ("generalized_time", "20270630220000-05", datetime(2027, 7, 1, 3, tzinfo=UTC)),
]
NO_ENDS = [
    *[(kind, text) for kind in ("days", "seconds", "ticks") for text in ("", "1.5", "0x1", " 1", "1 ", "٣", "9" * 30)],
    ("ticks", "-1"),
    *[("generalized_time", text) for text in ("", "20270630", "20270630220000", "20271330220000Z", "20270630226000Z")],
    ("generalized_time", "20270630220000+9900"),
]


@pytest.mark.parametrize(("kind", "text", "end"), ENDS)
def test_an_end_is_read_as_its_product_means_it(kind: str, text: str, end: datetime | None) -> None:
    """No end where the product says never, or after the year 9999."""
    assert END_KINDS[kind](text) == end


@pytest.mark.parametrize(("kind", "text"), NO_ENDS)
def test_an_end_that_cannot_be_read_is_an_error(kind: str, text: str) -> None:
    """And never taken for no end."""
    with pytest.raises(ValueError, match=r"expected|no such time|no time"):
        END_KINDS[kind](text)


@pytest.mark.parametrize("kind", END_KINDS)
@given(text=st.text(max_size=30))
def test_any_text_is_an_end_or_an_error(kind: str, text: str) -> None:
    """Nothing else comes out of it, and every end is aware."""
    try:
        end = END_KINDS[kind](text)
    except ValueError:
        return
    assert end is None or end.utcoffset() is not None


# Entries

RANGE = IdRange()
ACCOUNT = {"uid": [b"ada"], "uidNumber": [b"62001"], "gidNumber": [b"61000"], "homeDirectory": [b"/home/ada"]}


def entry(**changed: list[bytes]) -> LdapEntry:
    """Return an account's entry; an empty list takes an attribute away."""
    found = {**ACCOUNT, **changed}
    return LdapEntry.of("uid=ada,ou=people", {key: value for key, value in found.items() if value})


WRONG_ENTRIES: dict[str, tuple[dict[str, list[bytes]], str]] = {
    "no uid": ({"uidNumber": []}, "its uidNumber has 0 values, not one"),
    "two uids": ({"uidNumber": [b"1", b"2"]}, "its uidNumber has 2 values, not one"),
    "a uid in words": ({"uidNumber": [b"62001x"]}, "its uidNumber '62001x' is"),
    "a uid with zeros": ({"uidNumber": [b"062001"]}, "no number"),
    "a uid with a blank": ({"uidNumber": [b" 62001"]}, "no number"),
    "other digits": ({"uidNumber": ["٦٢".encode()]}, "no number"),
    "a negative uid": ({"uidNumber": [b"-62001"]}, "is not a number from 1"),
    "uid 0": ({"uidNumber": [b"0"]}, "is not a number from 1"),
    "uid 2**32": ({"uidNumber": [b"4294967296"]}, "is not a number from 1"),
    "no gid": ({"gidNumber": []}, "its gidNumber has 0 values"),
    "gid 0": ({"gidNumber": [b"0"]}, "is not a number from 1"),
    "a home with ..": ({"homeDirectory": [b"/home/../root"]}, "its homeDirectory '/home/../root' is refused"),
    "no text": ({"homeDirectory": [b"/home/\xff"]}, "the directory's attribute homeDirectory is no text"),
    "a shell that is relative": ({"loginShell": [b"bash"]}, "its loginShell 'bash' is refused"),
    "an unreadable end": ({"shadowExpire": [b"soon"]}, "its shadowExpire 'soon' cannot be read"),
    "a hostile name": ({"uid": [b"../ada"]}, "this user name is not allowed here"),
    "root": ({"uid": [b"root"]}, "this user name is not allowed here"),
}


@pytest.mark.parametrize(("changed", "why"), WRONG_ENTRIES.values(), ids=WRONG_ENTRIES)
def test_an_entry_with_a_wrong_value_is_refused(changed: dict[str, list[bytes]], why: str) -> None:
    """Nothing is guessed, rounded or cut."""
    with pytest.raises(Refusal) as caught:
        account_of(entry(**changed), [], AccountSettings(), RANGE)
    assert why.replace("'62001x' is", "is '62001x'") in caught.value.message


def test_a_name_of_several_is_the_one_in_the_distinguished_name_or_none() -> None:
    """Only as the settings' attribute, letter by letter."""
    several = {"uid": [b"ada", b"lovelace"]}
    assert name_of(LdapEntry.of("uid=ada,ou=x", several), AccountSettings()) == "ada"
    assert name_of(LdapEntry.of("UID=lovelace", several), AccountSettings()) == "lovelace"
    for dn in ("cn=ada,ou=x", "uid=Ada,ou=x", "uid=adam,ou=x", "uid=ada+cn=x,ou=x", ""):
        with pytest.raises(Refusal, match="its entry has no single uid"):
            name_of(LdapEntry.of(dn, several), AccountSettings())
    with pytest.raises(Refusal, match="its entry has no single uid"):
        name_of(LdapEntry.of("uid=ada", {}), AccountSettings())


def test_a_link_is_all_values_letter_by_letter() -> None:
    """One of several values of an attribute will do; another case will not."""
    linked = LdapEntry.of("uid=ada", {"idp": [b"a", b"b"], "sub": [b"X"]})
    assert is_linked(linked, [("IDP", "b"), ("sub", "X")])
    assert not is_linked(linked, [("idp", "b"), ("sub", "x")])
    assert not is_linked(linked, [("idp", "c")])
    assert not is_linked(linked, [("other", "X")])


def test_a_group_without_a_single_name_or_gid_is_left_out() -> None:
    """And named, so that somebody mends it."""
    entries = [
        LdapEntry.of("cn=a", {"cn": [b"a"], "gidNumber": [b"61100"]}),
        LdapEntry.of("cn=b", {"cn": [b"b"]}),
        LdapEntry.of("cn=c", {"cn": [b"c", b"d"], "gidNumber": [b"61101"]}),
        LdapEntry.of("cn=e", {"cn": [b"\xff"], "gidNumber": [b"61102"]}),
        LdapEntry.of("cn=f", {"cn": [b"f"], "gidNumber": [b"1e3"]}),
    ]
    assert groups_of(entries, GroupSettings()) == ([("a", 61100)], ["cn=b", "cn=c", "cn=e", "cn=f"])


SHARED: dict[str, tuple[list[tuple[str, int]], dict[str, int], tuple[int, ...], str | None]] = {
    "one name for the primary gid, the first": ([("b", 61000), ("a", 61000)], {"a": 61000}, (), "a"),
    "of those that are safe": ([("b", 61000), ("A B", 61000)], {"b": 61000}, (), "b"),
    "an unsafe one": ([("A B", 61000)], {}, (61000,), None),
    "two gids of one name": ([("a", 61200), ("a", 61100)], {"a": 61100}, (61200,), None),
    "the primary group's name first": ([("a", 1001), ("a", 61000)], {"a": 61000}, (1001,), "a"),
    "outside the range": ([("docker", 998), ("wheel", 0), ("minus", -5)], {}, (), None),
}


@pytest.mark.parametrize(("groups", "named", "unnamed", "primary"), SHARED.values(), ids=SHARED)
def test_names_and_gids_that_several_groups_share_stay_apart(
    groups: list[tuple[str, int]], named: dict[str, int], unnamed: tuple[int, ...], primary: str | None
) -> None:
    """A gid is kept in any case; a name stands for one gid."""
    account, _ = account_of(entry(), groups, AccountSettings(), RANGE)
    identity = account.identity
    assert (dict(identity.groups), identity.unnamed_gids, identity.primary_group) == (named, unnamed, primary)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c d", "é", ""]), st.integers(-2, 70000)), max_size=12),
    st.integers(1000, 2000),
)
def test_no_account_gets_a_gid_that_it_has_not_or_one_outside(groups: list[tuple[str, int]], gid: int) -> None:
    """What comes out is a part of what went in, and all that is left out is told."""
    got = granted(groups, gid, RANGE)
    kept = {*got.named.values(), *got.unnamed}
    assert kept <= {number for _, number in groups}
    assert all(RANGE.gid_min <= number <= RANGE.gid_max for number in kept - {gid})
    assert {number for _, number in groups} == kept | {number for _, number in got.outside}
    assert got.primary is None or got.named[got.primary] == gid


def test_without_the_client_the_command_says_what_to_install(tmp_path: Path) -> None:
    """In a process in which ``import ldap`` fails as it does where python-ldap is missing; no trace."""
    (tmp_path / "ldap.py").write_text("raise ModuleNotFoundError(\"No module named 'ldap'\", name='ldap')\n")
    (tmp_path / "directory.yaml").write_text(SMALLEST)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from nbplatform_spawners.cli import main; sys.exit(main())"
    )
    words = ["accounts", "show", "alice", "--accounts", f"ldap:{tmp_path}/directory.yaml"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "accounts in LDAP need python-ldap; install nbplatform-spawners[ldap]\n"
