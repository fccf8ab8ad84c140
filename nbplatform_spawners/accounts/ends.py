"""When an account ends, as directories write it: days, seconds, a generalized time, or Active Directory's ticks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_GENERALIZED = re.compile(
    r"(?P<date>[0-9]{8})(?P<hour>[0-9]{2})(?:(?P<minute>[0-9]{2})(?P<second>[0-9]{2})?)?"
    r"(?:[.,][0-9]{1,9})?(?:Z|(?P<offset>[+-][0-9]{2}(?:[0-9]{2})?))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_TICKS_NEVER = (0, 2**63 - 1)
_TICKS_IN_A_SECOND = 10**7


def end_by_days(text: str) -> datetime | None:
    """Return the end that ``shadowExpire`` says: the first moment (UTC) of that day after 1 January 1970.

    A negative number is no end; 0 is 1970, as the safer of the two ways in which it is read.

    Raises:
        ValueError: no whole number.
    """
    days = _whole(text)
    return None if days < 0 else _after(_EPOCH, days * 86400)


def end_by_seconds(text: str) -> datetime | None:
    """Return the end in seconds since 1970; a negative number is no end.

    Raises:
        ValueError: no whole number.
    """
    seconds = _whole(text)
    return None if seconds < 0 else _after(_EPOCH, seconds)


def end_by_ticks(text: str) -> datetime | None:
    """Return the end that ``accountExpires`` of Active Directory says: 100 ns since 1601; 0 and the largest: no end.

    Raises:
        ValueError: no whole number, or below zero.
    """
    ticks = _whole(text)
    if ticks in _TICKS_NEVER:
        return None
    if ticks < 0:
        raise ValueError("a number below zero is no time")
    return _after(_TICKS_EPOCH, ticks // _TICKS_IN_A_SECOND)


def end_by_generalized_time(text: str) -> datetime:
    """Return the end that an LDAP generalized time says, such as ``20270630220000Z``; fractions are cut off.

    Raises:
        ValueError: not of that form, no such time, or without ``Z`` or an offset.
    """
    found = _GENERALIZED.fullmatch(text)
    if found is None:
        raise ValueError("a generalized time with its offset is expected, such as 20270630220000Z")
    offset = found["offset"] or "+0000"
    digits = f"{found['date']}{found['hour']}{found['minute'] or '00'}{found['second'] or '00'}{offset:0<5}"
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S%z")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"no such time: {error}") from None


EndParser = Callable[[str], datetime | None]
END_KINDS: Mapping[str, EndParser] = MappingProxyType(
    {
        "days": end_by_days,
        "seconds": end_by_seconds,
        "generalized_time": end_by_generalized_time,
        "ticks": end_by_ticks,
    }
)
"""What a settings file may call the form of an attribute that says when an account ends."""


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError("a whole number is expected")
    return int(text)


def _after(begin: datetime, seconds: int) -> datetime | None:
    """Return the time; None behind the year 9999, which nobody will see."""
    try:
        return begin + timedelta(seconds=seconds)
    except OverflowError:
        return None
