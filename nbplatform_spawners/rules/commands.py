"""``nbplatform rules``: check, explain, diff, test and schema."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..accounts.yaml_file import parse_accounts
from ..errors import BadFile, Mistake, Refusal
from ..id_options import add_id_range, id_range
from ..names import bounded
from ..yaml_nodes import suggestion
from . import help_texts
from .cases import Case, Difference, parse_cases, run_case
from .check import find_account_warnings, find_warnings
from .explain import Changes, changes, describe_changes, explain, printable, table
from .model import RuleBook
from .people import People
from .schema import json_schema
from .store import load, read_files
from .units import format_count, parse_time

GOOD, BAD, USAGE, REFUSED = 0, 1, 2, 3
_MOST_MISTAKES = 1000
_Run = Callable[[argparse.Namespace], int]


class _WrongUse(Exception):
    """The command line names what does not exist, or contradicts itself."""


def add_commands(subparsers: Any) -> None:
    """Add ``rules`` and its sub-commands to the parser of ``nbplatform``.

    Args:
        subparsers: what ``ArgumentParser.add_subparsers`` returned; each command sets ``run``, a function of the
            parsed arguments that returns the exit status.
    """
    rules = subparsers.add_parser(
        "rules",
        help="check, explain, compare and test the rules",
        description=help_texts.RULES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = rules.add_subparsers(required=True, metavar="COMMAND")
    _add_check(commands)
    _add_explain(commands)
    _add_diff(commands)
    _add_test(commands)
    _command(commands, "schema", "print the JSON Schema for editors", help_texts.SCHEMA, run_schema)


def _command(commands: Any, name: str, short: str, text: str, run: _Run) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=short, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=_guarded(run))
    return parser


def _add_check(commands: Any) -> None:
    check = _command(commands, "check", "name every mistake in a directory of rules", help_texts.CHECK, run_check)
    check.add_argument("directory", metavar="DIR", type=Path, help="the rules")
    check.add_argument("--accounts", metavar="FILE", type=Path, help="also warn of what does not fit these accounts")
    add_id_range(check)


def _add_explain(commands: Any) -> None:
    parser = _command(commands, "explain", "say what a user gets, and why", help_texts.EXPLAIN, run_explain)
    parser.add_argument("user", metavar="USER", nargs="?", help="name of the account")
    parser.add_argument("--all", action="store_true", help="every account and profile")
    parser.add_argument("--profile", metavar="P", help="the profile asked for (default: the first that is allowed)")
    parser.add_argument("--rules", metavar="DIR", type=Path, default=Path("placement_rules"), help="(%(default)s)")
    parser.add_argument("--accounts", metavar="FILE", type=Path, default=Path("accounts.yaml"), help="(%(default)s)")
    _add_question(parser)


def _add_diff(commands: Any) -> None:
    diff = _command(commands, "diff", "say who would get something else", help_texts.DIFF, run_diff)
    diff.add_argument("old", metavar="OLD", type=Path, help="the rules as they are")
    diff.add_argument("new", metavar="NEW", type=Path, help="the rules as they would be")
    diff.add_argument("--accounts", metavar="FILE", type=Path, required=True, help="the accounts")
    _add_question(diff)


def _add_test(commands: Any) -> None:
    test = _command(commands, "test", "run the cases that the site wrote", help_texts.TEST, run_test)
    test.add_argument("directory", metavar="DIR", type=Path, help="the rules; the cases are in DIR/tests/*.yaml")
    test.add_argument("--accounts", metavar="FILE", type=Path, help="(default: accounts.yaml beside DIR, if it exists)")
    add_id_range(test)


def _add_question(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at", metavar="TIME", type=_time, help="such as 2026-11-24T08:00+01:00 (default: now)")
    parser.add_argument("--provider", metavar="I", help="identity provider they come through (default: a local login)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(%(default)s)")
    add_id_range(parser)


def run_check(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform rules check``; return the exit status."""
    mistakes: list[Mistake] = []
    book, people = None, None
    try:
        book = load(arguments.directory)
    except BadFile as error:
        mistakes += error.mistakes
    try:
        people = _people(arguments.accounts, arguments) if arguments.accounts else None
    except BadFile as error:
        mistakes += error.mistakes
    if book is None or mistakes:
        _say_mistakes(mistakes, sys.stdout)
        return BAD
    warnings = list(find_warnings(book))
    if people:
        warnings += find_account_warnings(book, people, datetime.now(UTC))
    _say(f"{warning.file}:{warning.line}: warning: {warning.message}" for warning in sorted(warnings))
    _say([_summary(book, len(warnings))])
    return GOOD


