"""What the rules use on which host."""

from datetime import UTC, datetime

import pytest

from nbplatform_spawners.hosts.uses import Source, Uses, uses_of
from nbplatform_spawners.identity import Account, Identity
from nbplatform_spawners.rules.model import RuleBook
from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.rules.people import People

POOLS = """\
pools:
  cpu: {hosts: [{name: c1, url: "tcp://c1:1", memory: 8G}, {name: c2, url: "tcp://c2:1", memory: 8G}]}
  gpu: {hosts: [{name: g1, url: "tcp://g1:1", memory: 8G, gpus: [GPU-1]}]}
  school:
    reserved: true
    hosts: [{name: s1, url: "tcp://s1:1", memory: 8G}, {name: s2, url: "tcp://s2:1", memory: 8G}]
  cluster: {node_selector: {a: b}}
"""
PROFILES = """\
profiles:
  cpu: {title: CPU, image: "scipy:1", pool: cpu, allow: true}
  gpu: {title: GPU, image: "gpu:1", pool: gpu, gpus: 1}
"""


def book_of(text: str, profiles: str = PROFILES) -> RuleBook:
    """Return the rule book of the pools, the profiles and some more."""
    return parse_rules({"00.yaml": POOLS.encode(), "10.yaml": profiles.encode(), "20.yaml": text.encode()})


def images(book: RuleBook) -> dict[str, set[str]]:
    """Return host to images, without an order."""
    return {host: set(found) for host, found in uses_of(book).images.items()}


USUAL = {"c1": {"scipy:1"}, "c2": {"scipy:1"}, "g1": {"gpu:1"}}
# id, rules, what differs from the usual
IMAGES = [
    ("no rule", "defaults: {memory: 1G}", {}),
    (
        "a rule's image is used where its profiles run",
        "rules: [{name: r, match: {profiles: [cpu]}, image: 'new:1'}]",
        {"c1": {"scipy:1", "new:1"}, "c2": {"scipy:1", "new:1"}},
    ),
    (
        "a rule's pool needs the profile's image",
        "rules: [{name: r, match: {profiles: [cpu]}, pool: school}]",
        {"s1": {"scipy:1"}, "s2": {"scipy:1"}},
    ),
    (
        "a rule's own image stays on its own pool",
        "rules: [{name: r, match: {profiles: [cpu]}, pool: school, image: 'school:1'}]",
        {"s1": {"school:1"}, "s2": {"school:1"}},
    ),
    (
        "only the hosts that a rule names",
        "rules: [{name: r, match: {profiles: [cpu]}, pool: school, hosts: [s2]}]",
        {"s2": {"scipy:1"}},
    ),
    (
        "for every profile",
        "rules: [{name: r, match: {users: [ada]}, pool: school}]",
        {"s1": {"scipy:1", "gpu:1"}, "s2": {"scipy:1", "gpu:1"}},
    ),
    (
        "for all profiles but one",
        "rules: [{name: r, match: {not: {profiles: [gpu]}}, image: 'new:1'}]",
        {"c1": {"scipy:1", "new:1"}, "c2": {"scipy:1", "new:1"}},
    ),
]


@pytest.mark.parametrize(("_", "rules", "differs"), IMAGES, ids=[row[0] for row in IMAGES])
def test_images_are_wanted_where_they_may_run(_: str, rules: str, differs: dict[str, set[str]]) -> None:
    """Each host is to have the images that somebody may run there; pools without hosts have none."""
    assert images(book_of(rules)) == {**USUAL, **differs}


def test_the_default_image_serves_profiles_without_one() -> None:
    """Defaults stand behind profiles."""
    profiles = "profiles: {cpu: {title: CPU, pool: cpu, allow: true}}"
    assert images(book_of("defaults: {image: 'base:1'}", profiles)) == {"c1": {"base:1"}, "c2": {"base:1"}}


MOUNTS = """\
rules:
  - name: groups
    match: {profiles: [gpu], groups: ["*"]}
    mounts: [{source: "/sps/{group}"}, {source: /data, optional: true}]
  - {name: hide, match: {}, mounts: [{target: /secret, hide: true}]}
defaults:
  mounts:
    - {source: "{home}"}
    - {source: /data}
    - {source: /cvmfs, target: /sw}
    - {source: "/x{uid}"}
    - {source: "/a/b/u-{username}"}
"""


def test_sources_without_placeholders_are_known_and_folders_of_the_others() -> None:
    """Who insists on a source wins over who does not; a hidden target has none; the part before a name is no folder."""
    uses = uses_of(book_of(MOUNTS))
    common = (Source("/cvmfs", optional=False, where="20.yaml:6"), Source("/data", optional=False, where="20.yaml:6"))
    assert uses.sources == {"c1": common, "c2": common, "g1": common}
    assert uses.folders == {"c1": ("/a/b",), "c2": ("/a/b",), "g1": ("/a/b", "/sps")}


def test_accounts_add_what_is_decided_for_them_on_the_hosts_they_may_use() -> None:
    """The sources of everybody's allowed servers; a refused profile adds nothing."""
    identity = Identity("ada", 5001, 5000, {"users": 5000}, "users", "/home/ada", "/bin/sh")
    book = book_of(MOUNTS)
    decisions = list(People({"ada": Account(identity)}, {}).decide_all(book, now=datetime(2026, 11, 23, tzinfo=UTC)))
    uses = uses_of(book, decisions)
    assert [source.path for source in uses.sources["c1"]] == ["/a/b/u-ada", "/cvmfs", "/data", "/home/ada", "/x5001"]
    assert uses.sources["c1"][3] == Source("/home/ada", optional=False, where="ada, 20.yaml:6")
    assert [source.path for source in uses.sources["g1"]] == ["/cvmfs", "/data"]


def test_rules_without_hosts_use_nothing() -> None:
    """A site without Docker hosts."""
    book = parse_rules({"a.yaml": b"pools: {p: {}}\nprofiles: {cpu: {title: CPU, image: i, pool: p, allow: true}}"})
    assert uses_of(book) == Uses({}, {}, {})
