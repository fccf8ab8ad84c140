"""The part of the speed-ups that lives in the server: an extension of Jupyter Server, offered by ``offer``."""

from __future__ import annotations

from typing import Any

from . import offer, start


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Say what there is to load.  Called when the extension was found, which is when the configuration is read."""
    offer.withdraw()
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Apply what needs the server's application.  Called before the server listens."""
    start.log.parent = serverapp.log
    if "kernel-nodelay" in start.chosen:
        _apply_kernel_nodelay(serverapp)
    start.log.info("speed-ups in use: %s", ", ".join(start.in_use) or "none")


async def _start_jupyter_server_extension(serverapp: Any) -> None:
    """Undo what was for the start alone.  Called when the server listens."""
    start.started()


def _apply_kernel_nodelay(serverapp: Any) -> None:
    try:
        from . import kernel_nodelay
    except ImportError as error:
        start.leave_out("kernel-nodelay", f"what it builds on is gone: {error}")
    else:
        kernel_nodelay.apply(serverapp)
