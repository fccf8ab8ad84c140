"""The cases that a site writes beside its rules: what they may say, and what a broken promise shows."""

from datetime import datetime
from pathlib import Path

import pytest

from nbplatform_spawners.accounts.yaml_file import parse_accounts
from nbplatform_spawners.errors import BadFile
from nbplatform_spawners.rules.case_fields import CASES
from nbplatform_spawners.rules.cases import Difference, parse_cases, run_case
from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.rules.people import People

ROOT = Path(__file__).parents[2]
NOON = datetime.fromisoformat("2026-11-23T12:00+01:00")
RULES = b"""\
pools:
  cpu: {hosts: [{name: cpu01, url: "tcp://cpu01:1", memory: 8G}, {name: cpu02, url: "tcp://cpu02:1", memory: 8G}]}
  here: {}
profiles:
  cpu: {title: CPU, pool: [cpu, here], hosts: cpu01, image: scipy, memory: 4G, cpu: 2, allow: true}
  gpu: {title: GPU, gpus: 1, message: Ask us.}
rules:
  - {name: evening, match: {users: [ada], from: 2026-11-23T18:00+01:00}, memory: 6G}
  - {name: brokers, match: {providers: ["*"]}, memory: 2G}
  - {name: ml, match: {users: [ada], profiles: [gpu]}, allow: true}
defaults:
  quota: {servers: 2, gpus: 1}
  idle: {cull_after: 3d, max_age: never}
  mounts:
    - {source: /cvmfs, read_only: true, propagation: rslave, optional: true}
    - {source: "{home}"}
    - {target: /secret, hide: true}
  env: {SITE: "Example"}
"""
ACCOUNTS = b"""\
groups: {users: 5000}
accounts:
  ada: {uid: 6001, group: users}
  bob: {uid: 6002, group: users}
  old: {uid: 6003, group: users, valid_until: 2020-01-01T00:00Z}
  zero: {uid: 0, group: users}
"""
BOOK = parse_rules({"00.yaml": RULES})


def people() -> People:
    """Return the accounts above."""
    found = parse_accounts(ACCOUNTS, "accounts.yaml")
    return People(found.accounts, found.refusals)


def run(case: str, at: str = "") -> tuple[Difference, ...]:
    """Return what is otherwise than one case expects."""
    text = f"{at}\ntests:\n  - {{name: c, {case}}}\n"
    (only,) = parse_cases({"cases.yaml": text.encode()}, BOOK, people())
    return run_case(only, BOOK, people(), NOON)


KEPT = {
    "allowed": "user: bob, profile: cpu, expect: {allowed: true}",
    "refused": "user: bob, profile: gpu, expect: {allowed: false, reason: not-allowed, message: Ask us.}",
    "no wish": "user: bob, expect: {profile: cpu}",
    "pools as a list": "user: bob, profile: cpu, expect: {pool: [cpu, here]}",
    "one host": "user: bob, profile: cpu, expect: {hosts: cpu01}",
    "image": "user: bob, profile: cpu, expect: {image: scipy}",
    "memory in another unit": "user: bob, profile: cpu, expect: {memory: 4096M}",
    "cpu": "user: bob, profile: cpu, expect: {cpu: 2.0}",
    "gpus": "user: ada, profile: gpu, expect: {gpus: 1, allowed: true}",
    "quota": "user: bob, profile: cpu, expect: {quota: {servers: 2, gpus: 1}}",
    "idle in another unit": "user: bob, profile: cpu, expect: {idle: {cull_after: 72h}}",
    "idle never": "user: bob, profile: cpu, expect: {idle: {max_age: never}}",
    "a mount by its target": "user: bob, profile: cpu, expect: {mounts: [/cvmfs, /home/bob/]}",
    "a mount in detail": (
        "user: bob, profile: cpu, expect: {mounts:"
        " [{target: /cvmfs, source: /cvmfs, read_only: true, propagation: rslave, optional: true}]}"
    ),
    "no mount": "user: bob, profile: cpu, expect: {without_mounts: [/home/ada, /secret]}",
    "variables": "user: bob, profile: cpu, expect: {env: {SITE: Example}}",
    "a time": "user: ada, profile: cpu, at: 2026-11-23T18:00+01:00, expect: {memory: 6G}",
    "the given time for a case without one": "user: ada, profile: cpu, expect: {memory: 4G}",
    "a provider": "user: bob, profile: cpu, provider: edugain, expect: {memory: 2G}",
    "an account that ended": "user: old, profile: cpu, expect: {allowed: false, reason: account}",
    "an account that is refused": "user: zero, profile: cpu, expect: {allowed: false, reason: account}",
}


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT)
def test_a_promise_that_is_kept_shows_nothing(case: str) -> None:
    """Every kind of expectation can hold."""
    assert run(case) == ()


