"""Deciding, against a second evaluator that is written straight from the language's text and looks at every rule."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.identity import Identity
from nbplatform_spawners.names import MAX_NAME
from nbplatform_spawners.rules.decision import Decision
from nbplatform_spawners.rules.engine import decide
from nbplatform_spawners.rules.model import RuleBook
from nbplatform_spawners.rules.parse import parse_rules

G = 1024**3
START = datetime.fromisoformat("2026-11-23T12:00+01:00")
GROUPS = {"a1": 1001, "a2": 1002, "b1": 1003, "b2": 1004}
LISTS = {"l1": ["a1", "b?"], "l2": ["u1", "v*"]}
POOLS = {
    "cpu": {"hosts": [{"name": "c1", "url": "tcp://c1:2376", "memory": "4G"}], "overcommit": "1.5"},
    "gpu": {
        "hosts": [
            {
                "name": "g1",
                "url": "tcp://g1:2376",
                "memory": "8G",
                "gpus": ["G1", "G2"],
                "gpu_model": "K80",
                "memory_per_gpu": "2G",
            },
            {"name": "g2", "url": "tcp://g2:2376", "memory": "12G", "gpus": ["G3"], "gpu_model": "A100"},
        ]
    },
    "kept": {"reserved": "true", "hosts": [{"name": "k1", "url": "tcp://k1:2376", "memory": "2G"}]},
    "anywhere": {},
}

# What may be written


def some(values: list[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    """Return lists of one to ``most`` different values."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


MOMENTS = [(START + timedelta(hours=hours)).isoformat() for hours in (-2, -1, 0, 1, 2)]
KEYS = {
    "users": some(["u1", "u2", "v1", "u*", "?1", "*", "@l2"]),
    "groups": some(["a1", "a2", "b1", "a*", "?2", "*", "@l1"]),
    "profiles": some(["p1", "p2", "p3", "p*", "?3", "*"]),
    "providers": some(["x", "y", "?", "*"]),
    "from": st.sampled_from(MOMENTS[:3]),
    "until": st.sampled_from(MOMENTS[3:]),
}
SIMPLE = st.fixed_dictionaries({}, optional=KEYS)
DEMANDING = SIMPLE.filter(bool)
NOT = DEMANDING | st.lists(DEMANDING, min_size=1, max_size=2)
MATCH = st.fixed_dictionaries({}, optional={**KEYS, "not": NOT})
SIZES = st.sampled_from(["1G", "2G", "6G", "7G", "13G"])
IDLE = st.dictionaries(
    st.sampled_from(["cull_after", "cull_after_gpu", "max_age"]), st.sampled_from(["1h", "never"]), min_size=1
)
QUOTA = st.dictionaries(st.sampled_from(["servers", "gpus"]), st.sampled_from(["0", "1", "2"]), min_size=1)
TARGETS = st.sampled_from(["/t", "/t/", "/u", "{home}", "/{primary_group}"])
MOUNT = st.fixed_dictionaries(
    {"source": st.sampled_from(["/t", "/s/{username}", "{home}"])}, optional={"target": TARGETS}
)
HIDE = st.fixed_dictionaries({"target": TARGETS, "hide": st.just("true")})
ENV = st.dictionaries(
    st.sampled_from(["A", "B"]), st.sampled_from(["x", "{uid}", "{primary_group}", "{{}}"]), min_size=1
)
ALLOW = st.sampled_from(["true", "true", "false"])
BEHIND = {"memory": SIZES, "cpu": st.sampled_from(["1", "2"]), "quota": QUOTA, "idle": IDLE, "env": ENV}
BEHIND["mounts"] = st.lists(MOUNT | HIDE, min_size=1, max_size=2)
PLACES = {"pool": some(["cpu", "gpu", "anywhere"], 2), "hosts": some(["c1", "g1", "g2"], 2)}
RULE_PLACES = {"pool": some(["cpu", "gpu", "anywhere", "kept"], 2), "hosts": some(["c1", "g1", "g2", "k1"], 2)}
RULE_FIELDS = st.fixed_dictionaries({}, optional={**BEHIND, **RULE_PLACES, "allow": ALLOW}).filter(bool)
PROFILE = st.fixed_dictionaries(
    {"title": st.just("T")},
    optional={
        **BEHIND,
        **PLACES,
        "allow": ALLOW,
        "gpus": st.sampled_from(["0", "1", "2"]),
        "gpu_model": st.sampled_from(["K80", "A100"]),
    },
)


