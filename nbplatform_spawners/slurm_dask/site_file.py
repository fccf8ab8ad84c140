"""The site file of Dask on Slurm as a value, or all of its mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import cast

import yaml

from ..accounts.settings_file import Section, one_of, parse_file, parse_timeout, read_settings
from ..mounts import clean_path
from ..names import bounded, is_safe
from ..rules.units import duration_in_words, format_duration, format_size, parse_duration, parse_size, parse_whole
from ..yaml_nodes import YamlReader
from .amounts import MIB
from .errors import ClusterRefused
from .limits import MAX_COUNT, QUEUES, checked_word
from .models import Defaults, GroupDefaults, Limits, Site, Way
from .site_keys import names

_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*/?")
_PYTHON = re.compile(r"[A-Za-z0-9_./+@=,-]+")
_MIN_IDLE, _MAX_IDLE, _MAX_GRACE = 60, 7 * 86400, 3600
_LONGEST_TEXT = 500
_SHOWN: dict[str, Callable[[int], str]] = {"memory": format_size, "walltime": format_duration}


def read_site(text: str | bytes, name: str) -> Site:
    """Return what a site file says.

    Args:
        text: the file's content.
        name: the file's name, for its mistakes.

    Raises:
        BadFile: with every mistake, as ``file:line: message``.
    """
    return read_settings(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text, name, _read)


def _read(reader: YamlReader, root: yaml.Node) -> Site:
    top = Section(reader, root, "the site file", names(""))
    slurm, scheduler, workers = (_section(top, name) for name in ("slurm", "scheduler", "workers"))
    plain = Site()
    limits, groups = _limits(top), _groups(top)
    defaults = _defaults(top, limits)
    way, rest_url = _way(slurm)
    return Site(
        way=way,
        rest_url=rest_url,
        token_url=_url(slurm, "token_url"),
        timeout=slurm.value("timeout", parse_timeout, plain.timeout),
        network=slurm.value("network", _network, None),
        scheduler_cores=scheduler.value("cores", _at_least_one, plain.scheduler_cores),
        scheduler_memory=scheduler.value("memory", _memory, plain.scheduler_memory),
        worker_python=workers.value("python", _python, None),
        prologue=workers.several("prologue", _shell_line) if "prologue" in workers.nodes else (),
        shared=workers.several("shared", parse_file) if "shared" in workers.nodes else plain.shared,
        folder=top.value("folder", _folder, None),
        idle=top.value("idle", _between(_MIN_IDLE, _MAX_IDLE), plain.idle),
        owner_grace=top.value("owner_grace", _between(1, _MAX_GRACE), plain.owner_grace),
        defaults=defaults,
        groups=groups,
        limits=limits,
        support=top.value("support", _line, plain.support),
    )


def _section(top: Section, name: str) -> Section:
    return Section(top.reader, top.nodes.get(name), name, names(name))


def _way(slurm: Section) -> tuple[Way, str | None]:
    way = cast("Way", slurm.value("way", one_of("commands", "rest"), "commands"))
    rest_url = _url(slurm, "rest_url")
    if way == "rest" and "rest_url" not in slurm.nodes:
        slurm.wrong("way", "with 'way: rest' the key 'rest_url' is needed")
    if way == "commands":
        for key in ("rest_url", "token_url", "encryption"):
            if key in slurm.nodes:
                slurm.wrong(key, "it belongs to 'way: rest', and this site file has 'way: commands'")
    return way, rest_url


def _url(slurm: Section, key: str) -> str | None:
    url = slurm.value(key, _parse_url, None)
    encryption = slurm.value("encryption", one_of("tls", "none"), "tls")
    if url is not None and encryption == "tls" and url.startswith("http:") and not _is_own(url):
        slurm.wrong(
            key, "https:// is expected; with http:// tokens cross the network readably: 'encryption: none' allows it"
        )
    return url


def _is_own(url: str) -> bool:
    """Tell whether an address is this machine's own, so that nothing crosses a network."""
    found = _URL.fullmatch(url)
    host = found[1].strip("[]").lower() if found else ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _defaults(top: Section, limits: Limits) -> Defaults:
    section, plain = _section(top, "defaults"), Defaults()
    defaults = Defaults(
        queue=section.value("queue", _queue, None),
        account=section.value("account", _account, None),
        cores=section.value("cores", _at_least_one, plain.cores),
        memory=section.value("memory", _memory, plain.memory),
        walltime=section.value("walltime", _walltime, plain.walltime),
        n_workers=section.value("n_workers", _count, plain.n_workers),
        gpus=section.value("gpus", _count, plain.gpus),
    )
    for key, limited in (*((name, name) for name in ("cores", "memory", "walltime", "gpus")), ("n_workers", "workers")):
        value, limit = getattr(defaults, key), getattr(limits, limited)
        if limit is not None and value > limit:
            shown = _SHOWN.get(key, str)
            section.wrong(key, f"the default {shown(value)} is more than the limit {shown(limit)} of limits: {limited}")
    return defaults


