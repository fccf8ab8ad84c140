"""Deciding: every sentence of the rules language, through the files an administrator writes."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.rules.decision import Decision
from nbplatform_spawners.rules.engine import decide, decide_fields, holds
from nbplatform_spawners.rules.model import RuleBook
from nbplatform_spawners.rules.parse import parse_rules

ABSENT = "nothing decides it"
NOON = datetime.fromisoformat("2026-11-23T12:00+01:00")
G = 1024**3
GIDS = {"users": 1000, "atlas": 1100, "cms": 1101, "virgo": 1102, "ml-vision": 1200, "ml-audio": 1201, "guests": 1400}

POOLS = b"""\
pools:
  cpu:
    overcommit: 1.5
    hosts:
      - {name: cpu01, url: "tcp://cpu01.example.org:2376", memory: 32G, cpus: 16}
      - {name: cpu02, url: "tcp://cpu02.example.org:2376", memory: 32G, cpus: 16}
  large: {hosts: [{name: cpu06, url: "tcp://cpu06.example.org:2376", memory: 64G, cpus: 16, drain: true}]}
  gpu:
    hosts:
      - {name: gpu01, url: "tcp://gpu01:2376", memory: 128G, gpu_model: K80, gpus: [A, B], memory_per_gpu: 16G}
      - {name: gpu02, url: "tcp://gpu02:2376", memory: 64G, gpu_model: A100, gpus: [C], memory_per_gpu: 8G}
  training: {reserved: true, hosts: [{name: train01, url: "tcp://train01.example.org:2376", memory: 32G, cpus: 8}]}
  anywhere: {node_selector: {kind: notebooks}}
  here: {}
"""
PROFILES = b"""\
profiles:
  closed: {title: "Closed", pool: cpu}
  cpu: {title: "CPU", pool: cpu, allow: true, memory: 8G}
  gpu: {title: "One GPU", pool: gpu, gpus: 1, gpu_model: K80, allow: true}
  pinned:
    {title: "P", pool: [cpu, large], hosts: [cpu02, cpu06], allow: true, quota: {servers: 2}, idle: {cull_after: 2h}}
  anywhere: {title: "Anywhere", pool: anywhere, gpus: 9, gpu_model: H100, memory: 999G, allow: true}
  poolless: {title: "No pool", memory: 999G, allow: true}
"""


def user(*groups: str, name: str = "alice", primary: str | None = "users", provider: str | None = None) -> Identity:
    """Return a member of the groups; the primary group is ``users`` unless another is named."""
    names = {*groups, primary} - {None}
    gid = GIDS.get(primary or "", 999)
    return Identity(
        name, 2001, gid, {str(group): GIDS[str(group)] for group in names}, primary, f"/home/{name}", provider=provider
    )


def make_book(rules: str = "", *, defaults: str = "", profiles: bytes = PROFILES) -> RuleBook:
    """Return a rule book of the pools and profiles above, rules (``- name: …`` lines) and defaults (``key: …``)."""
    files = {"00-pools.yaml": POOLS, "10-profiles.yaml": profiles}
    if rules:
        files["20-rules.yaml"] = ("rules:\n" + _indented(rules)).encode()
    if defaults:
        files["90-defaults.yaml"] = ("defaults:\n" + _indented(defaults)).encode()
    return parse_rules(files)


def _indented(text: str) -> str:
    return "".join(f"  {line.strip()}\n" for line in text.strip().splitlines())


def decided(decision: Decision, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decided values of the keys."""
    return {key: decision.value(key, ABSENT) for key in keys}


# Matching

SATURDAY = "2026-11-28T18:00+01:00"
MATCHES: dict[str, tuple[str, Identity, str, bool]] = {
    "everyone": ("{}", user(), "cpu", True),
    "the user's name": ("{users: [bob, alice]}", user(), "cpu", True),
    "another user's name": ("{users: [bob]}", user(), "cpu", False),
    "a user by wildcard": ("{users: ['al*']}", user(), "cpu", True),
    "a user by question mark": ("{users: ['alic?']}", user(), "cpu", True),
    "a bracket in a user's name is a letter": ("{users: ['[a]lice']}", user(), "cpu", False),
    "names keep their case": ("{users: [Alice]}", user(), "cpu", False),
    "a group": ("{groups: [atlas]}", user("atlas"), "cpu", True),
    "another group": ("{groups: [cms]}", user("atlas"), "cpu", False),
    "any group of the list suffices": ("{groups: [cms, atlas]}", user("atlas"), "cpu", True),
    "the primary group counts": ("{groups: [atlas]}", user(primary="atlas"), "cpu", True),
    "a group by wildcard": ("{groups: ['ml-*']}", user("cms", "ml-vision"), "cpu", True),
    "no group by wildcard": ("{groups: ['ml-*']}", user("cms"), "cpu", False),
    "any group": ("{groups: ['*']}", user(), "cpu", True),
    "any group, and the user has none": ("{groups: ['*']}", user(primary=None), "cpu", False),
    "a list": ("{groups: ['@experiments']}", user("cms"), "cpu", True),
    "a list with a wildcard in it": ("{groups: ['@machine-learning']}", user("ml-audio"), "cpu", True),
    "a list and a group": ("{groups: ['@experiments', guests]}", user("guests"), "cpu", True),
    "nobody of a list": ("{groups: ['@experiments']}", user("guests"), "cpu", False),
    "a list of users": ("{users: ['@people']}", user(), "cpu", True),
    "the profile": ("{profiles: [gpu, cpu]}", user(), "cpu", True),
    "another profile": ("{profiles: [gpu]}", user(), "cpu", False),
    "a profile by wildcard": ("{profiles: ['c*']}", user(), "cpu", True),
    "the provider": ("{providers: [edugain]}", user(provider="edugain"), "cpu", True),
    "another provider": ("{providers: [orcid]}", user(provider="edugain"), "cpu", False),
    "any broker": ("{providers: ['*']}", user(provider="edugain"), "cpu", True),
    "a local login has no broker": ("{providers: ['*']}", user(), "cpu", False),
    "no broker is a local login": ("{not: {providers: ['*']}}", user(), "cpu", True),
    "a broker is no local login": ("{not: {providers: ['*']}}", user(provider="edugain"), "cpu", False),
    "all keys hold": ("{users: [alice], groups: [cms], profiles: [cpu]}", user("cms"), "cpu", True),
    "one key of several does not": ("{users: [alice], groups: [atlas], profiles: [cpu]}", user("cms"), "cpu", False),
    "from, before": (f"{{from: {SATURDAY}}}", user(), "cpu", False),
    "until, before": (f"{{until: {SATURDAY}}}", user(), "cpu", True),
    "not one": ("{not: {groups: [cms]}}", user("cms"), "cpu", False),
    "not another": ("{not: {groups: [cms]}}", user("atlas"), "cpu", True),
    "not: all keys of one match together": ("{not: {groups: [cms], users: [bob]}}", user("cms"), "cpu", True),
    "not: a list, the first holds": ("{not: [{groups: [cms]}, {users: [bob]}]}", user("cms"), "cpu", False),
    "not: a list, the second holds": ("{not: [{users: [bob]}, {groups: [cms]}]}", user("cms"), "cpu", False),
    "not: a list, none holds": ("{not: [{users: [bob]}, {groups: [atlas]}]}", user("cms"), "cpu", True),
    "not: beside a match that holds": (
        "{groups: [atlas], not: {groups: [guests]}}",
        user("atlas", "guests"),
        "cpu",
        False,
    ),
    "not: a not within a not": ("{not: {groups: [cms], not: {users: [alice]}}}", user("cms"), "cpu", True),
    "not: another profile": ("{not: {profiles: [gpu]}}", user(), "cpu", True),
    "not: a window that is over": ("{not: {until: 2026-11-23T11:59+01:00}}", user(), "cpu", True),
    "a group called no": ("{groups: [no]}", user("atlas"), "cpu", False),
}
LISTS = "lists: {experiments: [atlas, cms], machine-learning: ['ml-*'], people: [bob, alice]}"


