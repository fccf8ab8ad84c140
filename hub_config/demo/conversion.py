"""Turn a site's YAML texts into texts that work below one folder of one machine.  Pure: text in, text out.

The texts are edited where it matters and kept otherwise, comments included, so that the reader recognises the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import yaml


class UnknownShape(ValueError):
    """A text is not of the shape that is converted here."""


def relocate_mounts(text: str, folder: str) -> str:
    """Return a rule file whose mount sources lie below ``folder``, while every target stays what it was.

    ``{source: "/sps/{group}"}`` becomes ``{source: "FOLDER/sps/{group}", target: "/sps/{group}"}``.

    Args:
        text: the rule file.
        folder: absolute path without a trailing slash; braces in it are escaped as the rules language wants it.

    Raises:
        UnknownShape: a mount is not a mapping of plain values.
        yaml.YAMLError: the text is no YAML.
    """
    prefix = folder.replace("{", "{{").replace("}", "}}")
    edits = []
    for mount in _mounts(yaml.compose(text, Loader=yaml.SafeLoader)):
        keys = _by_key(mount)
        source = keys.get("source")
        if source is None:  # `hide: true` has a target only
            continue
        if not isinstance(source, yaml.ScalarNode):
            raise UnknownShape(f"line {mount.start_mark.line + 1}: the source of a mount is not a plain value")
        new = _quoted(prefix + source.value)
        if "target" not in keys:
            new += _separator(mount) + f"target: {_quoted(source.value)}"
        edits.append((source.start_mark.index, source.end_mark.index, new))
    return _edited(text, edits)


def mount_sources(text: str) -> list[tuple[str, str]]:
    """Return (source, target) of every mount in a rule file, as written, in the order written."""
    found = []
    for mount in _mounts(yaml.compose(text, Loader=yaml.SafeLoader)):
        keys = {key: node.value for key, node in _by_key(mount).items()}
        if "source" in keys:
            found.append((keys["source"], keys.get("target", keys["source"])))
    return found


def set_passwords(text: str, hashes: Mapping[str, str]) -> str:
    """Return an accounts file in which each account of ``hashes`` has that password hash; nothing else changes.

    Raises:
        UnknownShape: an account is missing or is not a mapping with at least one key.
        yaml.YAMLError: the text is no YAML.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    accounts = _by_key(_by_key(root).get("accounts"))
    edits = []
    for name, password_hash in hashes.items():
        account = accounts.get(name)
        if not isinstance(account, yaml.MappingNode) or not account.value:
            raise UnknownShape(f"the accounts file has no account {name!r} with keys")
        new = _quoted(password_hash)
        old = _by_key(account).get("password")
        if old is not None:
            edits.append((old.start_mark.index, old.end_mark.index, new))
        elif account.flow_style:
            end = account.value[-1][1].end_mark.index
            edits.append((end, end, f", password: {new}"))
        else:  # before the first key: the end of a block value is not always where its text ends
            start = account.value[0][0].start_mark.index
            edits.append((start, start, f"password: {new}{_separator(account)}"))
    return _edited(text, edits)


def _mounts(root: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    """Yield the entries of every ``mounts`` list of the rules, the profiles and the defaults."""
    top = _by_key(root)
    holders = [top.get("defaults"), *_by_key(top.get("profiles")).values()]
    rules = top.get("rules")
    if isinstance(rules, yaml.SequenceNode):
        holders += rules.value
    seen = set()  # an alias is the same node again
    for holder in holders:
        mounts = _by_key(holder).get("mounts")
        if not isinstance(mounts, yaml.SequenceNode):
            continue
        for mount in mounts.value:
            if not isinstance(mount, yaml.MappingNode):
                raise UnknownShape(f"line {mount.start_mark.line + 1}: a mount is not a mapping")
            if id(mount) not in seen:
                seen.add(id(mount))
                yield mount


def _by_key(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _separator(mapping: yaml.MappingNode) -> str:
    return ", " if mapping.flow_style else "\n" + " " * mapping.value[0][0].start_mark.column


def _quoted(value: str) -> str:
    """Return a double-quoted YAML scalar: a JSON string is one."""
    return json.dumps(value)


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text
