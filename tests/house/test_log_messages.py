"""Every warning, error line and refusal label of the package has its entry in ``docs/how-to/log-messages.md``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from nbplatform_spawners.errors import REFUSALS

from .pages import ROOT, code_blocks, prose

PAGE = "docs/how-to/log-messages.md"
USERS_PAGE = "docs/tutorials/your-server.md"
LOUD = {"warning": "W", "error": "E", "exception": "E", "critical": "C"}
"""The methods of a logger that are meant, and the letters with which their lines begin."""
PASSED_ON = {"%s"}
"""Formats that only pass on lines which are documented where they are made: mistakes of rules and accounts."""


def loud_formats(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, letter of the level and format of each warning and error that a module logs."""
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
            if ast.unparse(node.func.value).split(".")[-1].lstrip("_") not in ("log", "logger"):
                continue
            format_ = node.args[0]
            text = constants.get(format_.id) if isinstance(format_, ast.Name) else getattr(format_, "value", None)
            assert isinstance(text, str), f"line {node.lineno}: the format of a log line must be a plain text"
            yield node.lineno, LOUD[node.func.attr], text


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


FORMATS = {text: f"{path}:{line}" for path, source in sources() for line, _, text in loud_formats(source)}
LETTERS = {text: letter for _, source in sources() for _, letter, text in loud_formats(source)}
PARTS = re.split(r"^#{2,} (.*)\n", (ROOT / PAGE).read_text(encoding="utf-8"), flags=re.MULTILINE)
BODIES = {title[1:-1]: body for title, body in zip(PARTS[1::2], PARTS[2::2], strict=True) if title.startswith("`")}
"""What stands under each entry's heading, by the format that the heading holds."""
ENTRIES = set(re.findall(r"^### `(.*)`$", prose(PAGE), re.MULTILINE))
DOCUMENTED_LABELS = set(REFUSALS)


def test_every_warning_and_error_line_has_an_entry() -> None:
    """Who finds a line in the hub's log finds its cause and what to do on one page."""
    lost = {text: where for text, where in FORMATS.items() if text not in ENTRIES | PASSED_ON}
    assert not lost, f"describe these in {PAGE}: {lost}"


def test_no_entry_is_about_a_line_that_is_gone() -> None:
    """An entry whose line was changed would never be found."""
    assert not ENTRIES - set(FORMATS)


def pattern_of(format_: str) -> str:
    """Return the regular expression of the lines that a format of ``logging`` makes."""
    pieces = re.split(r"%(?:\.\d+)?([sd%])", format_)
    kinds = {"s": ".*", "d": r"\d+", "%": "%"}
    return "".join(kinds[piece] if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))


def faults_of(body: str, line: str) -> list[str]:
    """Return what an entry lacks.

    Args:
        body: what stands under its heading.
        line: the regular expression of a whole line of the log.
    """
    parts = re.fullmatch(r"\n```text\n(.*?)```\n\nCause: \S.*", body, re.DOTALL)
    if parts is None:
        return ["a text block with an example first, then a line that begins with 'Cause: '"]
    faults = [] if re.search(r"^Action: \S", body, re.MULTILINE) else ["a line that begins with 'Action: '"]
    examples = parts[1].splitlines()
    if not examples or not all(re.fullmatch(line, example) for example in examples):
        faults.append(f"an example that matches {line}")
    return faults


@pytest.mark.parametrize("format_", sorted(BODIES))
def test_every_entry_has_an_example_a_cause_and_an_action(format_: str) -> None:
    """One shape for all; the example could have been logged with this format, at this level."""
    letter = LETTERS.get(format_, "[WEC]")
    assert faults_of(BODIES[format_], rf"\[{letter}\] {pattern_of(format_)}") == [], f"{PAGE}: {format_}"


def test_every_example_stands_under_an_entry() -> None:
    """Entries are the headings with a format, and no text block is anywhere else on the page."""
    assert set(BODIES) == ENTRIES
    assert sum(body.count("```text\n") for body in BODIES.values()) == sum(
        block.language == "text" for block in code_blocks(PAGE)
    )


GOOD = "\n```text\n[W] user=ada has 3 of 100%\n```\n\nCause: x.\nMore of it.\nAction: y.\n\n"
BAD = {
    "no example": (GOOD.replace("```text\n[W] user=ada has 3 of 100%\n```\n\n", ""), "a text block"),
    "an inline example": (GOOD.replace("```text\n", "Example: `").replace("\n```", "`"), "a text block"),
    "an empty example": (GOOD.replace("[W] user=ada has 3 of 100%\n", ""), "an example that matches"),
    "an example of another format": (GOOD.replace("has 3", "has x"), "an example that matches"),
    "an example of another level": (GOOD.replace("[W]", "[E]"), "an example that matches"),
    "no cause": (GOOD.replace("Cause: x.\n", ""), "a text block"),
    "no action": (GOOD.replace("Action: y.\n", ""), "a line that begins with 'Action: '"),
}


@pytest.mark.parametrize(("body", "fault"), BAD.values(), ids=BAD)
def test_an_entry_of_another_shape_is_noticed(body: str, fault: str) -> None:
    """The comparison can fail, for each part."""
    line = rf"\[W\] {pattern_of('user=%s has %d of 100%%')}"
    assert faults_of(GOOD, line) == []
    assert [found[: len(fault)] for found in faults_of(body, line)] == [fault]


def test_the_lines_of_a_module_are_found() -> None:
    """The walk sees calls, joined texts and constants; a computed text fails loudly."""
    source = 'TEXT = "c %s"\nself.log.warning("a %s" " b", 1)\nlog.error(TEXT, 2)\nlog.info("quiet")\nx.warning("y")\n'
    assert list(loud_formats(source)) == [(2, "W", "a %s b"), (3, "E", "c %s")]


def test_every_label_of_a_refusal_is_explained_to_administrators_and_users() -> None:
    """Each label stands in the table of either page, and no other does."""
    used = set().union(*(labels(source) for _, source in sources()))
    assert used <= DOCUMENTED_LABELS, "a label that REFUSALS does not tell"
    for page in (PAGE, USERS_PAGE):
        assert set(re.findall(r"^\| `([a-z-]+)` \|", prose(page), re.MULTILINE)) == DOCUMENTED_LABELS
