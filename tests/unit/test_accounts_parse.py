"""The accounts file as a value."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.accounts.directory import UnknownAccount
from nbplatform_spawners.accounts.parse import AccountsFile, parse_accounts
from nbplatform_spawners.errors import BadFile, Refusal
from nbplatform_spawners.identity import Account, Identity

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21l$RdescudvJCsgt3ub+b27dWRJJTmaaJObG"
ONE_LINE = "groups: {users: 61000, atlas: 61100}\naccounts: {alice: {uid: 62001, group: users, %s}}\n"


def parsed(text: str) -> AccountsFile:
    """What a text says."""
    return parse_accounts(text.encode(), "accounts.yaml")


def mistakes(text: str) -> list[str]:
    """The mistakes of a text, as ``line: message``."""
    with pytest.raises(BadFile) as caught:
        parsed(text)
    return [str(mistake).removeprefix("accounts.yaml:") for mistake in caught.value.mistakes]


def test_an_account_has_all_that_is_written() -> None:
    """Every key of the format, whole."""
    found = parsed(f"""\
groups: {{users: 61000, atlas: 61100, Domain Users: 61200}}
accounts:
  alice:
    uid: 62001
    group: users
    groups: [atlas, Domain Users]
    home: /data/alice
    shell: /bin/zsh
    valid_until: 2027-06-30T00:00+02:00
    password: {HASH}
    federated:
      - {{provider: edugain, subject: "https://idp.example/idp!abc"}}
""")
    identity = Identity(
        name="alice",
        uid=62001,
        gid=61000,
        groups={"users": 61000, "atlas": 61100},
        primary_group="users",
        home="/data/alice",
        shell="/bin/zsh",
        unnamed_gids=(61200,),
    )
    assert dict(found.accounts) == {"alice": Account(identity, datetime(2027, 6, 29, 22, tzinfo=UTC))}
    assert dict(found.groups) == {"users": 61000, "atlas": 61100, "Domain Users": 61200}
    assert dict(found.password_hashes) == {"alice": HASH}
    assert dict(found.federated) == {("edugain", "https://idp.example/idp!abc"): "alice"}
    assert not found.refusals


def test_home_and_shell_have_defaults() -> None:
    """``/home/NAME`` and ``/bin/bash``."""
    identity = parsed(ONE_LINE % "groups: []").lookup("alice").identity
    assert (identity.home, identity.shell) == ("/home/alice", "/bin/bash")


def test_a_primary_group_with_an_unsafe_name_keeps_its_gid() -> None:
    """``Domain Users`` locks nobody out: the gid counts, the name matches nothing."""
    text = 'groups: {"Domain Users": 61200}\naccounts: {ann: {uid: 62001, group: Domain Users}}'
    identity = parsed(text).lookup("ann").identity
    assert (identity.gid, identity.primary_group, dict(identity.groups)) == (61200, None, {})
    assert identity.gids == (61200,)


def test_names_are_taken_in_lower_case_as_the_hub_does() -> None:
    """``Alice`` in the file is the hub's ``alice``, and is found under either."""
    found = parsed("groups: {users: 61000}\naccounts: {Alice: {uid: 62001, group: users}}")
    assert found.lookup("ALICE").identity.name == "alice"
    assert found.lookup("alice").identity.home == "/home/alice"


def test_a_look_alike_finds_nobody() -> None:
    """The Kelvin sign is a ``k`` in lower case; it must not reach the account of ``kim``."""
    found = parsed("groups: {users: 61000}\naccounts: {kim: {uid: 62001, group: users}}")
    with pytest.raises(UnknownAccount):
        found.lookup("\u212aim")


