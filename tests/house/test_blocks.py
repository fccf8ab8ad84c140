"""Every code block of the documents is looked at by a test, or says why it is not."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nbplatform_spawners.cli import make_parser
from tests.docs.run_pages import RUN_WHOLE

from .configurations import load, mistakes
from .pages import ROOT, CodeBlock, code_blocks, page_paths
from .test_docs import ACCOUNTS, CASES, RULES, WRONG

PAGES = page_paths()
BLOCKS = [block for page in PAGES for block in code_blocks(page)]
LOG_MESSAGES = "docs/how-to/log-messages.md"
CONFIGURATIONS = {
    page: found
    for page in PAGES
    if (found := [block for block in code_blocks(page) if block.language == "python" and not block.mark])
}
UNITS = [block for block in BLOCKS if block.language == "ini" and not block.mark]


def follows_wrong_rules(block: CodeBlock) -> bool:
    """Tell whether a block is what the parser says of the wrong rules before it."""
    before = [other for other in code_blocks(block.page) if other.line < block.line]
    return bool(before) and before[-1] in WRONG


def is_generated(block: CodeBlock) -> bool:
    """Tell whether a block stands in a part of the reference that is generated."""
    above = (ROOT / block.page).read_text(encoding="utf-8").split("\n")[: block.line]
    marks = [line for line in above if line.startswith("<!-- generated: ")]
    return bool(marks) and "generated: end of " not in marks[-1]


def looked_at_by(block: CodeBlock) -> str | None:
    """Return which test looks at a block, or the reason why none does; None when nobody has said."""
    if reason := re.fullmatch(r"(?:not run|tested): (.+)", block.mark):
        return reason[1]
    match block.language:
        case "console":
            return "test_commands_print_what_the_page_shows"
        case "yaml" if block in (*RULES, *WRONG, *ACCOUNTS, *CASES):
            return "test_docs.py"
        case "text" if block.page == LOG_MESSAGES:
            return "test_every_entry_has_an_example_a_cause_and_an_action"
        case "text" if follows_wrong_rules(block):
            return "test_mistakes_on_purpose_are_told_as_the_page_shows"
        case "text" if is_generated(block):
            return "test_the_generated_reference_is_up_to_date"
        case "python" if not block.mark:
            return "test_a_configuration_on_a_page_is_one"
        case "ini" if not block.mark:
            return "test_a_unit_on_a_page_starts_what_there_is"
        case "{eval-rst}":
            return "the build of the documents"
    return RUN_WHOLE.get(block.page)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_looked_at_or_says_why_not(page: str) -> None:
    """A block that no test looks at could be wrong for years."""
    lost = [f"{block}: {block.language or 'no language'}" for block in code_blocks(page) if not looked_at_by(block)]
    assert not lost, "give them a language that a test knows, or a mark (see tests/house/pages.py)"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark.startswith("tested: ")], ids=str)
def test_the_test_that_a_mark_names_is_there(block: CodeBlock) -> None:
    """``tested:`` names a file of the suite that holds tests."""
    path = ROOT / block.mark.removeprefix("tested: ")
    assert re.fullmatch(r"test_\w+\.py", path.name)
    assert "def test_" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", RUN_WHOLE)
def test_a_page_that_is_run_whole_has_its_test(page: str) -> None:
    """The test that runs a page takes the blocks from it."""
    assert page in PAGES
    assert f'"{page}"' in (ROOT / RUN_WHOLE[page]).read_text(encoding="utf-8")


def test_a_block_that_nobody_looks_at_is_noticed() -> None:
    """The walk can fail: for unknown languages, for texts without a mark, for files without a test."""
    for language in ("sh", "bash", "text", "json", "", "{toctree}"):
        assert looked_at_by(CodeBlock("README.md", 1, language, "x\n")) is None, language
    assert looked_at_by(CodeBlock("README.md", 1, "python", "x\n", "file: x.py")) is None
    assert looked_at_by(CodeBlock("README.md", 1, "sh", "x\n", "not run: needs a cluster")) == "needs a cluster"


# Configurations


@pytest.mark.parametrize("page", CONFIGURATIONS)
def test_a_configuration_on_a_page_is_one(page: str, tmp_path: Path) -> None:
    """The Python of a page, block after block, runs as one ``jupyterhub_config.py`` and sets what exists."""
    path = tmp_path / "jupyterhub_config.py"
    path.write_text("".join(block.text for block in CONFIGURATIONS[page]))
    config = load(path)
    assert config
    assert mistakes(config) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("c.JupyterHub.bind_ulr = 'http://127.0.0.1'", "c.JupyterHub.bind_ulr does not exist"),
        ("c.LokalSpawner.gpus = []", "c.LokalSpawner.gpus does not exist"),
        ("c.LocalSpawner.gpus = 3", "c.LocalSpawner.gpus: "),
    ],
)
def test_a_wrong_setting_is_noticed(line: str, expected: str, tmp_path: Path) -> None:
    """Misspelt settings and classes, and values of another type."""
    path = tmp_path / "jupyterhub_config.py"
    path.write_text(f"{line}\n")
    found = mistakes(load(path))
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_on_a_page_is_formatted_as_the_code_is(block: CodeBlock) -> None:
    """What a reader copies has no name that is not defined, nothing unused, and the style of the house."""
    ast.parse(block.text)
    for arguments in (["format", "--check", "--diff"], ["check", "--select", "F,E,B,I", "--ignore", "F821,E402"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *arguments,
            "--quiet",
            "--no-cache",
            "--line-length",
            "120",
            "--isolated",
            "-",
        ]
        ran = subprocess.run(command, input=block.text, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{block}:\n{ran.stdout}{ran.stderr}"


# Units of systemd


@pytest.mark.parametrize("block", UNITS, ids=str)
def test_a_unit_on_a_page_starts_what_there_is(block: CodeBlock) -> None:
    """It has its three sections, no key twice but those that may, and its commands have the flags that they use."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block.text)
    assert unit.sections() == ["Unit", "Service", "Install"]
    commands = [shlex.split(unit["Service"][key]) for key in ("ExecStartPre", "ExecStart")]
    for program, *arguments in commands:
        name = Path(program).name
        assert name in ("nbplatform", "jupyterhub"), program
        if name == "nbplatform":
            make_parser().parse_args(arguments)
        else:
            assert (arguments[0], arguments[1::2][:1]) == ("-f", ["/etc/jupyterhub/jupyterhub_config.py"])
    assert unit["Service"]["KillMode"] == "process", "servers must outlive the hub"
