"""Finds the benchmarks, runs them and prints what they measured.

A benchmark is a function with the decorator :func:`benchmark` in any module of this package::

    @benchmark("decide", unit="µs", about="a decision with 1,000 rules")
    def decide() -> Figure:
        return Figure(ours=median_of(one_run, runs=5))

It asserts nothing: how fast is fast enough is for people to say.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("nbplatform-spawners", "PyYAML", "jupyterhub", "jupyter_server", "jupyterlab", "dockerspawner", "docker")
_HEADINGS = ("name", "ours", "peer", "ratio", "unit")


class CannotRun(Exception):
    """Raised by a benchmark that this machine cannot run; the text says what it lacks."""


@dataclass(frozen=True)
class Figure:
    """What one benchmark measured.

    Attributes:
        ours: our figure, in the benchmark's unit.
        peer: the same of whom we compare with; None where there is none.
    """

    ours: float
    peer: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its name, unit, what it measures, and the function that does."""

    name: str
    unit: str
    about: str
    measure: Callable[[], Figure]


_known: dict[str, Benchmark] = {}


def benchmark(name: str, *, unit: str, about: str) -> Callable[[Callable[[], Figure]], Callable[[], Figure]]:
    """Add the decorated function to the benchmarks.

    Args:
        name: what it is called on the command line.
        unit: unit of its figures.
        about: what it measures, in a few words.

    Raises:
        ValueError: another benchmark has this name.
    """

    def add(measure: Callable[[], Figure]) -> Callable[[], Figure]:
        if name in _known:
            raise ValueError(f"two benchmarks are called {name!r}")
        _known[name] = Benchmark(name, unit, about, measure)
        return measure

    return add


def find_benchmarks() -> Mapping[str, Benchmark]:
    """Return every benchmark of this package, by name."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__package__}.{module.name}")
    return dict(sorted(_known.items()))


def choose(known: Mapping[str, Benchmark], names: Iterable[str]) -> list[Benchmark]:
    """Return the named benchmarks, all of them when none is named.

    Raises:
        ValueError: a name is unknown; the message lists the known ones.
    """
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown benchmark {', '.join(map(ascii, unknown))}; there are: {', '.join(known)}")
    return [known[name] for name in names] or list(known.values())


def median_of(run: Callable[[], float], runs: int) -> float:
    """Return the median of what ``run`` returns each time."""
    return statistics.median(run() for _ in range(runs))


def measure(chosen: Iterable[Benchmark]) -> Iterator[tuple[Benchmark, Figure]]:
    """Run the benchmarks one after the other.  One that cannot run is said on stderr and left out."""
    for one in chosen:
        try:
            yield one, one.measure()
        except CannotRun as reason:
            tell(f"{one.name}: not run: {reason}")


def tell(words: str) -> None:
    """Say on stderr how far a benchmark is that takes a while."""
    print(words, file=sys.stderr, flush=True)


def circumstances(now: datetime) -> dict[str, Any]:
    """Return what a figure depends on: machine, versions and date.

    Args:
        now: aware time of the measurement.
    """
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"machine": _machine(), "versions": versions, "date": now.isoformat(timespec="seconds")}


def as_json(one: Benchmark, figure: Figure, around: Mapping[str, Any]) -> str:
    """Return one line: an object with ``name, ours, peer, unit, machine, versions, date``."""
    found = {"name": one.name, "ours": _rounded(figure.ours), "peer": _rounded(figure.peer), "unit": one.unit}
    return json.dumps({**found, **around}, ensure_ascii=False)


def as_table(results: Iterable[tuple[Benchmark, Figure]], around: Mapping[str, Any]) -> str:
    """Return the table for people, with the circumstances below it.

    ``ratio`` is ours divided by the peer's.
    """
    rows = [_HEADINGS, *(_row(one, figure) for one, figure in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    versions = ", ".join(f"{name} {version}" for name, version in around["versions"].items())
    return "\n".join([*lines, "", f"{around['machine']}; {versions}; {around['date']}"])


def _row(one: Benchmark, figure: Figure) -> tuple[str, ...]:
    peer = "-" if figure.peer is None else f"{_rounded(figure.peer)}"
    ratio = f"{figure.ours / figure.peer:.2f}" if figure.peer else "-"
    return (one.name, f"{_rounded(figure.ours)}", peer, ratio, one.unit)


def _rounded(figure: float | None) -> float | None:
    """Return four significant digits: more are noise."""
    return None if figure is None else float(f"{figure:.4g}")


def _machine() -> str:
    """Return the processor, its number of CPUs, the memory and the kernel, as far as they can be known."""
    processor, memory = platform.machine(), ""
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists() and meminfo.exists():
        lines = cpuinfo.read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        count = sum(line.startswith("processor") for line in lines)
        processor = f"{count} x {models[0] if models else processor}"
        kilobytes = int(meminfo.read_text().split(maxsplit=2)[1])
        memory = f", {kilobytes / 1024**2:.1f} GiB"
    return f"{processor}{memory}, {platform.system()} {platform.release()}"
