"""Sizes, durations and numbers of the rules language."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.rules.units import (
    MAX_DURATION,
    MAX_SIZE,
    MIN_CPU,
    duration_in_words,
    format_count,
    format_duration,
    format_size,
    parse_cpu,
    parse_duration,
    parse_number,
    parse_size,
    parse_whole,
)

SIZES = {
    "kilobytes are powers of 1024": ("1K", 1024),
    "megabytes": ("512M", 512 * 1024**2),
    "gigabytes": ("16G", 16 * 1024**3),
    "terabytes": ("2T", 2 * 1024**4),
    "decimals": ("1.5G", 3 * 1024**3 // 2),
    "decimals are floored to bytes": ("0.001K", 1),
    "a floor is exact, also with more digits than a float or a Decimal holds": (f"0.{'9' * 40}G", 1024**3 - 1),
    "leading zeros": ("007K", 7 * 1024),
    "the largest": ("8388607T", 8388607 * 1024**4),
}


@pytest.mark.parametrize(("text", "expected"), SIZES.values(), ids=SIZES)
def test_a_size_is_a_decimal_number_and_a_unit(text: str, expected: int) -> None:
    """Sizes: a decimal number and K, M, G or T (powers of 1024), floored to bytes."""
    assert parse_size(text) == expected


BAD_SIZES = {
    "no unit": "4",
    "no number": "G",
    "nothing": "",
    "unknown unit": "4P",
    "small letter": "4g",
    "two letters": "4GB",
    "binary unit": "4Gi",
    "space between": "4 G",
    "space around": " 4G",
    "line break at the end": "4G\n",
    "negative": "-4G",
    "plus": "+4G",
    "zero": "0G",
    "below one byte": "0.0001K",
    "no digit before the dot": ".5G",
    "no digit behind the dot": "5.G",
    "comma": "1,5G",
    "exponent": "1e3G",
    "underscore": "1_000G",
    "digits of another script": "٤G",
    "too large": "8388608T",
    "hundreds of digits": "9" * 5000 + "G",
}


@pytest.mark.parametrize("text", BAD_SIZES.values(), ids=BAD_SIZES)
def test_anything_else_is_no_size(text: str) -> None:
    """A size that is not of the form, zero, negative or too large is a mistake."""
    with pytest.raises(ValueError, match=r"^a size "):
        parse_size(text)


DURATIONS = {
    "seconds": ("90s", 90),
    "minutes": ("10m", 600),
    "hours": ("12h", 43200),
    "days": ("3d", 259200),
    "weeks": ("2w", 1209600),
    "chained": ("1h30m", 5400),
    "chained in any order": ("30m1h", 5400),
    "zero": ("0s", 0),
    "never": ("never", None),
    "the longest": ("36500d", MAX_DURATION),
}


@pytest.mark.parametrize(("text", "expected"), DURATIONS.values(), ids=DURATIONS)
def test_a_duration_is_whole_numbers_with_units_or_never(text: str, expected: int | None) -> None:
    """Durations: whole numbers with s, m, h, d, w, chained if need be, or ``never``."""
    assert parse_duration(text) == expected


BAD_DURATIONS = {
    "no unit": "3",
    "no number": "d",
    "nothing": "",
    "decimals": "1.5h",
    "space": "1h 30m",
    "line break at the end": "1h\n",
    "negative": "-1h",
    "capital letter": "1H",
    "month": "1M",
    "Never": "Never",
    "ISO 8601": "PT1H",
    "digits of another script": "٣d",
    "too long": "36501d",
    "hundreds of digits": "9" * 5000 + "d",
}


@pytest.mark.parametrize("text", BAD_DURATIONS.values(), ids=BAD_DURATIONS)
def test_anything_else_is_no_duration(text: str) -> None:
    """A duration that is not of the form or longer than a hundred years is a mistake."""
    with pytest.raises(ValueError, match=r"^a duration is "):
        parse_duration(text)


@pytest.mark.parametrize(("text", "expected"), [("0", 0), ("3", 3), ("010", 10), ("999999", 999999)])
def test_a_whole_number_is_decimal(text: str, expected: int) -> None:
    """``010`` is ten: values are read as they are written."""
    assert parse_whole(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1.0", "1e3", "0x1", "1000000", "٣", " 1", "1\n", "9" * 5000])
def test_anything_else_is_no_whole_number(text: str) -> None:
    """A count is a whole number from 0 to 999999."""
    with pytest.raises(ValueError, match=r"^a whole number "):
        parse_whole(text)


@pytest.mark.parametrize(("text", "expected"), [("2", 2.0), ("0.5", 0.5), ("1.50", 1.5), ("999999.5", 999999.5)])
def test_a_number_may_have_decimals(text: str, expected: float) -> None:
    """The CPUs of a host and the overcommit are decimal numbers above zero."""
    assert parse_number(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", ".5", "1.", "1e3", "inf", "nan", "1000000", "٣", "9" * 5000])
def test_anything_else_is_no_number(text: str) -> None:
    """A number that is not decimal, not above zero or not below a million is a mistake."""
    with pytest.raises(ValueError, match=r"^a decimal number "):
        parse_number(text)


@pytest.mark.parametrize(("text", "expected"), [("2", 2.0), ("0.01", MIN_CPU), ("000.5", 0.5), ("999999.5", 999999.5)])
def test_a_limit_of_cpus_may_have_decimals(text: str, expected: float) -> None:
    """A hundredth is the least that the kernel can hold a server to."""
    assert parse_cpu(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0.0099", "0.0000000001", "-1", "1e3", "nan", "1000000", "9" * 5000])
def test_less_than_a_hundredth_is_no_limit_of_cpus(text: str) -> None:
    """No server would ever answer with it."""
    with pytest.raises(ValueError, match=r"^a number of CPUs from 0\.01 "):
        parse_cpu(text)


SHOWN_SIZES = {
    "one byte": (1, "1 byte"),
    "bytes": (1023, "1023 bytes"),
    "kibibytes": (1024, "1 KiB"),
    "decimals": (1024**3 * 3 // 2, "1.5 GiB"),
    "four digits": (1000 * 1024**3, "1000 GiB"),
    "never with an exponent": (MAX_SIZE, "8388608 TiB"),
}


@pytest.mark.parametrize(("size", "expected"), SHOWN_SIZES.values(), ids=SHOWN_SIZES)
def test_a_size_is_shown_with_the_largest_unit_that_fits(size: int, expected: str) -> None:
    """People read ``1.5 GiB``, not bytes."""
    assert format_size(size) == expected


@given(st.integers(0, MAX_DURATION))
@settings(max_examples=100, deadline=None)
def test_a_shown_duration_reads_back_the_same(seconds: int) -> None:
    """Durations are shown in the language's own form, the largest units first."""
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, "never"), (0, "0s"), (5400, "1h30m"), (86400, "1d"), (694861, "1w1d1h1m1s")]
)
def test_a_duration_is_shown_in_the_languages_form(seconds: int | None, expected: str) -> None:
    """``1h30m`` and ``never``, as an administrator would write it."""
    assert format_duration(seconds) == expected


IN_WORDS = {
    "never": (None, "never"),
    "nothing": (0, "0 seconds"),
    "one of a kind": (3600, "1 hour"),
    "days": (259200, "3 days"),
    "whole weeks": (1209600, "2 weeks"),
    "weeks that are not whole": (864000, "10 days"),
    "two parts": (5400, "1 hour and 30 minutes"),
    "a part between is nought": (86460, "1 day and 1 minute"),
    "all parts": (694861, "8 days, 1 hour, 1 minute and 1 second"),
}


@pytest.mark.parametrize(("seconds", "expected"), IN_WORDS.values(), ids=IN_WORDS)
def test_a_duration_is_said_in_words(seconds: int | None, expected: str) -> None:
    """Who does not write rules reads ``3 days``, not ``3d``."""
    assert duration_in_words(seconds) == expected


@pytest.mark.parametrize(("number", "expected"), [(0, "0 GPUs"), (1, "1 GPU"), (2, "2 GPUs")])
def test_counts_agree_with_their_noun(number: int, expected: str) -> None:
    """Only one is singular."""
    assert format_count(number, "GPU") == expected
