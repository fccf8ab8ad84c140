"""Sizes, durations, numbers and times as the rules language and the accounts file write them."""

from __future__ import annotations

import re
from datetime import datetime

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SIZE = re.compile(r"([0-9]+)(?:\.([0-9]+))?([KMGT])")
_DURATION = re.compile(r"(?:[0-9]+[smhdw])+")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:[0-9]{2})")
_SIZE_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = 64
MAX_SIZE = 2**63 - 1
MIN_CPU = 0.01
"""What the kernel can hold a server to: a millisecond in each tenth of a second."""
MAX_DURATION = 100 * 365 * 86400


def parse_size(text: str) -> int:
    """Return the bytes of a size: a decimal number and K, M, G or T (powers of 1024), floored.

    Raises:
        ValueError: not of that form, zero, or 2**63 bytes and more.
    """
    found = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if not found:
        raise ValueError("a size is a decimal number and K, M, G or T, such as 512M or 1.5G")
    whole, decimals, unit = found[1], found[2] or "", found[3]
    scale: int = 10 ** len(decimals)
    size = int(whole + decimals) * _SIZE_UNITS[unit] // scale  # exact: a float or a Decimal may round up
    if not 0 < size <= MAX_SIZE:
        raise ValueError("a size must be at least one byte and below 2**63 bytes")
    return size


def parse_duration(text: str) -> int | None:
    """Return the seconds of a duration such as ``3d`` or ``1h30m``, or None for ``never``.

    Raises:
        ValueError: not of that form, or longer than a hundred years.
    """
    if text == "never":
        return None
    if len(text) > _LONGEST or not _DURATION.fullmatch(text):
        raise ValueError("a duration is whole numbers with s, m, h, d or w, such as 3d or 1h30m, or never")
    seconds = sum(int(part[:-1]) * _TIME_UNITS[part[-1]] for part in re.findall(r"[0-9]+[smhdw]", text))
    if seconds > MAX_DURATION:
        raise ValueError("a duration is at most a hundred years; write never for no limit")
    return seconds


def parse_whole(text: str) -> int:
    """Return a whole number, zero or more.

    Raises:
        ValueError: not of that form, or a million and more.
    """
    if len(text) > _LONGEST or not re.fullmatch(r"[0-9]+", text) or int(text) >= 10**6:
        raise ValueError("a whole number from 0 to 999999 is expected")
    return int(text)


def parse_number(text: str) -> float:
    """Return a decimal number above zero.

    Raises:
        ValueError: not of that form, zero, or a million and more.
    """
    number = float(text) if len(text) <= _LONGEST and _NUMBER.fullmatch(text) else 0.0
    if not 0 < number < 10**6:
        raise ValueError("a decimal number above 0 and below a million is expected, such as 2 or 0.5")
    return number


def parse_cpu(text: str) -> float:
    """Return a number of CPUs: a decimal number, at least ``MIN_CPU``.

    Raises:
        ValueError: not of that form, less, or a million and more.
    """
    number = float(text) if len(text) <= _LONGEST and _NUMBER.fullmatch(text) else 0.0
    if not MIN_CPU <= number < 10**6:
        raise ValueError(f"a number of CPUs from {MIN_CPU} to below a million is expected, such as 2 or 0.5")
    return number


def parse_time(text: str) -> datetime:
    """Return the aware time of an ISO 8601 date, time and offset such as ``2026-11-24T08:00+01:00``.

    Raises:
        ValueError: not of that form, or no such time.
    """
    if not _TIME.fullmatch(text):
        raise ValueError("a time is date, time and offset, such as 2026-11-24T08:00+01:00")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"no such time: {error}") from None


def format_count(number: int, what: str) -> str:
    """Return a number of things for people: ``1 GPU``, ``2 GPUs``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def format_size(size: int) -> str:
    """Return bytes for people: ``4 GiB``, ``1.5 GiB``, ``512 MiB``."""
    for letter, unit in reversed(_SIZE_UNITS.items()):
        if size >= unit:
            return f"{size / unit:{'.4g' if size < 1000 * unit else '.0f'}} {letter}iB"
    return format_count(size, "byte")


def format_duration(seconds: int | None) -> str:
    """Return seconds for people, in the language's own form: ``3d``, ``1h30m``, ``never``."""
    if seconds is None:
        return "never"
    parts = []
    for letter, unit in reversed(_TIME_UNITS.items()):
        count, seconds = divmod(seconds, unit)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


def duration_in_words(seconds: int | None) -> str:
    """Return seconds as people say them: ``3 days``, ``1 hour and 30 minutes``, ``never``.

    Weeks are said only where they come out whole: ``2 weeks``, but ``10 days``.
    """
    if seconds is None:
        return "never"
    if seconds and seconds % _TIME_UNITS["w"] == 0:
        return format_count(seconds // _TIME_UNITS["w"], "week")
    parts = []
    for word in ("day", "hour", "minute", "second"):
        count, seconds = divmod(seconds, _TIME_UNITS[word[0]])
        if count:
            parts.append(format_count(count, word))
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part) or "0 seconds"
