"""Every key of the rules language, in one table: where it may stand, how it is read, what it means.

The parser, the JSON Schema, the suggestions for unknown keys and the reference in the docs all come from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from ..names import bounded, is_safe
from ..yaml_nodes import YamlReader
from . import kinds
from .keys import Block, Key, Language
from .kinds import Kind, list_of

PLACES = {
    "file": "a rule file",
    "pool": "a pool",
    "host": "a host",
    "toleration": "a toleration",
    "profile": "a profile",
    "rule": "a rule",
    "match": "a match",
    "defaults": "the defaults",
    "quota": "a quota",
    "idle": "idle",
    "mount": "a mount",
}
"""Where keys stand, and how that is said."""
_ANY = ("profile", "rule", "defaults")
_CHOSEN = ("profile", "rule")


@dataclass(frozen=True)
class Named:
    """One block with the name it goes by."""

    name: str
    line: int
    block: Block


def block(place: str) -> Kind:
    """Return the kind of a mapping with the keys of a place; read as a ``Block``."""
    return Kind(lambda reader, node, what: LANGUAGE.read(reader, node, what, place), {"$ref": f"#/$defs/{place}"})


def _named_blocks(place: str) -> Kind:
    def read(reader: YamlReader, node: yaml.Node, _: str) -> tuple[Named, ...]:
        found = []
        for entry in reader.entries(node, f"{place}s"):
            what = f"{place} {bounded(entry.key)}"
            if not is_safe(entry.key):
                reader.wrong(entry.line, f"{what}: {kinds.NOT_SAFE}")
            found.append(Named(entry.key, entry.line, LANGUAGE.read(reader, entry.node, what, place)))
        return tuple(found)

    values = {"$ref": f"#/$defs/{place}"}
    return Kind(read, {"type": "object", "additionalProperties": values, "propertyNames": kinds.SAFE_NAME})


def _read_rules(reader: YamlReader, node: yaml.Node, what: str) -> tuple[Named, ...]:
    blocks = LANGUAGE.read_list(reader, node, what, "rule")
    return tuple(Named(block.get("name", ""), block.line, block) for block in blocks)


def _read_never(reader: YamlReader, node: yaml.Node, what: str) -> tuple[Block, ...]:
    nodes = reader.items(node, what) if isinstance(node, yaml.SequenceNode) else [node]
    if not all(_says_something(entry) for entry in (node, *nodes)):
        reader.wrong(node, f"{what}: an empty match would exclude everybody, an empty list nobody")
        return ()
    return tuple(LANGUAGE.read(reader, entry, what, "match") for entry in nodes)


def _says_something(node: yaml.Node) -> bool:
    return not isinstance(node, yaml.CollectionNode) or bool(node.value)


_MATCH_OR_MATCHES = {"anyOf": [{"$ref": "#/$defs/match"}, {"type": "array", "items": {"$ref": "#/$defs/match"}}]}
_TEXTS = kinds.text_map(kinds.NAME, lambda _: None, {"minLength": 1})


def _key(name: str, places: tuple[str, ...] | str, kind: Kind, help_: str, *, required: bool = False) -> Key:
    return Key(name, (places,) if isinstance(places, str) else places, kind, help_, required)


LANGUAGE: Language = Language(
    PLACES,
    (
        _key("pools", "file", _named_blocks("pool"), "Hosts that serve the same purpose, by the pool's name."),
        _key("profiles", "file", _named_blocks("profile"), "What a user may ask for, by the profile's name."),
        _key(
            "lists",
            "file",
            kinds.text_map(kinds.NAMES, kinds.check_list_name, kinds.SAFE_NAME),
            "Names for what many rules name; '@name' in a match stands for the list.",
        ),
        _key(
            "rules",
            "file",
            Kind(_read_rules, list_of(block("rule")).schema),
            "Who gets what: for each field the first rule that matches and sets it decides.",
        ),
        _key("defaults", "file", block("defaults"), "What holds where no rule and no profile says otherwise."),
        # pools and hosts
        _key(
            "hosts",
            "pool",
            Kind(
                lambda reader, node, what: LANGUAGE.read_list(reader, node, what, "host"),
                list_of(block("host")).schema,
            ),
            "The Docker hosts of the pool.",
        ),
        _key("overcommit", "pool", kinds.NUMBER, "Memory promised may reach this many times the hosts' (default 1.0)."),
        _key("reserved", "pool", kinds.BOOL, "The pool is reached only through a rule (default false)."),
        _key(
            "strategy",
            "pool",
            kinds.choice("spread", "pack"),
            "'spread' takes the host with the most free memory (default), 'pack' the one with the least that fits.",
        ),
        _key("node_selector", "pool", _TEXTS, "On Kubernetes: labels that a node must have."),
        _key("tolerations", "pool", list_of(block("toleration")), "On Kubernetes: taints that are tolerated."),
        _key("key", "toleration", kinds.NAME, "The taint's key; every key when absent."),
        _key("operator", "toleration", kinds.choice("Equal", "Exists"), "How key and value are compared."),
        _key("value", "toleration", kinds.NAME, "The taint's value, for 'Equal'."),
        _key(
            "effect",
            "toleration",
            kinds.choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
            "The taint's effect; every effect when absent.",
        ),
        _key("name", "host", kinds.NAME, "The host's name, unique over all pools.", required=True),
        _key("url", "host", kinds.URL, "Address of its Docker daemon.", required=True),
        _key("memory", "host", kinds.SIZE, "Its memory, as far as servers may have it.", required=True),
        _key("cpus", "host", kinds.NUMBER, "Number of its CPUs."),
        _key("gpu_model", ("host", "profile"), kinds.NAME, "Model of GPU; a profile takes only hosts with it."),
        _key("gpus", "host", kinds.NAMES, "Ids of its GPUs, as nvidia-smi shows them."),
        _key("memory_per_gpu", "host", kinds.SIZE, "Memory kept free for each GPU that is not granted."),
        _key("drain", "host", kinds.BOOL, "It takes no new servers (default false)."),
        # profiles and rules
        _key("title", "profile", kinds.SENTENCE, "What the user reads when choosing.", required=True),
        _key("description", "profile", kinds.SENTENCE, "A sentence below the title."),
        _key("gpus", "profile", kinds.WHOLE, "How many GPUs it holds (default 0)."),
        _key("name", "rule", kinds.NAME, "The rule's name, unique over all files.", required=True),
        _key("match", "rule", block("match"), "When the rule holds; '{}' holds for everyone.", required=True),
        _key("users", "match", kinds.NAMES, "The user's name is in the list; '*' and '?' are wildcards."),
        _key("groups", "match", kinds.NAMES, "Any of the user's groups is in the list."),
        _key("profiles", "match", kinds.NAMES, "The profile asked for is in the list."),
        _key("providers", "match", kinds.NAMES, "The identity provider is in the list; a local login has none."),
        _key("from", "match", kinds.TIME, "The rule holds from this time on."),
        _key("until", "match", kinds.TIME, "The rule holds before this time."),
        _key("not", "match", Kind(_read_never, _MATCH_OR_MATCHES), "One match or a list of them: none may hold."),
        # the fields
        _key("allow", _CHOSEN, kinds.BOOL, "May this user have this profile; refused when nothing says so."),
        _key("message", _CHOSEN, kinds.SENTENCE, "What a refused user is told."),
        _key("pool", _CHOSEN, kinds.ONE_OR_NAMES, "Where: pools in order of preference."),
        _key("hosts", _CHOSEN, kinds.ONE_OR_NAMES, "Where: only these hosts of the pools."),
        _key("image", _ANY, kinds.IMAGE, "What to run."),
        _key("memory", _ANY, kinds.SIZE, "Limit of memory, also what is promised on the host."),
        _key("cpu", _ANY, kinds.CPU, "Limit of CPUs; not reserved."),
        _key("quota", _ANY, block("quota"), "How much one user may hold at once, pending servers included."),
        _key("idle", _ANY, block("idle"), "When an idle server is stopped."),
        _key("mounts", _ANY, list_of(block("mount")), "Storage that the server sees, besides the system's own."),
        _key("env", _ANY, kinds.ENV, "Environment variables of the server."),
        _key("servers", "quota", kinds.WHOLE, "Servers that one user may have at once."),
        _key("gpus", "quota", kinds.WHOLE, "GPUs that one user may hold at once."),
        _key("cull_after", "idle", kinds.DURATION, "Stop after this long without activity."),
        _key("cull_after_gpu", "idle", kinds.DURATION, "The same for a server with a GPU; else 'cull_after' holds."),
        _key("warn_before", "idle", kinds.DURATION, "Warn the user this long before the stop."),
        _key("max_age", "idle", kinds.DURATION, "Stop this long after the start, idle or not."),
        _key("busy_max", "idle", kinds.DURATION, "A busy kernel counts as activity for this long (never: always)."),
        _key("extend", "idle", kinds.DURATION, "By how much a user may put off a stop, once."),
        _key("source", "mount", kinds.PATH, "Absolute path on the host; may begin with '{home}'."),
        _key("target", "mount", kinds.TARGET, "Path inside the server (default: the source)."),
        _key("read_only", "mount", kinds.BOOL, "No writing through this mount (default false)."),
        _key(
            "propagation",
            "mount",
            kinds.choice("private", "rslave"),
            "'rslave' also shows what the host mounts below the source later (default 'private').",
        ),
        _key("optional", "mount", kinds.BOOL, "Left out when the source is missing, which else refuses the spawn."),
        _key("hide", "mount", kinds.BOOL, "Takes the target away, whatever later entries say."),
    ),
)
"""The whole language: ``LANGUAGE.table`` is every key, ``LANGUAGE.at["rule"]`` those of one place."""