def matching_book(match: str) -> RuleBook:
    """Return a book of one rule with this match, which gives a memory of 1 GiB, and the lists."""
    rule = f"rules:\n  - name: it holds\n    match: {match}\n    memory: 1G\n"
    return parse_rules({"00.yaml": POOLS, "10.yaml": PROFILES, "15.yaml": LISTS.encode(), "20.yaml": rule.encode()})


@pytest.mark.parametrize(("match", "identity", "profile", "expected"), MATCHES.values(), ids=MATCHES)
def test_a_match_holds_when_all_its_keys_do(match: str, identity: Identity, profile: str, expected: bool) -> None:
    """All keys of a match must hold (and), any entry of a list suffices (or), nothing under ``not`` may hold."""
    book = matching_book(match)
    assert holds(book.rules[0].match, identity, profile=profile, now=NOON) is expected
    found = decide(book, identity, profile=profile, now=NOON)
    assert found.value("memory") == (G if expected else 8 * G)


WINDOW = "{from: 2026-11-24T08:00+01:00, until: 2026-11-28T18:00+01:00}"
MOMENTS = {
    "a microsecond before": ("2026-11-24T07:59:59.999999+01:00", False),
    "the first moment": ("2026-11-24T08:00+01:00", True),
    "the first moment elsewhere": ("2026-11-24T07:00+00:00", True),
    "the clock shows more, the time is less": ("2026-11-24T09:00+03:00", False),
    "within": ("2026-11-26T00:00+01:00", True),
    "the last microsecond": ("2026-11-28T17:59:59.999999+01:00", True),
    "the end": ("2026-11-28T18:00+01:00", False),
    "the end elsewhere": ("2026-11-28T17:00+00:00", False),
}


@pytest.mark.parametrize(("now", "expected"), MOMENTS.values(), ids=MOMENTS)
def test_from_is_included_and_until_is_not(now: str, expected: bool) -> None:
    """A rule with dates holds when now ≥ from and now < until, whatever the offsets."""
    found = decide(matching_book(WINDOW), user(), profile="cpu", now=datetime.fromisoformat(now))
    assert (found.value("memory") == G) is expected


# Which value counts

