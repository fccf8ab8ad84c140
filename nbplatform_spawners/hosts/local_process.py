"""A plan as a process of this machine: start, look, stop, find again.  It outlives the hub that started it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..errors import NbplatformError, Refusal
from ..plan import SpawnPlan
from ..render.local import ENTER as ENTER_INSIDE
from ..rules.units import format_size
from . import cgroups
from .local_find import command_line, first_process, groups_of, is_sandbox
from .local_helper import ENTER, STATUS_FILE, Progress, read_progress, start_helper
from .local_log import log_tail, trim_log
from .local_machine import LocalMachine
from .local_spec import Start, enter_content, helper_spec, write_files
from .local_state import LocalProcess
from .proc import boot_id, children, inner_pid, listener_uid, process_info

__all__ = [
    "LaunchError",
    "LocalProcess",
    "find_running",
    "launch",
    "listener_uid",
    "log_tail",
    "status",
    "stop",
    "trim_log",
]

MAX_PROCESSES = 4096
"""Processes and threads that one server may have."""

_START_TIMEOUT = 30.0
_START_INTERVAL = 0.005
_STOP_INTERVAL = 0.05
_KILL_TIMEOUT = 10.0
_EXIT_TRIES = 100
_started: dict[int, subprocess.Popen[bytes]] = {}
"""The direct children of this process, so that none stays a zombie."""


class LaunchError(NbplatformError):
    """A server that could not be started; holds the end of its log."""


async def launch(plan: SpawnPlan, machine: LocalMachine, directory: Path, server_id: str) -> LocalProcess:
    """Start a server and return once its command was reached; nothing is left behind when that fails.

    Args:
        plan: what to start.
        machine: what this machine can do.
        directory: private folder (0700) of this server, empty; its log is ``server.log`` there.
        server_id: names its control groups; safe in a path.

    Raises:
        Refusal: with the label ``storage``: a source is missing, cannot be reached or is not safe to mount.
        LaunchError: this machine cannot start servers, or the sandbox ended at once.
    """
    if machine.problem is not None:
        raise LaunchError(machine.problem)
    directory = _absolute(directory)
    limits = cgroups.Limits(plan.memory, plan.cpu, MAX_PROCESSES)
    try:
        groups = cgroups.create(machine.cgroups, server_id, limits)
    except OSError as error:
        raise LaunchError(f"the server's limits cannot be set: {error.strerror} ({error.filename})") from None
    start = Start(plan, machine, directory, groups)
    child = None
    try:
        child = _start(start)
        progress = await _reached(child, start)
        process = _found(progress, directory, groups, sandboxed=machine.view is not None)
        await _executed(process)
        return process
    except BaseException as error:
        _abandon(child, groups)
        if isinstance(error, OSError):
            raise LaunchError(f"the server cannot be started: {error}") from error
        raise


def status(process: LocalProcess) -> int | None:
    """Return None while the server runs, else its exit status (0 when not known).  Never raises.

    When it ended by itself, what it left running is ended as well.
    """
    _reap()
    if _runs(process, process.server_pid, process.server_start_time):
        return None
    code = _exit_status(process)
    _kill(process)
    cgroups.remove(process.cgroups)
    return code


async def stop(process: LocalProcess, grace: float) -> bool:
    """End a server and everything it started; return whether all of it is gone.  Never raises on one that is gone.

    Args:
        process: the server.
        grace: seconds between asking it to end and killing it.
    """
    if status(process) is None:
        _send(process, process.server_pid, process.server_start_time, signal.SIGTERM)
        if await _gone(process, process.server_pid, process.server_start_time, grace):
            status(process)  # the sandbox says in a moment how the server ended: not if it is killed before
    _kill(process)
    is_gone = await _gone(process, process.pid, process.start_time, _KILL_TIMEOUT)
    _reap()
    cgroups.remove(process.cgroups)
    return is_gone


def find_running(directory: Path) -> LocalProcess | None:
    """Return the server that runs in a private folder, to be stopped or kept; None when there is none.  Never raises.

    For a folder that no state names: a hub that is killed just after a launch leaves such a server.  The process id
    in the folder counts only with proof from ``/proc`` that it is still the server's.  A start that is still under
    way is found as well; as it may go on until it is stopped, ask once more after that.

    Args:
        directory: private folder of the server.
    """
    try:
        directory = _absolute(directory)
        pid = first_process(directory)
        if pid is None:
            return None
        progress = replace(read_progress(directory), pid=pid)
        process = _found(progress, directory, groups_of(pid), sandboxed=is_sandbox(pid))
        is_proved = first_process(directory) == pid and _runs(process, pid, process.start_time)
    except (OSError, ValueError):
        return None  # no such folder, or gone meanwhile
    return process if is_proved else None


def _absolute(path: Path) -> Path:
    return path.absolute()


def _start(start: Start) -> subprocess.Popen[bytes]:
    (start.directory / STATUS_FILE).unlink(missing_ok=True)
    write_files(start)
    enter = enter_content(start)
    command = enter["command"][0]
    child = start_helper(start.directory, enter, lambda files: helper_spec(start, command, files))
    _started[child.pid] = child
    return child


async def _reached(child: subprocess.Popen[bytes], start: Start) -> Progress:
    """Wait until the server's command was reached."""
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        code = child.poll()
        progress = read_progress(start.directory)
        if progress.refused is not None:
            raise Refusal("storage", progress.refused)
        if progress.failed is not None:
            raise LaunchError(progress.failed)
        if progress.server_pid is not None and progress.pid is not None:
            return progress
        if code is not None:
            raise LaunchError(_why_ended(code, start))
        _check_time(deadline)
        await asyncio.sleep(_START_INTERVAL)


