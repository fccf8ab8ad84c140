"""Every mistake that an administrator can make in a rule file, with the line and the sentence it gets."""

# ruff: noqa: E501 - each sentence stands here as an administrator reads it
import pytest

from nbplatform_spawners.errors import BadFile
from nbplatform_spawners.rules.parse import parse_rules

BASE = b"""\
pools:
  cpu: {hosts: [{name: cpu01, url: "tcp://cpu01:2376", memory: 32G}]}
  training: {reserved: true}
profiles:
  cpu: {title: CPU, pool: cpu, allow: true}
lists: {people: [ada, "b*"]}
"""
"""A good file; each case stands in a second one."""

MISTAKES = {
    "unknown key in a match": (
        "rules: [{name: r, match: {gropus: [atlas]}, allow: true}]\n",
        ["1: rule 'r': match: unknown key 'gropus', did you mean 'groups'?"],
    ),
    "unknown section": ("rulez: []\n", ["1: unknown key 'rulez', did you mean 'rules'?"]),
    "unknown key that stands elsewhere": (
        "rules: [{name: r, match: {memory: 4G}, allow: true}]\n",
        ["1: rule 'r': match: unknown key 'memory' here, it may stand in a host, a profile, a rule or the defaults"],
    ),
    "unknown key that looks like nothing": (
        "rules: [{name: r, match: {}, xyzzy: 1}]\n",
        ["1: rule 'r': unknown key 'xyzzy'"],
    ),
    "a required key with a typo is told once": (
        "rules:\n  - {name: r, mathc: {}, allow: true}\n",
        ["2: rule 'r': unknown key 'mathc', did you mean 'match'?"],
    ),
    "allow in defaults": (
        "defaults: {allow: true}\n",
        ["1: defaults: unknown key 'allow' here, it may stand in a profile or a rule"],
    ),
    "pool in defaults": (
        "defaults: {pool: cpu}\n",
        ["1: defaults: unknown key 'pool' here, it may stand in a profile or a rule"],
    ),
    "hosts in defaults": (
        "defaults: {hosts: [cpu01]}\n",
        ["1: defaults: unknown key 'hosts' here, it may stand in a pool, a profile or a rule"],
    ),
    "message in defaults": (
        "defaults: {message: no}\n",
        ["1: defaults: unknown key 'message' here, it may stand in a profile or a rule"],
    ),
    "unknown pool": (
        "rules: [{name: r, match: {}, pool: cpi}]\n",
        ["1: rule 'r': pool: unknown pool 'cpi', did you mean 'cpu'?"],
    ),
    "unknown host": (
        "rules: [{name: r, match: {}, hosts: [cpu01, cpu02]}]\n",
        ["1: rule 'r': hosts: unknown host 'cpu02', did you mean 'cpu01'?"],
    ),
    "unknown list": (
        'rules: [{name: r, match: {users: ["@peple"]}, allow: true}]\n',
        ["1: rule 'r': match: users: unknown list 'peple', did you mean 'people'?"],
    ),
    "unknown list in a not": (
        'rules: [{name: r, match: {not: {users: ["@nobody"]}}, allow: true}]\n',
        ["1: rule 'r': match: not: users: unknown list 'nobody'"],
    ),
    "unknown profile": (
        "rules: [{name: r, match: {profiles: [cpi]}, allow: true}]\n",
        ["1: rule 'r': match: profiles: unknown profile 'cpi', did you mean 'cpu'?"],
    ),
    "a wildcard that fits no profile": (
        'rules: [{name: r, match: {profiles: ["gpu*"]}, allow: true}]\n',
        ["1: rule 'r': match: profiles: 'gpu*' fits no profile"],
    ),
    "a list of users is no list of profiles": (
        'rules: [{name: r, match: {profiles: ["@people"]}, allow: true}]\n',
        ["1: rule 'r': match: profiles: 'b*' fits no profile", "1: rule 'r': match: profiles: unknown profile 'ada'"],
    ),
    "unknown placeholder": (
        'rules: [{name: r, match: {}, env: {A: "{user}"}}]\n',
        [
            "1: rule 'r': env: 'A': '{user}': unknown placeholder '{user}'; known are {username}, {uid}, {gid}, {home}, {group}, {primary_group}"
        ],
    ),
    "a lone brace": (
        'rules: [{name: r, match: {}, env: {A: "{"}}]\n',
        ["1: rule 'r': env: 'A': '{': a lone '{'; write '{{' for a brace"],
    ),
    "a list that names another": (
        'lists: {more: ["@people", eve]}\n',
        ["1: list 'more': '@people': a list holds names, not other lists"],
    ),
    "duplicate rule name in one file": (
        "rules:\n  - {name: r, match: {}, allow: true}\n  - {name: r, match: {}, allow: true}\n",
        ["3: rule 'r': the name stands twice, first in 10-case.yaml:2"],
    ),
    "duplicate pool over files": (
        "pools: {cpu: {}}\n",
        ["1: pool 'cpu': the name stands twice, first in 00-base.yaml:2"],
    ),
    "duplicate profile over files": (
        "profiles: {cpu: {title: again}}\n",
        ["1: profile 'cpu': the name stands twice, first in 00-base.yaml:5"],
    ),
    "duplicate list over files": (
        "lists: {people: [eve]}\n",
        ["1: list 'people': the name stands twice, first in 00-base.yaml:6"],
    ),
    "duplicate YAML key": (
        "rules:\n  - name: r\n    match: {}\n    memory: 4G\n    memory: 8G\n",
        ["5: rule 'r': the key 'memory' stands here twice, first in line 4"],
    ),
    "duplicate section": (
        "defaults: {cpu: 1}\ndefaults: {cpu: 2}\n",
        ["2: the file: the key 'defaults' stands here twice, first in line 1"],
    ),
    "two hosts of one name over pools": (
        'pools: {more: {hosts: [{name: cpu01, url: "tcp://x:1", memory: 1G}]}}\n',
        ["1: pool 'more': host 'cpu01': two hosts have this name, the first is in 00-base.yaml:2"],
    ),
    "a GPU listed twice on one host": (
        'pools: {more: {hosts: [{name: g1, url: "tcp://x:1", memory: 1G, gpus: [A, A]}]}}\n',
        ["1: pool 'more': host 'g1': the GPU 'A' is listed twice, first for host 'g1'"],
    ),
    "a GPU listed for two hosts": (
        'pools:\n  p: {hosts: [{name: g1, url: "tcp://x:1", memory: 1G, gpus: [A]}]}\n  q: {hosts: [{name: g2, url: "tcp://y:1", memory: 1G, gpus: [A]}]}\n',
        ["3: pool 'q': host 'g2': the GPU 'A' is listed twice, first for host 'g1'"],
    ),
    "a host without its keys": (
        "pools: {more: {hosts: [{drain: true}]}}\n",
        [
            "1: pool 'more': host number 1: the key 'memory' is missing (its memory, as far as servers may have it)",
            "1: pool 'more': host number 1: the key 'name' is missing (the host's name, unique over all pools)",
            "1: pool 'more': host number 1: the key 'url' is missing (address of its Docker daemon)",
        ],
    ),
    "a host's hostile name": (
        'pools: {more: {hosts: [{name: "../x", url: "tcp://x:1", memory: 1G}]}}\n',
        ["1: pool 'more': host '../x': a name has 1 to 64 letters, digits, '_', '.', '@' and '-', none of '.@-' first"],
    ),
    "a host's address without scheme": (
        'pools: {more: {hosts: [{name: h, url: "x:1", memory: 1G}]}}\n',
        ["1: pool 'more': host 'h': url: 'x:1': an address is expected, such as tcp://cpu01.example.org:2376"],
    ),
    "hosts beside a node selector": (
        'pools: {more: {hosts: [{name: h, url: "tcp://x:1", memory: 1G}], node_selector: {a: b}}}\n',
        ["1: pool 'more': 'node_selector' stands in place of 'hosts', not beside it"],
    ),
    "unknown strategy": (
        "pools: {more: {strategy: random}}\n",
        ["1: pool 'more': strategy: 'random': spread or pack is expected"],
    ),
    "a pool's hostile name": (
        'pools: {"a/b": {}}\n',
        ["1: pool 'a/b': a name has 1 to 64 letters, digits, '_', '.', '@' and '-', none of '.@-' first"],
    ),
    "a toleration's typo": (
        "pools: {more: {tolerations: [{efect: NoSchedule}]}}\n",
        ["1: pool 'more': tolerations: unknown key 'efect', did you mean 'effect'?"],
    ),
    "a profile's hostile name": (
        'profiles: {"a b": {title: x}}\n',
        ["1: profile 'a b': a name has 1 to 64 letters, digits, '_', '.', '@' and '-', none of '.@-' first"],
    ),
    "a profile without a title": (
        "profiles: {p: {pool: cpu}}\n",
        ["1: profile 'p': the key 'title' is missing (what the user reads when choosing)"],
    ),
    "a reserved pool in a profile": (
        "profiles: {p: {title: x, pool: [cpu, training]}}\n",
        ["1: profile 'p': pool 'training' is reserved: it is reached only through a rule"],
    ),
    "negative GPUs": (
        "profiles: {p: {title: x, gpus: -1}}\n",
        ["1: profile 'p': gpus: '-1': a whole number from 0 to 999999 is expected"],
    ),
    "GPUs in digits of another script": (
        'profiles: {p: {title: x, gpus: "٣"}}\n',
        ["1: profile 'p': gpus: '\\u0663': a whole number from 0 to 999999 is expected"],
    ),
    "a huge number": (
        f"profiles: {{p: {{title: x, gpus: {'9' * 5000}}}}}\n",
        [
            "1: profile 'p': gpus: '999999999999999999999999999999999999999999999999999999999999999999999999999...': a whole number from 0 to 999999 is expected"
        ],
    ),
    "a size without a unit": (
        "rules: [{name: r, match: {}, memory: 4}]\n",
        ["1: rule 'r': memory: '4': a size is a decimal number and K, M, G or T, such as 512M or 1.5G"],
    ),
    "a size of zero": (
        "rules: [{name: r, match: {}, memory: 0G}]\n",
        ["1: rule 'r': memory: '0G': a size must be at least one byte and below 2**63 bytes"],
    ),
    "a negative size": (
        "rules: [{name: r, match: {}, memory: -4G}]\n",
        ["1: rule 'r': memory: '-4G': a size is a decimal number and K, M, G or T, such as 512M or 1.5G"],
    ),
    "a duration without a unit": (
        "rules: [{name: r, match: {}, idle: {cull_after: 3}}]\n",
        [
            "1: rule 'r': idle: cull_after: '3': a duration is whole numbers with s, m, h, d or w, such as 3d or 1h30m, or never"
        ],
    ),
    "a number of CPUs that is zero": (
        "rules: [{name: r, match: {}, cpu: 0}]\n",
        ["1: rule 'r': cpu: '0': a number of CPUs from 0.01 to below a million is expected, such as 2 or 0.5"],
    ),
    "a boolean in other words": (
        "rules: [{name: r, match: {}, allow: yes}]\n",
        ["1: rule 'r': allow: 'yes': true or false is expected"],
    ),
    "a time without an offset": (
        "rules: [{name: r, match: {from: 2026-11-24T08:00}, allow: true}]\n",
        [
            "1: rule 'r': match: from: '2026-11-24T08:00': a time is date, time and offset, such as 2026-11-24T08:00+01:00"
        ],
    ),
    "a date alone": (
        "rules: [{name: r, match: {until: 2026-11-24}, allow: true}]\n",
        ["1: rule 'r': match: until: '2026-11-24': a time is date, time and offset, such as 2026-11-24T08:00+01:00"],
    ),
    "no such time": (
        "rules: [{name: r, match: {from: 2026-02-30T08:00+01:00}, allow: true}]\n",
        ["1: rule 'r': match: from: '2026-02-30T08:00+01:00': no such time: day is out of range for month"],
    ),
    "from after until": (
        "rules: [{name: r, match: {from: 2026-11-25T08:00+01:00, until: 2026-11-24T08:00+01:00}, allow: true}]\n",
        ["1: rule 'r': match: 'from' is not before 'until', so it never holds"],
    ),
    "from equals until in another offset": (
        "rules: [{name: r, match: {from: 2026-11-24T08:00+01:00, until: 2026-11-24T07:00Z}, allow: true}]\n",
        ["1: rule 'r': match: 'from' is not before 'until', so it never holds"],
    ),
    "an empty list in a match": (
        "rules: [{name: r, match: {users: []}, allow: true}]\n",
        ["1: rule 'r': match: users: the list is empty"],
    ),
    "an empty list of mounts": (
        "rules: [{name: r, match: {}, mounts: []}]\n",
        ["1: rule 'r': mounts: the list is empty"],
    ),
    "an empty list of rules": ("rules: []\n", ["1: rules: the list is empty"]),
    "an empty list of a name": ("lists: {nobody: []}\n", ["1: lists: 'nobody': the list is empty"]),
    "a missing match": (
        "rules: [{name: r, allow: true}]\n",
        ["1: rule 'r': the key 'match' is missing (when the rule holds; '{}' holds for everyone)"],
    ),
    "a null match": (
        "rules:\n  - name: r\n    match:\n    allow: true\n",
        ["3: rule 'r': match: a value is missing, keys and values is expected"],
    ),
    "a null match in a word": (
        "rules: [{name: r, match: null, allow: true}]\n",
        ["1: rule 'r': match: keys and values is expected, not text"],
    ),
    "an empty not": (
        "rules: [{name: r, match: {not: {}}, allow: true}]\n",
        ["1: rule 'r': match: not: an empty match would exclude everybody, an empty list nobody"],
    ),
    "a not without matches": (
        "rules: [{name: r, match: {not: []}, allow: true}]\n",
        ["1: rule 'r': match: not: an empty match would exclude everybody, an empty list nobody"],
    ),
    "a not with an empty match": (
        "rules: [{name: r, match: {not: [{users: [ada]}, {}]}, allow: true}]\n",
        ["1: rule 'r': match: not: an empty match would exclude everybody, an empty list nobody"],
    ),
    "one name where a list must be": (
        "rules: [{name: r, match: {users: ada}, allow: true}]\n",
        ["1: rule 'r': match: users: a list is expected, not text"],
    ),
    "a list where one name must be": (
        "rules: [{name: r, match: {}, image: [a]}]\n",
        ["1: rule 'r': image: text is expected, not a list"],
    ),
    "keys where a list must be": (
        "rules: [{name: r, match: {}, mounts: {source: /a}}]\n",
        ["1: rule 'r': mounts: a list is expected, not keys and values"],
    ),
    "a rule that is a text": ("rules: [allow]\n", ["1: rule number 1: keys and values is expected, not text"]),
    "a file that is a list": ("- name: r\n", ["1: the file: keys and values is expected, not a list"]),
    "a rule without a name": (
        "rules: [{match: {}, allow: true}]\n",
        ["1: rule number 1: the key 'name' is missing (the rule's name, unique over all files)"],
    ),
    "a rule's name of two lines": (
        'rules: [{name: "a\\nb", match: {}, allow: true}]\n',
        ["1: rule 'a\\nb': name: 'a\\nb': a single line of 1 to 120 printable characters is expected"],
    ),
    "a rule's name that is too long": (
        f"rules: [{{name: {'n' * 121}, match: {{}}, allow: true}}]\n",
        [
            "1: rule 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...': name: 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...': a single line of 1 to 120 printable characters is expected"
        ],
    ),
    "a relative source": (
        "rules: [{name: r, match: {}, mounts: [{source: data}]}]\n",
        ["1: rule 'r': mounts: source: 'data': the path is relative; it must begin with /"],
    ),
    "a relative target": (
        "rules: [{name: r, match: {}, mounts: [{source: /data, target: data}]}]\n",
        ["1: rule 'r': mounts: target: 'data': the path is relative; it must begin with /"],
    ),
    "a source with ..": (
        "rules: [{name: r, match: {}, mounts: [{source: /data/../etc}]}]\n",
        ["1: rule 'r': mounts: source: '/data/../etc': the path holds '.' or '..' as a part"],
    ),
    "a target with .. behind a placeholder": (
        'rules: [{name: r, match: {}, mounts: [{source: /data, target: "/data/{username}/.."}]}]\n',
        ["1: rule 'r': mounts: target: '/data/{username}/..': the path holds '.' or '..' as a part"],
    ),
    "a source that begins with another placeholder": (
        'rules: [{name: r, match: {}, mounts: [{source: "{username}/x"}]}]\n',
        ["1: rule 'r': mounts: source: '{username}/x': the path is relative; it must begin with /"],
    ),
    "HOME with letters behind it": (
        'rules: [{name: r, match: {}, mounts: [{source: "{home}x"}]}]\n',
        ["1: rule 'r': mounts: source: '{home}x': {home} is a whole path; a / must follow"],
    ),
    "the root as target": (
        "rules: [{name: r, match: {}, mounts: [{source: /data, target: //}]}]\n",
        ["1: rule 'r': mounts: target: '//': the target / would hide the whole system"],
    ),
    "the root as source and target": (
        "rules: [{name: r, match: {}, mounts: [{source: /}]}]\n",
        ["1: rule 'r': mounts: the source / needs another target; it would hide the whole system"],
    ),
    "a mount of nothing": (
        "rules: [{name: r, match: {}, mounts: [{read_only: true}]}]\n",
        ["1: rule 'r': mounts: a mount needs a 'source', or a 'target' and 'hide: true'"],
    ),
    "hide with a source": (
        "rules: [{name: r, match: {}, mounts: [{target: /a, source: /b, hide: true, read_only: true}]}]\n",
        [
            "1: rule 'r': mounts: 'hide: true' takes a target away; 'read_only' says nothing there",
            "1: rule 'r': mounts: 'hide: true' takes a target away; 'source' says nothing there",
        ],
    ),
    "hide without a target": (
        "rules: [{name: r, match: {}, mounts: [{hide: true}]}]\n",
        ["1: rule 'r': mounts: 'hide: true' needs a 'target'"],
    ),
    "unknown propagation": (
        "rules: [{name: r, match: {}, mounts: [{source: /a, propagation: shared}]}]\n",
        ["1: rule 'r': mounts: propagation: 'shared': private or rslave is expected"],
    ),
    "{group} without groups": (
        'rules: [{name: r, match: {}, mounts: [{source: "/sps/{group}"}]}]\n',
        ["1: rule 'r': mounts: '/sps/{group}': {group} is a matched group: it needs 'groups' in the match of a rule"],
    ),
    "{group} with groups in the not alone": (
        'rules: [{name: r, match: {not: {groups: [a]}}, env: {G: "{group}"}}]\n',
        ["1: rule 'r': env 'G': '{group}': {group} is a matched group: it needs 'groups' in the match of a rule"],
    ),
    "{group} in a profile": (
        'profiles: {p: {title: x, mounts: [{source: "/sps/{group}"}]}}\n',
        [
            "1: profile 'p': mounts: '/sps/{group}': {group} is a matched group: it needs 'groups' in the match of a rule"
        ],
    ),
    "{group} in the defaults": (
        'defaults: {env: {G: "{group}"}}\n',
        ["1: defaults: env 'G': '{group}': {group} is a matched group: it needs 'groups' in the match of a rule"],
    ),
    "a variable's name with a dash": (
        'rules: [{name: r, match: {}, env: {A-B: "1"}}]\n',
        ["1: rule 'r': env: 'A-B': the name of a variable is letters, digits and _, no digit first"],
    ),
    "a variable's name with a digit first": (
        'rules: [{name: r, match: {}, env: {1A: "1"}}]\n',
        ["1: rule 'r': env: '1A': the name of a variable is letters, digits and _, no digit first"],
    ),
    "a variable of the platform": (
        'rules: [{name: r, match: {}, env: {JUPYTERHUB_API_TOKEN: "1"}}]\n',
        ["1: rule 'r': env: 'JUPYTERHUB_API_TOKEN': variables that begin with JUPYTERHUB_ are the platform's own"],
    ),
    "a variable with NUL": (
        'rules: [{name: r, match: {}, env: {A: "a\\0b"}}]\n',
        ["1: rule 'r': env: 'A': 'a\\x00b': a variable cannot hold a NUL character"],
    ),
    "a variable without a value": (
        "rules: [{name: r, match: {}, env: {A: }}]\n",
        ["1: rule 'r': env: 'A': a value is missing"],
    ),
    "an image with a space": (
        'rules: [{name: r, match: {}, image: "a b"}]\n',
        ["1: rule 'r': image: 'a b': the name of an image is expected, such as registry.example.org/group/image:tag"],
    ),
    "not YAML": ("rules: [\n", ["2: not valid YAML: while parsing a flow node, did not find expected node content"]),
    "a tab for indentation": (
        "rules:\n\t- name: r\n",
        [
            "2: not valid YAML: while scanning for the next token, found character that cannot start any token"
            "; put a text that begins with @, % or ` in quotes, and indent with spaces"
        ],
    ),
    "two documents": ("lists: {a: [b]}\n---\nlists: {c: [d]}\n", ["2: not valid YAML: a second document (---) begins"]),
    "a placeholder without quotes": (
        "defaults:\n  mounts:\n    - {source: {home}}\n",
        ['3: defaults: mounts: source: text is expected, not keys and values; put placeholders in quotes: "{home}"'],
    ),
    "an alias": (
        "lists: {a: &x [b], c: *x}\n",
        ['1: not valid YAML: aliases (*name) are not allowed; put a text that begins with * in quotes: "*name"'],
    ),
    "a tag": (
        "lists: {a: !!set [b]}\n",
        ["1: lists: 'a': the YAML tag 'tag:yaml.org,2002:set' is not allowed", "1: lists: 'a': the list is empty"],
    ),
    "a merge key": ("defaults: {<<: {cpu: 1}}\n", ["1: defaults: unknown key '<<'"]),
    "a list as a key": ("lists: {[a]: [b]}\n", ["1: a key of lists: text is expected, not a list"]),
    "a hundred thousand brackets": ("[" * 100000, ["1: not valid YAML: nested more than 32 deep"]),
    "a hundred thousand dashes": ("- " * 100000, ["1: not valid YAML: nested more than 32 deep"]),
}


