"""Good rule files: every key becomes the value that is meant, and every scalar stays what was written."""

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbplatform_spawners.errors import BadFile
from nbplatform_spawners.rules.fields import LANGUAGE
from nbplatform_spawners.rules.model import Host, Match, MountEntry, Origin, Pool, Profile, Rule, RuleBook, Settings
from nbplatform_spawners.rules.parse import generation_of, parse_rules
from nbplatform_spawners.rules.patterns import make_patterns
from nbplatform_spawners.rules.template import parse_template

ROOT = Path(__file__).parents[2]
SITES = {
    "starter site": ROOT / "placement_rules",
    "example site": ROOT / "placement_rules/example-site/placement_rules",
}
PROFILE = b"profiles: {cpu: {title: CPU, allow: true}}\n"
G = 1024**3

POOLS = b"""\
# every key of a pool and a host
pools:
  cpu:
    overcommit: 1.5
    strategy: pack
    hosts:
      - {name: cpu01, url: "tcp://cpu01:2376", memory: 32G}
      - name: gpu01
        url: tcp://gpu01:2376
        memory: 1.5T
        cpus: 16
        gpu_model: K80
        gpus: [GPU-1, GPU-2]
        memory_per_gpu: 16G
        drain: true
  training: {reserved: true}
  nodes:
    node_selector: {kind: notebooks, gpu: "no"}
    tolerations: [{key: nbplatform, operator: Equal, value: "yes", effect: NoSchedule}]
"""
PROFILES = b"""\
profiles:
  cpu: {title: CPU, allow: true, pool: cpu}
  gpu:
    title: One GPU
    description: For training
    gpus: 1
    gpu_model: K80
    pool: [cpu, nodes]
    message: Ask us.
lists:
  people: [ada, "b*"]
"""
RULES = b"""\
rules:
  - name: everything
    match:
      users: ["@people", eve]
      groups: [atlas]
      profiles: ["*"]
      providers: [edugain]
      from: 2026-11-24T08:00+01:00
      until: 2026-11-25T08:00:30Z
      not: [{users: [bob]}, {groups: [guests], not: {users: [bea]}}]
    allow: false
    message: "Not now."
    pool: training
    hosts: [gpu01]
    image: registry.example.org:5000/lab/scipy:2026.11
    memory: 512M
    cpu: 0.5
    quota: {servers: 2, gpus: 0}
    idle: {cull_after: 1h30m, cull_after_gpu: never, warn_before: 10m, max_age: 7d, busy_max: 2w, extend: 6h}
    mounts:
      - {source: "/sps/{group}", target: "/data/{group}", read_only: true, propagation: rslave, optional: true}
      - {target: /secret, hide: true}
    env: {A: "{{{username}}}", B: ""}
  - {name: whoever is not bob, match: {not: {users: [bob]}}, cpu: 1}
"""
DEFAULTS = b"""\

defaults:
  memory: 4G
  mounts: [{source: "{home}"}]
"""


