"""Run every check and the whole test suite on this machine, and say what could not be run and why."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from lanes import halves, run_halves
from machine_tools import DOCKER, SLURM, SUITE, Tool, install
from steps import say

CHECKOUT = Path(__file__).resolve().parent.parent
ROOT_BUILDS = {"modern Docker": "docker_modern"} if os.geteuid() == 0 else {}
"""Only root can run Docker hosts."""
sys.path.insert(0, str(CHECKOUT))  # for what the tests share: tests/components

from tests.components import MissingComponent  # noqa: E402
from tests.components.proxy import cache_folder, proxy_command  # noqa: E402


def main(arguments: Sequence[str]) -> int:
    """Run all checks, also behind one that fails; returns 0 when every one passed, else 1."""
    lacking = [f"{tool.names[0]} (Debian package {tool.package})" for tool in prepare()]
    lacking += prepare_proxy()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"}
    with builds_in_the_background():
        results = {name: run_check(name, command, environment) for name, command in checks().items()}
        results |= run_suite(arguments, environment)
    return report(results, lacking, strict=requires_all(arguments))


def prepare() -> Sequence[Tool]:
    """Install the machine's programs that the suite uses; returns what is missing after that."""
    lacking = install((*SUITE, *((*DOCKER, *SLURM) if os.geteuid() == 0 else ())))
    for tool in lacking:
        say(f"{tool.names[0]} is missing: {tool.use} skip (as root: apt-get install {tool.package})")
    return lacking


def prepare_proxy() -> list[str]:
    """Get configurable-http-proxy, once for all tests; returns it when it cannot be had."""
    try:
        proxy_command()
    except MissingComponent as error:
        say(str(error))
        return ["configurable-http-proxy"]
    return []


@contextlib.contextmanager
def builds_in_the_background() -> Iterator[None]:
    """Have what takes long built beside the checks, with low priority, unless it is built already.

    The tests that need it wait for it.  What it says is in a log; why it failed is said by the tests.
    """
    with contextlib.ExitStack() as stack:
        for name, module in {"Keycloak": "keycloak_build", **ROOT_BUILDS}.items():
            stack.enter_context(built_in_the_background(name, module))
        yield


@contextlib.contextmanager
def built_in_the_background(name: str, module: str) -> Iterator[None]:
    """Run the build of one component until the block ends."""
    log = cache_folder() / f"{name.replace(' ', '-').lower()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"{name} is built in the background, unless it is there (log: {log})")
    command = [sys.executable, "-m", f"tests.components.{module}"]
    with log.open("w") as output:
        building = subprocess.Popen(  # noqa: S603
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        building.terminate()  # has long ended unless this run was cut short
        building.wait()


def run_suite(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, int]:
    """Run pytest, in two processes where that is quicker; returns the status of each."""
    sides = halves(arguments, len(os.sched_getaffinity(0)))
    if sides:
        return run_halves(sides, arguments, environment)
    return {"pytest": run_check("pytest", [sys.executable, "-m", "pytest", *arguments], environment)}


def checks() -> dict[str, list[str]]:
    """Return the commands to run before the tests, by the name that the report gives them."""
    scripts = sorted(str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "scripts").glob("*.py"))
    return {
        "ruff check": ["ruff", "check"],
        "ruff format": ["ruff", "format", "--check"],
        "mypy": ["mypy", "nbplatform_spawners", *scripts],
        "import-linter": ["lint-imports", "--no-logo"],
    }


def run_check(name: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command in the checkout, without input; returns its status."""
    say(name)
    sys.stdout.flush()
    return subprocess.run(command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL).returncode  # noqa: S603


def requires_all(arguments: Sequence[str]) -> bool:
    """Tell whether ``--require all`` was given."""
    return "--require=all" in arguments or ("--require", "all") in pairwise(arguments)


def report(results: Mapping[str, int], lacking: Sequence[str], *, strict: bool) -> int:
    """Say how each check ended and what the machine lacks; returns the exit status."""
    say("result")
    for name, status in results.items():
        say(f"  {name:16} {'passed' if status == 0 else f'FAILED (status {status})'}")
    for name in lacking:
        say(f"  missing here: {name}{'' if strict else '; the tests that need it were skipped'}")
    return 1 if any(results.values()) or (strict and lacking) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
