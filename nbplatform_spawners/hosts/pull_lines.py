"""The lines that ``nbplatform hosts pull`` shows while images are on their way, on a stream that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from ..rules.explain import printable
from ..rules.units import format_size

_UP, _CLEAR = "\x1b[{}A", "\x1b[2K"


@dataclass(frozen=True)
class Terminal:
    """Size of a terminal, in letters and lines."""

    width: int
    height: int


class PullLines:
    """One line for each host, kept up to date in place; without a terminal a line for each step.

    Args:
        stream: where they go.
        hosts: names, in the order of the lines.
        terminal: None where the stream is not one.
    """

    def __init__(self, stream: TextIO, hosts: Sequence[str], terminal: Terminal | None) -> None:
        self._stream = stream
        self._lines = dict.fromkeys(hosts, "waiting")
        self._column = max(map(len, hosts), default=0)
        fits = terminal is not None and len(self._lines) < terminal.height  # else the first would scroll away
        self._width = terminal.width if terminal and fits else 0
        self._drawn = False

    def step(self, host: str, text: str) -> None:
        """Say that something began or ended on a host."""
        if self._width:
            self._set(host, text)
        else:
            self._write(f"{host}: {text}\n")

    def progress(self, host: str, image: str, done: int, total: int) -> None:
        """Say how far an image is; shown in place alone.

        Args:
            host: where.
            image: which.
            done, total: bytes; the total grows while layers are found.
        """
        if self._width and total:
            part = f"{100 * done // total:3} % of {format_size(total)}"
            self._set(host, f"{part}  {image}")

    def _set(self, host: str, text: str) -> None:
        self._lines[host] = text
        up = _UP.format(len(self._lines)) if self._drawn else ""
        lines = (f"{name.ljust(self._column)}  {line}"[: self._width - 1] for name, line in self._lines.items())
        self._write(up + "".join(f"{_CLEAR}{printable(line)}\n" for line in lines), escape=False)
        self._drawn = True

    def _write(self, text: str, *, escape: bool = True) -> None:
        self._stream.write(printable(text) if escape else text)
        self._stream.flush()
