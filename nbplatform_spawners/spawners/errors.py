"""A refusal as JupyterHub's pages, progress events and API answers show it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from jupyterhub.spawner import SpawnException
from tornado import web

from ..errors import REFUSALS, Refusal
from .audit import audit_refusal
from .links import linked

if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner

_STATUS = {"options": 400, "storage": 503, "full": 503, "unreachable": 503, "rules": 503}
_FORBIDDEN = 403
_DO = "What you can do: "
_AFTER_FAILURE = "start it again; if it fails again, send this page to {support}"
_SOMEBODY = "the support desk"


class SpawnRefused(SpawnException):  # type: ignore[misc]
    """The only exception that leaves our spawners and authenticators on purpose.

    JupyterHub's HTML paths look at ``jupyterhub_message`` alone, its API at ``message``, its metrics at ``reason``:
    all say the same: the label, the sentence, what the user can do.  The label is also sent as the header
    ``X-Nbplatform-Reason``, for scripts.

    Args:
        refusal: label and sentence.
        support: whom to ask.
    """

    def __init__(self, refusal: Refusal, support: str = _SOMEBODY) -> None:
        kind = REFUSALS.get(refusal.reason)
        advice = kind.advice if kind else ""
        text = f"{_sentence(str(refusal))} {_DO}{advice.format(support=support)}." if advice else str(refusal)
        status = _STATUS.get(refusal.reason, _FORBIDDEN)
        super().__init__(text, reason=refusal.reason, log_message=str(refusal), status_code=status)
        self.refusal = refusal
        self.jupyterhub_message = text
        self.jupyterhub_html_message = _html("nbplatform-refusal", str(refusal), advice, support)
        self.headers = {"X-Nbplatform-Reason": refusal.reason}


class ServerFailedError(web.HTTPError):
    """A server that was granted but did not come up: not a refusal, the hub counts it as an error.

    Attributes:
        said: the sentence as it was given, for the hub's log.
        support: whom to ask; set where it is known.

    Args:
        message: one sentence for the user.
        log: the end of their own server's log; any text.
    """

    def __init__(self, message: str, log: str = "") -> None:
        self.said = message
        self.sentence = message[:1].upper() + message[1:]
        self.log = log.strip()
        super().__init__(500, f"{message}; its log ends: {self.log}" if self.log else message)
        self.support = _SOMEBODY

    @property
    def jupyterhub_message(self) -> str:
        """Plain text: the sentence, what the user can do, the end of the log."""
        ending = f" Its log ends:\n{self.log}" if self.log else ""
        return f"{_sentence(self.sentence)} {_DO}{_AFTER_FAILURE.format(support=self.support)}.{ending}"

    @property
    def jupyterhub_html_message(self) -> str:
        """The same as HTML."""
        html = _html("nbplatform-failure", self.sentence, _AFTER_FAILURE, self.support)
        named = 'class="nbplatform-log" tabindex="0" role="region" aria-label="The end of its log"'
        return html + (f"<pre {named}>{escape(self.log)}</pre>" if self.log else "")


class HostFailed(Exception):
    """The chosen host cannot start a server; another one may.  Never leaves our spawners.

    Args:
        cause: what it means to the user when there is no other host.
    """

    def __init__(self, cause: Refusal | ServerFailedError) -> None:
        super().__init__(cause.said if isinstance(cause, ServerFailedError) else str(cause))
        self.cause = cause


def refuse(spawner: Spawner, refusal: Refusal) -> SpawnRefused:
    """Return the exception for a refused spawn, logged and in the audit file, with its options forgotten.

    The hub stores a request's options before the start and repeats them at the next plain start; a refusal must not
    stick, so they are taken back here.

    Args:
        spawner: of the refused server.
        refusal: why.
    """
    spawner.log.warning("refused server=%s reason=%s", spawner._log_name, refusal)
    audit_refusal(spawner, refusal)
    spawner.user_options = {}
    if spawner.orm_spawner is not None:
        spawner.orm_spawner.user_options = {}
        spawner.user.db.commit()
    return SpawnRefused(refusal, getattr(spawner, "support", _SOMEBODY))


def _html(kind: str, sentence: str, advice: str, support: str) -> str:
    """Return sentence and advice as phrasing content: JupyterHub's own pages put it into a paragraph."""
    whom = "".join(
        f'<a href="{escape(part.href)}">{escape(part.text)}</a>' if part.href else escape(part.text)
        for part in linked(support)
    )
    todo = f'<span class="nbplatform-advice">{_DO}{advice.format(support=whom)}.</span>' if advice else ""
    return f'<span class="{kind}"><strong>{escape(sentence)}</strong> {todo}</span>'


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ")")) else f"{text}."
