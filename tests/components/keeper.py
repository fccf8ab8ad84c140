"""Programs that end, with all their descendants and folders, when their owner ends: even by ``kill -9``.

A :class:`Keeper` is a tiny process in a session of its own (:mod:`tests.components.keeper_main`).  It starts the
programs, adopts what they leave behind, and holds the read end of a pipe from the owner.  The kernel closes that
pipe whatever the owner dies of, and then the keeper ends everything.

Linux only; standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

KEEPER_PROGRAM = Path(__file__).with_name("keeper_main.py")


class KeeperError(Exception):
    """A program could not be started, the keeper itself is gone, or something could not be ended or removed."""


class Keeper:
    """Owner's side of one keeper process; made by :func:`keeper`.

    Attributes:
        folder: a new temporary folder (mode 0700) that is removed at the end.
    """

    def __init__(self, name: str, grace: float) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER_PROGRAM), name, str(grace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        self.folder = Path(self._answer()["folder"])

    def start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
    ) -> Kept:
        """Start a program in a session of its own.

        Args:
            argv: the command.
            env: its whole environment; the owner's when None.
            cwd: where it runs; the keeper's folder when None.
            log: file that its output is appended to; one in the keeper's folder when None.

        Raises:
            KeeperError: the program cannot be started; the message says why.
        """
        command = [os.fspath(word) for word in argv]
        file = log or self.folder / f"{Path(command[0]).name}.log"
        answer = self.ask(
            "start",
            argv=command,
            env=dict(os.environ if env is None else env),
            cwd=str(cwd or self.folder),
            log=str(file),
        )
        if "error" in answer:
            raise KeeperError(answer["error"])
        return Kept(self, answer["pid"], file)

    def remove(self, path: Path) -> None:
        """Have a folder removed at the end, too.

        Raises:
            KeeperError: the path is not absolute, or so near the root that it cannot be a temporary folder.
        """
        if not path.is_absolute() or len(path.resolve().parts) < 3:
            raise KeeperError(f"{path} is no temporary folder: refused to remove it")
        self.ask("remove", path=str(path))

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """Send one request to the keeper process and return its answer.

        Raises:
            KeeperError: the keeper process is gone.
        """
        with self._lock:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError) as problem:
                raise KeeperError("the keeper process is gone") from problem
            answer = self._answer()
        if "left" in answer:  # its last words: it was ended by another
            raise KeeperError("the keeper process is gone")
        return answer

    def end(self) -> None:
        """End all programs and their descendants and remove the folders; calling it again does nothing.

        Raises:
            KeeperError: something could not be ended or removed; the message names it.
        """
        if self._process.stdin is None or self._process.stdin.closed:
            return
        assert self._process.stdout is not None
        try:
            with self._lock:
                with contextlib.suppress(BrokenPipeError):  # it may be gone, with a request unsent
                    self._process.stdin.close()
                left = self._answer()["left"]
        finally:
            self._process.wait()
            self._process.stdout.close()
        if left:
            raise KeeperError(f"left behind: {'; '.join(left)}")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise KeeperError("the keeper process is gone")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Kept:
    """One program that a keeper runs.

    Attributes:
        pid: its process id.
        log: the file that holds its output.
    """

    def __init__(self, keeper: Keeper, pid: int, log: Path) -> None:
        self._keeper = keeper
        self.pid = pid
        self.log = log

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        code: int | None = self._keeper.ask("state", pid=self.pid)["code"]
        return code

    def alive(self) -> bool:
        """Whether it runs."""
        return self.returncode is None

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for its end and return the exit code.

        Raises:
            TimeoutError: it still runs after ``timeout`` seconds.
        """
        limit = time.monotonic() + timeout
        while (code := self.returncode) is None:
            if time.monotonic() > limit:
                raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
            time.sleep(0.02)
        return code

    def signal(self, number: int) -> None:
        """Send a signal; none is sent to a program that has ended."""
        self._keeper.ask("signal", pid=self.pid, number=number)

    def kill9(self) -> None:
        """Kill it, and it alone, with SIGKILL, and wait until it is gone.  Its descendants live on."""
        self.signal(SIGKILL)
        self.wait()

    def stop(self, timeout: float = 10.0) -> int:
        """Ask it to end by SIGTERM, kill it after ``timeout`` seconds, and return the exit code.

        Its descendants live on until the keeper ends, unless the program ends them itself.
        """
        self.signal(SIGTERM)
        try:
            return self.wait(timeout)
        except TimeoutError:
            self.kill9()
            return self.wait()

    def log_text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace")


@contextmanager
def keeper(name: str = "kept", *, grace: float = 5.0) -> Iterator[Keeper]:
    """A keeper for several programs; all end when the block, or the owner, ends.

    Args:
        name: part of the temporary folder's name.
        grace: seconds that each program has after SIGTERM before it is killed.
    """
    one = Keeper(name, grace)
    try:
        yield one
    finally:
        one.end()


@contextmanager
def kept(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    remove: Sequence[Path] = (),
) -> Iterator[Kept]:
    """One program that ends, with all its descendants, when the block or the owner ends.

    Args:
        argv: the command.
        env: its whole environment; the owner's when None.
        cwd: where it runs; a temporary folder when None.
        log: file that its output is appended to; a temporary one when None.
        remove: folders that are removed after it has ended.
    """
    with keeper(Path(os.fspath(argv[0])).name) as one:
        for path in remove:
            one.remove(path)
        yield one.start(argv, env=env, cwd=cwd, log=log)
