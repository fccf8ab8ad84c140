"""The processes of a server that no state names: found by its private folder, proved by what ``/proc`` says of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from . import cgroups
from .local_helper import LAUNCHER, LOG_FILE, SUPERVISOR, read_progress


def first_process(directory: Path) -> int | None:
    """Return the id of the process that all of a server's processes come from, as far as its start came.

    That is the sandbox's first process, or the supervisor; the helper process before it.

    Args:
        directory: the server's private folder, an absolute path.

    Raises:
        OSError, ValueError: there is no such folder, or it holds no log.
    """
    log = (directory / LOG_FILE).stat()
    told = read_progress(directory).pid
    candidates = _pids() if told is None else iter((told,))
    return next((pid for pid in candidates if _belongs(pid, directory, log)), None)


def is_sandbox(pid: int) -> bool:
    """Tell whether ending a first process ends all others: not so for the supervisor."""
    return SUPERVISOR not in command_line(pid)


def groups_of(pid: int) -> tuple[str, ...]:
    """Return the absolute paths of the control groups that were made for a server's process.

    Raises:
        OSError: the process is gone.
    """
    own, mounts = (Path(f"/proc/{name}").read_text(errors="replace") for name in (f"{pid}/cgroup", "self/mountinfo"))
    bases = (tree.base for tree in cgroups.find_hierarchies(own, mounts))
    return tuple(base for base in bases if Path(base).parent.name == cgroups.GROUP)


def command_line(pid: int) -> list[str]:
    """Return the command line of a process; an empty one when it is gone."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    except OSError:
        return []


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _belongs(pid: int, directory: Path, log: os.stat_result) -> bool:
    """Tell whether a process is one of ours and prints to this very log: no other process, whatever its id was."""
    argv = command_line(pid)  # nothing for one that has ended and waits for its parent
    if not {LAUNCHER, SUPERVISOR}.intersection(argv) and not any(part.startswith(f"{directory}/") for part in argv):
        return False
    try:
        return os.path.samestat(Path(f"/proc/{pid}/fd/1").stat(), log)
    except OSError:
        return False