def mistakes_of(files: dict[str, bytes]) -> list[str]:
    """Return every mistake of the files, as an administrator reads it."""
    with pytest.raises(BadFile) as caught:
        parse_rules(files)
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_line_and_nothing_else_is(text: str, expected: list[str]) -> None:
    """`rules check` names all mistakes, one a line as `file:line: message`, with a suggestion."""
    found = mistakes_of({"00-base.yaml": BASE, "10-case.yaml": text.encode()})
    assert found == [f"10-case.yaml:{mistake}" for mistake in expected]


def test_all_mistakes_of_all_files_are_named_at_once() -> None:
    """One look at the output is enough to correct everything."""
    first = b"profiles:\n  cpu:\n    title: CPU\n    memory: 4\n    gpus: one\n"
    second = b"rules:\n  - name: r\n    match: {profiles: [cpi]}\n    cpu: none\n"
    assert [mistake.split(": ")[0] for mistake in mistakes_of({"b.yaml": second, "a.yaml": first})] == [
        "a.yaml:4",
        "a.yaml:5",
        "b.yaml:3",
        "b.yaml:4",
    ]


def test_a_second_defaults_names_the_first() -> None:
    """There is one `defaults` over all files."""
    found = mistakes_of({"00-base.yaml": BASE, "a.yaml": b"defaults: {cpu: 1}", "b.yaml": b"defaults: {cpu: 2}"})
    assert found == ["b.yaml:1: defaults: they stand twice, first in a.yaml:1"]


