"""The project's Markdown pages, taken apart: code blocks with their marks, commands with their output, links.

A mark is an HTML comment on the line before a code block, which no reader sees:

- ``<!-- file: NAME -->``: the block is the content of this file, for the commands that follow on the page.  Of YAML a
  name that ends with ``accounts.yaml`` is an accounts file, any other a rule file.
- ``<!-- rules: wrong -->``: rules with mistakes on purpose; the next ``text`` block is what the parser says of them.
- ``<!-- rules: replaces NAME -->``: rules that stand in place of this file of the example site.
- ``<!-- accounts -->``, ``<!-- cases -->``: YAML of these kinds.
- ``<!-- tested: PATH -->``: this test runs what the block shows.
- ``<!-- not run: REASON -->``: no test looks at the block.

What an unmarked block is, and which test looks at it, is told by its language: see ``test_blocks.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^( *)```(\{?[\w-]*\}?)[^`]*$")
_MARK = re.compile(r"^ *<!-- *(.*?) *-->$")
_HEADING = re.compile(r"^(#+) (.*)$")
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^()\s]+)\)")
_PROMPT = "$ "


@dataclass(frozen=True)
class CodeBlock:
    """One fenced code block.

    Attributes:
        page: path below the repository.
        line: of the fence, counted from 1.
        language: the word after the fence; in braces when it is a directive of MyST.
        text: what it holds.
        mark: what the comment before it says; empty without one.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a ``console`` block and the output that is shown below it."""

    text: str
    output: str


def page_paths() -> list[str]:
    """Return every Markdown page, relative to the repository."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "placement_rules").rglob("*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found if "_build" not in path.parts)


@cache
def code_blocks(page: str) -> tuple[CodeBlock, ...]:
    """Return the code blocks of a page, in order."""
    return tuple(_blocks(page, (ROOT / page).read_text(encoding="utf-8").split("\n")))


def _blocks(page: str, lines: list[str]) -> Iterator[CodeBlock]:
    open_at, language, indent, mark = None, "", "", ""
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if open_at is None and fence:
            open_at, indent, language = number, fence[1], fence[2]
        elif open_at is not None and line.strip() == "```":
            text = "\n".join(inner.removeprefix(indent) for inner in lines[open_at : number - 1])
            yield CodeBlock(page, open_at, language, text + "\n", mark)
            open_at, mark = None, ""
        elif open_at is None:
            found = _MARK.match(line)
            mark = found[1] if found else mark if not line.strip() else ""
    assert open_at is None, f"{page}:{open_at}: the code block has no end"


def commands(block: CodeBlock) -> tuple[Command, ...]:
    """Return the commands of a ``console`` block; a line that ends with a backslash goes on in the next."""
    found: list[Command] = []
    going_on = False
    for line in block.text.split("\n")[:-1]:
        if going_on:
            found[-1] = Command(f"{found[-1].text}\n{line.removeprefix('> ')}", "")
        elif line.startswith(_PROMPT):
            found.append(Command(line.removeprefix(_PROMPT), ""))
        else:
            assert found, f"{block}: output without a command"
            found[-1] = Command(found[-1].text, found[-1].output + line + "\n")
        going_on = line.endswith("\\") and not found[-1].output
    return tuple(found)


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    kept, inside = [], False
    for line in (ROOT / page).read_text(encoding="utf-8").split("\n"):
        if line.strip().startswith("```"):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def links(page: str) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(prose(page))


def pictures(page: str) -> list[tuple[str, Path]]:
    """Return (alternative text, file) of a page's pictures."""
    return [(text, (ROOT / page).parent / target) for text, target in _PICTURE.findall(prose(page))]


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    titles = [found[2] for line in prose(page).split("\n") if (found := _HEADING.match(line))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
