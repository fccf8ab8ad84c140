"""Kinds of values in the language: how each is read from a YAML node, and what a JSON Schema says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from ..mounts import clean_path
from ..names import bounded, is_safe
from ..yaml_nodes import YamlReader, parse_bool
from .template import Template, parse_template
from .units import MIN_CPU, parse_cpu, parse_duration, parse_number, parse_size, parse_time, parse_whole

Read = Callable[[YamlReader, yaml.Node, str], Any]
"""Reads one value: reader, node and what it is, for messages.  Notes mistakes in the reader."""
MAX_NAME = 120
MAX_TEXT = 2000
NOT_SAFE = "a name has 1 to 64 letters, digits, '_', '.', '@' and '-', none of '.@-' first"
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,299}")
_URL = re.compile(r"(?:tcp|https?|unix|ssh)://[!-~]{1,300}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SAFE_PATTERN = "^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$"
_SCALARS = ["string", "number", "boolean"]


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Attributes:
        read: makes a value of a node.
        schema: JSON Schema of it; every scalar is text here, so ``010`` and ``no`` are good names.
    """

    read: Read
    schema: Mapping[str, Any]


class Located(NamedTuple):
    """A text and its line."""

    text: str
    line: int


def line_of(node: yaml.Node) -> int:
    """Return a node's line, counted from 1."""
    return int(node.start_mark.line) + 1


def scalar(parse: Callable[[str], Any], schema: Mapping[str, Any]) -> Kind:
    """Return the kind of a scalar that ``parse`` converts or refuses with ValueError."""
    return Kind(lambda reader, node, what: reader.convert(node, what, parse), schema)


