"""A refused login as JupyterHub's login page shows it."""

from __future__ import annotations

from tornado import web


class LoginRefused(web.HTTPError):
    """A login that ends with a sentence for the user.

    Args:
        status: HTTP status.
        message: one sentence, without a secret.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status)  # without a message of its own: tornado would log it once more
        self.jupyterhub_message = message[:1].upper() + message[1:]

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.jupyterhub_message}"
