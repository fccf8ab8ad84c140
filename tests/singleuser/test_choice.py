"""Which speed-ups a server uses."""

from __future__ import annotations

import pytest

from nbplatform_spawners.speedups import SPEEDUPS, SPEEDUPS_ENV, chosen_speedups

# id, value of the variable, what is used, what is not known
CHOICES = [
    ("unset means all", None, SPEEDUPS, ()),
    ("empty means none", "", (), ()),
    ("blanks mean none", " \t", (), ()),
    ("one", "late-gc", ("late-gc",), ()),
    ("two in any order", "late-gc  lean-import", ("lean-import", "late-gc"), ()),
    ("one named twice", "late-gc late-gc", ("late-gc",), ()),
    ("a name that is none is told, the others count", "late-gc warp", ("late-gc",), ("warp",)),
    ("names are taken as they are written", "LATE-GC kernel_nodelay", (), ("LATE-GC", "kernel_nodelay")),
]


@pytest.mark.parametrize(("_", "value", "used", "unknown"), CHOICES, ids=[row[0] for row in CHOICES])
def test_the_variable_names_what_is_used(
    _: str, value: str | None, used: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    """Unset means all, empty none, unknown names are left out and told."""
    assert chosen_speedups(value) == (used, unknown)


def test_the_variable_has_a_name_of_the_project() -> None:
    """It stands in every server's environment, among other people's variables."""
    assert SPEEDUPS_ENV == "NBPLATFORM_SPEEDUPS"