PLAIN_DEFAULTS = "memory: 4G\ncpu: 2\nquota: {servers: 3, gpus: 1}\nidle: {cull_after: 3d, cull_after_gpu: 1d}"
FIELDS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "the first rule that matches and sets a field decides it": (
        "- {name: one, match: {}, cpu: 1}\n- {name: two, match: {}, cpu: 2, image: two}\n"
        "- {name: three, match: {}, image: three}",
        "",
        "cpu",
        {"cpu": 1.0, "image": "two"},
    ),
    "a rule that does not match decides nothing": (
        "- {name: one, match: {users: [bob]}, cpu: 1}\n- {name: two, match: {}, cpu: 2}",
        "",
        "cpu",
        {"cpu": 2.0},
    ),
    "a rule wins over the profile": ("- {name: one, match: {}, memory: 1G}", "", "cpu", {"memory": G}),
    "the profile wins over the defaults": ("", PLAIN_DEFAULTS, "cpu", {"memory": 8 * G}),
    "the defaults come last": ("", PLAIN_DEFAULTS, "gpu", {"memory": 4 * G, "cpu": 2.0}),
    "what nothing decides is absent": ("", "", "gpu", {"memory": ABSENT, "quota.gpus": ABSENT, "idle.max_age": ABSENT}),
    "quota goes key by key": (
        "- {name: one, match: {}, quota: {gpus: 4}}",
        PLAIN_DEFAULTS,
        "pinned",
        {"quota.gpus": 4, "quota.servers": 2},
    ),
    "quota of the defaults": ("", PLAIN_DEFAULTS, "cpu", {"quota.gpus": 1, "quota.servers": 3}),
    "a quota of none is a decision": (
        "- {name: one, match: {}, quota: {servers: 0}}",
        PLAIN_DEFAULTS,
        "cpu",
        {"quota.servers": 0},
    ),
    "idle goes key by key": (
        "- {name: one, match: {}, idle: {warn_before: 10m}}\n"
        "- {name: two, match: {}, idle: {max_age: 7d, warn_before: 1h}}",
        PLAIN_DEFAULTS,
        "pinned",
        {
            "idle.warn_before": 600,
            "idle.max_age": 604800,
            "idle.cull_after": 7200,
            "idle.cull_after_gpu": 86400,
            "idle.busy_max": ABSENT,
        },
    ),
    "never is a decision": (
        "- {name: one, match: {}, idle: {cull_after: never}}\n- {name: two, match: {}, idle: {cull_after: 1d}}",
        PLAIN_DEFAULTS,
        "cpu",
        {"idle.cull_after": None},
    ),
    "allow goes by the first rule as well: a denial first": (
        "- {name: one, match: {}, allow: false}\n- {name: two, match: {}, allow: true}",
        "",
        "cpu",
        {"allow": False},
    ),
    "allow goes by the first rule as well: a permission first": (
        "- {name: one, match: {}, allow: true}\n- {name: two, match: {}, allow: false}",
        "",
        "closed",
        {"allow": True},
    ),
    "the pool of the profile": ("", "", "cpu", {"pool": ("cpu",), "hosts": ABSENT}),
    "pool and hosts of the profile": ("", "", "pinned", {"pool": ("cpu", "large"), "hosts": ("cpu02", "cpu06")}),
    "a rule with only a pool means all its hosts": (
        "- {name: one, match: {}, pool: large}",
        "",
        "pinned",
        {"pool": ("large",), "hosts": ABSENT},
    ),
    "a rule with only hosts keeps the profile's pools": (
        "- {name: one, match: {}, hosts: cpu01}",
        "",
        "pinned",
        {"pool": ("cpu", "large"), "hosts": ("cpu01",)},
    ),
    "a rule with both decides both": (
        "- {name: one, match: {}, pool: [gpu, cpu], hosts: [gpu01, cpu01]}",
        "",
        "pinned",
        {"pool": ("gpu", "cpu"), "hosts": ("gpu01", "cpu01")},
    ),
    "a pool first: hosts of a later rule do not narrow it": (
        "- {name: one, match: {}, pool: large}\n- {name: two, match: {}, hosts: [cpu01]}",
        "",
        "cpu",
        {"pool": ("large",), "hosts": ABSENT},
    ),
    "hosts first: the pool of a later rule does not count": (
        "- {name: one, match: {}, hosts: [cpu01]}\n- {name: two, match: {}, pool: large}",
        "",
        "cpu",
        {"pool": ("cpu",), "hosts": ("cpu01",)},
    ),
    "hosts for a profile without a pool": (
        "- {name: one, match: {}, hosts: [cpu01]}",
        "",
        "poolless",
        {"pool": ABSENT, "hosts": ("cpu01",)},
    ),
    "pools keep the order of preference": (
        "- {name: one, match: {}, pool: [large, cpu, gpu]}",
        "",
        "cpu",
        {"pool": ("large", "cpu", "gpu")},
    ),
    "one placement does not stop the other fields": (
        "- {name: one, match: {}, pool: large}\n- {name: two, match: {}, pool: gpu, cpu: 7}",
        "",
        "cpu",
        {"pool": ("large",), "cpu": 7.0},
    ),
    "a reserved pool is reached through a rule": (
        "- {name: school, match: {groups: [users]}, pool: training}",
        "",
        "cpu",
        {"pool": ("training",)},
    ),
}


@pytest.mark.parametrize(("rules", "defaults", "profile", "expected"), FIELDS.values(), ids=FIELDS)
def test_for_each_field_the_first_that_sets_it_decides(
    rules: str, defaults: str, profile: str, expected: dict[str, Any]
) -> None:
    """The first rule that matches and sets a field, else the profile, else the defaults; pool and hosts together."""
    found = decide(make_book(rules, defaults=defaults), user(), profile=profile, now=NOON)
    assert decided(found, expected) == expected


def test_each_field_keeps_who_decided_it() -> None:
    """Rule, profile or defaults, with file and line: also for pools that a rule with only ``hosts`` keeps."""
    book = make_book("- {name: one, match: {}, hosts: [cpu01]}\n- {name: two, match: {}, cpu: 1}", defaults="image: x")
    found = decide(book, user(), profile="cpu", now=NOON)
    assert {key: (one.origin.by, one.origin.where) for key, one in found.fields.items()} == {
        "allow": ("profile cpu", "10-profiles.yaml:3"),
        "pool": ("profile cpu", "10-profiles.yaml:3"),
        "hosts": ("one", "20-rules.yaml:2"),
        "image": ("defaults", "90-defaults.yaml:1"),
        "memory": ("profile cpu", "10-profiles.yaml:3"),
        "cpu": ("two", "20-rules.yaml:3"),
    }


def test_the_first_of_many_rules_is_the_first_in_the_file() -> None:
    """However the rules are looked up, their order in the files decides: by group, by user, by profile or by none."""
    matches = ["{groups: [users]}", "{users: [alice]}", "{profiles: [cpu]}", "{}"]
    for first in range(40):
        rules = [f"- {{name: filler {at}, match: {{users: [bob]}}, cpu: 99}}" for at in range(80)]
        for step, match in enumerate(matches[first % 4 :] + matches[: first % 4]):
            rules[first + 10 * step] = f"- {{name: rule {step}, match: {match}, cpu: {step + 1}}}"
        assert decide(make_book("\n".join(rules)), user(), profile="cpu", now=NOON).value("cpu") == 1.0


def test_files_make_one_rule_book_in_name_order() -> None:
    """The rules of ``20`` come before those of ``30``, in whatever order the files were read."""
    files = {
        "30.yaml": b"rules: [{name: later, match: {}, cpu: 3}]",
        "20.yaml": b"rules: [{name: earlier, match: {}, cpu: 2}]",
        "10.yaml": PROFILES,
        "00.yaml": POOLS,
    }
    assert decide(parse_rules(files), user(), profile="cpu", now=NOON).value("cpu") == 2.0


# Mounts and environment

