"""Speed-up ``late-gc``: the garbage collector rests while the server starts.

Imports make some hundred thousand objects that stay, and the collector looks at all of them again and again.  It is
not switched off: its threshold is so high that a start does not reach it, and it is put back when the server listens.
What there is then, modules and classes for the most part, is frozen: the collector does not look at it any more, else
its first look at everything would hold up the first user for as long as its rest has saved.
"""

from __future__ import annotations

import gc

from . import start

NAME = "late-gc"
THRESHOLD = 1_000_000
"""Objects made, less those gone, until the collector looks; a start of JupyterLab makes a third of it."""


def apply() -> None:
    """Let the collector rest; nothing where it is switched off, or rarer than usual, already."""
    normal = gc.get_threshold()
    if not gc.isenabled() or not 0 < normal[0] < THRESHOLD:
        return

    def put_back() -> None:
        if gc.get_threshold()[0] == THRESHOLD:  # else somebody has set another one since
            gc.freeze()
            gc.set_threshold(*normal)
            start.log.info("speed-up %s has ended with the start", NAME)

    try:
        start.until_started(put_back)
    except RuntimeError as error:
        start.leave_out(NAME, f"nothing could end its rest: {error}")
        return
    gc.set_threshold(THRESHOLD, *normal[1:])
    start.in_use.append(NAME)
