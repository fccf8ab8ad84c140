"""What the documents say is true of the code: every rule file parses, every command prints what is shown."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbplatform_spawners.accounts.parse import parse_accounts
from nbplatform_spawners.errors import BadFile
from nbplatform_spawners.rules.cases import parse_cases
from nbplatform_spawners.rules.fields import LANGUAGE
from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.rules.people import People

from .pages import ROOT, CodeBlock, anchors, code_blocks, commands, links, page_paths, prose

SITE = ROOT / "placement_rules" / "example-site"
PAGES = page_paths()
YAML = [
    block
    for page in PAGES
    for block in code_blocks(page)
    if block.language == "yaml" and not block.mark.startswith("tested: ")
]
WRONG = [block for block in YAML if block.mark == "rules: wrong"]
ACCOUNTS = [block for block in YAML if block.mark == "accounts" or re.fullmatch(r"file: .*accounts\.yaml", block.mark)]
CASES = [block for block in YAML if block.mark == "cases"]
RULES = [
    block
    for block in YAML
    if block not in ACCOUNTS and (block.mark == "" or block.mark.startswith(("file: ", "rules: replaces ")))
]
WITH_COMMANDS = [page for page in PAGES if any(block.language == "console" for block in code_blocks(page))]
END = "@@@ end of command {} @@@"


def book_files(block: CodeBlock) -> dict[str, bytes]:
    """Return the rule files that a block makes: alone when it has profiles, else with the example site's."""
    if re.search(r"^profiles:", block.text, re.MULTILINE):
        return {"rules.yaml": block.text.encode()}
    files = {path.name: path.read_bytes() for path in (SITE / "placement_rules").glob("*.yaml")}
    replaced = block.mark.removeprefix("rules: replaces ") if block.mark.startswith("rules: replaces ") else ""
    if replaced:
        assert replaced in files, f"{block}: the example site has no file {replaced}"
    files[replaced or "99-page.yaml"] = block.text.encode()
    return files


@pytest.mark.parametrize("block", RULES, ids=str)
def test_a_rule_file_on_a_page_parses(block: CodeBlock) -> None:
    """Rules that a reader copies hold no mistake; those without profiles are added to the example site."""
    book = parse_rules(book_files(block))
    assert book.rules or book.profiles


@pytest.mark.parametrize("block", WRONG, ids=str)
def test_mistakes_on_purpose_are_told_as_the_page_shows(block: CodeBlock) -> None:
    """Where a page shows wrong rules, the text below is what the parser says of them."""
    following = code_blocks(block.page)
    shown = following[following.index(block) + 1]
    assert shown.language == "text", f"{shown}: what the parser says must follow the wrong rules"
    with pytest.raises(BadFile) as caught:
        parse_rules({"rules.yaml": block.text.encode()})
    assert f"{caught.value}\n" == shown.text


@pytest.mark.parametrize("block", ACCOUNTS, ids=str)
def test_accounts_on_a_page_parse(block: CodeBlock) -> None:
    """Accounts that a reader copies hold no mistake, and none of them is refused."""
    found = parse_accounts(block.text.encode(), "accounts.yaml")
    assert found.accounts
    assert not found.refusals


@pytest.mark.parametrize("block", CASES, ids=str)
def test_cases_on_a_page_parse(block: CodeBlock) -> None:
    """Cases on a page are about the example site and parse with it."""
    accounts = parse_accounts((SITE / "accounts.yaml").read_bytes(), "accounts.yaml")
    book = parse_rules({path.name: path.read_bytes() for path in (SITE / "placement_rules").glob("*.yaml")})
    assert parse_cases({"cases.yaml": block.text.encode()}, book, People(accounts.accounts, accounts.refusals))


def test_every_yaml_block_is_of_a_known_kind() -> None:
    """A block that no test looks at could be wrong for years."""
    assert {str(block) for block in YAML} == {str(block) for block in (*RULES, *WRONG, *ACCOUNTS, *CASES)}
    assert WRONG, "the pages show no mistake"