HOME_AND_CVMFS = "mounts: [{source: '{home}'}, {source: /cvmfs, read_only: true, propagation: rslave}]"
MOUNTS: dict[str, tuple[str, str, Identity, list[tuple[str, str, str]], tuple[str, ...]]] = {
    "rules, profile and defaults add up, in that order": (
        "- {name: one, match: {}, mounts: [{source: /b}, {source: /a}]}\n"
        "- {name: two, match: {}, mounts: [{source: /c}]}",
        HOME_AND_CVMFS,
        user(),
        [
            ("/b", "/b", "one"),
            ("/a", "/a", "one"),
            ("/c", "/c", "two"),
            ("/home/alice", "/home/alice", "defaults"),
            ("/cvmfs", "/cvmfs", "defaults"),
        ],
        (),
    ),
    "for one target the first wins": (
        "- {name: one, match: {}, mounts: [{source: /a, target: /t}]}\n"
        "- {name: two, match: {}, mounts: [{source: /b, target: /t}]}",
        "mounts: [{source: /c, target: /t}]",
        user(),
        [("/a", "/t", "one")],
        (),
    ),
    "one source may go to two targets": (
        "- {name: one, match: {}, mounts: [{source: /a, target: /t}, {source: /a}]}",
        "",
        user(),
        [("/a", "/t", "one"), ("/a", "/a", "one")],
        (),
    ),
    "targets are compared without a trailing slash": (
        "- {name: one, match: {}, mounts: [{source: /a/, target: /t/}]}\n"
        "- {name: two, match: {}, mounts: [{source: /b, target: /t}]}",
        "",
        user(),
        [("/a", "/t", "one")],
        (),
    ),
    "targets are compared after filling": (
        "- {name: one, match: {}, mounts: [{source: /a, target: '/home/{username}'}]}",
        HOME_AND_CVMFS,
        user(),
        [("/a", "/home/alice", "one"), ("/cvmfs", "/cvmfs", "defaults")],
        (),
    ),
    "the first wins, also when it is optional": (
        "- {name: one, match: {}, mounts: [{source: /missing, target: /t, optional: true}]}",
        "mounts: [{source: /there, target: /t}]",
        user(),
        [("/missing", "/t", "one")],
        (),
    ),
    "the first wins, also when it hides": (
        "- {name: one, match: {}, mounts: [{target: /t, hide: true}]}\n"
        "- {name: two, match: {}, mounts: [{source: /t}]}",
        "mounts: [{source: /t}]",
        user(),
        [],
        ("/t",),
    ),
    "hidden with a trailing slash": (
        "- {name: one, match: {}, mounts: [{target: /t/, hide: true}]}",
        "mounts: [{source: /t}]",
        user(),
        [],
        ("/t",),
    ),
    "a hide that comes too late hides nothing": (
        "- {name: one, match: {}, mounts: [{source: /t}]}\n"
        "- {name: two, match: {}, mounts: [{target: /t, hide: true}]}",
        "",
        user(),
        [("/t", "/t", "one")],
        (),
    ),
    "to hide one target leaves its children": (
        "- {name: one, match: {}, mounts: [{target: /t, hide: true}]}",
        "mounts: [{source: /t/child}]",
        user(),
        [("/t/child", "/t/child", "defaults")],
        ("/t",),
    ),
    "once for each matched group, in name order": (
        "- {name: one, match: {groups: [virgo, cms, atlas]}, mounts: [{source: '/sps/{group}'}]}",
        "",
        user("virgo", "atlas", "guests"),
        [("/sps/atlas", "/sps/atlas", "one"), ("/sps/virgo", "/sps/virgo", "one")],
        (),
    ),
    "once for each group that a wildcard matched": (
        "- {name: one, match: {groups: ['ml-*']}, mounts: [{source: '/sps/{group}'}]}",
        "",
        user("ml-vision", "atlas", "ml-audio"),
        [("/sps/ml-audio", "/sps/ml-audio", "one"), ("/sps/ml-vision", "/sps/ml-vision", "one")],
        (),
    ),
    "once for each group, entry by entry": (
        "- {name: one, match: {groups: [cms, atlas]},"
        " mounts: [{source: '/x/{group}'}, {source: /y}, {source: '/z/{group}'}]}",
        "",
        user("cms", "atlas"),
        [
            ("/x/atlas", "/x/atlas", "one"),
            ("/x/cms", "/x/cms", "one"),
            ("/y", "/y", "one"),
            ("/z/atlas", "/z/atlas", "one"),
            ("/z/cms", "/z/cms", "one"),
        ],
        (),
    ),
    "a group in the source alone: the first group has the target": (
        "- {name: one, match: {groups: [cms, atlas]}, mounts: [{source: '/sps/{group}', target: /data}]}",
        "",
        user("cms", "atlas"),
        [("/sps/atlas", "/data", "one")],
        (),
    ),
    "the same storage through two rules: the first wins": (
        "- {name: reads, match: {groups: [virgo]}, mounts: [{source: /sps/atlas, read_only: true}]}\n"
        "- {name: own, match: {groups: [atlas, virgo]}, mounts: [{source: '/sps/{group}'}]}",
        "",
        user("atlas", "virgo"),
        [("/sps/atlas", "/sps/atlas", "reads"), ("/sps/virgo", "/sps/virgo", "own")],
        (),
    ),
    "each group's storage hidden": (
        "- {name: one, match: {groups: [atlas, cms]}, mounts: [{target: '/sps/{group}', hide: true}]}",
        "mounts: [{source: /sps/cms}]",
        user("atlas", "cms"),
        [],
        ("/sps/atlas", "/sps/cms"),
    ),
    "every placeholder": (
        "- {name: one, match: {groups: [atlas]},"
        " mounts: [{source: '/{username}/{uid}/{gid}/{group}/{primary_group}', target: '{home}/x'}]}",
        "",
        user("atlas"),
        [("/alice/2001/1000/atlas/users", "/home/alice/x", "one")],
        (),
    ),
    "braces": (
        "- {name: one, match: {}, mounts: [{source: '/{{username}}'}]}",
        "",
        user(),
        [("/{username}", "/{username}", "one")],
        (),
    ),
    "a primary group with an unsafe name leaves the entry out": (
        "- {name: one, match: {}, mounts: [{source: '/throng/{primary_group}'}, {source: /a}]}",
        HOME_AND_CVMFS,
        user(primary=None),
        [("/a", "/a", "one"), ("/home/alice", "/home/alice", "defaults"), ("/cvmfs", "/cvmfs", "defaults")],
        (),
    ),
}


