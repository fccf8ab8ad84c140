"""The habits of the house: small pieces, no leftovers, a sentence on what each module is for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .pages import ROOT

MOST_LINES = 300
MOST_FUNCTION_LINES = 40
MOST_PARAMETERS = 6
FOLDERS = ("nbplatform_spawners", "tests", "benchmarks", "scripts", "docs", "hub_config", "images")
LONG_MODULES: dict[str, str] = {
    "nbplatform_spawners/slurm_dask/node.py": "copied to the nodes, where nothing else of the package is: one file"
}
"""Longer modules of the package, each with its reason."""
LONG_FUNCTIONS: dict[str, str] = {
    "nbplatform_spawners/slurm_dask/cluster.py:__init__": "its arguments are those that Dask's users know, one a line"
}
"""Longer functions of the package, each with its reason."""
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATH = re.compile(r"/wo" r"rk/|/tmp/ve" r"nv|/root/\.py" r"env|/home/(?:user|runner)/")
SKIPPED = {"__pycache__", "_build", ".mypy_cache", ".ruff_cache", "node_modules"}


def text_files() -> list[Path]:
    """Return every text file of the project."""
    found = [
        path for path in ROOT.iterdir() if path.suffix in (".md", ".cfg", ".toml", ".yaml") or path.name == "LICENSE"
    ]
    for folder in (*FOLDERS, "placement_rules", ".ci"):
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file() and not SKIPPED & set(path.parts)]
    return sorted(path for path in found if path.suffix not in (".pyc", ".sqlite", ".png"))


def python_files(*folders: str) -> list[Path]:
    """Return the Python files of these folders of the project."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if not SKIPPED & set(path.parts)]
    return sorted(found)


def shown(path: Path) -> str:
    """Return a path as people write it."""
    return str(path.relative_to(ROOT))


PACKAGE = python_files("nbplatform_spawners")


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield each function of a module, with the name it has in the lists above."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{shown(path)}:{node.name}", node


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function from ``def`` to its end, without its docstring."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many parameters a function has, apart from the object it belongs to."""
    parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(parameter.arg not in ("self", "cls") for parameter in parameters)


def test_modules_are_small() -> None:
    """At most 300 lines; a longer one needs its reason above."""
    lines = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE}
    assert len(lines) > 30
    assert {name: count for name, count in lines.items() if count > MOST_LINES and name not in LONG_MODULES} == {}


def test_functions_are_small() -> None:
    """At most 40 lines, the docstring not counted, and 6 parameters."""
    found = [pair for path in PACKAGE for pair in functions(path)]
    assert len(found) > 100
    long = {name: lines_of(node) for name, node in found if lines_of(node) > MOST_FUNCTION_LINES}
    assert {name: count for name, count in long.items() if name not in LONG_FUNCTIONS} == {}
    many = {name: parameters_of(node) for name, node in found if parameters_of(node) > MOST_PARAMETERS}
    assert {name: count for name, count in many.items() if name not in LONG_FUNCTIONS} == {}


def test_sizes_are_counted_as_people_count_them() -> None:
    """The docstring and ``self`` do not count, everything else does."""
    tree = ast.parse('def f(self, a, *, b):\n    """Say.\n\n    More.\n    """\n    x = 1\n    return x\n')
    (node,) = tree.body
    assert isinstance(node, ast.FunctionDef)
    assert (lines_of(node), parameters_of(node)) == (3, 2)


def test_an_exception_from_the_sizes_has_a_reason() -> None:
    """A reason is a sentence, and what it is about exists."""
    for name, reason in {**LONG_MODULES, **LONG_FUNCTIONS}.items():
        assert len(reason.split()) > 3, f"{name} needs a reason"
        assert (ROOT / name.partition(":")[0]).exists(), name


def test_modules_say_what_they_are_for() -> None:
    """Every module begins with a docstring, or (a configuration) with a comment; empty ones need none."""
    texts = {shown(path): path.read_text(encoding="utf-8") for path in python_files(*FOLDERS)}
    silent = [
        name
        for name, text in texts.items()
        if text.strip() and not ast.get_docstring(ast.parse(text)) and not re.match(r"(#!.*\n)?# \w", text)
    ]
    assert silent == []


def test_nothing_is_left_over() -> None:
    """No note to oneself, no path of one machine."""
    found = {}
    for path in text_files():
        text = path.read_text(encoding="utf-8")
        for what in (LEFTOVER, MACHINE_PATH):
            if hit := what.search(text):
                found[f"{shown(path)}:{text[: hit.start()].count(chr(10)) + 1}"] = hit[0]
    assert found == {}


def test_leftovers_are_noticed() -> None:
    """The patterns match what they are for."""
    assert LEFTOVER.search("# TO" + "DO: later")
    assert MACHINE_PATH.search("see /wo" + "rk/main")
    assert not MACHINE_PATH.search("the homework/ folder")


def test_no_module_is_a_drawer() -> None:
    """A helper lives where it is used: there is no ``utils.py``."""
    assert {path.stem for path in PACKAGE} & {"utils", "util", "helpers", "misc", "common"} == set()
