"""A browser-like visitor without a browser: cookies, JupyterHub's ``_xsrf`` tokens and its login form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

TIMEOUT = 60.0  # seconds that one request may take


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        status: HTTP status.
        text: the body.
        url: where it came from, after redirects.
        headers: of the answer; look-up ignores case.
    """

    status: int
    text: str
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def json(self) -> Any:
        """The body as JSON; None when it is empty."""
        return json.loads(self.text) if self.text else None

    @classmethod
    def of(cls, response: requests.Response) -> Answer:
        """The answer in a response of ``requests``."""
        return cls(response.status_code, response.text, response.url, response.headers)


class LoginRefused(Exception):
    """The login form did not let the visitor in; ``answer`` is the page they got instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"login refused with status {answer.status}")
        self.answer = answer


class Session:
    """One visitor of a hub, with cookies of their own.  Follows redirects.  Paths begin with ``/``.

    Args:
        url: of the proxy, without a trailing slash.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._requests = requests.Session()
        self._requests.trust_env = False  # the machine's proxy settings are not for a loopback address
        self._requests.headers.update({"User-Agent": "nbplatform-tests", "Sec-Fetch-Mode": "navigate"})

    def get(self, path: str, *, redirects: bool = True) -> Answer:
        """Get a page as one who follows a link does."""
        response = self._requests.get(self._at(path), timeout=TIMEOUT, allow_redirects=redirects)
        return Answer.of(response)

    def post(
        self, path: str, data: Mapping[str, str] | None = None, *, json: Any = None, redirects: bool = True
    ) -> Answer:
        """Send a form (``data``) as a page does, or JSON as a page's script does; with the token against forgery."""
        token = self.xsrf(path)
        if json is None:
            form = {"_xsrf": token, **(data or {})}
            response = self._requests.post(self._at(path), data=form, timeout=TIMEOUT, allow_redirects=redirects)
            return Answer.of(response)
        return self.script("POST", path, json=json)

    def script(self, method: str, path: str, *, json: Any = None) -> Answer:
        """A request as a page's own script sends it."""
        headers = {"X-XSRFToken": self.xsrf(path), "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
        headers["Referer"] = self.url + "/hub/home"
        response = self._requests.request(method, self._at(path), json=json, headers=headers, timeout=TIMEOUT)
        return Answer.of(response)

    def page(self, path: str) -> str:
        """The text of a page, whatever its status."""
        return self.get(path).text

    def xsrf(self, path: str) -> str:
        """The token against forged requests that holds for a path; empty before the first page was visited."""
        place = urlsplit(path).path
        fitting = [
            cookie for cookie in self._requests.cookies if cookie.name == "_xsrf" and place.startswith(cookie.path)
        ]
        return max(fitting, key=lambda cookie: len(cookie.path)).value or "" if fitting else ""

    def cookies(self, path: str) -> str:
        """The ``Cookie`` header that a browser would send for a path."""
        request = requests.Request("GET", self._at(path))
        return str(self._requests.prepare_request(request).headers.get("Cookie", ""))

    def login(self, username: str, password: str) -> None:
        """Fill in the login form.

        Raises:
            LoginRefused: anything but a redirect into the hub came back.
        """
        self.get("/hub/login")
        answer = self.post("/hub/login", {"username": username, "password": password}, redirects=False)
        if answer.status != 302:
            raise LoginRefused(answer)
        self.get("/hub/home")  # as a page of the hub, so that the token of the logged-in visitor is set

    def close(self) -> None:
        """Close the connections."""
        self._requests.close()

    def _at(self, path: str) -> str:
        return path if path.startswith(("http://", "https://")) else self.url + path