@pytest.mark.parametrize(("rules", "defaults", "identity", "expected", "hidden"), MOUNTS.values(), ids=MOUNTS)
def test_mounts_add_up_and_the_first_has_the_target(
    rules: str, defaults: str, identity: Identity, expected: list[tuple[str, str, str]], hidden: tuple[str, ...]
) -> None:
    """Rules, profile, defaults; for one target the first wins; ``{group}`` yields one entry for each matched group."""
    found = decide(make_book(rules, defaults=defaults), identity, profile="cpu", now=NOON)
    assert [(one.mount.source, one.mount.target, one.origin.by) for one in found.mounts] == expected
    assert found.hidden == hidden
    assert found.allowed


def test_mounts_and_variables_of_a_profile_come_between() -> None:
    """Rules, profile, defaults: in that order, for mounts and for variables."""
    profiles = (
        PROFILES
        + b'  own: {title: "Own", allow: true, mounts: [{source: /p}, {source: /x, target: /t}], env: {P: p, X: p}}\n'
    )
    book = make_book(
        "- {name: one, match: {}, mounts: [{source: /r}], env: {X: r}}",
        defaults="mounts: [{source: /d, target: /t}, {source: /d}]\nenv: {P: d, D: d}",
        profiles=profiles,
    )
    found = decide(book, user(), profile="own", now=NOON)
    assert [(one.mount.source, one.origin.by) for one in found.mounts] == [
        ("/r", "one"),
        ("/p", "profile own"),
        ("/x", "profile own"),
        ("/d", "defaults"),
    ]
    assert [(one.name, one.value, one.origin.by) for one in found.env] == [
        ("X", "r", "one"),
        ("P", "p", "profile own"),
        ("D", "d", "defaults"),
    ]


def test_a_mount_keeps_how_it_is_mounted() -> None:
    """``read_only``, ``propagation`` and ``optional`` are taken from the entry that won."""
    book = make_book(
        "- {name: one, match: {}, mounts: [{source: /cvmfs, read_only: true, propagation: rslave, optional: true}]}",
        defaults="mounts: [{source: /cvmfs}, {source: /b}]",
    )
    found = decide(book, user(), profile="cpu", now=NOON)
    assert [dataclasses.asdict(one.mount) for one in found.mounts] == [
        {"source": "/cvmfs", "target": "/cvmfs", "read_only": True, "propagation": "rslave", "optional": True},
        {"source": "/b", "target": "/b", "read_only": False, "propagation": "private", "optional": False},
    ]


ENV: dict[str, tuple[str, str, Identity, list[tuple[str, str]]]] = {
    "for one variable the first wins": (
        "- {name: one, match: {}, env: {A: one}}\n- {name: two, match: {}, env: {A: two, B: two}}",
        "env: {A: d, B: d, C: d}",
        user(),
        [("A", "one"), ("B", "two"), ("C", "d")],
    ),
    "values stay what they are": (
        "- {name: one, match: {}, env: {A: 010, B: no, C: 1.50, D: ~, E: '', F: 0x10, G: 2026-11-23}}",
        "",
        user(),
        [("A", "010"), ("B", "no"), ("C", "1.50"), ("D", "~"), ("E", ""), ("F", "0x10"), ("G", "2026-11-23")],
    ),
    "placeholders and braces": (
        "- {name: one, match: {}, env: {A: '{username}:{uid}:{gid}:{home}:{primary_group}:{{}}'}}",
        "",
        user(),
        [("A", "alice:2001:1000:/home/alice:users:{}")],
    ),
    "a group: the first matched one in name order": (
        "- {name: one, match: {groups: [virgo, atlas]}, env: {A: '{group}'}}",
        "",
        user("virgo", "atlas"),
        [("A", "atlas")],
    ),
    "case matters in names": (
        "- {name: one, match: {}, env: {a: one, A: two}}",
        "",
        user(),
        [("a", "one"), ("A", "two")],
    ),
    "a primary group with an unsafe name leaves the variable to the next": (
        "- {name: one, match: {}, env: {A: '{primary_group}', B: b}}",
        "env: {A: other}",
        user(primary=None),
        [("B", "b"), ("A", "other")],
    ),
}


@pytest.mark.parametrize(("rules", "defaults", "identity", "expected"), ENV.values(), ids=ENV)
def test_variables_add_up_and_the_first_has_the_name(
    rules: str, defaults: str, identity: Identity, expected: list[tuple[str, str]]
) -> None:
    """``env`` adds up as mounts do; values are read as they are written."""
    found = decide(make_book(rules, defaults=defaults), identity, profile="cpu", now=NOON)
    assert [(one.name, one.value) for one in found.env] == expected


def test_what_is_left_out_is_told_for_the_log() -> None:
    """A group whose name is unsafe locks nobody out; the entries that needed it are named."""
    book = make_book(
        "- {name: throng, match: {}, mounts: [{source: '/t/{primary_group}'}], env: {T: '{primary_group}'}}"
    )
    found = decide(book, user("atlas", primary=None), profile="cpu", now=NOON)
    assert found.allowed
    assert found.unfilled == (
        "mount /t/{primary_group} of throng (20-rules.yaml:2)",
        "variable T of throng (20-rules.yaml:2)",
    )


# Allowed or refused

