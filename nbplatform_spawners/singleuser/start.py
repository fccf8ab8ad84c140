"""What the parts share: which speed-ups are wanted and in use, what is undone after the start, the log, failures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..names import bounded

LONGEST = 120.0
"""Seconds after which a start counts as over in any case, also where the extension is never loaded."""

log = logging.getLogger("nbplatform_spawners.singleuser")
"""Before the server has a log of its own: warnings go to standard error, which becomes the server's log."""

chosen: set[str] = set()
"""The speed-ups that this process was asked for."""
in_use: list[str] = []
"""Those that act, in the order in which they were applied."""

_failed: set[str] = set()
_undo: list[Callable[[], None]] = []
_timer: threading.Timer | None = None
_lock = threading.Lock()


def leave_out(name: str, why: str) -> None:
    """Say that a speed-up does not act, or no more, because what it was made for has changed."""
    if name in in_use:
        in_use.remove(name)
    log.warning("speed-up %s leaves itself out: %s", name, why)


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Have the server go on whatever happens in the block; it is told once for each name.

    Args:
        what: the name of what is done, of ours.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the user's server is worth more
        if what not in _failed:
            _failed.add(what)
            log.warning("%s does not work here: %s", what, bounded(repr(error), 300))


def until_started(undo: Callable[[], None]) -> None:
    """Have something undone when the server has started, or after ``LONGEST`` seconds, whichever comes first.

    Args:
        undo: called once, maybe in a thread of its own.

    Raises:
        RuntimeError: no thread can be started that would see to it.
    """
    global _timer
    with _lock:
        if _timer is None:
            timer = threading.Timer(LONGEST, started)
            timer.daemon = True
            timer.start()
            _timer = timer
        _undo.append(undo)


def started() -> None:
    """Undo what was for the start alone.  Called by the extension when the server listens, else by the timer."""
    global _timer
    with _lock:
        waiting, _undo[:] = _undo[:], []
        timer, _timer = _timer, None
    if timer is not None:
        timer.cancel()
    for undo in waiting:
        undo()
