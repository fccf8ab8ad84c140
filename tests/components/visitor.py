"""A person without a browser who logs in to a hub through Keycloak's real pages.

Follows redirects one by one, so that a test can stop at any of them, and submits the forms that Keycloak's pages submit
by script (SAML's).
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import Cookie
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.cookies import RequestsCookieJar

from .session import TIMEOUT, Answer, LoginRefused, Session

MOST_HOPS = 30
REDIRECTS = (301, 302, 303, 307, 308)
CALLBACK = "/hub/oauth_callback"


class LoopbackCookies(RequestsCookieJar):
    """Cookies as browsers treat them on the loopback address, where Keycloak's ``Secure`` ones are sent back, too."""

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> None:
        """Take a cookie."""
        cookie.secure = False
        super().set_cookie(cookie, *args, **kwargs)


@dataclass
class Form:
    """A form of a page.

    Attributes:
        action: where it is sent, as the page says it.
        method: ``GET`` or ``POST``.
        fields: what it sends as it stands.
    """

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """What a visitor sees of a page: forms, links and text.

    Args:
        answer: the page.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self._texts: list[str] = []
        self._hidden = 0
        self.feed(answer.text)

    @property
    def text(self) -> str:
        """What is written on it."""
        return " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, a field or a link."""
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(found.get("action", ""), found.get("method", "get").upper()))
        elif tag == "input" and self.forms and found.get("name") and found.get("type") not in ("checkbox", "submit"):
            self.forms[-1].fields[found["name"]] = found.get("value", "")
        elif tag == "a" and "href" in found:
            self.links.append(found["href"])
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        """Note the end of what is not shown."""
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        """Note text."""
        if not self._hidden:
            self._texts.append(data)


class Visitor(Session):
    """One person of a hub whose login is Keycloak's.

    Args:
        url: of the proxy, without a trailing slash.

    Attributes:
        hops: every request so far, as ``METHOD URL``.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._requests.cookies = LoopbackCookies()
        self.hops: list[str] = []

    @property
    def jar(self) -> RequestsCookieJar:
        """The cookies; they can be changed."""
        return self._requests.cookies

    def begin(self, next_path: str = "") -> Answer:
        """Ask the hub for a login; returns Keycloak's page, or what came in its place."""
        return self.go("GET", login_path(next_path))

    def fill_in(self, page: Answer, username: str, password: str, *, stop: str = "") -> Answer:
        """Fill in a login form of Keycloak's; returns what it leads to."""
        return self.submit(page, {"username": username, "password": password}, stop=stop)

    def choose(self, page: Answer, alias: str) -> Answer:
        """Follow the link of an identity provider on Keycloak's login page.

        Raises:
            LoginRefused: the page has none.
        """
        wanted = f"/broker/{alias}/login"
        found = [link for link in Page(page).links if urlsplit(html.unescape(link)).path.endswith(wanted)]
        if not found:
            raise LoginRefused(page)
        return self.go("GET", urljoin(page.url, found[0]))

    def log_in(self, username: str, password: str = "", *, via: str = "", next_path: str = "") -> Answer:
        """Log in to the hub.

        Args:
            username: of Keycloak's realm; of the federation's with ``via``.
            password: ``NAME-pw`` when empty, with ``via`` ``NAME-home-pw``: as the test realms have it.
            via: alias of the identity provider to come through.
            next_path: page of the hub that is wanted.

        Returns:
            The page of the hub, after the login.

        Raises:
            LoginRefused: they are not logged in; holds the page they got instead.
        """
        answer = self.arrive(self.authorise(username, password, via=via, next_path=next_path))
        if answer.status >= 400 or self.get("/hub/home", redirects=False).status != 200:
            raise LoginRefused(answer)
        return answer

    def authorise(self, username: str, password: str = "", *, via: str = "", next_path: str = "") -> str:
        """Log in at Keycloak and stop before the hub's callback; returns its address, with code and state.

        Raises:
            LoginRefused: Keycloak does not send the visitor there; holds the page they got instead.
        """
        page = self.go("GET", login_path(next_path), stop=CALLBACK)
        if page.status in REDIRECTS:
            return self.target(page)  # Keycloak knows them already
        if via:
            page = self.choose(page, via)
        answer = self.fill_in(page, username, password or f"{username}{'-home' if via else ''}-pw", stop=CALLBACK)
        if answer.status not in REDIRECTS:
            raise LoginRefused(answer)
        return self.target(answer)

    def arrive(self, callback: str) -> Answer:
        """Go to the hub's callback and on from there."""
        return self.go("GET", callback)

    def go(self, method: str, url: str, data: Mapping[str, str] | None = None, *, stop: str = "") -> Answer:
        """Send a request and follow redirects and the forms that pages submit by themselves.

        Args:
            method: HTTP method.
            url: address, or path of the hub.
            data: the form that is sent.
            stop: path that a redirect is not followed to; the redirect is returned then.
        """
        for _ in range(MOST_HOPS):
            address = self._at(url)
            self.hops.append(f"{method} {address}")
            response = self._requests.request(method, address, data=data, timeout=TIMEOUT, allow_redirects=False)
            answer = Answer(response.status_code, response.text, response.url, response.headers)
            if answer.status in REDIRECTS:
                url = self.target(answer)
                if stop and urlsplit(url).path == stop:
                    return answer
                if answer.status not in (307, 308):
                    method, data = "GET", None
                continue
            form = saml_form(answer)
            if form is None:
                return answer
            method, url, data = form.method, urljoin(answer.url, form.action), form.fields
        raise requests.TooManyRedirects("\n".join(self.hops[-MOST_HOPS:]))

    def submit(self, page: Answer, fields: Mapping[str, str], *, number: int = 0, stop: str = "") -> Answer:
        """Fill in a form of a page and send it.

        Raises:
            LoginRefused: the page has no such form.
        """
        forms = Page(page).forms
        if len(forms) <= number:
            raise LoginRefused(page)
        form = forms[number]
        return self.go(form.method, urljoin(page.url, form.action), {**form.fields, **fields}, stop=stop)

    @staticmethod
    def target(answer: Answer) -> str:
        """Where a redirect leads."""
        return urljoin(answer.url, answer.headers["Location"])


def login_path(next_path: str) -> str:
    """Where the hub begins a login."""
    return f"/hub/oauth_login?next={quote(next_path, safe='')}" if next_path else "/hub/oauth_login"


def saml_form(answer: Answer) -> Form | None:
    """The SAML form that a page submits by itself."""
    if "html" not in answer.headers.get("Content-Type", "") or "SAMLRe" not in answer.text:
        return None
    return next((form for form in Page(answer).forms if {"SAMLRequest", "SAMLResponse"} & form.fields.keys()), None)