VERDICTS: dict[str, tuple[str, str, str, str | None, str | None, str]] = {
    "allowed by a rule": (
        "- {name: the boss says so, match: {}, allow: true}",
        "",
        "closed",
        None,
        None,
        "allowed by rule 'the boss says so'",
    ),
    "allowed by the profile": ("", "", "cpu", None, None, "allowed by profile cpu (10-profiles.yaml:3)"),
    "nothing allows it": (
        "",
        "",
        "closed",
        "not-allowed",
        None,
        "not-allowed: no rule allows you the profile 'closed'",
    ),
    "a rule that matches and says nothing of it allows nothing": (
        "- {name: one, match: {}, memory: 1G}",
        "",
        "closed",
        "not-allowed",
        None,
        "not-allowed: no rule allows you the profile 'closed'",
    ),
    "refused by a rule": (
        "- {name: suspended, match: {users: [alice]}, allow: false}",
        "",
        "cpu",
        "not-allowed",
        None,
        "not-allowed: refused by rule 'suspended'",
    ),
    "refused by a rule with a message": (
        "- {name: suspended, match: {users: [alice]}, allow: false, message: 'Write to us.'}",
        "",
        "cpu",
        "not-allowed",
        "Write to us.",
        "not-allowed: refused by rule 'suspended'",
    ),
    "the message is that of the rule that refused": (
        "- {name: suspended, match: {}, allow: false, message: 'First.'}\n"
        "- {name: again, match: {}, allow: false, message: 'Second.'}",
        "",
        "cpu",
        "not-allowed",
        "First.",
        "not-allowed: refused by rule 'suspended'",
    ),
    "a message of a rule that did not refuse is not told": (
        "- {name: suspended, match: {}, allow: false}\n- {name: again, match: {}, allow: false, message: 'Second.'}",
        "",
        "cpu",
        "not-allowed",
        None,
        "not-allowed: refused by rule 'suspended'",
    ),
    "a rule called like a profile is a rule": (
        "- {name: profile cpu, match: {}, allow: true}",
        "",
        "cpu",
        None,
        None,
        "allowed by rule 'profile cpu'",
    ),
    "a rule called defaults is a rule": (
        "- {name: defaults, match: {}, allow: false}",
        "",
        "cpu",
        "not-allowed",
        None,
        "not-allowed: refused by rule 'defaults'",
    ),
    "a permission does not lift a quota of the defaults": (
        "- {name: yes, match: {}, allow: true}",
        "quota: {gpus: 0}",
        "gpu",
        "quota",
        None,
        "quota: the profile 'gpu' holds 1 GPU, your quota is 0, set by defaults (90-defaults.yaml:1)",
    ),
    "a quota of a rule": (
        "- {name: few, match: {}, quota: {gpus: 8}}",
        "",
        "anywhere",
        "quota",
        None,
        "quota: the profile 'anywhere' holds 9 GPUs, your quota is 8, set by rule 'few'",
    ),
    "a quota that just suffices": (
        "- {name: enough, match: {}, quota: {gpus: 9}}",
        "",
        "anywhere",
        None,
        None,
        "allowed by profile anywhere (10-profiles.yaml:7)",
    ),
    "a quota of no GPU leaves CPU": (
        "- {name: none, match: {}, quota: {gpus: 0}}",
        "",
        "cpu",
        None,
        None,
        "allowed by profile cpu (10-profiles.yaml:3)",
    ),
    "a refusal comes before a quota": (
        "- {name: no, match: {}, allow: false, quota: {gpus: 0}}",
        "",
        "gpu",
        "not-allowed",
        None,
        "not-allowed: refused by rule 'no'",
    ),
    "a quota comes before what is unplaceable": (
        "- {name: none, match: {}, quota: {gpus: 0}, memory: 9999G}",
        "",
        "gpu",
        "quota",
        None,
        "quota: the profile 'gpu' holds 1 GPU, your quota is 0, set by rule 'none'",
    ),
}


@pytest.mark.parametrize(
    ("rules", "defaults", "profile", "label", "message", "reason"), VERDICTS.values(), ids=VERDICTS
)
def test_every_decision_has_its_reason(
    rules: str, defaults: str, profile: str, label: str | None, message: str | None, reason: str
) -> None:
    """Deny by default; the reason is one sentence, for a refusal behind the stable label."""
    found = decide(make_book(rules, defaults=defaults), user(), profile=profile, now=NOON)
    assert (found.allowed, found.label, found.message, found.reason) == (label is None, label, message, reason)


def test_a_profile_may_refuse_by_itself() -> None:
    """``allow: false`` or no ``allow``, with what a refused user is told, may stand in a profile as well."""
    profiles = (
        b'profiles:\n  shut: {title: "Shut", allow: false, message: "Closed for repair."}\n'
        b'  silent: {title: "Silent", message: "Ask for it."}\n'
    )
    book = make_book(profiles=profiles)
    shut = decide(book, user(), profile="shut", now=NOON)
    silent = decide(book, user(), profile="silent", now=NOON)
    assert (shut.label, shut.message) == ("not-allowed", "Closed for repair.")
    assert shut.reason == "not-allowed: refused by profile shut (10-profiles.yaml:2)"
    assert (silent.label, silent.message) == ("not-allowed", "Ask for it.")


def test_a_refused_decision_has_every_field_as_decided() -> None:
    """A page can show what a user would get, were they allowed."""
    rules = "- {name: no, match: {}, allow: false, mounts: [{source: /m}], env: {E: e}}"
    found = decide(make_book(rules, defaults="cpu: 2"), user(), profile="cpu", now=NOON)
    assert decided(found, found.fields) == {"allow": False, "pool": ("cpu",), "memory": 8 * G, "cpu": 2.0}
    assert [one.mount.source for one in found.mounts] == ["/m"]
    assert [one.name for one in found.env] == ["E"]


FIRST_ALLOWED: dict[str, tuple[str, str | None]] = {
    "the first in file order that is allowed, not the first": ("", "cpu"),
    "a rule may open an earlier one": ("- {name: open, match: {profiles: [closed]}, allow: true}", "closed"),
    "a refused one is passed over": ("- {name: shut, match: {profiles: [cpu]}, allow: false}", "gpu"),
    "one over the quota is passed over": (
        "- {name: shut, match: {profiles: [cpu]}, allow: false}\n- {name: none, match: {}, quota: {gpus: 0}}",
        "pinned",
    ),
    "an unplaceable one is passed over": ("- {name: big, match: {profiles: [cpu]}, memory: 9999G}", "gpu"),
    "none is allowed": ("- {name: shut, match: {}, allow: false}", None),
}


@pytest.mark.parametrize(("rules", "expected"), FIRST_ALLOWED.values(), ids=FIRST_ALLOWED)
def test_without_a_wish_one_gets_the_first_profile_that_is_allowed(rules: str, expected: str | None) -> None:
    """No profile asked for: the first, in file order, that is allowed."""
    book = make_book(rules)
    found = decide(book, user(), profile=None, now=NOON)
    assert (found.profile, found.allowed) == (expected, expected is not None)
    if expected:
        assert found == decide(book, user(), profile=expected, now=NOON)


def test_when_no_profile_is_allowed_the_decision_is_empty() -> None:
    """``profile`` is null and ``fields``, ``mounts``, ``env`` are empty."""
    book = make_book("- {name: shut, match: {}, allow: false}", defaults="cpu: 2\nmounts: [{source: /m}]\nenv: {E: e}")
    assert decide(book, user(), profile=None, now=NOON).to_dict() == {
        "user": "alice",
        "profile": None,
        "allowed": False,
        "generation": book.generation,
        "message": None,
        "gpus": 0,
        "reason": "not-allowed: none of the profiles is allowed for you",
        "fields": {},
        "mounts": [],
        "env": [],
    }


