"""The keeper process: it outlives its owner just long enough to end everything the owner started.

Started by :mod:`tests.components.keeper` as a script in a session of its own.  It needs the standard library alone.
It is a child subreaper, so that programs which turn into daemons stay its descendants and are found by parent pid.

The protocol is one JSON object a line: requests on standard input, one answer each on standard output.  The first
line it writes names its temporary folder.  When standard input ends, when its parent becomes another, or on SIGTERM,
it ends its children one by one (newest first), then every other descendant, and removes its folders.  Its last line
names what it could not end or remove.

Usage: keeper_main.py NAME GRACE, with the name that its folder gets and the seconds that a child has to end by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
MNT_DETACH = 2
ORPHAN_GRACE = 2.0  # seconds that descendants have after SIGTERM
KILL_LIMIT = 10.0  # seconds after which a process that survives SIGKILL is reported


class Keeper:
    """What the keeper holds: exit codes by child pid (None while it runs), in the order of start, and folders."""

    def __init__(self, name: str, grace: float) -> None:
        self.owner = os.getppid()
        self.grace = grace
        self.codes: dict[int, int | None] = {}
        self.ending = False
        self.folders = [tempfile.mkdtemp(prefix=f"nbplatform-{name}-")]

    def start(self, argv: list[str], env: dict[str, str], cwd: str, log: str) -> dict[str, object]:
        """Start a program in a session of its own, its output appended to the file ``log``."""
        try:
            with open(log, "ab") as output:
                process = subprocess.Popen(
                    argv,
                    env=env,
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as problem:
            return {"error": f"cannot start {argv[0]}: {problem}"}
        process.returncode = 0  # this process reaps for itself: Popen must not wait for the pid
        self.codes[process.pid] = None
        return {"pid": process.pid}

    def signal(self, pid: int, number: int) -> dict[str, object]:
        """Send a signal to a child, unless it has ended; its pid cannot belong to another before it is reaped here."""
        self.reap()
        if self.codes[pid] is None:
            os.kill(pid, number)
        return self.state(pid)

    def state(self, pid: int) -> dict[str, object]:
        """Exit code of a child, None while it runs."""
        self.reap()
        return {"code": self.codes[pid]}

    def remove(self, path: str) -> dict[str, object]:
        """Have a folder removed at the end."""
        self.folders.append(path)
        return {}

    def reap(self) -> None:
        """Take the exit codes of all children that have ended, adopted ones too."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self.codes:
                    self.codes[pid] = os.waitstatus_to_exitcode(status)

    def serve(self) -> None:
        """Answer requests until the owner is gone or has had enough."""
        waiting = b""
        while not self.ending and os.getppid() == self.owner:
            self.reap()
            # A time limit, since a process that the owner forked may hold the pipe open after the owner's death.
            if not select.select([0], [], [], 0.5)[0]:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                answer(getattr(self, request.pop("do"))(**request))

    def end(self) -> None:
        """End children (newest first), then all descendants, remove the folders, and say what is left."""
        for pid in reversed(self.codes):
            self.end_child(pid)
        send(descendants(), signal.SIGTERM)
        self.wait_until(lambda: not descendants(), ORPHAN_GRACE)
        limit = time.monotonic() + KILL_LIMIT
        while descendants() and time.monotonic() < limit:
            send(descendants(), signal.SIGKILL)
            self.wait_until(lambda: not descendants(), 0.1)
        left = [f"process {pid}" for pid in descendants()]
        left += [f"folder {folder}: {why}" for folder in self.folders if (why := removed(folder))]
        with contextlib.suppress(OSError):  # the owner may be gone
            answer({"left": left})

    def end_child(self, pid: int) -> None:
        """Ask a child to end and give it its time."""
        self.signal(pid, signal.SIGTERM)
        self.wait_until(lambda: self.codes[pid] is not None, self.grace)

    def wait_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Reap until ``done()`` holds or the time is over."""
        limit = time.monotonic() + seconds
        self.reap()
        while not done() and time.monotonic() < limit:
            time.sleep(0.02)
            self.reap()


def answer(value: dict[str, object]) -> None:
    """Write one line to the owner."""
    os.write(1, json.dumps(value).encode() + b"\n")


def descendants() -> list[int]:
    """Pids of all living descendants of this process, parents before their children."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry)
            # The program's name, in brackets, may itself hold blanks and brackets.
            state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(pid)
    found = [os.getpid()]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found[1:]


def send(pids: list[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def removed(folder: str) -> str:
    """Remove a folder; the empty text, or why it could not be removed.

    Mounts below it are detached first: removing through a bind mount would empty what is mounted there.
    """
    real = os.path.realpath(folder)
    libc = ctypes.CDLL(None, use_errno=True)
    for mount in reversed(mounts_below(real)):
        libc.umount2(os.fsencode(mount), MNT_DETACH)
    if mounts_below(real):
        return f"{mounts_below(real)[0]} is mounted below it"
    try:
        shutil.rmtree(real, onerror=retry_writable)
    except FileNotFoundError:
        return ""
    except OSError as problem:
        return str(problem)
    return ""


def retry_writable(function: object, path: str, error: tuple[object, BaseException, object]) -> None:
    """Called by rmtree when ``function(path)`` failed: try again with a parent that may be written to."""
    if not isinstance(error[1], PermissionError):
        raise error[1]
    os.chmod(os.path.dirname(path), 0o700)
    if os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, 0o700)
        shutil.rmtree(path)
    else:
        os.unlink(path)


def mounts_below(folder: str) -> list[str]:
    """Mount points at or below a folder, in the order they were mounted."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
        if point == folder or point.startswith(folder + "/"):
            points.append(point)
    return points


def main(name: str, grace: str) -> None:
    """Keep until the owner is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    keeper = Keeper(name, float(grace))

    def stop(number: int, frame: object) -> None:
        keeper.ending = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        answer({"folder": keeper.folders[0]})
        keeper.serve()
    except BrokenPipeError:
        pass  # the owner died between a request and its answer
    finally:
        keeper.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
