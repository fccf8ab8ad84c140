"""A refused login as JupyterHub's login page shows it."""

from __future__ import annotations

from tornado import web

from ..errors import REFUSALS

_FORBIDDEN = 403
_DO = f"What you can do: {REFUSALS['account'].advice.format(support='the support desk')}."


class LoginRefused(web.HTTPError):
    """A login that ends with a sentence for the user.

    Where the account itself is refused the page also says what to do, as it does when a server is refused.

    Args:
        status: HTTP status; 403 when the account is refused.
        message: one sentence, without a secret.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status)  # without a message of its own: tornado would log it once more
        sentence = message[:1].upper() + message[1:]
        self.jupyterhub_message = f"{sentence}. {_DO}" if status == _FORBIDDEN else sentence

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.jupyterhub_message}"
