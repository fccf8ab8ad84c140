"""Passing events on to a command or a web hook of the site, for mail and chat."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from ..accounts.secret_file import read_secret
from ..errors import DirectoryUnavailable
from ..names import bounded
from ..wire import NoAnswer, Wire

AT_ONCE = 4
COMMAND_LIMIT = 30.0
"""Seconds that a command may run."""
HOOK_LIMIT = 10.0
"""Seconds that a web hook may take."""
_TAIL = 400
"""Bytes of what a command says last that are logged."""
_BLOCK = 65536
_MAX_ANSWER = 65536
_SECRETS = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
"""Variables of the service that are no business of a command."""


class Teller:
    """Passes events on, a few at once; what fails is logged and hinders nobody.

    Args:
        log: told of what fails.
        command: program and arguments, which gets the event as JSON on its standard input; empty for none.
        webhook: address that the event is sent to as JSON, by POST; empty for none.
        header_file: path of a file with one line ``Name: value``, a header that goes with it; empty for none.

    Raises:
        ValueError: the address is no http or https one.
    """

    def __init__(
        self, log: logging.Logger, command: Sequence[str] = (), webhook: str = "", header_file: str = ""
    ) -> None:
        parts = urlsplit(webhook)
        if webhook and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("the address of a web hook begins with http:// or https:// and a host's name")
        self._log = log
        self._command = tuple(command)
        self._webhook = webhook
        self._host = parts.hostname
        self._header_file = header_file
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._wire = Wire(_MAX_ANSWER)
        self._tasks: set[asyncio.Task[bool]] = set()

    def __repr__(self) -> str:
        return f"<Teller command={self._command[:1]} webhook={self._host}>"  # the address may hold a secret

    def tell(self, event: Mapping[str, Any]) -> asyncio.Task[bool]:
        """Begin to pass one event on, and return at once.  Called within the event loop.

        Returns:
            what may be awaited, and need not be: whether everybody who should know does.
        """
        task = asyncio.ensure_future(self._tell(json.dumps(event).encode("ascii")))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self) -> None:
        """Wait until everything that was begun is done; awaited before the service ends."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def close(self) -> None:
        """End what is under way, and close what is open; a command that still runs is killed by its task."""
        for task in self._tasks:
            task.cancel()
        self._wire.close()

    async def _tell(self, body: bytes) -> bool:
        ways = [self._run] * bool(self._command) + [self._post] * bool(self._webhook)
        async with self._turn:
            return all(await asyncio.gather(*(way(body) for way in ways)))

    async def _run(self, body: bytes) -> bool:
        said = _Tail()
        given = _file_with(body)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=given,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said.writer,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name not in _SECRETS},
            )
        except (OSError, ValueError) as error:
            self._log.warning("warn_command cannot be run: %s", bounded(error, 200))
            said.close()
            return False
        finally:
            os.close(given)
        try:
            status = await _ended(process)
            if status is None:
                self._log.warning("warn_command ran for more than %d s and was killed", COMMAND_LIMIT)
            elif status:
                self._log.warning("warn_command failed with status %d: %s", status, bounded(said.text(), 2 * _TAIL))
        finally:
            said.close()
        return status == 0

    async def _post(self, body: bytes) -> bool:
        headers = {"Content-Type": "application/json", "User-Agent": "nbplatform-culler"}
        try:
            if self._header_file:
                headers.update([_header(read_secret(self._header_file))])
            answer = await self._wire.ask("POST", self._webhook, HOOK_LIMIT, headers, body)
            if not 200 <= answer.status < 300:
                raise NoAnswer(f"it answers with status {answer.status}")
        except (NoAnswer, DirectoryUnavailable) as error:
            self._log.warning("warn_webhook at %s was not told: %s", self._host, error)
            return False
        return True


class _Tail:
    """The last bytes that a command writes.  A pipe that is always read: whoever inherits it never waits."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        self._kept = b""
        os.set_blocking(self._reader, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reader, self._read)

    def text(self) -> str:
        """Return what was said last."""
        self._read()
        return self._kept.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Stop reading."""
        self._loop.remove_reader(self._reader)
        os.close(self._reader)
        os.close(self.writer)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self._kept = (self._kept + os.read(self._reader, _BLOCK))[-_TAIL:]


async def _ended(process: asyncio.subprocess.Process) -> int | None:
    """Return how a process ended, None when its time was over and it was killed, with all that it started."""
    try:
        async with asyncio.timeout(COMMAND_LIMIT):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _file_with(content: bytes) -> int:
    """Return an open file in memory: a pipe would have to be fed, and a command that reads nothing would hold it up."""
    file = os.memfd_create("event", os.MFD_CLOEXEC)
    with open(file, "wb", closefd=False) as stream:
        stream.write(content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _header(line: str) -> tuple[str, str]:
    """Return the name and value of a header.

    Raises:
        DirectoryUnavailable: the line is none.
    """
    name, colon, value = line.partition(":")
    if not (colon and value.strip() and name.isascii() and name.replace("-", "").isalnum() and value.isascii()):
        raise DirectoryUnavailable("the file of warn_webhook's header must hold one line, 'Name: value'")
    return name, value.strip()