def _why_ended(code: int, start: Start) -> str:
    limit = start.plan.memory
    if limit is not None and cgroups.ran_out_of_memory(start.cgroups):
        return f"the server cannot be started with {format_size(limit)} of memory: that limit is too small"
    return f"the server's sandbox ended with {code}; its log ends: {log_tail(start.directory)}"


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise LaunchError(f"the server was not reached within {_START_TIMEOUT:g} s; does all of its storage answer?")


async def _executed(process: LocalProcess) -> None:
    """Wait until the command took the place of the few lines before it, which say why when it cannot."""
    deadline = time.monotonic() + _START_TIMEOUT
    while _runs(process, process.server_pid, process.server_start_time):
        if command_line(process.server_pid)[3:4] not in ([ENTER], [ENTER_INSIDE]):
            break
        _check_time(deadline)
        await asyncio.sleep(_START_INTERVAL)
    failed = read_progress(Path(process.directory)).failed
    if failed is not None:
        raise LaunchError(failed)


def _found(progress: Progress, directory: Path, groups: tuple[str, ...], *, sandboxed: bool) -> LocalProcess:
    """Return the processes that the progress speaks of; the only child where it does not name the server yet."""
    pid = progress.pid or 0
    first = process_info(pid)
    server_pid = next((child for child in children(pid) if progress.server_pid in (None, inner_pid(child))), 0)
    server = process_info(server_pid)
    return LocalProcess(
        pid=pid,
        start_time=0 if first is None else first.start_time,
        server_pid=server_pid,
        server_start_time=0 if server is None else server.start_time,
        boot=boot_id(),
        directory=str(directory),
        cgroups=groups,
        sandboxed=sandboxed,
    )


def _abandon(child: subprocess.Popen[bytes] | None, groups: tuple[str, ...]) -> None:
    if child is not None and child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=1)
    cgroups.remove(groups)


def _reap() -> None:
    for pid, child in list(_started.items()):
        if child.poll() is not None:
            _started.pop(pid, None)


def _runs(process: LocalProcess, pid: int, start_time: int) -> bool:
    info = process_info(pid)
    if info is None or info.start_time != start_time or boot_id() != process.boot:
        return False
    if info.state == "Z":
        with suppress(ChildProcessError):  # it is ours where the hub is the first process of a container
            os.waitpid(pid, os.WNOHANG)
    return info.state not in "ZX"


def _exit_status(process: LocalProcess) -> int:
    """Return what the sandbox writes a moment after the server ended; 0 when it was killed before it could."""
    for _ in range(_EXIT_TRIES):
        progress = read_progress(Path(process.directory))
        if progress.exit_code is not None:
            return progress.exit_code
        if progress.pid != process.pid or process.boot != boot_id():
            break
        time.sleep(_START_INTERVAL)
    return 0


async def _gone(process: LocalProcess, pid: int, start_time: int, within: float) -> bool:
    deadline = time.monotonic() + within
    while _runs(process, pid, start_time):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_STOP_INTERVAL)
    return True


def _kill(process: LocalProcess) -> None:
    """End all: the sandbox's first process takes all others with it, the supervisor ends what its child leaves."""
    if process.sandboxed:
        _send(process, process.pid, process.start_time, signal.SIGKILL)
    else:
        _send(process, process.server_pid, process.server_start_time, signal.SIGKILL)


def _send(process: LocalProcess, pid: int, start_time: int, number: signal.Signals) -> None:
    """Send a signal to the process that is meant, and never to one that got its pid meanwhile."""
    if pid <= 1:
        return
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if _runs(process, pid, start_time):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