@st.composite
def rule_texts(draw: st.DrawFn) -> dict[str, Any]:
    """Return one rule without its name; ``{group}`` only where the match has groups."""
    match, fields = draw(MATCH), draw(RULE_FIELDS)
    if "groups" in match and draw(st.booleans()):
        fields["mounts"] = [*fields.get("mounts", []), {"source": "/g/{group}"}, {"target": "/{group}", "hide": "true"}]
        fields["env"] = {**fields.get("env", {}), "A": "{group}"}
    return {"match": match, **fields}


SITES = st.fixed_dictionaries(
    {
        "rules": st.lists(rule_texts(), max_size=6),
        "profiles": st.fixed_dictionaries(dict.fromkeys(("p1", "p2", "p3"), PROFILE)),
        "defaults": st.fixed_dictionaries({}, optional=BEHIND),
    }
)
IDENTITIES = st.builds(
    lambda name, groups, primary, provider: Identity(
        name,
        2000,
        GROUPS.get(primary, 999),
        {group: GROUPS[group] for group in {*groups, primary} - {None}},
        primary,
        f"/home/{name}",
        provider=provider,
    ),
    st.sampled_from(["u1", "u2", "v1", "w"]),
    st.sets(st.sampled_from(sorted(GROUPS)), max_size=3),
    st.sampled_from(["a1", "b2", None]),
    st.sampled_from([None, None, "x", "z"]),
)


def make_book(site: Mapping[str, Any]) -> RuleBook:
    """Return the site's rule book, read from files as an administrator would write them (JSON is YAML)."""
    rules = [{"name": f"rule {position}", **rule} for position, rule in enumerate(site["rules"])]
    parts = {"pools": POOLS, "lists": LISTS, "profiles": site["profiles"], "rules": rules, "defaults": site["defaults"]}
    return parse_rules(
        {f"{at}-{key}.yaml": json.dumps({key: part}).encode() for at, (key, part) in enumerate(parts.items()) if part}
    )


# The second evaluator


def fits(glob: str, name: str) -> bool:
    """Match by the definition: a star takes nothing, or one character and stays."""
    if not glob:
        return not name
    if glob[0] == "*":
        return fits(glob[1:], name) or (bool(name) and fits(glob, name[1:]))
    return bool(name) and glob[0] in ("?", name[0]) and fits(glob[1:], name[1:])


def in_list(entries: list[str], name: str) -> bool:
    """Any entry suffices; ``@name`` stands for a list."""
    flat = [one for entry in entries for one in (LISTS[entry[1:]] if entry.startswith("@") else [entry])]
    return any(fits(entry, name) for entry in flat)


def matches(match: Mapping[str, Any], who: Identity, profile: str, now: datetime) -> bool:
    """All keys must hold."""
    nots = match.get("not", [])
    asked = {
        "users": lambda entries: in_list(entries, who.name),
        "groups": lambda entries: any(in_list(entries, group) for group in who.groups),
        "profiles": lambda entries: in_list(entries, profile),
        "providers": lambda entries: who.provider is not None and in_list(entries, who.provider),
        "from": lambda moment: now >= datetime.fromisoformat(moment),
        "until": lambda moment: now < datetime.fromisoformat(moment),
        "not": lambda _: (
            not any(matches(one, who, profile, now) for one in ([nots] if isinstance(nots, dict) else nots))
        ),
    }
    return all(asked[key](value) for key, value in match.items())


UNITS = {"1G": G, "2G": 2 * G, "6G": 6 * G, "7G": 7 * G, "13G": 13 * G, "1h": 3600, "never": None}
CONVERT = {"allow": lambda text: text == "true", "memory": UNITS.get, "cpu": float}


def expect(site: Mapping[str, Any], who: Identity, profile: str, now: datetime) -> dict[str, Any]:
    """Return what the language's text says, looking at every rule for every field."""
    named = [(f"rule {position}", rule) for position, rule in enumerate(site["rules"])]
    layers = [(by, rule) for by, rule in named if matches(rule["match"], who, profile, now)]
    layers += [(f"profile {profile}", site["profiles"][profile]), ("defaults", site["defaults"])]
    return {"fields": _first(layers, site, profile), **_added(layers, who)}


