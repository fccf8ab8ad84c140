"""From blocks to settings: what a rule, a profile or the defaults set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..names import bounded
from ..yaml_nodes import YamlReader
from .keys import Block
from .kinds import Located
from .model import MountEntry, Settings
from .parse_match import KnownNames
from .template import Template

_PLAIN = ("allow", "image", "memory", "cpu")
_MOUNT_OPTIONS = ("source", "read_only", "propagation", "optional")


def make_settings(reader: YamlReader, block: Block) -> Settings:
    """Return the settings of a block."""
    fields: dict[str, Any] = {key: block.values[key] for key in _PLAIN if key in block.values}
    for key in ("pool", "hosts"):
        if key in block.values:
            fields[key] = tuple(dict.fromkeys(name.text for name in block.values[key]))
    for group in ("quota", "idle"):
        if group in block.values:
            fields.update((f"{group}.{key}", value) for key, value in block.values[group].values.items())
    mounts = tuple(_mount(reader, mount) for mount in block.get("mounts", ()))
    env = tuple((name, value) for name, value, _ in block.get("env", ()))
    return Settings(fields, block.get("message"), tuple(filter(None, mounts)), env)


def check_groups(reader: YamlReader, block: Block, why: str) -> None:
    """Note each template that asks for ``{group}``, where no matched group can be.

    Args:
        why: what is missing, for the message.
    """
    for where, template, line in _templates(block):
        if "group" in template.names:
            reader.wrong(line, f"{block.what}: {where}: {bounded(template.text)}: {why}")


def check_places(reader: YamlReader, block: Block, known: KnownNames, *, profile: bool) -> None:
    """Note unknown pools and hosts, and for a profile also reserved pools."""
    names: tuple[Located, ...] = block.get("pool", ())
    for name in names:
        exists = known.check(reader, f"{block.what}: pool", "pool", name, known.pools)
        if exists and profile and known.pools[name.text]:
            shown = f"{block.what}: pool {bounded(name.text)}"
            reader.wrong(name.line, f"{shown} is reserved: it is reached only through a rule")
    for name in block.get("hosts", ()):
        known.check(reader, f"{block.what}: hosts", "host", name, known.hosts)


def _mount(reader: YamlReader, block: Block) -> MountEntry | None:
    """Return one entry; None when it has neither source nor target that could be read."""
    source: Template | None = block.get("source")
    target: Template | None = block.get("target")
    what = block.what
    if block.get("hide", False):
        for key in _MOUNT_OPTIONS:
            if key in block.values:
                reader.wrong(block.lines[key], f"{what}: 'hide: true' takes a target away; {key!r} says nothing there")
        if "target" not in block.lines:
            reader.wrong(block.line, f"{what}: 'hide: true' needs a 'target'")
        return MountEntry(target) if target else None
    if "source" not in block.lines:
        reader.wrong(block.line, f"{what}: a mount needs a 'source', or a 'target' and 'hide: true'")
    elif source and "target" not in block.lines and source.text.strip("/") == "":
        reader.wrong(block.line, f"{what}: the source / needs another target; it would hide the whole system")
    if source is None:
        return None
    return MountEntry(
        target or source,
        source,
        block.get("read_only", False),
        block.get("propagation", "private"),
        block.get("optional", False),
    )


def _templates(block: Block) -> Iterator[tuple[str, Template, int]]:
    for mount in block.get("mounts", ()):
        for key in ("source", "target"):
            if mount.get(key):
                yield "mounts", mount.values[key], mount.lines[key]
    for name, value, line in block.get("env", ()):
        if value:
            yield f"env {bounded(name)}", value, line
