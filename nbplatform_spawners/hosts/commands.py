"""``nbplatform hosts``: status, check, drain and pull."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from ..errors import BadFile
from ..rules.explain import printable
from ..rules.units import format_count
from . import help_texts
from .choose import (
    WrongUse,
    add_check,
    add_common,
    add_filters,
    add_pull,
    read_asking,
    read_decisions,
    read_roots,
    read_site,
    unknown,
)
from .drain import drain_edit, drain_lines, drain_object, others_serving
from .judge import Expected, judge
from .pull_lines import PullLines, Terminal
from .report import (
    HostStatus,
    Target,
    finding_lines,
    finding_object,
    sorted_findings,
    status_object,
    status_table,
)
from .uses import uses_of

GOOD, BAD, USAGE = 0, 1, 2
_Run = Callable[[argparse.Namespace], int]
T = TypeVar("T")


def add_commands(subparsers: Any) -> None:
    """Add ``hosts`` and its sub-commands to the parser of ``nbplatform``.

    Args:
        subparsers: what ``ArgumentParser.add_subparsers`` returned; each command sets ``run``, a function of the
            parsed arguments that returns the exit status.
    """
    hosts = subparsers.add_parser(
        "hosts",
        help="look at the Docker hosts, check them, drain one, fetch images",
        description=help_texts.HOSTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = hosts.add_subparsers(required=True, metavar="COMMAND")
    status = _command(commands, "status", "say how each host is", help_texts.STATUS, run_status)
    add_filters(status)
    check = _command(commands, "check", "name all that is wrong with the hosts", help_texts.CHECK, run_check)
    add_filters(check)
    add_check(check)
    drain = _command(commands, "drain", "show how to drain a host", help_texts.DRAIN, run_drain)
    drain.add_argument("name", metavar="HOST", help="the host's name in the rules")
    pull = _command(commands, "pull", "fetch images", help_texts.PULL, run_pull)
    add_filters(pull)
    add_pull(pull)


def _command(commands: Any, name: str, short: str, text: str, run: _Run) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=short, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser)
    parser.set_defaults(run=_guarded(run))
    return parser


def run_status(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform hosts status``; return the exit status."""
    from .survey import look

    site, asking = read_site(arguments), read_asking(arguments)
    statuses = _at_once(look(target, asking) for target in site.targets)
    if arguments.json:
        _say_json({"generation": site.book.generation, "hosts": [status_object(status) for status in statuses]})
    else:
        _say(status_table(statuses))
    return GOOD if all(status.reachable for status in statuses) else BAD


def run_check(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform hosts check``; return the exit status."""
    from .survey import Wanted, look_closely

    roots = read_roots(arguments)
    site, asking = read_site(arguments), read_asking(arguments)
    now = datetime.now(UTC)
    uses = uses_of(site.book, read_decisions(site.book, arguments, now))
    wanted = Wanted(uses, roots, arguments.probe_image)
    facts = _at_once(look_closely(target, asking, wanted) for target in site.targets)
    findings = judge(facts, Expected(uses, roots, now, arguments.certificate_days))
    problems, notes = (sorted_findings(findings, level) for level in ("problem", "note"))
    if arguments.json:
        shown = [finding_object(finding) for finding in (*problems, *notes)]
        _say_json({"generation": site.book.generation, "hosts": len(facts), "findings": shown})
    else:
        _say(finding_lines(findings, len(facts)))
    return BAD if problems else GOOD


def run_drain(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform hosts drain``; return the exit status."""
    site = read_site(arguments)
    target = next((found for found in site.targets if found.host.name == arguments.name), None)
    if target is None:
        raise unknown("host", arguments.name, (found.host.name for found in site.targets))
    try:
        edit = drain_edit(site.files, arguments.name, drain=not target.host.drain)
    except (KeyError, ValueError) as error:
        raise WrongUse(f"{error.args[0]}; set 'drain: true' in it by hand") from None
    status = _look_if_possible(target, arguments)
    others = others_serving(site.book, target.pool, arguments.name)
    if arguments.json:
        _say_json(drain_object(target, edit, status))
    else:
        _say(drain_lines(target, edit, status, others))
    return GOOD


def run_pull(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform hosts pull``; return the exit status."""
    from .survey import pull

    site, asking = read_site(arguments), read_asking(arguments)
    named = tuple(dict.fromkeys(arguments.images))
    used = uses_of(site.book).images
    wanted = [(target, named or used.get(target.host.name, ())) for target in site.targets]
    wanted = [(target, images) for target, images in wanted if images]
    if not wanted:
        raise WrongUse("the rules name no image for these hosts; name the images to fetch")
    stream = sys.stderr if arguments.json else sys.stdout
    size = shutil.get_terminal_size()
    terminal = Terminal(size.columns, size.lines) if stream.isatty() else None
    lines = PullLines(stream, [target.host.name for target, _ in wanted], terminal)

    async def pull_one(target: Target, image: str) -> str:
        return await pull(target, asking, image, partial(lines.progress, target.host.name, image))

    done = [one for found in _at_once(_pull_all(*each, pull_one, lines) for each in wanted) for one in found]
    failed = [one for one in done if one["problem"]]
    if arguments.json:
        _say_json({"generation": site.book.generation, "images": done})
    else:
        summary = f"{len(done) - len(failed)} of {len(done)} fetched, on {format_count(len(wanted), 'host')}"
        _say([*(_failed_line(one) for one in failed if terminal), summary])
    return BAD if failed else GOOD


async def _pull_all(
    target: Target, images: Iterable[str], pull_one: Callable[[Target, str], Awaitable[str]], lines: PullLines
) -> list[dict[str, str | None]]:
    """Fetch images on one host, one after the other; return what became of each."""
    host, found = target.host.name, []
    for image in images:
        lines.step(host, f"fetching {image}")
        problem = await pull_one(target, image)
        lines.step(host, f"failed: {image}: {problem}" if problem else f"has {image}")
        found.append({"host": host, "image": image, "problem": problem or None})
    return found


def _failed_line(one: dict[str, str | None]) -> str:
    return f"{one['host']}: failed: {one['image']}: {one['problem']}"


def _look_if_possible(target: Target, arguments: argparse.Namespace) -> HostStatus:
    """Return how a host is; what the rules say can be shown without it, so that no answer is no failure."""
    try:
        from .survey import look
    except ImportError as error:
        return HostStatus(target, _lacking(error))
    (status,) = _at_once([look(target, read_asking(arguments))])
    return status


def _lacking(error: ImportError) -> str:
    package = (error.name or "docker").partition(".")[0]
    return f"the Python package '{package}' is missing: pip install \".[docker]\" in the platform's checkout"


def _guarded(run: _Run) -> _Run:
    """Return ``run`` with its errors told on the standard error, as an exit status."""

    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except BadFile as error:
            _say((str(mistake).replace("\n", "\\n") for mistake in error.mistakes), sys.stderr)
            return BAD
        except ImportError as error:
            _say([f"nbplatform hosts: {_lacking(error)}"], sys.stderr)
        except WrongUse as error:
            _say([f"nbplatform hosts: {error}"], sys.stderr)
        return USAGE

    return guarded


def _at_once(questions: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Ask all hosts at once and return their answers in order."""

    async def ask() -> list[T]:
        return await asyncio.gather(*questions)

    return asyncio.run(ask())


def _say_json(shown: Any) -> None:
    _say([json.dumps(shown, indent=2)])


def _say(lines: Iterable[str], stream: Any = None) -> None:
    for line in lines:
        (stream or sys.stdout).write(printable(line) + "\n")
