"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from . import runner
from .runner import Benchmark, Figure

PROGRAM = "scripts/bench"
"""What is started by hand."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all benchmarks or the named ones.

    Returns:
        0 when all ran, 1 when one could not run here, 2 for a name that does not exist.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Measure and print one table: name, ours, peer, ratio (ours / peer), unit.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of the table")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    given = parser.parse_args(arguments)
    known = runner.find_benchmarks()
    if given.list:
        width = max(map(len, known))
        print("\n".join(f"{one.name:{width}}  {one.about} ({one.unit})" for one in known.values()))
        return 0
    try:
        chosen = runner.choose(known, given.names)
    except ValueError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    ran = _print_json(chosen) if given.json else _print_table(chosen)
    return 0 if ran == len(chosen) else 1


def _print_json(chosen: list[Benchmark]) -> int:
    ran = 0
    for one, figure in runner.measure(chosen):
        print(runner.as_json(one, figure, runner.circumstances(datetime.now().astimezone())), flush=True)
        ran += 1
    return ran


def _print_table(chosen: list[Benchmark]) -> int:
    results = list(_told(runner.measure(chosen)))
    print(runner.as_table(results, runner.circumstances(datetime.now().astimezone())))
    return len(results)


def _told(results: Iterator[tuple[Benchmark, Figure]]) -> Iterator[tuple[Benchmark, Figure]]:
    """Say on stderr what is done, since a run may take minutes."""
    for one, figure in results:
        print(f"{one.name}: done", file=sys.stderr, flush=True)
        yield one, figure


if __name__ == "__main__":
    sys.exit(main())
