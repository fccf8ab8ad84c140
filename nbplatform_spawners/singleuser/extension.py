"""What lives in the server itself: an extension of Jupyter Server, offered by ``offer``.

It holds the speed-ups that need the server's application, and what the idle culler asks.
"""

from __future__ import annotations

from typing import Any

from . import lab, offer, start

WATCH = "the answer to the idle culler"


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Say what there is to load.  Called when the extension was found, which is when the configuration is read."""
    offer.withdraw()
    return [{"module": __name__}]


def _link_jupyter_server_extension(serverapp: Any) -> None:
    """Apply what applications take up while they are loaded.  Called before any of them is."""
    with start.harmless("the notice in JupyterLab"):
        lab.offer(serverapp)


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Apply what needs the server's application.  Called before the server listens."""
    start.log.parent = serverapp.log
    if "kernel-nodelay" in start.chosen:
        _apply_kernel_nodelay(serverapp)
    start.log.info("speed-ups in use: %s", ", ".join(start.in_use) or "none")
    _answer_the_culler(serverapp)


async def _start_jupyter_server_extension(serverapp: Any) -> None:
    """Undo what was for the start alone, and begin to look.  Called when the server listens."""
    start.started()
    with start.harmless(WATCH):
        from . import watch

        watch.watch_of(serverapp).begin()


def _apply_kernel_nodelay(serverapp: Any) -> None:
    try:
        from . import kernel_nodelay
    except ImportError as error:
        start.leave_out("kernel-nodelay", f"what it builds on is gone: {error}")
    else:
        kernel_nodelay.apply(serverapp)


def _answer_the_culler(serverapp: Any) -> None:
    with start.harmless(WATCH):
        # Only now: a server that lacks what it builds on shall start all the same.
        from . import handlers, watch

        one = watch.watch_of(serverapp)
        one.install()
        handlers.add_handlers(serverapp, one)