REFUSED = {
    "uid 0": ("zero: {uid: 0, group: users}", "zero", "the uid"),
    "root": ("root: {uid: 62009, group: users}", "root", "this user name is not allowed here"),
    "up": ("../x: {uid: 62009, group: users}", "../x", "this user name is not allowed here"),
    "a line break": ('"a\\nb": {uid: 62009, group: users}', "a\nb", "this user name is not allowed here"),
    "300 characters": (f"{'a' * 300}: {{uid: 62009, group: users}}", "a" * 300, "this user name is not allowed here"),
    "a look-alike": ("\u0430lice: {uid: 62009, group: users}", "\u0430lice", "this user name is not allowed here"),
    "a dot": (".: {uid: 62009, group: users}", ".", "this user name is not allowed here"),
    "a group with gid 0": ("adm: {uid: 62009, group: users, groups: [wheel]}", "adm", "the gid of group wheel"),
}


@pytest.mark.parametrize(("line", "name", "message"), REFUSED.values(), ids=REFUSED)
def test_an_unsafe_account_is_refused_and_locks_out_nobody_else(line: str, name: str, message: str) -> None:
    """It is kept with its reason; the other accounts of the file stand."""
    found = parsed(f"groups: {{users: 61000, wheel: 0}}\naccounts:\n  alice: {{uid: 62001, group: users}}\n  {line}\n")
    assert found.lookup("alice").identity.uid == 62001
    assert set(found.accounts) == {"alice"}
    assert set(found.refusals) == {name}
    for _ in range(2):  # raised anew each time: a kept exception would gather tracebacks
        with pytest.raises(Refusal, match=message) as caught:
            found.lookup(name)
        assert caught.value is not found.refusals[name]


def test_two_accounts_with_uid_0_are_refused_each_for_itself() -> None:
    """One uid twice is a mistake of the file; uid 0 is never granted, so it takes nobody else's files."""
    found = parsed("groups: {g: 5}\naccounts: {a: {uid: 0, group: g}, b: {uid: 0, group: g}, c: {uid: 6, group: g}}")
    assert (set(found.accounts), set(found.refusals)) == ({"c"}, {"a", "b"})


@pytest.mark.parametrize("name", ["nobody", "", "../alice", "alice\n", "a" * 300])
def test_an_unknown_name_is_refused_in_one_printable_line(name: str) -> None:
    """Unknown is a refusal of its own kind, with the name quoted and cut."""
    with pytest.raises(UnknownAccount) as caught:
        parsed(ONE_LINE % "groups: []").lookup(name)
    assert caught.value.message.isprintable()
    assert "this site has no such account" in caught.value.message
    assert len(caught.value.message) < 200


