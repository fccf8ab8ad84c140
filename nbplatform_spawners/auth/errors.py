"""A refused login as JupyterHub's pages show it."""

from __future__ import annotations

from html import escape
from http.client import responses

from tornado import web

from ..errors import REFUSALS
from ..oidc.refusals import LOGIN_REFUSALS, LoginProblem

_FORBIDDEN = 403
SUPPORT = "the support desk"
LEAVE_KEYCLOAK = "leave_keycloak"
"""Argument of the logout page: end the session at Keycloak, too, of somebody who has none at the hub."""


class LoginRefused(web.HTTPError):
    """A login that ends with a sentence for the user.

    Where the account itself is refused the page also says what to do, as it does when a server is refused.

    Args:
        status: HTTP status; 403 when the account is refused.
        message: one sentence, without a secret.
        support: whom the user can ask.
        advice: what the user can do; None for the advice about accounts where ``status`` is 403, else nothing.
        reason: label of the refusal; the status' own words when None.
    """

    def __init__(
        self, status: int, message: str, support: str = SUPPORT, advice: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(
            status, reason=reason or responses.get(status)
        )  # without a message of its own: tornado would log it once more
        if advice is None and status == _FORBIDDEN:
            advice = REFUSALS["account"].advice
        sentence = message[:1].upper() + message[1:]
        self.jupyterhub_message = (
            f"{sentence}. What you can do: {advice.format(support=support)}." if advice else sentence
        )

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.jupyterhub_message}"


class LoginProblemShown(LoginRefused):
    """A ``LoginProblem`` on a page of its own, with its label and a way back to the login.

    Args:
        problem: why.
        support: whom the user can ask.
        hub_url: path of the hub, with a slash at its end.
    """

    def __init__(self, problem: LoginProblem, support: str, hub_url: str) -> None:
        kind = LOGIN_REFUSALS[problem.reason]
        super().__init__(kind.status, problem.message, support, kind.advice, problem.reason)
        self.login_problem = problem
        button = '<a role="button" class="btn btn-{}" href="{}">{}</a>'
        again = button.format("primary", escape(f"{hub_url}oauth_login"), "Log in again")
        other = button.format("secondary", escape(f"{hub_url}logout?{LEAVE_KEYCLOAK}=1"), "Log in as somebody else")
        self.jupyterhub_html_message = (  # phrasing content: JupyterHub's own page puts it into a paragraph
            f'<span class="nbplatform-refusal">{escape(self.jupyterhub_message)}'
            f" <small>Reason: <code>{escape(problem.reason)}</code></small></span> {again} {other}"
        )