def test_every_key_becomes_the_value_that_is_meant() -> None:
    """The whole language in one rule book, compared as a whole."""
    files = {"00.yaml": POOLS, "10.yaml": PROFILES, "20.yaml": RULES, "90.yaml": DEFAULTS}
    selector = {"kind": "notebooks", "gpu": "no"}
    toleration = {"key": "nbplatform", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}
    hosts = (
        Host("cpu01", "tcp://cpu01:2376", 32 * G),
        Host("gpu01", "tcp://gpu01:2376", 1536 * G, 16.0, "K80", ("GPU-1", "GPU-2"), 16 * G, drain=True),
    )
    mounts = (
        MountEntry(parse_template("/data/{group}"), parse_template("/sps/{group}"), True, "rslave", True),
        MountEntry(parse_template("/secret")),
    )
    idle = {"cull_after": 5400, "cull_after_gpu": None, "warn_before": 600, "max_age": 604800, "busy_max": 1209600}
    fields = {
        "allow": False,
        "pool": ("training",),
        "hosts": ("gpu01",),
        "image": "registry.example.org:5000/lab/scipy:2026.11",
        "memory": 512 * 1024**2,
        "cpu": 0.5,
        "quota.servers": 2,
        "quota.gpus": 0,
        **{f"idle.{key}": value for key, value in {**idle, "extend": 21600}.items()},
    }
    env = (("A", parse_template("{{{username}}}")), ("B", parse_template("")))
    match = Match(
        users=make_patterns(["ada", "b*", "eve"]),
        groups=make_patterns(["atlas"]),
        profiles=make_patterns(["*"]),
        providers=make_patterns(["edugain"]),
        starts=datetime.fromisoformat("2026-11-24T08:00+01:00"),
        ends=datetime.fromisoformat("2026-11-25T08:00:30+00:00"),
        never=(
            Match(users=make_patterns(["bob"])),
            Match(groups=make_patterns(["guests"]), never=(Match(users=make_patterns(["bea"])),)),
        ),
    )
    assert parse_rules(files) == RuleBook(
        pools={
            "cpu": Pool("cpu", hosts, overcommit=1.5, strategy="pack"),
            "training": Pool("training", reserved=True),
            "nodes": Pool("nodes", node_selector=selector, tolerations=(toleration,)),
        },
        profiles={
            "cpu": Profile(
                "cpu", Origin("profile cpu", "10.yaml", 2), "CPU", settings=Settings({"allow": True, "pool": ("cpu",)})
            ),
            "gpu": Profile(
                "gpu",
                Origin("profile gpu", "10.yaml", 3),
                "One GPU",
                "For training",
                1,
                "K80",
                Settings({"pool": ("cpu", "nodes")}, "Ask us."),
            ),
        },
        rules=(
            Rule(Origin("everything", "20.yaml", 2), match, Settings(fields, "Not now.", mounts, env)),
            Rule(
                Origin("whoever is not bob", "20.yaml", 24),
                Match(never=(Match(users=make_patterns(["bob"])),)),
                Settings({"cpu": 1.0}),
            ),
        ),
        defaults=Settings({"memory": 4 * G}, mounts=(MountEntry(parse_template("{home}"), parse_template("{home}")),)),
        defaults_origin=Origin("defaults", "90.yaml", 2),
        lists={"people": ("ada", "b*")},
        generation=generation_of(files),
    )


def test_every_key_of_the_table_stands_in_that_rule_book() -> None:
    """A key that is added to the language is added to the test above."""
    text = (POOLS + PROFILES + RULES + DEFAULTS).decode()
    assert [key.name for key in LANGUAGE.table if f"{key.name}:" not in text] == []


AS_WRITTEN = {
    "a group called no": ("match: {groups: [no]}", lambda rule: rule.match.groups.exact, frozenset({"no"})),
    "a group called null": ("match: {groups: [null]}", lambda rule: rule.match.groups.exact, frozenset({"null"})),
    "a user called 1e3": ("match: {users: [1e3]}", lambda rule: rule.match.users.exact, frozenset({"1e3"})),
    "a group with a bracket": ('match: {groups: ["a[b"]}', lambda rule: rule.match.groups.exact, frozenset({"a[b"})),
    "an octal value": ("env: {A: 010}", lambda rule: rule.settings.env[0][1].text, "010"),
    "a value called true": ("env: {A: true}", lambda rule: rule.settings.env[0][1].text, "true"),
    "a date": ("env: {A: 2026-11-23}", lambda rule: rule.settings.env[0][1].text, "2026-11-23"),
    "a float": ("env: {A: 1.10}", lambda rule: rule.settings.env[0][1].text, "1.10"),
    "an image's tag": ("image: scipy:1.10", lambda rule: rule.settings.fields["image"], "scipy:1.10"),
    "one pool": ("pool: p", lambda rule: rule.settings.fields["pool"], ("p",)),
    "one host": ("hosts: h", lambda rule: rule.settings.fields["hosts"], ("h",)),
}


@pytest.mark.parametrize(("field", "get", "expected"), AS_WRITTEN.values(), ids=AS_WRITTEN)
def test_values_are_read_as_they_are_written(field, get, expected) -> None:  # type: ignore[no-untyped-def]
    """Every scalar is text, converted by the field: `no` is a name, `010` no octal number."""
    base = b'pools: {p: {hosts: [{name: h, url: "tcp://h:1", memory: 1G}]}}\n' + PROFILE
    match = "" if field.startswith("match") else "match: {}, "
    book = parse_rules({"00.yaml": base, "10.yaml": f"rules: [{{name: r, {match}{field}}}]".encode()})
    assert get(book.rules[0]) == expected


