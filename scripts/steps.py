"""What the commands of this folder share: saying a step, running a program with a log, installing Debian packages.

Standard library alone: setup_env.py runs before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")
TAIL_LINES = 15
NETWORK_ERRORS = (
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Name or service not known",
    "Could not resolve",
    "Network is unreachable",
    "NewConnectionError",
    "NameResolutionError",
    "Connection refused",
    "ConnectTimeout",
    "Connection timed out",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "(from versions: none)",  # pip's last word when the index does not answer
)


class StepError(Exception):
    """A step failed; the text is for the person who runs the command."""


def say(text: str) -> None:
    """Tell one step, on standard error: standard output is for results."""
    sys.stderr.write(f"nbplatform: {text}\n")
    sys.stderr.flush()


def run(
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    explain: Callable[[str], str] = lambda output: "",
) -> None:
    """Run a program without input, its output appended to ``log``.

    Args:
        explain: turns the program's output into a sentence about what went wrong; empty when it does not know.

    Raises:
        StepError: the program cannot be started or fails; holds the explanation, the log's tail and its path.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = log.stat().st_size if log.exists() else 0
    with log.open("ab") as out:
        try:
            done = subprocess.run(  # noqa: S603  an argument list of our own, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                close_fds=False,  # a lock made inheritable is held until this program ends, even if we are killed
            )
        except OSError as error:
            raise StepError(f"{command[0]} cannot be started: {error.strerror}") from None
    if done.returncode == 0:
        return
    output = log.read_bytes()[begin:].decode("utf-8", "replace")
    tail = "\n".join(f"  | {line}" for line in output.splitlines()[-TAIL_LINES:])
    reason = explain(output) or f"{Path(command[0]).name} failed with status {done.returncode}"
    raise StepError(f"{reason}; the end of {log}:\n{tail}")


def cannot_reach(output: str) -> str:
    """Return a sentence when a program's output says that there is no network; else an empty text."""
    if any(error in output for error in NETWORK_ERRORS):
        return (
            "the package index cannot be reached: check the network, or name a mirror that this machine reaches"
            " (PIP_INDEX_URL or pip.conf, the npm registry, the apt sources) and run the command again"
        )
    return ""


def can_apt() -> bool:
    """Tell whether this process may install Debian packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(packages: Sequence[str], log: Path) -> None:
    """Install Debian packages, as root.

    Raises:
        StepError: apt-get fails.
    """
    say(f"installing Debian packages: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=120"]
    run(["apt-get", *wait, "update", "-q"], log, env=environment, explain=cannot_reach)
    install = ["apt-get", *wait, "install", "-yq", "--no-install-recommends", *packages]
    with no_services_started():
        run(install, log, env=environment, explain=cannot_reach)


@contextmanager
def no_services_started() -> Iterator[None]:
    """Keep Debian's packages from starting their services meanwhile, unless the machine has a rule of its own for that.

    See the policy-rc.d(8) interface; the tests start what they need by hand, on ports of their own.
    """
    if POLICY.exists() or not POLICY.parent.is_dir():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