def run_explain(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform rules explain``; return the exit status."""
    if bool(arguments.user) == arguments.all:
        raise _WrongUse("name a USER, or say --all")
    book, people = load(arguments.rules), _people(arguments.accounts, arguments)
    now: datetime = arguments.at or datetime.now(UTC)
    if arguments.profile is not None:
        _demand("profile", arguments.profile, book.profiles)
    if arguments.all:
        found = people.decide_all(book, now=now, provider=arguments.provider)
        decisions = [one for one in found if arguments.profile in (None, one.profile)]
        as_json = arguments.format == "json"
        _say((json.dumps(one.to_dict()) for one in decisions) if as_json else [table(decisions)])
        return GOOD
    user: str = arguments.user if arguments.user in people.names else arguments.user.lower()
    _demand("user", user, people.names)
    decision = people.decide(book, user, profile=arguments.profile, now=now, provider=arguments.provider)
    _say([json.dumps(decision.to_dict(), indent=2) if arguments.format == "json" else explain(decision)])
    return GOOD if decision.allowed else REFUSED


def run_diff(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform rules diff``; return the exit status."""
    people = _people(arguments.accounts, arguments)
    found = _differences(load(arguments.old), load(arguments.new), people, arguments)
    if arguments.format == "json":
        for (user, profile), change in found.items():
            told = {key: {"old": old, "new": new} for key, (old, new) in change.items()}
            _say([json.dumps({"user": user, "profile": profile, "changes": told})])
    else:
        shown = {(user, profile or "no profile asked for"): change for (user, profile), change in found.items()}
        _say([describe_changes(shown) if shown else "nobody would get anything else"])
    return GOOD


def run_test(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform rules test``; return the exit status."""
    directory: Path = arguments.directory
    accounts: Path = arguments.accounts or directory.absolute().parent / "accounts.yaml"
    if not arguments.accounts and not accounts.exists():
        raise _WrongUse(
            f"there is no accounts.yaml beside {bounded(directory)}; name the accounts with --accounts FILE"
        )
    book, people = load(directory), _people(accounts, arguments)
    if not (directory / "tests").is_dir():
        raise BadFile([Mistake("tests", 0, f"{bounded(directory)} has no folder 'tests' with cases (*.yaml)")])
    files = {f"tests/{name}": content for name, content in read_files(directory / "tests").items()}
    cases = parse_cases(files, book, people)
    now = datetime.now(UTC)
    failed = [(case, found) for case in cases if (found := run_case(case, book, people, now))]
    for case, found in failed:
        _say(_told(case, found))
    _say([f"{format_count(len(cases), 'case')}: {len(cases) - len(failed)} passed, {len(failed)} failed"])
    return BAD if failed or not cases else GOOD  # a site that tests nothing must not pass


def run_schema(_: argparse.Namespace) -> int:
    """Run ``nbplatform rules schema``; return the exit status."""
    _say([json.dumps(json_schema(), indent=2)])
    return GOOD


def _guarded(run: _Run) -> _Run:
    """Return ``run`` with its errors told on the standard error, as an exit status."""

    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except BadFile as error:
            _say_mistakes(error.mistakes, sys.stderr)
            return BAD
        except Refusal as error:  # of the command line's own identity provider
            _say([error.message], sys.stderr)
        except _WrongUse as error:
            _say([f"nbplatform rules: {error}"], sys.stderr)
        return USAGE

    return guarded


def _differences(
    old: RuleBook, new: RuleBook, people: People, arguments: argparse.Namespace
) -> dict[tuple[str, str | None], Changes]:
    """Return what would change, by user and profile; profile None for a user who names none."""
    now: datetime = arguments.at or datetime.now(UTC)
    found = {}
    for profile in (None, *dict.fromkeys((*old.profiles, *new.profiles))):
        for user in people.names:
            before, after = (
                people.decide(book, user, profile=profile, now=now, provider=arguments.provider)
                if profile is None or profile in book.profiles
                else None
                for book in (old, new)
            )
            if profile is None and before and after and before.profile == after.profile:
                continue  # what changes in that profile is told there
            change = changes(before, after)
            if change:
                found[user, profile] = change
    return found


def _people(path: Path, arguments: argparse.Namespace) -> People:
    try:
        allowed = id_range(arguments)
    except ValueError as error:
        raise _WrongUse(str(error)) from None
    try:
        content = path.read_bytes()
    except OSError as error:
        shown = bounded(path, 200)[1:-1]
        raise BadFile([Mistake(shown, 0, f"the accounts file cannot be read: {error.strerror}")]) from None
    found = parse_accounts(content, path.name)
    return People(found.accounts, found.refusals, allowed)


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{bounded(text)}: {error}") from None


def _demand(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise _WrongUse(f"unknown {what} {bounded(name)}{suggestion(name, known)}")


def _told(case: Case, found: Iterable[Difference]) -> list[str]:
    asked = f"{case.user}, {case.profile or 'no profile'}"
    lines = [f"{case.file}:{case.line}: failed: {case.name} ({asked})"]
    for one in found:
        lines += [f"  {one.what}", f"    expected  {one.expected}", f"    got       {one.got}", f"    {one.why}"]
    return [line.replace("\n", "\\n") for line in lines]


def _summary(book: RuleBook, warnings: int) -> str:
    counts = ((len(book.rules), "rule"), (len(book.profiles), "profile"), (len(book.pools), "pool"))
    found = ", ".join(format_count(number, what) for number, what in counts)
    return f"no mistake, {format_count(warnings, 'warning')}: {found}, generation {book.generation[:12]}"


def _say_mistakes(mistakes: Iterable[Mistake], stream: Any) -> None:
    lines = [str(mistake).replace("\n", "\\n") for mistake in sorted(mistakes)]
    rest = len(lines) - _MOST_MISTAKES
    _say([*lines[:_MOST_MISTAKES], *([f"and {rest} more"] if rest > 0 else [])], stream)


def _say(lines: Iterable[str], stream: Any = None) -> None:
    for line in lines:
        (stream or sys.stdout).write(printable(line) + "\n")
