"""One run of a program: bounded in time and output, in a process group of its own, gone at the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from .errors import SlurmUnavailable
from .meanings import safe

MAX_OUTPUT = 64 * 1024**2
_PART = 64 * 1024
_REAPED_WITHIN = 1.0
"""Seconds that a killed program gets to go: one that waits for dead storage is not waited for."""


class ProgramMissing(SlurmUnavailable):
    """The program could not even be started, so it did nothing."""


@dataclass(frozen=True)
class Ran:
    """A program that ran to its end.

    Attributes:
        code: its exit status; negative for a signal.
        out, err: what it wrote, as text; bytes that are no UTF-8 became replacement characters.
    """

    code: int
    out: str
    err: str


async def run(
    argv: Sequence[str], *, seconds: float, env: Mapping[str, str], cwd: str, stdin: bytes = b"", most: int = MAX_OUTPUT
) -> Ran:
    """Run a program to its end.  When it takes too long, or the caller is cancelled, its whole group is killed.

    Args:
        argv: its path and its arguments.
        seconds: that it may take.
        env: its whole environment.
        cwd: folder in which it runs.
        stdin: what it reads.
        most: bytes that it may write.

    Raises:
        ProgramMissing: it cannot be started.
        SlurmUnavailable: it took too long, or wrote too much; what it did is not known.
    """
    name = argv[0].rpartition("/")[2]
    if seconds <= 0:
        raise SlurmUnavailable(f"Slurm does not answer: no time was left for {name}; try again in a few minutes")
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "an argument holds what no program can be given"
        raise ProgramMissing(f"Slurm's program {name} cannot be started: {why}; tell your administrators") from None
    out, err = bytearray(), bytearray()
    try:
        async with asyncio.timeout(seconds):
            await _talk(process, stdin, (out, err), most)
            code = await process.wait()
    except TimeoutError:
        said = safe(err.decode("utf-8", "replace"))
        raise SlurmUnavailable(
            f"Slurm does not answer: {name} took more than {seconds:.3g} s and was ended"
            f"{f' ({said})' if said else ''}; try again in a few minutes"
        ) from None
    finally:
        await _end(process)
    if max(len(out), len(err)) > most:
        raise SlurmUnavailable(f"Slurm's answer cannot be used: {name} wrote more than {most} bytes and was ended")
    return Ran(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


async def _talk(
    process: asyncio.subprocess.Process, stdin: bytes, kept: tuple[bytearray, bytearray], most: int
) -> None:
    await asyncio.gather(
        _feed(cast(asyncio.StreamWriter, process.stdin), stdin),
        *(
            _keep(cast(asyncio.StreamReader, stream), sink, most, lambda: _kill(process))
            for stream, sink in zip((process.stdout, process.stderr), kept, strict=True)
        ),
    )


async def _feed(stdin: asyncio.StreamWriter, content: bytes) -> None:
    with suppress(ConnectionError):
        stdin.write(content)
        await stdin.drain()
    stdin.close()
    with suppress(ConnectionError):
        await stdin.wait_closed()


async def _keep(stream: asyncio.StreamReader, kept: bytearray, most: int, full: Callable[[], None]) -> None:
    while part := await stream.read(_PART):
        if len(kept) <= most:
            kept += part
            if len(kept) > most:
                full()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of a program that was not seen to end, and collect it."""
    if process.returncode is None:
        _kill(process)
        with suppress(TimeoutError):
            async with asyncio.timeout(_REAPED_WITHIN):
                await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