def test_files_count_in_name_order_whatever_the_order_of_the_mapping() -> None:
    """All files in name order make one rule book."""
    files = {
        "20.yaml": b"rules: [{name: second, match: {}, cpu: 2}]",
        "00.yaml": PROFILE,
        "10.yaml": b"rules: [{name: first, match: {}, cpu: 1}]",
    }
    assert [rule.origin.by for rule in parse_rules(files).rules] == ["first", "second"]


GENERATIONS = {
    "another content": {"a.yaml": PROFILE, "b.yaml": b"#"},
    "another name": {"a.yaml": PROFILE, "c.yaml": b""},
    "a boundary that moved between name and content": {"a.yaml": PROFILE, "b.yam": b"l"},
    "a comment more": {"a.yaml": PROFILE + b"#", "b.yaml": b""},
}


@pytest.mark.parametrize("files", GENERATIONS.values(), ids=GENERATIONS)
def test_the_generation_tells_names_and_contents_apart(files: dict[str, bytes]) -> None:
    """The generation is the rule book's content hash."""
    assert generation_of(files) != generation_of({"a.yaml": PROFILE, "b.yaml": b""})


def test_the_generation_does_not_depend_on_the_order_of_the_mapping() -> None:
    """The same files are the same generation."""
    assert generation_of({"a": b"1", "b": b"2"}) == generation_of({"b": b"2", "a": b"1"})


@pytest.mark.parametrize("directory", SITES.values(), ids=SITES)
def test_the_sites_that_we_ship_load_without_a_mistake(directory: Path) -> None:
    """Every YAML file in `placement_rules/` is parsed by the suite."""
    files = {path.name: path.read_bytes() for path in directory.glob("*.yaml")}
    assert parse_rules(files).profiles


LINES = (POOLS + PROFILES + RULES + DEFAULTS).decode().splitlines()


def outcome(content: bytes) -> RuleBook | BadFile:
    """Return the rule book or the mistakes of one file."""
    try:
        return parse_rules({"a.yaml": content})
    except BadFile as error:
        return error


def is_clear(found: RuleBook | BadFile) -> bool:
    """Tell whether it is a rule book, or mistakes of that file, each on one line."""
    if isinstance(found, RuleBook):
        return bool(found.profiles)
    return bool(found.mistakes) and all(
        mistake.file == "a.yaml" and str(mistake).isprintable() for mistake in found.mistakes
    )


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b"{a: " * 100_000)
@example(b"? " * 100_000)
@example(b"&a [*a]")
@example(b"profiles: !!python/object:os.system {a: b}")
@example(b"\xef\xbb\xbfprofiles: {a: {title: b}}")
@settings(deadline=None)
def test_any_bytes_are_a_rule_book_or_mistakes(content: bytes) -> None:
    """Bad input gets a clear error: nothing but a rule book or BadFile comes out."""
    assert is_clear(outcome(content))


@given(st.lists(st.sampled_from(LINES), max_size=30))
@settings(deadline=None)
def test_any_mixture_of_good_lines_is_a_rule_book_or_mistakes(lines: list[str]) -> None:
    """Lines that are cut, doubled or moved, as an editor leaves them, never crash the parser."""
    assert is_clear(outcome("\n".join(lines).encode()))


SCALARS = [line for line in LINES if ": " in line and not line.startswith("#") and "{" not in line and "[" not in line]


@given(st.sampled_from(SCALARS), st.text(max_size=40), st.booleans())
@settings(deadline=None)
def test_any_text_in_any_place_is_a_rule_book_or_mistakes(line: str, text: str, quoted: bool) -> None:
    """Whatever stands where a value is expected, the answer is a rule book or a printable mistake."""
    value = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if quoted else text
    changed = "\n".join(f"{old.partition(': ')[0]}: {value}" if old == line else old for old in LINES)
    assert is_clear(outcome(changed.encode("utf-8", "surrogatepass")))