def test_a_rule_name_is_unique_over_all_files() -> None:
    """A rule's name is the reason that people read, so it must say which rule."""
    rule = b"rules:\n  - {name: same, match: {}, cpu: 1}\n"
    found = mistakes_of({"00-base.yaml": BASE, "a.yaml": rule, "b.yaml": rule})
    assert found == ["b.yaml:2: rule 'same': the name stands twice, first in a.yaml:2"]


NOTHING = {"no file": {}, "an empty file": {"a.yaml": b""}, "rules only": {"a.yaml": b"lists: {a: [b]}\n"}}


@pytest.mark.parametrize("files", NOTHING.values(), ids=NOTHING)
def test_rules_without_a_profile_are_a_mistake(files: dict[str, bytes]) -> None:
    """A vanished or empty directory is a bad rule book, not "no rules"."""
    assert [mistake.split(": ")[1] for mistake in mistakes_of(files)] == ["no file has a profile"]


def test_a_file_that_is_not_yaml_makes_no_names_unknown() -> None:
    """What the broken file would have defined is not reported as missing in the others."""
    rule = b"rules: [{name: r, match: {profiles: [gpu]}, pool: gpu, memory: 4}]"
    found = mistakes_of({"00-profiles.yaml": b"profiles: {gpu: [}", "10-rules.yaml": rule})
    assert [mistake.split(":")[0] for mistake in found] == ["00-profiles.yaml", "10-rules.yaml"]
    assert "memory" in found[1]


