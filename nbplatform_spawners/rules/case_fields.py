"""Every key of the cases that a site writes beside its rules, in one table."""

from __future__ import annotations

import yaml

from ..yaml_nodes import YamlReader
from . import fields, kinds
from .keys import Block, Key, Language
from .kinds import Kind, choice, line_of, list_of

PLACES = {
    "cases": "a file of cases",
    "case": "a case",
    "expect": "what is expected",
    "expected-mount": "an expected mount",
}
"""Where keys stand, and how that is said."""
LABELS = ("not-allowed", "quota", "unplaceable", "account")
"""The labels that a refusal by the rules or for the account may have."""


def _block(place: str) -> Kind:
    return Kind(lambda reader, node, what: CASES.read(reader, node, what, place), {"$ref": f"#/$defs/{place}"})


def _read_mount(reader: YamlReader, node: yaml.Node, what: str) -> Block:
    """Read an expected mount; its target alone may stand for it."""
    if not isinstance(node, yaml.ScalarNode):
        return CASES.read(reader, node, what, "expected-mount")
    line = line_of(node)
    return Block(what, line, {"target": kinds.NAME.read(reader, node, what)}, {"target": line})


_CASES = Kind(lambda reader, node, what: CASES.read_list(reader, node, what, "case"), list_of(_block("case")).schema)
_MOUNT = Kind(_read_mount, {"anyOf": [kinds.NAME.schema, {"$ref": "#/$defs/expected-mount"}]})
_VALUES = kinds.text_map(kinds.PLAIN, kinds.check_variable, {"minLength": 1})

CASES: Language = Language(
    PLACES,
    (
        Key("at", ("cases", "case"), kinds.TIME, "The time of the question; without it, now."),
        Key("tests", ("cases",), _CASES, "The cases, one by one.", required=True),
        Key("name", ("case",), kinds.NAME, "What the site promises, unique in the file.", required=True),
        Key("user", ("case",), kinds.ENTRY, "Name of the account.", required=True),
        Key("profile", ("case",), kinds.ENTRY, "The profile asked for; without it, the first that is allowed."),
        Key("provider", ("case",), kinds.ENTRY, "The identity provider; without it, a local login."),
        Key(
            "expect", ("case",), _block("expect"), "What must come out, as far as the case is about it.", required=True
        ),
        Key("allowed", ("expect",), kinds.BOOL, "The decision."),
        Key("reason", ("expect",), choice(*LABELS), "Label of the refusal."),
        Key("message", ("expect",), kinds.SENTENCE, "What the refused user is told."),
        Key("profile", ("expect",), kinds.ENTRY, "The profile that was decided on."),
        Key("gpus", ("expect",), kinds.WHOLE, "GPUs of the profile."),
        Key("pool", ("expect",), kinds.ONE_OR_NAMES, "Pools in order of preference."),
        Key("hosts", ("expect",), kinds.ONE_OR_NAMES, "Names of hosts."),
        Key("image", ("expect",), kinds.IMAGE, "What is run."),
        Key("memory", ("expect",), kinds.SIZE, "Limit of memory."),
        Key("cpu", ("expect",), kinds.CPU, "Limit of CPUs."),
        Key("quota", ("expect",), fields.block("quota"), "Limits for the user."),
        Key("idle", ("expect",), fields.block("idle"), "When an idle server is stopped."),
        Key("mounts", ("expect",), list_of(_MOUNT), "Mounts that must be there, by target or in detail."),
        Key("without_mounts", ("expect",), kinds.NAMES, "Targets that must not be there."),
        Key("env", ("expect",), _VALUES, "Variables with their values."),
        Key("target", ("expected-mount",), kinds.NAME, "Path inside the server.", required=True),
        Key("source", ("expected-mount",), kinds.NAME, "Path on the host."),
        Key("read_only", ("expected-mount",), kinds.BOOL, "Whether writing is forbidden."),
        Key("propagation", ("expected-mount",), choice("private", "rslave"), "How later mounts of the host show."),
        Key("optional", ("expected-mount",), kinds.BOOL, "Whether it is left out when the source is missing."),
    ),
)
"""The language of the cases: ``CASES.table`` is every key."""
