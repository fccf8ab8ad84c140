"""The last step before a server: runs inside its view, already as its user, and becomes the server's command.

The environment arrives in an open file and not as this process's own: what ran before, as root, must neither obey it
(``LD_LIBRARY_PATH``) nor show it.  Standard library only; run as a script, with ``-I -S``, with two numbers of open
files: one with ``{"command": […], "env": {…}, "cwd": "…"}``, one that takes the status, a JSON object a line.
"""
# pathlib would cost a third of this process's time:
# ruff: noqa: PTH112, PTH208

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys

NOT_FOUND = 127
KEYCTL = {"x86_64": 250, "aarch64": 219}  # number of the system call, by machine
JOIN_SESSION_KEYRING = 1  # keyctl(2)


def find_program(command: str, path: str) -> str:
    """Return the file that ``command`` names: itself if it has a slash, else the first program of ``path``.

    Raises:
        FileNotFoundError: there is none.
    """
    candidates = [command] if "/" in command else [f"{folder or '.'}/{command}" for folder in path.split(":")]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    raise FileNotFoundError(f"{ascii(command)[:200]} is no program that this server can run")


def close_others(keep: int) -> None:
    """Close every open file but standard input, output, error and ``keep``: some lead out of the view."""
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2 and number != keep:
            try:
                os.close(number)
            except OSError:
                continue  # the folder's own, closed since


def leave_keyring() -> None:
    """Change to an empty session keyring: the hub's holds root's keys, and all servers could meet in it.

    Raises:
        OSError: there is none to be had, as for an account that has too many keys already.
    """
    number = KEYCTL.get(os.uname().machine)
    libc = ctypes.CDLL(None, use_errno=True)
    if number is None or libc.syscall(ctypes.c_long(number), ctypes.c_long(JOIN_SESSION_KEYRING), None) >= 0:
        return
    error = ctypes.get_errno()
    if error not in (errno.ENOSYS, errno.EPERM):  # no keyrings in this kernel, or forbidden: the server can use none
        raise OSError(error, f"no session keyring of its own: {os.strerror(error)}")


def main(spec_fd: int, status_fd: int) -> None:
    """Become the command.  Returns only when that fails, which the status then says."""
    with os.fdopen(spec_fd, encoding="utf-8") as file:
        spec = json.load(file)
    close_others(status_fd)
    os.set_inheritable(status_fd, False)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(spec["cwd"])
    except OSError:
        os.chdir("/")
    try:
        leave_keyring()
        program = find_program(spec["command"][0], spec["env"].get("PATH", os.defpath))
        os.write(status_fd, json.dumps({"server-pid": os.getpid()}).encode() + b"\n")
        os.execve(program, spec["command"], spec["env"])  # noqa: S606 - no shell, as meant
    except (OSError, ValueError) as error:
        os.write(status_fd, json.dumps({"failed": f"cannot start the server: {error}"}).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
    sys.exit(NOT_FOUND)