def script_of(page: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a page as one shell script, and (place and command, output shown) of each of its commands."""
    lines, shown = ["set +e"], []
    for block in code_blocks(page):
        if block.mark.startswith("file: "):
            name = block.mark.removeprefix("file: ")
            lines += [f'mkdir -p "$(dirname {name})"', f"cat > {name} <<'END_OF_FILE'", block.text + "END_OF_FILE"]
        elif block.language == "console":
            for command in commands(block):
                lines += [command.text, f"( exit $? ); status=$?; echo '{END.format(len(shown))}'; ( exit $status )"]
                shown.append((f"{block}: {command.text}", command.output))
    return "\n".join(lines) + "\n", shown


def run_page(page: str, folder: Path) -> list[tuple[str, str, str]]:
    """Run a page's commands in order beside a copy of ``placement_rules``; return (command, shown, got) of each."""
    shutil.copytree(ROOT / "placement_rules", folder / "placement_rules")
    script, shown = script_of(page)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "100", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    rest, results = ran.stdout, []
    for number, (command, output) in enumerate(shown):
        got, found, rest = rest.partition(END.format(number) + "\n")
        assert found, f"{command}: the shell ended before it; it said:\n{got}"
        results.append((command, output, got))
    return results


def fits(shown: str, got: str) -> bool:
    """Tell whether an output is the one shown: a line ``...`` stands for any lines, ``…`` for the rest of a word."""
    pieces = re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE)
    patterns = (re.escape(piece).replace("…", r"\S+") for piece in pieces)
    return re.fullmatch(r"(?:.*\n)*".join(patterns), got) is not None


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_print_what_the_page_shows(page: str, tmp_path: Path) -> None:
    """A ``console`` block is run as it stands, beside a copy of the placement_rules folder."""
    wrong = []
    for command, shown, got in run_page(page, tmp_path):
        if not fits(shown, got):
            wrong.append(f"{command}\n" + "".join(difflib.ndiff(shown.splitlines(True), got.splitlines(True))))
    assert not wrong, "\n\n".join(wrong)


def test_an_output_that_differs_is_noticed() -> None:
    """The comparison of outputs can fail; only the dots stand for something else."""
    assert fits("a\n...\nd\n", "a\nb\nc\nd\n")
    assert not fits("a\nd\n", "a\nb\nd\n")
    assert not fits("a.\n", "ab\n")
    assert fits("generation 3f…\n", "generation 3f9c\n")
    assert not fits("generation 3f…\n", "generation 3f9c, bad\n")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """A link between pages names a file that exists and, after ``#``, one of its headings."""
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page} links to {link}, which does not exist"
        if anchor:
            assert anchor in anchors(str(path.resolve().relative_to(ROOT))), f"{page}: no heading for {link}"


def test_every_page_of_the_documents_is_on_the_map() -> None:
    """``docs/index.md`` links to every page below ``docs``."""
    linked = {
        str((ROOT / "docs" / link).resolve().relative_to(ROOT)) for link in links("docs/index.md") if ":" not in link
    }
    assert {page for page in PAGES if page.startswith("docs/")} - {"docs/index.md"} <= linked


@pytest.mark.parametrize("place", LANGUAGE.places)
def test_every_key_of_the_rules_is_in_the_reference(place: str) -> None:
    """Each key of the language stands in the table of its place."""
    page = prose("docs/reference/rules.md")
    title = f"### Keys of {LANGUAGE.places[place]}\n"
    assert title in page
    table = page.split(title)[1].split("###")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(LANGUAGE.at[place])


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_prose_has_one_sentence_a_line(page: str) -> None:
    """A sentence begins on a line of its own, so that a change shows as the sentences that changed."""
    for line in prose(page).split("\n"):
        if not line.lstrip().startswith(("|", "#", "<!--")):
            assert not re.search(r"[a-z`)][.!?] +[A-Z`][a-z]", line), f"{page}: two sentences in: {line}"