def _first(layers: list[Any], site: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """Return for each field the value of the first layer that sets it, and who that is."""
    fields: dict[str, Any] = {}
    for by, layer in reversed(layers):
        fields |= {key: (convert(layer[key]), by) for key, convert in CONVERT.items() if key in layer}
        for group, convert in (("quota", int), ("idle", UNITS.get)):
            fields |= {f"{group}.{key}": (convert(text), by) for key, text in layer.get(group, {}).items()}
    placing = [(by, layer) for by, layer in layers if "pool" in layer or "hosts" in layer]
    if placing:
        by, layer = placing[0]
        fields |= {key: (tuple(layer[key]), by) for key in ("pool", "hosts") if key in layer}
        if "pool" not in layer and "pool" in site["profiles"][profile]:
            fields["pool"] = (tuple(site["profiles"][profile]["pool"]), f"profile {profile}")
    return fields


def _added(layers: list[Any], who: Identity) -> dict[str, Any]:
    """Return mounts (None: hidden) and variables; the first for one target or one variable wins."""
    mounts: dict[str, Any] = {}
    env: dict[str, Any] = {}
    for by, layer in layers:
        groups = [name for name in sorted(who.groups) if in_list(layer.get("match", {}).get("groups", []), name)]
        for entry in layer.get("mounts", []):
            for source, target in _fill(who, groups, entry.get("source"), entry.get("target") or entry["source"]):
                mounts.setdefault(target.rstrip("/"), (source, by) if source else None)
        for name, text in layer.get("env", {}).items():
            for (value,) in _fill(who, groups, text):
                env.setdefault(name, (value, by))
    return {"mounts": mounts, "env": env}


def _fill(who: Identity, groups: list[str], *texts: str | None) -> list[tuple[Any, ...]]:
    values = {"{username}": who.name, "{uid}": str(who.uid), "{home}": who.home, "{{}}": "{}"}
    if who.primary_group:
        values["{primary_group}"] = who.primary_group
    several = any(text and "{group}" in text for text in texts)
    filled = []
    for group in groups if several else [""]:
        done = []
        for text in texts:
            for name, value in {**values, "{group}": group}.items():
                text = text.replace(name, value) if text else text
            done.append(text)
        if not any(text and "{primary_group}" in text for text in done):
            filled.append(tuple(done))
    return filled


def verdict(site: Mapping[str, Any], fields: Mapping[str, Any], profile: str) -> str | None:
    """Return the label of a refusal, or None."""
    asked = site["profiles"][profile]
    gpus = int(asked.get("gpus", 0))
    if not fields.get("allow", (False,))[0]:
        return "not-allowed"
    if gpus > fields.get("quota.gpus", (99,))[0]:
        return "quota"
    pools = fields.get("pool", ((),))[0]
    if not pools or "anywhere" in pools:
        return None
    for name in pools:
        for host in POOLS[name]["hosts"]:
            has = host.get("gpus", [])
            memory = int(host["memory"][:-1]) * G * float(POOLS[name].get("overcommit", 1))
            kept = int(host.get("memory_per_gpu", "0G")[:-1]) * G * (len(has) - gpus)
            if (
                ("hosts" not in fields or host["name"] in fields["hosts"][0])
                and asked.get("gpu_model") in (None, host.get("gpu_model"))
                and len(has) >= gpus
                and memory - kept >= fields.get("memory", (0,))[0]
            ):
                return None
    return "unplaceable"


def seen(decision: Decision) -> dict[str, Any]:
    """Return a decision in the shape of :func:`expect`."""
    mounts: dict[str, Any] = {one.mount.target: (one.mount.source, one.origin.by) for one in decision.mounts}
    return {
        "fields": {key: (one.value, one.origin.by) for key, one in decision.fields.items()},
        "mounts": {**mounts, **dict.fromkeys(decision.hidden)},
        "env": {one.name: (one.value, one.origin.by) for one in decision.env},
    }


NOW = st.sampled_from([START + timedelta(minutes=minutes) for minutes in (-150, -90, -60, 0, 59, 60, 200)])
ASKED = st.sampled_from(["p1", "p2", "p3"])


@given(SITES, IDENTITIES, ASKED, NOW)
@settings(max_examples=150, deadline=None)
def test_a_decision_is_what_a_look_at_every_rule_gives(site: Any, who: Identity, profile: str, now: datetime) -> None:
    """The index, the joined search and the single pass give what the language's text says, field by field."""
    decision = decide(make_book(site), who, profile=profile, now=now)
    expected = expect(site, who, profile, now)
    assert seen(decision) == expected
    assert decision.label == verdict(site, expected["fields"], profile)
    assert decision.allowed == (decision.label is None)


@given(SITES, IDENTITIES, NOW)
@settings(max_examples=40, deadline=None)
def test_without_a_wish_the_first_allowed_profile_is_decided(site: Any, who: Identity, now: datetime) -> None:
    """The decision for no profile is the decision for the first, in file order, that is allowed."""
    book = make_book(site)
    each = [decide(book, who, profile=name, now=now) for name in book.profiles]
    allowed = [one for one in each if one.allowed]
    found = decide(book, who, profile=None, now=now)
    if allowed:
        assert found == allowed[0]
    else:
        assert (found.profile, found.label, dict(found.fields)) == (None, "not-allowed", {})


def without_places(decision: Decision) -> dict[str, Any]:
    """Return what was decided and by whom, without generation and line numbers."""
    return {**seen(decision), "label": decision.label, "reason": decision.reason.split(" (")[0]}


@given(SITES, rule_texts(), IDENTITIES, ASKED, NOW)
@settings(max_examples=60, deadline=None)
def test_a_rule_at_the_end_that_matches_nobody_changes_nothing(
    site: Any, extra: Any, who: Identity, profile: str, now: datetime
) -> None:
    """A rule whose match does not hold has no effect, whatever it says."""
    never = {**extra, "match": {**extra["match"], "users": ["nobody-of-that-name"]}}
    longer = {**site, "rules": [*site["rules"], never]}
    before = decide(make_book(site), who, profile=profile, now=now)
    book = make_book(longer)
    assert decide(book, who, profile=profile, now=now) == replace(before, generation=book.generation)


@given(SITES, IDENTITIES, ASKED, NOW, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_position_of_a_rule_matters_only_among_those_that_match(
    site: Any, who: Identity, profile: str, now: datetime, random: Any
) -> None:
    """Rules that do not match may stand anywhere: the decision and who decided it stay the same."""
    rules = [{"name": f"rule {position}", **rule} for position, rule in enumerate(site["rules"])]
    matching = [rule for rule in rules if matches(rule["match"], who, profile, now)]
    shuffled = list(matching)
    for rule in rules:
        if rule not in matching:
            shuffled.insert(random.randint(0, len(shuffled)), rule)
    alone = decide(make_book({**site, "rules": matching}), who, profile=profile, now=now)
    among = decide(make_book({**site, "rules": shuffled}), who, profile=profile, now=now)
    assert without_places(among) == without_places(alone)


ALPHABET = "aZ0_.@-"
SAFE = st.from_regex(rf"[aZ0_][{ALPHABET[:-1]}\-]{{0,{MAX_NAME - 1}}}", fullmatch=True).filter(
    lambda name: name != "root"
)
HOMES = st.lists(st.text("a{}. $'\"é*?", min_size=1, max_size=6), min_size=1, max_size=3).map(
    lambda x: "/" + "/".join(x)
)
STRANGERS = st.builds(
    lambda name, ids, groups, home, provider, unsafe: Identity(
        name,
        ids[0],
        ids[1],
        dict(groups) if unsafe else {**groups, "main": ids[1]},
        None if unsafe else "main",
        home,
        provider=provider,
        unnamed_gids=(ids[1],) if unsafe else (),
    ),
    SAFE,
    st.tuples(st.integers(1, 2**32 - 2), st.integers(1, 2**32 - 2)),
    st.dictionaries(SAFE, st.integers(1, 2**32 - 2), max_size=4),
    HOMES.filter(lambda home: not {".", ".."} & set(home.split("/"))),
    st.none() | SAFE,
    st.booleans(),
)
EVERYTHING = {
    "rules": [
        {
            "match": {"groups": ["*", "a*_*?"], "not": {"users": ["*.*.*.*"]}},
            "mounts": [
                {"source": "/{group}/.{group}.{username}", "target": "{home}/{group}"},
                {"source": "{home}", "target": "/{primary_group}/{uid}{gid}"},
            ],
            "env": {"A": "{group}{home}{{{username}}}"},
        },
        {"match": {"providers": ["*"], "users": ["?*"]}, "allow": "true", "hosts": ["k1"]},
    ],
    "profiles": {
        "p1": {"title": "T", "pool": ["cpu"]},
        "p2": {"title": "T", "gpus": "2", "pool": ["gpu"], "allow": "true"},
    },
    "defaults": {"mounts": [{"source": "{home}"}, {"source": "/t/{primary_group}"}], "quota": {"gpus": "1"}},
}

EVERY_RULE = make_book(EVERYTHING)


@given(STRANGERS, st.sampled_from([None, "p1", "p2"]), st.datetimes(timezones=st.timezones()))
@settings(max_examples=100, deadline=None)
def test_any_identity_gets_a_decision(who: Identity, profile: str | None, now: datetime) -> None:
    """Whatever the names, the groups, HOME and the time: a decision with a reason that prints as JSON, no error."""
    found = decide(EVERY_RULE, who, profile=profile, now=now)
    assert found.reason.startswith("allowed by " if found.allowed else f"{found.label}: ")
    assert json.loads(json.dumps(found.to_dict()))["user"] == who.name
    for one in found.mounts:
        assert one.mount.target.startswith("/")
        assert not {".", "..", ""} & set(one.mount.target.split("/")[1:])
