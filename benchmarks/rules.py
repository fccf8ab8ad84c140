"""Benchmarks of the rules: deciding, reading again, and from an edit to its effect.

``decide`` measures a site of a realistic mix (see ``large_site``): of 100 rules 35 are for groups, 25 for people, 12
with dates, 18 with wildcards or lists, 10 others; an index of names leaves few of them to be asked.  The index belongs
to the book, as mounts without placeholders do: both are made while a book is loaded, and count for ``reload``.
``decide_worst`` measures what the index cannot help.  It has no target.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from nbplatform_spawners.identity import Identity
from nbplatform_spawners.rules.engine import decide
from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.rules.store import RuleStore

from .large_site import PROFILES, identities, rule_files, worst_rule_files
from .runner import Figure, benchmark, median_of

NOON = datetime.fromisoformat("2026-11-23T12:00+01:00")
_GIVE_UP = 30.0


@benchmark(
    "decide",
    unit="µs",
    about="one decision with 1,000 rules, a realistic mix; people and profiles vary, no decision is cached,"
    " the index of the rules was made when they were loaded",
)
def decision() -> Figure:
    """Measure decisions on the realistic mix."""
    return _decisions(rule_files())


@benchmark(
    "decide_worst",
    unit="µs",
    about="the same with 1,000 rules of the worst kind: only 'not' and a mount each, so that all must be asked"
    " and nearly all apply",
)
def worst_decision() -> Figure:
    """Measure decisions on rules that hold for nearly everybody."""
    return _decisions(worst_rule_files())


def _decisions(files: dict[str, bytes]) -> Figure:
    """Measure 1,000 different questions, each alone; the median, and of that the median of five rounds."""
    book = parse_rules(files)
    rounds = itertools.count()

    def one_round() -> float:
        people = list(identities(1000, seed=next(rounds)))
        took = []
        for person, profile in zip(people, itertools.cycle(PROFILES), strict=False):
            begin = time.perf_counter()
            decide(book, person, profile=profile, now=NOON)
            took.append(time.perf_counter() - begin)
        return statistics.median(took) * 1e6

    return Figure(median_of(one_round, runs=5))


@benchmark("reload", unit="ms", about="read, check and swap 1,000 rules from files")
def reload() -> Figure:
    """Measure the poll of the store that takes new files; the median of seven."""
    with _site() as directory:
        store = RuleStore(directory)
        seeds = itertools.count(100)

        def one_reload() -> float:
            _write(directory, rule_files(next(seeds)))
            store.check_now()  # sees that something changed, and waits for the next poll
            before = store.book
            begin = time.perf_counter()
            store.check_now()
            took = time.perf_counter() - begin
            assert store.book is not before
            return took * 1e3

        return Figure(median_of(one_reload, runs=7))


@benchmark("edit", unit="s", about="from a file edit to the first decision by the new rules")
def edit() -> Figure:
    """Measure edits at different moments between two polls of a watching store with 1,000 rules; the median."""
    person: Identity = next(identities(1))
    with _site() as directory:
        store = RuleStore(directory)
        store.start()
        try:
            return Figure(statistics.median(_one_edit(store, person, number) for number in range(1, 6)))
        finally:
            store.stop()


def _one_edit(store: RuleStore, person: Identity, number: int) -> float:
    time.sleep(number * store.interval / 5)
    image = f"site/edited:{number}"
    rule = f"rules: [{{name: edited, match: {{}}, image: '{image}'}}]\n"
    begin = time.perf_counter()
    (store.directory / "10-edited.yaml").write_text(rule)
    while decide(store.book, person, profile="cpu", now=NOON).value("image") != image:
        if time.perf_counter() - begin > _GIVE_UP:
            raise RuntimeError(f"an edit had no effect within {_GIVE_UP} s: {store.problem}")
        time.sleep(0.005)
    return time.perf_counter() - begin


@contextmanager
def _site() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nbplatform-bench-") as name:
        directory = Path(name)
        _write(directory, rule_files())
        yield directory


def _write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).write_bytes(content)
