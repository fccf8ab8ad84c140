"""From the text of all rule files to one rule book, or to every mistake in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import BadFile, Mistake
from ..names import bounded
from ..yaml_nodes import YamlReader
from .fields import LANGUAGE, Named
from .keys import Block
from .kinds import Located
from .model import Match, Origin, Pool, Profile, Rule, RuleBook, Settings
from .parse_match import KnownNames, make_match
from .parse_pools import Hosts, make_pool
from .parse_settings import check_groups, check_places, make_settings

_NO_GROUP = "{group} is a matched group: it needs 'groups' in the match of a rule"


def parse_rules(files: Mapping[str, bytes]) -> RuleBook:
    """Return the rule book that the files make together.

    Args:
        files: file names and contents; they count in name order.

    Raises:
        BadFile: with all mistakes of all files.
    """
    readers, draft = [], _Draft()
    for name in sorted(files):
        reader = YamlReader(name)
        readers.append(reader)
        draft.add_file(reader, files[name])
    book = draft.finish(generation_of(files))
    mistakes = [mistake for reader in readers for mistake in reader.mistakes]
    if not book.profiles and draft.complete:
        mistakes.append(Mistake(next(iter(sorted(files)), "."), 0, "no file has a profile: nobody could have a server"))
    if mistakes:
        raise BadFile(mistakes)
    return book


def generation_of(files: Mapping[str, bytes]) -> str:
    """Return the content hash of the files: SHA-256 over names and contents, each with its length before it."""
    digest = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode("utf-8", "surrogateescape"), files[name]):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


@dataclass
class _Draft:
    """What the files hold, before names are looked up across them.

    Attributes:
        complete: every file could be taken apart.
        pools, profiles, rules: in file order, each with the reader of its file.
        lists: name to entries.
        defaults: the first defaults.
        first: kind and name to the place where it stands first.
    """

    complete: bool = True
    pools: list[tuple[YamlReader, Named]] = field(default_factory=list)
    profiles: list[tuple[YamlReader, Named]] = field(default_factory=list)
    rules: list[tuple[YamlReader, Named]] = field(default_factory=list)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: tuple[YamlReader, int, Block] | None = None
    first: dict[tuple[str, str], str] = field(default_factory=dict)

    def add_file(self, reader: YamlReader, content: bytes) -> None:
        root = reader.compose(content)
        if root is None:  # nothing but comments, or a mistake
            self.complete = self.complete and not reader.mistakes
            return
        block = LANGUAGE.read(reader, root, "", "file")
        for section, drafts in (("pools", self.pools), ("profiles", self.profiles), ("rules", self.rules)):
            for named in block.get(section, ()):
                if not named.name or self._is_new(reader, section.removesuffix("s"), named.name, named.line):
                    drafts.append((reader, named))
        for name, entries, line in block.get("lists", ()):
            if self._is_new(reader, "list", name, line):
                self.lists[name] = tuple(entry.text for entry in entries)
                _check_list(reader, name, entries)
        if "defaults" in block.values and self._is_new(reader, "defaults", "", block.lines["defaults"]):
            self.defaults = (reader, block.lines["defaults"], block.values["defaults"])

    def _is_new(self, reader: YamlReader, kind: str, name: str, line: int) -> bool:
        where = f"{reader.file}:{line}"
        first = self.first.setdefault((kind, name), where)
        if first != where:
            what = f"{kind} {bounded(name)}: the name stands twice" if name else f"{kind}: they stand twice"
            reader.wrong(line, f"{what}, first in {first}")
        return first == where

    def finish(self, generation: str) -> RuleBook:
        met = Hosts()
        pools = {named.name: make_pool(reader, named.name, named.block, met) for reader, named in self.pools}
        known = self._known(pools, met)
        profiles = {named.name: _make_profile(reader, named, known) for reader, named in self.profiles}
        rules = tuple(_make_rule(reader, named, known) for reader, named in self.rules)
        defaults, origin = Settings(), None
        if self.defaults:
            reader, line, block = self.defaults
            defaults, origin = make_settings(reader, block), Origin("defaults", reader.file, line)
            check_groups(reader, block, _NO_GROUP)
        return RuleBook(pools, profiles, rules, defaults, origin, self.lists, generation)

    def _known(self, pools: Mapping[str, Pool], met: Hosts) -> KnownNames:
        return KnownNames(
            complete=self.complete,
            lists=self.lists,
            profiles=frozenset(named.name for _, named in self.profiles),
            hosts=frozenset(met.names),
            pools={name: pool.reserved for name, pool in pools.items()},
        )


def _check_list(reader: YamlReader, name: str, entries: tuple[Located, ...]) -> None:
    for entry in entries:
        if entry.text.startswith("@"):
            shown = bounded(entry.text)
            reader.wrong(entry.line, f"list {bounded(name)}: {shown}: a list holds names, not other lists")


def _make_profile(reader: YamlReader, named: Named, known: KnownNames) -> Profile:
    block = named.block
    check_places(reader, block, known, profile=True)
    check_groups(reader, block, _NO_GROUP)
    return Profile(
        named.name,
        Origin(f"profile {named.name}", reader.file, named.line),
        title=block.get("title", ""),
        description=block.get("description", ""),
        gpus=block.get("gpus", 0),
        gpu_model=block.get("gpu_model"),
        settings=make_settings(reader, block),
    )


def _make_rule(reader: YamlReader, named: Named, known: KnownNames) -> Rule:
    block = named.block
    check_places(reader, block, known, profile=False)
    written: Block | None = block.get("match")
    match = make_match(reader, written, known) if written else Match()
    if written and "groups" not in written.lines:
        check_groups(reader, block, _NO_GROUP)
    return Rule(Origin(named.name, reader.file, named.line), match, make_settings(reader, block))
