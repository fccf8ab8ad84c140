"""Benchmarks of the rules: deciding, reading again, and from an edit to its effect."""

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

from .large_site import PROFILES, identities, rule_files
from .runner import Figure, benchmark, median_of

NOON = datetime.fromisoformat("2026-11-23T12:00+01:00")
_GIVE_UP = 30.0


@benchmark("decide", unit="µs", about="one decision with 1,000 rules; people and profiles vary, nothing is cached")
def decision() -> Figure:
    """Measure 1,000 different questions, each alone; the median, and of that the median of five rounds."""
    book = parse_rules(rule_files())
    assert book.index  # made with the first decision, not with each
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