def choice(*words: str) -> Kind:
    """Return the kind of a scalar that is one of these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{' or '.join(words)} is expected")
        return text

    return scalar(parse, {"enum": list(words)})


def list_of(item: Kind, *, one: bool = False) -> Kind:
    """Return the kind of a list, never empty; read as a tuple of what its items are.

    Args:
        item: the kind of its entries.
        one: a single entry may stand in place of the list.
    """

    def read(reader: YamlReader, node: yaml.Node, what: str) -> tuple[Any, ...]:
        if one and isinstance(node, yaml.ScalarNode):
            return (item.read(reader, node, what),)
        nodes = reader.items(node, what)
        if not nodes and isinstance(node, yaml.SequenceNode):
            reader.wrong(node, f"{what}: the list is empty")
        return tuple(item.read(reader, entry, what) for entry in nodes)

    schema: dict[str, Any] = {"type": "array", "items": item.schema, "minItems": 1}
    return Kind(read, {"anyOf": [item.schema, schema]} if one else schema)


def text_map(value: Kind, check_key: Callable[[str], None], keys: Mapping[str, Any]) -> Kind:
    """Return the kind of a mapping with free keys; read as a tuple of (key, value, line).

    Args:
        value: the kind of its values.
        check_key: raises ValueError for a key that may not stand there.
        keys: JSON Schema of the keys.
    """

    def read(reader: YamlReader, node: yaml.Node, what: str) -> tuple[tuple[str, Any, int], ...]:
        found = []
        for entry in reader.entries(node, what):
            try:
                check_key(entry.key)
            except ValueError as error:
                reader.wrong(entry.line, f"{what}: {bounded(entry.key)}: {error}")
            shown = f"{what}: {bounded(entry.key)}"
            found.append((entry.key, value.read(reader, entry.node, shown), entry.line))
        return tuple(found)

    return Kind(read, {"type": "object", "additionalProperties": value.schema, "propertyNames": keys})


def parse_name(text: str) -> str:
    """Return a single line of text.

    Raises:
        ValueError: empty, longer than 120 characters, blank at an end, or with a control character.
    """
    if not 0 < len(text) <= MAX_NAME or not text.isprintable() or text != text.strip():
        raise ValueError(f"a single line of 1 to {MAX_NAME} printable characters is expected")
    return text


def parse_text(text: str) -> str:
    """Return text for people without the blanks around it; it may have several lines.

    Raises:
        ValueError: blank, longer than 2000 characters, or with another control character than the line's end.
    """
    text = text.strip()
    if not 0 < len(text) <= MAX_TEXT or not text.replace("\n", "").isprintable():
        raise ValueError(f"text of 1 to {MAX_TEXT} printable characters is expected")
    return text


def parse_image(text: str) -> str:
    """Return the name of an image.

    Raises:
        ValueError: characters that no image's name has.
    """
    if not _IMAGE.fullmatch(text):
        raise ValueError("the name of an image is expected, such as registry.example.org/group/image:tag")
    return text


def parse_url(text: str) -> str:
    """Return the address of a Docker daemon.

    Raises:
        ValueError: another scheme than tcp, https, http, unix or ssh.
    """
    if not _URL.fullmatch(text):
        raise ValueError("an address is expected, such as tcp://cpu01.example.org:2376")
    return text


def parse_path(text: str) -> Template:
    """Return the template of an absolute path; it may begin with ``{home}``.

    Raises:
        ValueError: relative, with ``.`` or ``..`` as a part, an unknown placeholder or a lone brace.
    """
    template = parse_template(text)
    first, rest = template.literals[0], template.literals[1:]
    if template.names[:1] == ("home",) and not first:
        # "{home}x" would be the home of somebody whose name begins alike
        if not (rest[0].startswith("/") or (rest[0] == "" and len(rest) == 1)):
            raise ValueError("{home} is a whole path; a / must follow")
        first = "/home"
    clean_path("x".join((first, *rest)))
    return template


def parse_target(text: str) -> Template:
    """Return the template of a path inside the server's view.

    Raises:
        ValueError: as ``parse_path``, or the root itself.
    """
    template = parse_path(text)
    if not template.names and clean_path(template.literals[0]) == "/":
        raise ValueError("the target / would hide the whole system")
    return template


def parse_env_value(text: str) -> Template:
    """Return the template of a variable's value.

    Raises:
        ValueError: a NUL character, an unknown placeholder or a lone brace.
    """
    if "\0" in text:
        raise ValueError("a variable cannot hold a NUL character")
    return parse_template(text)


def check_list_name(name: str) -> None:
    """Check the name of a list.

    Raises:
        ValueError: not a safe name.
    """
    if not is_safe(name):
        raise ValueError(NOT_SAFE)


def check_variable(name: str) -> None:
    """Check the name of an environment variable.

    Raises:
        ValueError: not a variable's name, or one of the platform's own.
    """
    if not _VARIABLE.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError("the name of a variable is letters, digits and _, no digit first")
    if name.startswith("JUPYTERHUB_"):
        raise ValueError("variables that begin with JUPYTERHUB_ are the platform's own")


def _read_located(reader: YamlReader, node: yaml.Node, what: str) -> Located:
    return Located(reader.convert(node, what, parse_name) or "", line_of(node))


TEXT: Mapping[str, Any] = {"type": _SCALARS}
SAFE_NAME: Mapping[str, Any] = {"type": _SCALARS, "pattern": _SAFE_PATTERN}
NAME = scalar(parse_name, {**TEXT, "minLength": 1, "maxLength": MAX_NAME})
ENTRY = Kind(_read_located, NAME.schema)
"""A name with its line, for what other files must know."""
PLAIN = scalar(str, TEXT)
SENTENCE = scalar(parse_text, {**TEXT, "minLength": 1, "maxLength": MAX_TEXT})
BOOL = scalar(parse_bool, {"enum": [True, False, "true", "false"]})
SIZE = scalar(parse_size, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?[KMGT]$"})
DURATION = scalar(parse_duration, {"type": "string", "pattern": "^(never|([0-9]+[smhdw])+)$"})
WHOLE = scalar(parse_whole, {"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$"})
NUMBER = scalar(parse_number, {"type": ["number", "string"], "exclusiveMinimum": 0, "pattern": r"^[0-9]+(\.[0-9]+)?$"})
CPU = scalar(parse_cpu, {**NUMBER.schema, "minimum": MIN_CPU})
TIME = scalar(
    parse_time,
    {
        "type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})$",
    },
)
IMAGE = scalar(parse_image, {"type": "string"})
URL = scalar(parse_url, {"type": "string", "pattern": "^(tcp|https?|unix|ssh)://"})
PATH = scalar(parse_path, {"type": "string", "pattern": r"^(/|\{home\})"})
TARGET = scalar(parse_target, {"type": "string", "pattern": r"^(/|\{home\})"})
NAMES = list_of(ENTRY)
ONE_OR_NAMES = list_of(ENTRY, one=True)
ENV = text_map(
    scalar(parse_env_value, TEXT),
    check_variable,
    {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": {"pattern": "^JUPYTERHUB_"}},
)