NOT_TEXT = {
    "another encoding": (b"lists: {a: [b]}\n# caf\xe9\n", "2: the file is not UTF-8 text"),
    "UTF-16": ("lists: {a: [b]}".encode("utf-16"), "1: the file is not UTF-8 text"),
}


@pytest.mark.parametrize(("content", "expected"), NOT_TEXT.values(), ids=NOT_TEXT)
def test_a_file_that_is_not_utf8_is_a_mistake_at_its_line(content: bytes, expected: str) -> None:
    """Files are UTF-8."""
    assert mistakes_of({"00-base.yaml": BASE, "a.yaml": content}) == [f"a.yaml:{expected}"]


def test_a_control_character_never_reaches_the_message() -> None:
    """A message is one line, whatever the file holds."""
    found = mistakes_of({"00-base.yaml": BASE, "a.yaml": b'rules: [{name: "a\\nb\\e[31m", match: {}, "\\n": 1}]'})
    assert all(mistake.isprintable() for mistake in found)


def test_a_thousand_unknown_keys_are_all_named() -> None:
    """Suggestions stop after a while, since they cost time; mistakes do not."""
    keys = "\n".join(f"  memori{number}: 4G" for number in range(1000))
    found = mistakes_of({"00-base.yaml": BASE, "a.yaml": f"defaults:\n{keys}\n".encode()})
    assert len(found) == 1000
    assert found[0] == "a.yaml:2: defaults: unknown key 'memori0', did you mean 'memory'?"
    assert found[-1] == "a.yaml:1001: defaults: unknown key 'memori999'"


def test_the_parser_refuses_more_values_than_it_can_read_at_once() -> None:
    """A file that unfolds into more values than any site has is a mistake, not minutes of work."""
    found = mistakes_of({"00-base.yaml": BASE, "a.yaml": b"lists: {a: [" + b"b," * 500_001 + b"]}"})
    assert found == ["a.yaml:1: not valid YAML: more than 500000 values"]
