"""The parent of a server that has no sandbox: all that the server starts stays below it, so a stop finds every process.

Standard library only; run as a script, with ``-I -S``, with the number of an open file that takes the status (one JSON
object a line) and a program with its arguments.
"""
# pathlib would cost a third of this process's time:
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any, NoReturn

BECOME_SUBREAPER = 36  # prctl(2)


def supervise(status_fd: int, argv: list[str]) -> NoReturn:
    """Run a program; when it ends, end whatever it left, and end as it did (128 and the signal's number)."""
    ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    child = os.posix_spawn(argv[0], argv, dict(os.environ))
    _tell(status_fd, {"child-pid": os.getpid()})
    ended, status = 0, 0
    while ended != child:
        ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    code = code if code >= 0 else 128 - code
    _end_orphans()
    _tell(status_fd, {"exit-code": code})
    sys.exit(code)


def _end_orphans() -> None:
    """Kill all children until none is left; what they leave becomes ours, and so is found in the next round."""
    while True:
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
                if parent == os.getpid():
                    os.kill(int(name), signal.SIGKILL)
            except (OSError, ValueError):
                continue  # ended meanwhile
        try:
            os.wait()
        except ChildProcessError:
            return


def _tell(status_fd: int, said: dict[str, Any]) -> None:
    os.write(status_fd, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    supervise(int(sys.argv[1]), sys.argv[2:])
