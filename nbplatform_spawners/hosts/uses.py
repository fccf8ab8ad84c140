"""What the rules use on which host: images, and sources of mounts.  Pure.

Rules are asked for everybody at once, so what comes out is what *could* be used: a little more than what is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..rules.decision import Decision
from ..rules.model import Match, MountEntry, Profile, Rule, RuleBook


@dataclass(frozen=True)
class Source:
    """A folder of a host that a server would be given.

    Attributes:
        path: on the host.
        optional: a server starts without it.
        where: who asks for it: ``file:line``, or a user's name before it.
    """

    path: str
    optional: bool
    where: str


@dataclass(frozen=True)
class Uses:
    """What the rules use, by host name.

    Attributes:
        images: in file order, each once.
        sources: by path; of two that ask for one path, the one that insists.
        folders: the folders in which sources with placeholders lie, such as ``/sps`` of ``/sps/{group}``.
    """

    images: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, tuple[Source, ...]]
    folders: Mapping[str, tuple[str, ...]]


def uses_of(book: RuleBook, decisions: Iterable[Decision] = ()) -> Uses:
    """Return what the hosts of a rule book are to have.

    Args:
        book: the rules.
        decisions: of the accounts, for the sources that hold placeholders; refused ones do not count.
    """
    images: dict[str, dict[str, None]] = {}
    sources: dict[str, dict[str, Source]] = {}
    folders: dict[str, dict[str, None]] = {}
    for profile in book.profiles.values():
        for image, hosts in _images(book, profile):
            for host in hosts:
                images.setdefault(host, {})[image] = None
        everywhere = _hosts(book, profile)
        for entry, where in _entries(book, profile):
            for host in everywhere:
                _add_entry(entry, where, sources.setdefault(host, {}), folders.setdefault(host, {}))
    for decision in decisions:
        for host in _decided_hosts(book, decision):
            for found in decision.mounts:
                where = f"{decision.user}, {found.origin.where}"
                _add(Source(found.mount.source, found.mount.optional, where), sources.setdefault(host, {}))
    return Uses(
        {host: tuple(found) for host, found in images.items()},
        {host: tuple(found[path] for path in sorted(found)) for host, found in sources.items()},
        {host: tuple(sorted(found)) for host, found in folders.items()},
    )


def _add_entry(entry: MountEntry, where: str, sources: dict[str, Source], folders: dict[str, None]) -> None:
    if entry.source is None:  # a target that is taken away
        return
    if entry.fixed:
        _add(Source(entry.fixed.source, entry.fixed.optional, where), sources)
    else:
        folder, slash, _ = entry.source.literals[0].rpartition("/")
        if slash and folder:
            folders[folder] = None


def _add(source: Source, sources: dict[str, Source]) -> None:
    known = sources.get(source.path)
    if known is None or (known.optional and not source.optional):
        sources[source.path] = source


def _entries(book: RuleBook, profile: Profile) -> Iterator[tuple[MountEntry, str]]:
    """Yield every entry that somebody with this profile may get, and where it stands."""
    for rule in _rules(book, profile):
        for entry in rule.settings.mounts:
            yield entry, rule.origin.where
    for entry in profile.settings.mounts:
        yield entry, profile.origin.where
    for entry in book.defaults.mounts:
        yield entry, book.defaults_origin.where if book.defaults_origin else "defaults"


def _images(book: RuleBook, profile: Profile) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the images that this profile may run, each with the hosts on which it may."""
    usual = profile.settings.fields.get("image", book.defaults.fields.get("image"))
    anywhere = [usual] if usual else []
    places = [_pool_hosts(book, profile.settings.fields)]
    for rule in _rules(book, profile):
        image, hosts = rule.settings.fields.get("image"), _pool_hosts(book, rule.settings.fields)
        if image and hosts:
            yield image, hosts  # an event's own image on an event's own hosts
        elif image:
            anywhere.append(image)
        elif hosts:
            places.append(hosts)
    for image in anywhere:
        for hosts in places:
            yield image, hosts


def _hosts(book: RuleBook, profile: Profile) -> tuple[str, ...]:
    """Return every host on which this profile may run."""
    fields = (profile.settings.fields, *(rule.settings.fields for rule in _rules(book, profile)))
    return tuple(dict.fromkeys(host for found in fields for host in _pool_hosts(book, found)))


def _pool_hosts(book: RuleBook, fields: Mapping[str, object]) -> tuple[str, ...]:
    """Return the hosts of the pools that these fields name, narrowed to the hosts that they name."""
    pools, wanted = fields.get("pool"), fields.get("hosts")
    names = [host.name for pool in pools for host in book.pools[pool].hosts] if isinstance(pools, tuple) else []
    return tuple(name for name in names if not isinstance(wanted, tuple) or name in wanted)


def _rules(book: RuleBook, profile: Profile) -> Iterator[Rule]:
    """Yield the rules that may hold for somebody who asks for this profile."""
    for rule in book.rules:
        if _may_hold(rule.match, profile.name):
            yield rule


def _may_hold(match: Match, profile: str) -> bool:
    if match.profiles is not None and not match.profiles.holds(profile):
        return False
    return not any(never.profiles and never.profiles.holds(profile) and _only_profiles(never) for never in match.never)


def _only_profiles(match: Match) -> bool:
    return match == Match(profiles=match.profiles)


def _decided_hosts(book: RuleBook, decision: Decision) -> tuple[str, ...]:
    if not decision.allowed:
        return ()
    return _pool_hosts(book, {key: decision.value(key) for key in ("pool", "hosts") if key in decision.fields})
