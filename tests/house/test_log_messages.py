"""Every warning, error line and refusal label of the package has its entry in ``docs/how-to/log-messages.md``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from nbplatform_spawners.errors import REFUSALS

from .pages import ROOT, prose

PAGE = "docs/how-to/log-messages.md"
USERS_PAGE = "docs/tutorials/your-server.md"
LOUD = ("warning", "error", "critical", "exception")
PASSED_ON = {"%s"}
"""Formats that only pass on lines which are documented where they are made: mistakes of rules and accounts."""


def loud_formats(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and format of each warning and error that a module logs."""
    tree = ast.parse(source)
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOUD:
            if ast.unparse(node.func.value).split(".")[-1] not in ("log", "logger"):
                continue
            format_ = node.args[0]
            text = constants.get(format_.id) if isinstance(format_, ast.Name) else getattr(format_, "value", None)
            assert isinstance(text, str), f"line {node.lineno}: the format of a log line must be a plain text"
            yield node.lineno, text


def labels(source: str) -> set[str]:
    """Return the labels that a module gives to refusals as plain texts."""
    return {
        str(node.args[0].value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] == "Refusal"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def sources() -> list[tuple[str, str]]:
    """Return (path, text) of each module of the package."""
    paths = sorted((ROOT / "nbplatform_spawners").rglob("*.py"))
    return [(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths]


FORMATS = {text: f"{path}:{line}" for path, source in sources() for line, text in loud_formats(source)}
ENTRIES = set(re.findall(r"^### `(.*)`$", prose(PAGE), re.MULTILINE))
DOCUMENTED_LABELS = set(REFUSALS)


def test_every_warning_and_error_line_has_an_entry() -> None:
    """Who finds a line in the hub's log finds its cause and what to do on one page."""
    lost = {text: where for text, where in FORMATS.items() if text not in ENTRIES | PASSED_ON}
    assert not lost, f"describe these in {PAGE}: {lost}"


def test_no_entry_is_about_a_line_that_is_gone() -> None:
    """An entry whose line was changed would never be found."""
    assert not ENTRIES - set(FORMATS)


def test_the_lines_of_a_module_are_found() -> None:
    """The walk sees calls, joined texts and constants; a computed text fails loudly."""
    source = 'TEXT = "c %s"\nself.log.warning("a %s" " b", 1)\nlog.error(TEXT, 2)\nlog.info("quiet")\nx.warning("y")\n'
    assert list(loud_formats(source)) == [(2, "a %s b"), (3, "c %s")]


def test_every_label_of_a_refusal_is_explained_to_administrators_and_users() -> None:
    """Each label stands in the table of either page, and no other does."""
    used = set().union(*(labels(source) for _, source in sources()))
    assert used <= DOCUMENTED_LABELS, "a label that REFUSALS does not tell"
    for page in (PAGE, USERS_PAGE):
        assert set(re.findall(r"^\| `([a-z-]+)` \|", prose(page), re.MULTILINE)) == DOCUMENTED_LABELS