MISTAKES = {
    "nothing": ("", ["1: the file is empty; it needs the keys 'groups' and 'accounts'"]),
    "a list": ("- a", ["1: the accounts file: keys and values is expected, not a list"]),
    "no accounts": ("groups: {users: 61000}", ["1: the key 'accounts' is missing"]),
    "accounts with nothing in them": ("accounts: {}", ["1: accounts: there is no account"]),
    "accounts cut off": ("accounts:", ["1: accounts: a value is missing, keys and values is expected"]),
    "an unknown section": (
        "acounts: {}\naccounts: {a: {uid: 5, group: g}}\ngroups: {g: 5}",
        ["1: the accounts file: unknown key 'acounts', did you mean 'accounts'?"],
    ),
    "an unknown key": (ONE_LINE % "grous: []", ["2: account 'alice': unknown key 'grous', did you mean 'groups'?"]),
    "an unknown primary group": (
        "groups: {users: 61000}\naccounts: {alice: {uid: 62001, group: user}}",
        ["2: account 'alice': group: unknown group 'user', did you mean 'users'?"],
    ),
    "an unknown group": (
        ONE_LINE % "groups: [atlas, atlsa]",
        ["2: account 'alice': groups: unknown group 'atlsa', did you mean 'atlas'?"],
    ),
    "one group in place of a list": (
        ONE_LINE % "groups: atlas",
        ["2: account 'alice': groups: a list is expected, not text"],
    ),
    "uid and group missing": (
        "groups: {}\naccounts:\n  alice: {home: /home/alice}",
        ["3: account 'alice': the key 'group' is missing", "3: account 'alice': the key 'uid' is missing"],
    ),
    "an account with nothing": (
        "groups: {}\naccounts:\n  alice:",
        ["3: account 'alice': a value is missing, keys and values is expected"],
    ),
    "one account twice": (
        "groups: {g: 61000}\naccounts:\n  alice: {uid: 5, group: g}\n  alice: {uid: 6, group: g}",
        ["4: accounts: the key 'alice' stands here twice, first in line 3"],
    ),
    "one account twice in other case": (
        "groups: {g: 61000}\naccounts:\n  alice: {uid: 5, group: g}\n  Alice: {uid: 6, group: g}",
        ["4: account 'Alice': stands here twice (case does not matter)"],
    ),
    "one uid twice": (
        "groups: {g: 61000}\naccounts:\n  alice: {uid: 5, group: g}\n  bob: {uid: 5, group: g}",
        ["4: account 'bob': the uid 5 is that of account 'alice'"],
    ),
    "one gid twice": (
        "groups: {g: 61000, h: 61000}\naccounts:\n  alice: {uid: 5, group: g}",
        ["1: group 'h': the gid 61000 is that of group 'g'"],
    ),
    "a uid with letters": (
        "groups: {g: 5}\naccounts: {alice: {uid: 62oo1, group: g}}",
        ["2: account 'alice': uid: '62oo1': a number from 1 to 4294967294 is expected"],
    ),
    "an octal uid": (
        "groups: {g: 5}\naccounts: {alice: {uid: 010, group: g}}",
        ["2: account 'alice': uid: '010': a number from 1 to 4294967294 is expected"],
    ),
    "Arabic digits": (
        "groups: {g: \u0661\u0662}\naccounts: {alice: {uid: 7, group: g}}",
        ["1: group 'g': '\\u0661\\u0662': a number from 1 to 4294967294 is expected"],
    ),
    "the gid that means no change": (
        "groups: {g: 4294967295}\naccounts: {alice: {uid: 7, group: g}}",
        ["1: group 'g': '4294967295': a number from 1 to 4294967294 is expected"],
    ),
    "a relative home": (
        ONE_LINE % "home: home/alice",
        ["2: account 'alice': home: 'home/alice': the path is relative; it must begin with /"],
    ),
    "a home that leads up": (
        ONE_LINE % "home: /home/../etc",
        ["2: account 'alice': home: '/home/../etc': the path holds '.' or '..' as a part"],
    ),
    "a shell with a slash too many": (
        ONE_LINE % "shell: /bin//sh",
        [
            "2: account 'alice': shell: '/bin//sh': an absolute path without repeated or trailing slashes is expected",
        ],
    ),
    "an end without offset": (
        ONE_LINE % "valid_until: 2026-06-30T00:00",
        [
            "2: account 'alice': valid_until: '2026-06-30T00:00': "
            "a time is date, time and offset, such as 2026-11-24T08:00+01:00",
        ],
    ),
    "an end that is only a date": (
        ONE_LINE % "valid_until: 2026-06-30",
        [
            "2: account 'alice': valid_until: '2026-06-30': "
            "a time is date, time and offset, such as 2026-11-24T08:00+01:00",
        ],
    ),
    "a pair of two accounts": (
        "groups: {g: 5}\naccounts:\n"
        "  a: {uid: 6, group: g, federated: [{provider: p, subject: s}]}\n"
        "  b: {uid: 7, group: g, federated: [{provider: p, subject: s}]}",
        ["4: account 'b': federated: this provider and subject are those of account 'a'"],
    ),
    "half a pair": (
        ONE_LINE % "federated: [{provider: edugain}]",
        ["2: account 'alice': federated: the key 'subject' is missing"],
    ),
    "a pair that is text": (
        ONE_LINE % "federated: [edugain]",
        ["2: account 'alice': federated: keys and values is expected, not text"],
    ),
    "not UTF-8": ("accounts: \udcff", ["1: the file is not UTF-8 text"]),
    "an alias that is not there": ("accounts: *x", ["1: not valid YAML"]),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_line(text: str, expected: list[str]) -> None:
    """Each mistake is said once, with file, line and what was probably meant."""
    with pytest.raises(BadFile) as caught:
        parse_accounts(text.encode("utf-8", "surrogateescape"), "accounts.yaml")
    found = [str(mistake) for mistake in caught.value.mistakes]
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(f"accounts.yaml:{start}")


def test_all_mistakes_are_named_at_once() -> None:
    """Whoever mends a file wants the whole list."""
    found = mistakes("""\
groups: {a: 100, b: 100}
accounts:
  x: {uid: 1, grop: a, group: c}
  y: {uid: 1, group: a, home: x}
""")
    assert [line.split(":")[0] for line in found] == ["1", "3", "3", "4", "4"]


SECRETS = {
    "the password itself": 'password: "hunter2 secret"',
    "a space forgotten": "password:hunter2",
    "a hash without quotes": f"password: {HASH}",
    "a hash cut": f'password: "{HASH[:50]}"',
    "a hash that would take 4 GiB": f'password: "{HASH.replace("65536", "4194304")}"',
    "a list": "password: [hunter2]",
}


@pytest.mark.parametrize("entry", SECRETS.values(), ids=SECRETS)
def test_a_bad_password_entry_is_a_mistake_that_shows_none_of_it(entry: str) -> None:
    """What stands there may be the password: neither it nor a piece of a hash reaches a log."""
    text = "\n".join(mistakes(ONE_LINE % entry))
    assert "alice" in text
    assert not any(piece in text for piece in ("hunter2", "secret", "c29tZXNh", "Rdescudv"))


def test_hashes_are_kept_out_of_the_text_form() -> None:
    """A log line that shows the value shows no hash and no subject."""
    shown = repr(parsed(ONE_LINE % f'password: "{HASH}", federated: [{{provider: p, subject: sub-1}}]'))
    assert "argon2" not in shown
    assert "sub-1" not in shown


def test_a_file_beyond_all_measure_is_not_read() -> None:
    """A bound, said as a mistake."""
    with pytest.raises(BadFile, match="larger than"):
        parse_accounts(b"#" * (16 * 1024**2 + 1), "accounts.yaml")


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,&*!|>-# \n\"'ab0", max_size=200).map(str.encode))
def test_any_bytes_are_accounts_or_mistakes(content: bytes) -> None:
    """Nothing but ``BadFile`` leaves the parser."""
    try:
        found = parse_accounts(content, "accounts.yaml")
    except BadFile as error:
        found = None
        assert all(mistake.file == "accounts.yaml" for mistake in error.mistakes)  # noqa: PT017
        assert error.mistakes  # noqa: PT017
    assert found is None or found.accounts or found.refusals


SCALAR = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=40)


@given(SCALAR, st.sampled_from(["uid", "group", "home", "shell", "valid_until", "password"]))
def test_any_text_in_any_place_is_an_account_or_a_mistake(text: str, key: str) -> None:
    """A value is converted by the field it is for, whatever it looks like."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    entries = {"uid": "62001", "group": "users", key: f'"{quoted}"'}
    written = ", ".join(f"{name}: {value}" for name, value in entries.items())
    document = f"groups: {{users: 61000}}\naccounts: {{alice: {{{written}}}}}"
    try:
        found = parse_accounts(document.encode(), "accounts.yaml")
    except BadFile as error:
        assert len(error.mistakes) == 1  # noqa: PT017
    else:
        assert set(found.accounts) | set(found.refusals) == {"alice"}


def test_the_example_site_reads_without_a_mistake() -> None:
    """19 accounts in 18 groups, two of them federated, one ended."""
    path = Path(__file__).parents[2] / "placement_rules" / "example-site" / "accounts.yaml"
    found = parse_accounts(path.read_bytes(), path.name)
    assert (len(found.accounts), len(found.groups), len(found.federated)) == (19, 18, 2)
    assert found.lookup("old").refusal(datetime(2026, 7, 1, tzinfo=UTC)) is not None
    assert not found.refusals
