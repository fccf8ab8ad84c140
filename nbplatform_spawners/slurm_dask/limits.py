"""What a cluster gets: what was asked for, the defaults of group and site behind it, all within the site's limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Integral

from ..rules.units import duration_in_words, format_count, format_size
from .amounts import parse_memory, parse_walltime, shown
from .errors import ClusterRefused
from .models import Site

_WORD = re.compile(r"[A-Za-z0-9_.@+:][A-Za-z0-9_.@+:/=-]{0,63}")
QUEUES = re.compile(rf"(?:{_WORD.pattern})(?:,(?:{_WORD.pattern}))*")
"""A partition, or several with commas between them: Slurm takes the first that has room."""
MAX_COUNT = 10**5
"""Workers, cores or GPUs that anybody may ask for, whatever the site says."""


@dataclass(frozen=True)
class Wish:
    """What a cluster is to be.

    Attributes:
        queue, account: Slurm's partition and account; None leaves the choice to Slurm.
        cores, memory, gpus: of one worker; memory in bytes.
        walltime: seconds that each job may run.
        n_workers: workers at the start.
    """

    queue: str | None
    account: str | None
    cores: int
    memory: int
    walltime: int
    n_workers: int
    gpus: int


def effective(
    arguments: Mapping[str, object], user_config: Mapping[str, object], site: Site, groups: Collection[str]
) -> Wish:
    """Return what was asked for, with what others say where it was not.

    For each value the first of these decides: the argument, the user's own Dask configuration, the first entry of the
    site's ``groups`` of which the user is a member and which sets it, the site's defaults.

    Args:
        arguments: of ``SlurmCluster``, by the names of ``Wish``; None is not asked for.
        user_config: the user's own ``jobqueue.slurm`` configuration, by Dask's names.
        site: the site file.
        groups: names of the groups that the user is in.

    Raises:
        ClusterRefused: a value is none of its kind.
    """

    def asked(name: str, read: Callable[[str, object], int]) -> int:
        value = _first(name, arguments, user_config)
        return int(getattr(site.defaults, name)) if value is None else read(name, value)

    def word(name: str, pattern: re.Pattern[str]) -> str | None:
        value = _first(name, arguments, user_config)
        of_groups = [getattr(entry, name) for entry in site.groups if entry.group in groups]
        of_site = next((text for text in of_groups if text is not None), getattr(site.defaults, name))
        return checked_word(name, of_site if value is None else value, pattern)

    return Wish(
        queue=word("queue", QUEUES),
        account=word("account", _WORD),
        cores=asked("cores", _at_least_one),
        memory=asked("memory", checked_memory),
        walltime=asked("walltime", _walltime),
        n_workers=asked("n_workers", checked_count),
        gpus=asked("gpus", checked_count),
    )


def check(asked: Wish, site: Site, held: int) -> None:
    """Check a cluster against the site's limits.

    Args:
        asked: what it is to be.
        site: the site file.
        held: clusters that the user has already.

    Raises:
        ClusterRefused: it is more than the site allows; one sentence with value, limit and what to do.
    """
    limits = site.limits
    _within("cores", asked.cores, limits.cores, lambda n: f"{format_count(n, 'core')} for each worker", site)
    _within("memory", asked.memory, limits.memory, lambda n: f"{format_size(n)} of memory for each worker", site)
    _within("gpus", asked.gpus, limits.gpus, lambda n: f"{format_count(n, 'GPU')} for each worker", site)
    _within("walltime", asked.walltime, limits.walltime, lambda n: f"a wall time of {duration_in_words(n)}", site)
    check_workers(asked.n_workers, site)
    if limits.clusters is not None and held >= limits.clusters:
        raise ClusterRefused(
            f"you have {format_count(held, 'Dask cluster')} already, and this site allows "
            f"{limits.clusters} at once: close one first, with cluster.close() in its notebook"
        )


def check_workers(workers: int, site: Site, name: str = "n_workers") -> None:
    """Check the number of workers that a cluster is to have.

    Args:
        workers: of all its jobs.
        site: the site file.
        name: the argument by which the user asked for them.

    Raises:
        ClusterRefused: they are more than the site allows.
    """
    limit = site.limits.workers
    _within(name, workers, MAX_COUNT if limit is None else limit, lambda n: format_count(n, "worker"), site)


def checked_count(name: str, value: object, least: int = 0) -> int:
    """Return a number of things that a user wrote as an argument of this name.

    Raises:
        ClusterRefused: it is no whole number, below ``least`` or above :data:`MAX_COUNT`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= MAX_COUNT:
        raise ClusterRefused(f"{name}={shown(value)} is no whole number from {least} to {MAX_COUNT}")
    return int(value)


def checked_memory(name: str, value: object) -> int:
    """Return the bytes that a user wrote as an argument of this name.

    Raises:
        ClusterRefused: it is no amount of memory.
    """
    try:
        return parse_memory(value)
    except ValueError as error:
        raise ClusterRefused(f"{name}={error}") from None


def checked_word(name: str, value: object, pattern: re.Pattern[str] = _WORD) -> str | None:
    """Return a name for a line of a job script: no blank, no line break, nothing that begins an option.

    Raises:
        ClusterRefused: it is no such name.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ClusterRefused(f"{name}={shown(value)} is no name that Slurm could know: letters, digits and _.@+:-")
    return value


def _first(name: str, *places: Mapping[str, object]) -> object:
    return next((place[name] for place in places if place.get(name) is not None), None)


def _within(name: str, value: int, limit: int | None, said: Callable[[int], str], site: Site) -> None:
    if limit is not None and value > limit:
        raise ClusterRefused(
            f"you asked for {said(value)}, and this site allows {said(limit)}: ask for less with {name}=, "
            f"or ask {site.support}"
        )


def _at_least_one(name: str, value: object) -> int:
    return checked_count(name, value, 1)


def _walltime(name: str, value: object) -> int:
    try:
        return parse_walltime(value)
    except ValueError as error:
        raise ClusterRefused(f"{name}={error}") from None