def _limits(top: Section) -> Limits:
    section = _section(top, "limits")
    return Limits(
        workers=section.value("workers", _at_least_one, None),
        cores=section.value("cores", _at_least_one, None),
        memory=section.value("memory", _memory, None),
        gpus=section.value("gpus", _count, None),
        walltime=section.value("walltime", _walltime, None),
        clusters=section.value("clusters", _at_least_one, None),
    )


def _groups(top: Section) -> tuple[GroupDefaults, ...]:
    if "groups" not in top.nodes:
        return ()
    found, seen = [], dict[str, int]()
    for node in top.reader.items(top.nodes["groups"], "groups"):
        entry = Section(top.reader, node, "an entry of groups", names("groups[]"))
        group = entry.needed("group", _group, None)
        if entry.is_there and not {"account", "queue"} & entry.nodes.keys():
            top.reader.wrong(entry.line, "an entry of groups: it sets neither account nor queue")
        if group is None:
            continue
        if group in seen:
            entry.wrong("group", f"the group {group!r} stands here twice, first in line {seen[group]}")
        seen.setdefault(group, entry.line)
        found.append(GroupDefaults(group, entry.value("account", _account, None), entry.value("queue", _queue, None)))
    return tuple(found)


def _parse_url(text: str) -> str:
    if len(text) > _LONGEST_TEXT or not _URL.fullmatch(text):
        raise ValueError("https://HOST:PORT/PATH is expected, without user, query or fragment")
    return text.rstrip("/")


def _network(text: str) -> str:
    if "/" in text:  # an address alone would be a network of one node
        with suppress(ValueError):
            return str(ip_network(text))
    raise ValueError("a network is an address and the length of its prefix, such as 10.1.0.0/16")


def _at_least_one(text: str) -> int:
    number = _count(text)
    if number < 1:
        raise ValueError("a whole number from 1 is expected")
    return number


def _count(text: str) -> int:
    number = parse_whole(text)
    if number > MAX_COUNT:
        raise ValueError(f"a whole number of at most {MAX_COUNT} is expected")
    return number


def _memory(text: str) -> int:
    size = parse_size(text)
    if size < MIB:
        raise ValueError("at least 1M is expected")
    return size


def _walltime(text: str) -> int:
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError("a duration above zero is expected, such as 2h or 1d12h; leave the key out for no limit")
    return seconds


def _between(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        seconds = parse_duration(text)
        if seconds is None or not least <= seconds <= most:
            raise ValueError(f"a duration from {duration_in_words(least)} to {duration_in_words(most)} is expected")
        return seconds

    return parse


def _python(text: str) -> str:
    if not _PYTHON.fullmatch(text):
        raise ValueError("the path of a Python has letters, digits and _./+@=,- only")
    return parse_file(text)


def _shell_line(text: str) -> str:
    if text.lstrip().startswith("#SBATCH"):
        raise ValueError("options of Slurm do not belong here")
    return _line(text)


def _line(text: str) -> str:
    if len(text) > _LONGEST_TEXT or not text.strip() or not text.isprintable():
        raise ValueError(f"one line of at most {_LONGEST_TEXT} characters is expected")
    return text


def _folder(text: str) -> str:
    filled = text.replace("{home}", "/home").replace("{username}", "u")
    if "{" in filled or "}" in filled:
        raise ValueError("of placeholders only {home} and {username} are known here")
    if "{home}" in text[1:]:
        raise ValueError("{home} stands at the beginning only")
    if clean_path(filled) != filled:
        raise ValueError("a path without repeated or trailing slashes is expected")
    return text


def _group(text: str) -> str:
    if not is_safe(text):
        raise ValueError("a group's name has letters, digits and _.@- only")
    return text


def _queue(text: str) -> str:
    return _word("queue", text, QUEUES)


def _account(text: str) -> str:
    return _word("account", text)


def _word(name: str, text: str, pattern: re.Pattern[str] | None = None) -> str:
    try:
        return str(checked_word(name, text, pattern) if pattern else checked_word(name, text))
    except ClusterRefused:
        raise ValueError(f"{bounded(text)} is no name that Slurm could know") from None
