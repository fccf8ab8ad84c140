"""The speed-ups of the single-user server, as hub and server name them."""

from __future__ import annotations

SPEEDUPS = ("kernel-nodelay", "lean-import", "late-gc")
"""Every one there is, see ``singleuser``."""

SPEEDUPS_ENV = "NBPLATFORM_SPEEDUPS"
"""Environment variable of a server: the names of those it shall use, with spaces between; unset means all."""


def chosen_speedups(text: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the speed-ups that a value of ``SPEEDUPS_ENV`` names, and the names in it that are none.

    Args:
        text: the value; None when the variable is unset, which means all.
    """
    if text is None:
        return SPEEDUPS, ()
    names = dict.fromkeys(text.split())
    return tuple(name for name in SPEEDUPS if name in names), tuple(name for name in names if name not in SPEEDUPS)
