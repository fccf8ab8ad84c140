"""Offers the server's extension to Jupyter: by a folder on the path of its configuration, until it is read."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import partial
from pathlib import Path

from . import start

FOLDER = Path(__file__).resolve().parent / "config"
"""Holds ``jupyter_server_config.d``: Jupyter merges what lies there with what others configure."""
VARIABLE = "JUPYTER_CONFIG_PATH"
NEEDS_IT = "kernel-nodelay"

_standing: list[Callable[[], None]] = []


def apply(environ: MutableMapping[str, str]) -> None:
    """Put the folder on the path; it is taken off when it was read, so that no kernel and no terminal inherits it.

    Args:
        environ: the process's environment.
    """
    before = environ.get(VARIABLE)
    after = f"{before}:{FOLDER}" if before else str(FOLDER)
    try:
        start.until_started(_given_up)
    except RuntimeError as error:
        _say(f"nothing could take its extension back: {error}")
        return
    environ[VARIABLE] = after
    _standing.append(partial(_put_back, environ, before, after))


def withdraw() -> None:
    """Take the folder off the path.  Called by the extension when it was found; twice is no mistake."""
    while _standing:
        _standing.pop()()


def _given_up() -> None:
    if _standing:
        withdraw()
        _say("the server has not loaded its extension")


def _say(why: str) -> None:
    if NEEDS_IT in start.chosen:
        start.leave_out(NEEDS_IT, why)
    start.log.warning("the idle culler cannot ask this server what goes on in it: %s", why)


def _put_back(environ: MutableMapping[str, str], before: str | None, after: str) -> None:
    if environ.get(VARIABLE) != after:  # somebody has set it since
        return
    if before is None:
        del environ[VARIABLE]
    else:
        environ[VARIABLE] = before
