"""The JSON Schema for editors: valid, and of one mind with the parser where it can be."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from nbplatform_spawners.cli import main
from nbplatform_spawners.errors import BadFile
from nbplatform_spawners.rules.case_fields import CASES
from nbplatform_spawners.rules.fields import LANGUAGE
from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.rules.schema import json_schema

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "placement_rules").rglob("*.yaml") if path.name != "accounts.yaml")
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


class EditorLoader(yaml.SafeLoader):
    """Reads YAML as editors do (YAML 1.2): a time stays text."""


EditorLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str) -> Any:
    """Return a file as an editor sees it."""
    return yaml.load(text, Loader=EditorLoader)


def test_the_schema_is_valid_and_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON Schema 2020-12 by the metaschema's own check."""
    assert main(["rules", "schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed == json_schema()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_file_fits_the_schema(path: Path) -> None:
    """An editor marks nothing in the starter site and the example site."""
    assert [error.message for error in VALIDATOR.iter_errors(read(path.read_text()))] == []


BAD = {
    "a typo in a key": "rules: [{name: r, match: {gropus: [a]}, cpu: 1}]",
    "a typo in a section": "rulez: []",
    "a missing match": "rules: [{name: r, cpu: 1}]",
    "allow in defaults": "defaults: {allow: true}",
    "pool in defaults": "defaults: {pool: cpu}",
    "an empty list": "rules: [{name: r, match: {users: []}, cpu: 1}]",
    "a size without a unit": "defaults: {memory: 4}",
    "a duration without a unit": "defaults: {idle: {cull_after: 3}}",
    "zero CPUs": "defaults: {cpu: 0}",
    "half a server": "defaults: {quota: {servers: 0.5}}",
    "a boolean in other words": "profiles: {p: {title: x, allow: maybe}}",
    "a time without an offset": "rules: [{name: r, match: {from: 2026-11-24T08:00}, cpu: 1}]",
    "a relative source": "defaults: {mounts: [{source: data}]}",
    "a mount of nothing": "defaults: {mounts: [{read_only: true}]}",
    "a variable of the platform": "defaults: {env: {JUPYTERHUB_API_TOKEN: a}}",
    "a variable's name with a dash": "defaults: {env: {A-B: a}}",
    "a hostile name": "profiles: {a/b: {title: x}}",
    "one user in place of the list": "rules: [{name: r, match: {users: ada}, cpu: 1}]",
    "hosts beside nodes": ('pools: {p: {hosts: [{name: h, url: "tcp://h:1", memory: 1G}], node_selector: {a: b}}}'),
    "a host without an address": "pools: {p: {hosts: [{name: h, memory: 1G}]}}",
    "a case's typo": "tests: [{name: c, user: ada, expect: {alowed: true}}]",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_the_schema_refuses_the_parser_refuses_too(text: str) -> None:
    """Editor and parser come from one table."""
    assert not VALIDATOR.is_valid(read(text))
    with pytest.raises(BadFile):
        parse_rules({"00.yaml": b"profiles: {cpu: {title: CPU}}", "10.yaml": text.encode()})


GOOD = {
    "an empty file": "",
    "one pool by name": "profiles: {p: {title: x, pool: cpu}}",
    "several pools": "profiles: {p: {title: x, pool: [cpu]}}",
    "a group that looks like a number": "rules: [{name: r, match: {groups: [010]}, cpu: 1}]",
    "a not with a list": "rules: [{name: r, match: {not: [{users: [a]}]}, cpu: 1}]",
    "a number in quotes": 'defaults: {cpu: "2"}',
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_what_the_parser_takes_the_schema_takes_too(text: str) -> None:
    """Nothing good is marked."""
    assert VALIDATOR.is_valid(read(text))
    base = b"pools: {cpu: {}}\nprofiles: {cpu: {title: CPU}}"
    assert parse_rules({"00.yaml": base, "10.yaml": text.encode()}).profiles


def test_every_key_has_a_sentence_of_help() -> None:
    """The table is also the reference: one sentence for each key, shown by the editor."""
    for key in (*LANGUAGE.table, *CASES.table):
        assert key.help.endswith("."), key.name
        assert len(key.help) > 10, key.name
        assert key.help[0].isupper() or key.help[0] in "'", key.name