BROKEN = {
    "allowed": ("bob, profile: gpu, expect: {allowed: true}", ("allowed", "true", "false")),
    "reason": ("bob, profile: gpu, expect: {reason: quota}", ("reason", "quota", "not-allowed")),
    "a reason where none is": ("bob, profile: cpu, expect: {reason: quota}", ("reason", "quota", "nothing")),
    "message": ("bob, profile: gpu, expect: {message: Go.}", ("message", "Go.", "Ask us.")),
    "profile": ("bob, expect: {profile: gpu}", ("profile", "gpu", "cpu")),
    "pool in another order": ("bob, profile: cpu, expect: {pool: [here, cpu]}", ("pool", "here, cpu", "cpu, here")),
    "hosts": ("bob, profile: cpu, expect: {hosts: [cpu02]}", ("hosts", "cpu02", "cpu01")),
    "image": ("bob, profile: cpu, expect: {image: other}", ("image", "other", "scipy")),
    "memory": ("bob, profile: cpu, expect: {memory: 8G}", ("memory", "8 GiB", "4 GiB")),
    "cpu": ("bob, profile: cpu, expect: {cpu: 1}", ("cpu", "1", "2")),
    "gpus": ("bob, profile: cpu, expect: {gpus: 1}", ("gpus", "1", "0")),
    "quota": ("bob, profile: cpu, expect: {quota: {gpus: 2}}", ("quota.gpus", "2", "1")),
    "idle": ("bob, profile: cpu, expect: {idle: {cull_after: 1d}}", ("idle.cull_after", "1d", "3d")),
    "idle that nothing decides": (
        "bob, profile: cpu, expect: {idle: {extend: 6h}}",
        ("idle.extend", "6h", "nothing"),
    ),
    "never that nothing decides": (
        "bob, profile: cpu, expect: {idle: {extend: never}}",
        ("idle.extend", "never", "nothing"),
    ),
    "a mount": (
        "bob, profile: cpu, expect: {mounts: [/sps]}",
        ("mount /sps", "a mount", "nothing is mounted there"),
    ),
    "a hidden mount": ("bob, profile: cpu, expect: {mounts: [/secret]}", ("mount /secret", "a mount", "hidden")),
    "a mount's right": (
        "bob, profile: cpu, expect: {mounts: [{target: /cvmfs, read_only: false}]}",
        ("mount /cvmfs: read_only", "false", "true"),
    ),
    "a mount too much": (
        "bob, profile: cpu, expect: {without_mounts: [/cvmfs/]}",
        ("mount /cvmfs", "no mount", "/cvmfs is mounted there"),
    ),
    "a variable's value": ("bob, profile: cpu, expect: {env: {SITE: Other}}", ("env SITE", "Other", "Example")),
    "a variable": ("bob, profile: cpu, expect: {env: {NONE: a}}", ("env NONE", "a", "nothing")),
}


