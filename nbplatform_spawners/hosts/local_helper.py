"""The door to the helper processes: how they are started, what they are told and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..render.local import OpenFiles

ENTER = str(Path(__file__).resolve().with_name("local_enter.py"))
SUPERVISOR = str(Path(__file__).resolve().with_name("local_supervisor.py"))
LAUNCHER = str(Path(__file__).resolve().with_name("local_launcher.py"))
STATUS_FILE, LOG_FILE = "status", "server.log"
_CLEAN_ENV: Mapping[str, str] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""The environment of all that runs before the server does: nothing of the hub's, nothing of the plan's."""
_TRIAL_TIMEOUT = 10  # seconds
_STATUS_LIMIT = 65536  # bytes; a good status has a few hundred
_MAX_NUMBER = 2**31


@dataclass(frozen=True)
class Progress:
    """What the status file of a server says so far.

    Attributes:
        pid: process id of the sandbox's first process, or of the supervisor.
        server_pid: process id of the server as it sees itself, once its command was reached.
        refused: why a mount cannot be had, for the user.
        failed: why the server cannot be started.
        exit_code: how it ended; 128 and the signal's number for a signal.
    """

    pid: int | None = None
    server_pid: int | None = None
    refused: str | None = None
    failed: str | None = None
    exit_code: int | None = None


def read_progress(directory: Path) -> Progress:
    """Return what the status file in a server's private folder says.

    Never raises: what cannot be read, is damaged or lies behind the first 64 KiB counts as not said.
    """
    try:
        with (directory / STATUS_FILE).open("rb") as file:
            text = file.read(_STATUS_LIMIT).decode("utf-8", "replace")
    except (OSError, ValueError):  # a ValueError for a folder that is no path
        return Progress()
    said: dict[str, Any] = {}
    for line in text.splitlines():
        said.update(_object(line))
    return Progress(
        pid=_number(said.get("child-pid")),
        server_pid=_number(said.get("server-pid")),
        refused=_sentence(said.get("refused")),
        failed=_sentence(said.get("failed")),
        exit_code=_number(said.get("exit-code")),
    )


def _object(line: str) -> dict[str, Any]:
    """Return the JSON object of a line; an empty one for a line that is half written, damaged or no object."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _number(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MAX_NUMBER else None


def _sentence(value: object) -> str | None:
    return value if isinstance(value, str) else None


def start_helper(
    directory: Path, enter: Mapping[str, Any], make_spec: Callable[[OpenFiles], Mapping[str, Any]]
) -> subprocess.Popen[bytes]:
    """Start the helper process of a server: in a session of its own, without a pipe to this one.

    Args:
        directory: the server's private folder, which gets the log and the status.
        enter: the command, the environment and the working directory; held in memory, in no file.
        make_spec: makes the specification from the numbers of the open files.

    Raises:
        OSError: a file or the process cannot be made.
    """
    with ExitStack() as opened:
        names = (STATUS_FILE, STATUS_FILE, LOG_FILE)
        status, reached, log = (opened.enter_context(_appended(directory / name)) for name in names)
        told = opened.enter_context(_held(enter))
        spec = opened.enter_context(_held(make_spec(OpenFiles(told, status, reached))))
        return subprocess.Popen(  # noqa: S603 - an argument list of our own, no shell
            _launcher(spec, status), **_detached(log), pass_fds=(spec, told, status, reached)
        )


def try_helper(spec: Mapping[str, Any]) -> tuple[str, int]:
    """Run the helper process to its end; return what it and its program printed and said, and its exit status."""
    with tempfile.TemporaryFile() as output, _held(spec) as told:
        status = output.fileno()
        argv = _launcher(told, status)
        code = _finish(argv, output.fileno(), (told, status))
        output.seek(0)
        return "\n".join(map(_plainly, output.read(4096).decode("utf-8", "replace").splitlines())), code


def _plainly(line: str) -> str:
    """Return a line of output; of a line of the status only the sentence in it."""
    return _sentence(_object(line).get("failed")) or line


def run_briefly(argv: Sequence[str]) -> tuple[str, int]:
    """Run a program to its end; return what it printed and its exit status (126 when it cannot be run)."""
    with tempfile.TemporaryFile() as output:
        code = _finish(argv, output.fileno(), ())
        output.seek(0)
        return output.read(4096).decode("utf-8", "replace"), code


def _finish(argv: Sequence[str], output: int, pass_fds: tuple[int, ...]) -> int:
    try:
        done = subprocess.run(  # noqa: S603 - an argument list of our own, no shell
            argv, **_detached(output), pass_fds=pass_fds, timeout=_TRIAL_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        os.write(output, str(error).encode())
        return 126
    return done.returncode


def _launcher(spec: int, status: int) -> list[str]:
    return [sys.executable, "-I", "-S", LAUNCHER, str(spec), str(status)]


def _detached(output: int) -> dict[str, Any]:
    return {
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": output,
        "env": dict(_CLEAN_ENV),
        "cwd": "/",
        "start_new_session": True,
    }


@contextmanager
def _appended(path: Path) -> Iterator[int]:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield number
    finally:
        os.close(number)


@contextmanager
def _held(content: Mapping[str, Any]) -> Iterator[int]:
    """Hold an object as JSON in an open file that has no name anywhere."""
    number = os.memfd_create("nbplatform", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(number), "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.lseek(number, 0, os.SEEK_SET)
        yield number
    finally:
        os.close(number)
