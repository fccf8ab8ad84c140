"""A refusal as JupyterHub's pages, progress events and API answers show it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from jupyterhub.spawner import SpawnException
from tornado import web

from ..errors import Refusal

if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner

_STATUS = {"options": 400, "storage": 503, "full": 503, "unreachable": 503, "rules": 503}
_FORBIDDEN = 403


class SpawnRefused(SpawnException):  # type: ignore[misc]
    """The only exception that leaves our spawners and authenticators on purpose.

    JupyterHub's HTML paths look at ``jupyterhub_message`` alone, its API at ``message``, its metrics at ``reason``:
    all say the same.  The label is also sent as the header ``X-Nbplatform-Reason``, for scripts.

    Args:
        refusal: label and sentence.
    """

    def __init__(self, refusal: Refusal) -> None:
        text = str(refusal)
        super().__init__(text, reason=refusal.reason, status_code=_STATUS.get(refusal.reason, _FORBIDDEN))
        self.refusal = refusal
        self.jupyterhub_message = text
        self.jupyterhub_html_message = f'<span class="nbplatform-refusal">{escape(text)}</span>'
        self.headers = {"X-Nbplatform-Reason": refusal.reason}


class ServerFailedError(web.HTTPError):
    """A server that was granted but did not come up: not a refusal, the hub counts it as an error.

    Args:
        message: what the user sees; may hold the end of their own server's log.
    """

    def __init__(self, message: str) -> None:
        super().__init__(500, message)
        self.jupyterhub_message = message
        self.jupyterhub_html_message = f'<pre class="nbplatform-failure">{escape(message)}</pre>'


def refuse(spawner: Spawner, refusal: Refusal) -> SpawnRefused:
    """Return the exception for a refused spawn, logged, with the refused options forgotten.

    The hub stores a request's options before the start and repeats them at the next plain start; a refusal must not
    stick, so they are taken back here.

    Args:
        spawner: of the refused server.
        refusal: why.
    """
    spawner.log.warning("refused server=%s reason=%s", spawner._log_name, refusal)
    spawner.user_options = {}
    if spawner.orm_spawner is not None:
        spawner.orm_spawner.user_options = {}
        spawner.user.db.commit()
    return SpawnRefused(refusal)