@pytest.mark.parametrize(("case", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise_shows_expected_got_and_what_decided(case: str, expected: tuple[str, str, str]) -> None:
    """Every kind of expectation can fail, and says why."""
    (found,) = run(f"user: {case}")
    assert (found.what, found.expected, found.got) == expected
    assert found.why


def test_what_decided_is_named_with_file_and_line() -> None:
    """One finds the rule to correct without a search."""
    (found,) = run("user: ada, profile: cpu, expect: {memory: 4G}", "at: 2026-11-23T18:00+01:00")
    assert found.why == "decided by evening (00.yaml:8)"


def test_every_key_of_an_expectation_is_tried_above() -> None:
    """A kind of expectation that is added is added to both tables."""
    for table in (" ".join(KEPT.values()), " ".join(case for case, _ in BROKEN.values())):
        missing = [key for key in CASES.at["expect"] if f"{key}:" not in table]
        assert missing == []


CASE = "name: c, user: bob, expect: {allowed: true}"
MISTAKES = {
    "unknown expectation": (
        "tests: [{name: c, user: bob, expect: {memmory: 4G}}]",
        "1: case 'c': expect: unknown key 'memmory', did you mean 'memory'?",
    ),
    "unknown key of a case": (
        f"tests: [{{{CASE}, when: 2026-11-23T12:00Z}}]",
        "1: case 'c': unknown key 'when'",
    ),
    "unknown user": (
        "tests: [{name: c, user: bobb, expect: {allowed: true}}]",
        "1: case 'c': user: unknown 'bobb', did you mean 'bob'?",
    ),
    "unknown profile": (
        f"tests: [{{{CASE}, profile: cpi}}]",
        "1: case 'c': profile: unknown 'cpi', did you mean 'cpu'?",
    ),
    "unknown profile in an expectation": (
        "tests: [{name: c, user: bob, expect: {profile: cpi}}]",
        "1: case 'c': expect: profile: unknown 'cpi', did you mean 'cpu'?",
    ),
    "a provider that no broker has": (f"tests: [{{{CASE}, provider: '../x'}}]", "1: case 'c': provider: a name has"),
    "an expectation of nothing": ("tests: [{name: c, user: bob, expect: {}}]", "1: case 'c': it expects nothing"),
    "a case without an expectation": (
        "tests: [{name: c, user: bob}]",
        "1: case 'c': the key 'expect' is missing (what must come out, as far as the case is about it)",
    ),
    "two cases of one name": (
        f"tests:\n  - {{{CASE}}}\n  - {{{CASE}}}\n",
        "3: case 'c': the name stands twice, first in line 2",
    ),
    "no case": ("tests: []", "1: tests: the list is empty"),
    "an empty file of cases": ("at: 2026-11-23T12:00Z", "1: the key 'tests' is missing (the cases, one by one)"),
    "a time without an offset": (
        f"at: 2026-11-23T12:00\ntests: [{{{CASE}}}]",
        "1: at: '2026-11-23T12:00': a time is date, time and offset",
    ),
    "a bad size": (
        "tests: [{name: c, user: bob, expect: {memory: 4}}]",
        "1: case 'c': expect: memory: '4': a size is",
    ),
    "an unknown label": (
        "tests: [{name: c, user: bob, expect: {reason: because}}]",
        "1: case 'c': expect: reason: 'because': not-allowed or quota or unplaceable or account is expected",
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_case_is_named_with_its_line(text: str, expected: str) -> None:
    """A case that cannot fail, since it asks for nothing that exists, is worse than none."""
    with pytest.raises(BadFile) as caught:
        parse_cases({"cases.yaml": text.encode()}, BOOK, people())
    (mistake,) = caught.value.mistakes
    assert str(mistake).startswith(f"cases.yaml:{expected}")


SITES = {
    "starter site": (ROOT / "placement_rules", ROOT / "placement_rules/tests/accounts/accounts.yaml", 8),
    "example site": (
        ROOT / "placement_rules/example-site/placement_rules",
        ROOT / "placement_rules/example-site/accounts.yaml",
        22,
    ),
}


@pytest.mark.parametrize(("directory", "accounts", "count"), SITES.values(), ids=SITES)
def test_the_sites_that_we_ship_keep_their_promises(directory: Path, accounts: Path, count: int) -> None:
    """Every case of the shipped sites passes."""
    book = parse_rules({path.name: path.read_bytes() for path in directory.glob("*.yaml")})
    found = parse_accounts(accounts.read_bytes(), "accounts.yaml")
    everybody = People(found.accounts, found.refusals)
    files = {path.name: path.read_bytes() for path in (directory / "tests").glob("*.yaml")}
    cases = parse_cases(files, book, everybody)
    assert len(cases) == count
    assert [(case.name, differences) for case in cases if (differences := run_case(case, book, everybody, NOON))] == []