def test_an_unknown_profile_is_the_callers_mistake() -> None:
    """The page and the command line check the name first; the engine never guesses."""
    with pytest.raises(KeyError):
        decide(make_book(), user(), profile="cpux", now=NOON)


UNPLACEABLE: dict[str, tuple[str, str, str | None]] = {
    "the model: none of the decided hosts has it": (
        "- {name: one, match: {}, hosts: [gpu02]}",
        "gpu",
        "no host of pool gpu has GPUs of the model K80",
    ),
    "the model: none of the pool has it": (
        "- {name: one, match: {}, pool: cpu}",
        "gpu",
        "no host of pool cpu has GPUs of the model K80",
    ),
    "GPUs: none has so many": (
        "- {name: one, match: {}, pool: [cpu, gpu]}",
        "five",
        "5 GPUs are asked for, no host of pool cpu, gpu has more than 2",
    ),
    "GPUs: none has any": (
        "- {name: one, match: {}, pool: cpu}",
        "any",
        "1 GPU is asked for, no host of pool cpu has more than 0",
    ),
    "memory: overcommit counts": ("- {name: one, match: {}, memory: 48G}", "cpu", None),
    "memory: more than overcommit gives": (
        "- {name: one, match: {}, memory: 49G}",
        "cpu",
        "49 GiB of memory is asked for, no host of pool cpu can give more than 48 GiB",
    ),
    "memory: what is kept for the other GPU counts": ("- {name: one, match: {}, memory: 112G}", "gpu", None),
    "memory: more than is left beside the other GPU's": (
        "- {name: one, match: {}, memory: 113G}",
        "gpu",
        "113 GiB of memory is asked for, no host of pool gpu can give more than 112 GiB",
    ),
    "memory: without a GPU both GPUs' memory is kept": (
        "- {name: one, match: {}, pool: gpu, memory: 97G}",
        "cpu",
        "97 GiB of memory is asked for, no host of pool gpu can give more than 96 GiB",
    ),
    "memory: only hosts with the GPUs are asked": (
        "- {name: one, match: {}, pool: [cpu, gpu], hosts: [cpu01, gpu02], memory: 65G}",
        "any",
        "65 GiB of memory is asked for, no host of pool cpu, gpu can give more than 64 GiB",
    ),
    "memory: the largest of several pools counts": (
        "- {name: one, match: {}, pool: [cpu, large], memory: 64G}",
        "cpu",
        None,
    ),
    "memory: only the decided hosts are asked": (
        "- {name: one, match: {}, pool: [cpu, large], hosts: [cpu01], memory: 64G}",
        "cpu",
        "64 GiB of memory is asked for, no host of pool cpu, large can give more than 48 GiB",
    ),
    "a draining host could serve some day": ("- {name: one, match: {}, pool: large}", "cpu", None),
    "hosts outside the decided pools": (
        "- {name: one, match: {}, hosts: [train01, gpu01]}",
        "cpu",
        "none of the hosts train01, gpu01 is in pool cpu",
    ),
    "one of the hosts is in the pool": ("- {name: one, match: {}, hosts: [train01, cpu02]}", "cpu", None),
    "a reserved pool is not reached by its host alone": (
        "- {name: one, match: {}, hosts: [train01]}",
        "cpu",
        "none of the hosts train01 is in pool cpu",
    ),
    "a pool without hosts is not asked": ("", "anywhere", None),
    "the local backend's pool is not asked": ("- {name: one, match: {}, pool: here, memory: 9999G}", "gpu", None),
    "a pool without hosts beside one that cannot": (
        "- {name: one, match: {}, pool: [cpu, anywhere]}",
        "anywhere",
        None,
    ),
    "no pool at all": ("", "poolless", None),
    "no memory is decided": ("", "gpu", None),
}
MORE_PROFILES = PROFILES + (
    b'  five: {title: "Five", gpus: 5, allow: true}\n  any: {title: "Any model", pool: gpu, gpus: 1, allow: true}\n'
)


@pytest.mark.parametrize(("rules", "profile", "expected"), UNPLACEABLE.values(), ids=UNPLACEABLE)
def test_what_no_host_could_ever_serve_is_refused(rules: str, profile: str, expected: str | None) -> None:
    """Model, GPUs or memory that no host of the decided pools and hosts has; pools without hosts are not asked."""
    found = decide(make_book(rules, profiles=MORE_PROFILES), user(), profile=profile, now=NOON)
    if expected is None:
        assert found.allowed
    else:
        assert (found.label, found.reason) == ("unplaceable", f"unplaceable: {expected}")
        assert found.message is None


# The decision as a value

CONTRACT_FILES = {
    "00-pools.yaml": POOLS,
    "10-profiles.yaml": (
        b"profiles:\n"
        b'  cpu: {title: "CPU", pool: cpu}\n'
        b"\n"
        b'  gpu: {title: "One GPU", image: "nbplatform/gpu:2026.11", pool: gpu, gpus: 1, memory: 16G, cpu: 4.0}\n'
    ),
    "20-gpu-whitelist.yaml": (
        b"rules:\n"
        b"  - name: deep learning may use GPUs\n"
        b'    match: {profiles: [gpu], groups: ["ml-*"]}\n'
        b"    allow: true\n"
        b"    cpu: 0.5\n"
        b"    hosts: gpu01\n"
    ),
    "30-groups.yaml": (
        b"rules:\n"
        b"  - name: group storage\n"
        b"    match: {groups: [atlas]}\n"
        b'    mounts: [{source: "/sps/{group}", optional: true}]\n'
        b'    env: {GROUP: "{group}"}\n'
    ),
    "90-defaults.yaml": (
        b"defaults:\n"
        b"  quota: {servers: 3}\n"
        b'  mounts: [{source: "{home}"}, {source: /cvmfs, read_only: true, propagation: rslave}]\n'
        b"  idle: {cull_after_gpu: 1d, max_age: never}\n"
    ),
}


