"""Memory and wall time as Dask's and Slurm's users write them, and as Slurm reads them."""

from __future__ import annotations

import re
from datetime import timedelta

from ..names import bounded
from ..rules.units import MAX_DURATION, MAX_SIZE

_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e([+-]?[0-9]{1,2}))?([a-z]*)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", 1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}b": 1000**_power}
    _UNITS |= {f"{_letter}i": 1024**_power, f"{_letter}ib": 1024**_power}
_WALLTIME = re.compile(
    r"(?P<d>[0-9]+)-(?P<dh>[0-9]+)(?::(?P<dm>[0-9]+)(?::(?P<ds>[0-9]+))?)?"
    r"|(?P<h>[0-9]+):(?P<hm>[0-9]+):(?P<hs>[0-9]+)"
    r"|(?P<m>[0-9]+)(?::(?P<s>[0-9]+))?"
)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_LONGEST = 40
MIB = 1024**2
MEMORY_FORM = "memory is a number of bytes or a size such as '4 GiB', '4GB' or '512 MiB'"
WALLTIME_FORM = "wall time is a number of minutes, or Slurm's form such as '02:00:00' or '1-12:00:00'"


def parse_memory(value: object) -> int:
    """Return bytes as Dask reads them: a number, or ``"4 GiB"``, ``"4GB"`` (1000s), ``"500 MB"``.

    Raises:
        ValueError: not of that form, below one MiB (Slurm's smallest amount), or 2**63 bytes and more.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{shown(value)}: {MEMORY_FORM}")
    size = _text_bytes(value) if isinstance(value, str) else _number(value)
    if size is None:
        raise ValueError(f"{shown(value)}: {MEMORY_FORM}")
    if not MIB <= size <= MAX_SIZE:
        raise ValueError(f"{shown(value)}: memory must be at least 1 MiB and below 2**63 bytes")
    return size


def parse_walltime(value: object) -> int:
    """Return seconds of a wall time as Slurm reads it: a number is minutes; text is ``MM``, ``MM:SS``, ``HH:MM:SS``,
    ``D-HH``, ``D-HH:MM`` or ``D-HH:MM:SS``; a ``timedelta`` is what it says.

    Raises:
        ValueError: not of that form, no time at all, no end, or longer than a hundred years.
    """
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(f"{shown(value)}: {WALLTIME_FORM}")
    if not 0 < seconds <= MAX_DURATION:
        raise ValueError(f"{shown(value)}: wall time must be above zero and at most a hundred years")
    return seconds


def format_walltime(seconds: int) -> str:
    """Return a wall time as Slurm writes it: ``02:00:00``, ``1-12:00:00``."""
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text


def format_memory(size: int) -> str:
    """Return bytes as ``sbatch --mem`` takes them: whole MiB, rounded up, ``4096M``."""
    return f"{-(-size // MIB)}M"


def walltime_minutes(seconds: int) -> int:
    """Return the minutes that Slurm keeps of a wall time: rounded up."""
    return -(-seconds // 60)


def shown(value: object) -> str:
    """Return what a user wrote, fit for a sentence; Python itself refuses to write out a very long number."""
    try:
        return bounded(value)
    except ValueError:
        return "a number of thousands of digits"


def _number(value: int | float) -> int | None:
    return int(value) if 0 <= value <= 2 * MAX_SIZE else None  # refuses nan and infinity as well


def _text_bytes(text: str) -> int | None:
    found = _MEMORY.fullmatch(text.replace(" ", "")) if len(text) <= _LONGEST and text.isascii() else None
    unit = _UNITS.get(found[3].lower()) if found else None
    if found is None or unit is None:
        return None
    return _number(float(found[1] + (f"e{found[2]}" if found[2] else "")) * unit)


def _seconds(value: object) -> int | None:
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    if isinstance(value, int) and not isinstance(value, bool):
        return value * 60
    found = _WALLTIME.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= _LONGEST else None
    if found is None or not found[0].isascii():
        return None
    return sum(int(text) * _SECONDS[part[-1]] for part, text in found.groupdict().items() if text)