def test_a_decision_prints_as_the_object_that_scripts_rely_on() -> None:
    """The whole object of ``rules explain --format json``: bytes, seconds, null for never; by and where throughout."""
    book = parse_rules(CONTRACT_FILES)
    found = decide(book, user("atlas", "ml-vision"), profile="gpu", now=NOON).to_dict()
    profile = {"by": "profile gpu", "where": "10-profiles.yaml:4"}
    rule = {"by": "deep learning may use GPUs", "where": "20-gpu-whitelist.yaml:2"}
    storage = {"by": "group storage", "where": "30-groups.yaml:2"}
    defaults = {"by": "defaults", "where": "90-defaults.yaml:1"}
    assert found == {
        "user": "alice",
        "profile": "gpu",
        "allowed": True,
        "generation": book.generation,
        "message": None,
        "gpus": 1,
        "reason": "allowed by rule 'deep learning may use GPUs'",
        "fields": {
            "allow": {"value": True, **rule},
            "pool": {"value": ["gpu"], **profile},
            "hosts": {"value": ["gpu01"], **rule},
            "image": {"value": "nbplatform/gpu:2026.11", **profile},
            "memory": {"value": 17179869184, **profile},
            "cpu": {"value": 0.5, **rule},
            "quota.servers": {"value": 3, **defaults},
            "idle.cull_after_gpu": {"value": 86400, **defaults},
            "idle.max_age": {"value": None, **defaults},
        },
        "mounts": [
            {
                "source": "/sps/atlas",
                "target": "/sps/atlas",
                "read_only": False,
                "propagation": "private",
                "optional": True,
                **storage,
            },
            {
                "source": "/home/alice",
                "target": "/home/alice",
                "read_only": False,
                "propagation": "private",
                "optional": False,
                **defaults,
            },
            {
                "source": "/cvmfs",
                "target": "/cvmfs",
                "read_only": True,
                "propagation": "rslave",
                "optional": False,
                **defaults,
            },
        ],
        "env": [{"name": "GROUP", "value": "atlas", **storage}],
    }
    assert json.loads(json.dumps(found)) == found
    assert list(found["fields"]) == [
        *("allow", "pool", "hosts", "image", "memory", "cpu", "quota.servers", "idle.cull_after_gpu", "idle.max_age")
    ]


def test_a_whole_number_of_cpus_prints_as_one() -> None:
    """``cpu: 2`` and ``cpu: 2.0`` print as 2."""
    printed = json.dumps(decide(make_book(defaults="cpu: 2.0"), user(), profile="cpu", now=NOON).to_dict())
    assert '"cpu": {"value": 2, ' in printed


def test_what_a_refused_user_is_told() -> None:
    """The site's own message comes first, then the reason; the label is apart."""
    rules = "- {name: suspended, match: {}, allow: false, message: 'Write to us.'}"
    refusal = decide(make_book(rules), user(), profile="cpu", now=NOON).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.message) == ("not-allowed", "Write to us. (refused by rule 'suspended')")
    plain = decide(make_book(), user(), profile="closed", now=NOON).refusal
    assert plain is not None
    assert (plain.reason, plain.message) == ("not-allowed", "no rule allows you the profile 'closed'")
    assert decide(make_book(), user(), profile="cpu", now=NOON).refusal is None


def test_a_decision_that_is_not_allowed_is_a_refusal_whatever_it_lacks() -> None:
    """A decision without a label must not pass for an allowed one."""
    refusal = Decision(user="alice", profile="cpu", allowed=False, generation="x", reason="who knows").refusal
    assert refusal is not None
    assert str(refusal) == "not-allowed: who knows"


def test_an_account_that_has_ended_refuses_what_the_rules_allow() -> None:
    """The same shape with every field as decided, another label and reason."""
    allowed = decide(make_book(), user(), profile="cpu", now=NOON)
    refused = allowed.refused(Refusal("account", "it ended on 2026-06-30"))
    assert refused.to_dict() == {**allowed.to_dict(), "allowed": False, "reason": "account: it ended on 2026-06-30"}
    assert str(refused.refusal) == "account: it ended on 2026-06-30"
    assert allowed.allowed


def test_the_decided_quota_is_what_admission_needs() -> None:
    """A key that nothing decides is absent: no limit."""
    book = make_book("- {name: one, match: {users: [bob]}, quota: {gpus: 2}}", defaults="quota: {servers: 3}")
    assert decide(book, user(), profile="cpu", now=NOON).quota == {"servers": 3}
    assert decide(book, user(name="bob"), profile="cpu", now=NOON).quota == {"servers": 3, "gpus": 2}


def test_deciding_changes_nothing_it_was_given() -> None:
    """The same question gives the same answer again, and a book that was asked equals one that was not."""
    files = dict(CONTRACT_FILES)
    book, identity = parse_rules(files), user("atlas", "ml-vision")
    first = decide(book, identity, profile="gpu", now=NOON)
    second = decide(book, identity, profile="gpu", now=NOON)
    assert first == second
    assert first is not second
    assert (book, identity, files) == (parse_rules(CONTRACT_FILES), user("atlas", "ml-vision"), CONTRACT_FILES)


def test_a_decision_is_frozen_with_its_fields() -> None:
    """What was decided is read by many; nobody can change it for the others."""
    found = decide(make_book(), user(), profile="cpu", now=NOON)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.allowed = False  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.fields["allow"] = found.fields["memory"]  # type: ignore[index]


def test_fields_alone_are_the_same_fields() -> None:
    """Whoever asks of thousands of running servers gets the whole decision's fields, label and reason."""
    book = parse_rules({"site.yaml": RULES_OF_FIELDS})
    for name in ("ada", "ben"):
        identity = Identity(name, 1001, 1000, {"users": 1000}, "users", f"/home/{name}")
        whole = decide(book, identity, profile="cpu", now=NOON)
        alone = decide_fields(book, identity, profile="cpu", now=NOON)
        assert alone == dataclasses.replace(whole, mounts=(), env=())
        assert whole.mounts


RULES_OF_FIELDS = b"""\
profiles: {cpu: {title: CPU, mounts: [{source: "/data/{username}"}]}}
rules: [{name: ada, match: {users: [ada]}, allow: true, idle: {cull_after: 1d}}]
defaults: {memory: 4G, env: {A: b}}
"""
