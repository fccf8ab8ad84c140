"""What a user does in a browser, and how long they wait for what they do to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.components.browser import screenshot
from tests.components.hub import Hub
from tests.hub.site import PASSWORD

LIMIT = 60.0  # seconds until what is waited for must show
NOT_YET = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)

LEFT = "does not belong to the document"
"""What Chromium's driver says, now and then, of an element on a page that is just being left, in place of "stale"."""

Found = TypeVar("Found")


@dataclass
class User:
    """One user and their browser.

    Attributes:
        driver: the browser.
        hub: where they go.
        pictures: where a picture of the page is left when something is waited for in vain.
    """

    driver: WebDriver
    hub: Hub
    pictures: Path

    def wait(self, what: Callable[[], Found], name: str) -> Found:
        """Wait until something is true; a page that is just changing counts as not yet.

        Args:
            what: asked again and again.
            name: for the failure, which also names the address and leaves a picture.
        """
        waiting = WebDriverWait(self.driver, LIMIT, poll_frequency=0.1, ignored_exceptions=NOT_YET)
        try:
            return waiting.until(lambda _: stale_when_left(what))
        except TimeoutException as late:
            picture = screenshot(self.driver, self.pictures / "in-vain.png")
            address = self.driver.current_url
            raise AssertionError(f"waited in vain for {name} at {address}, see {picture}: {late.msg}") from None

    def see(self, css: str) -> WebElement:
        """Wait for an element that is shown."""

        def shown() -> WebElement | None:
            return next((one for one in self.driver.find_elements(By.CSS_SELECTOR, css) if one.is_displayed()), None)

        found = self.wait(shown, css)
        assert found is not None
        return found

    def click(self, css: str) -> None:
        """Wait for an element that can be used, bring it to the middle of the window, uncovered, and click it."""

        def clicked() -> bool:
            found = self.driver.find_element(By.CSS_SELECTOR, css)
            if not found.is_enabled():
                return False  # the page's script has not come to it yet
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
            found.click()
            return True

        self.wait(clicked, css)

    def text(self, css: str) -> str:
        """Text of an element as it is shown now, once it is there."""
        return self.see(css).text

    def see_text(self, css: str, words: str) -> str:
        """Wait until an element's text holds some words, and return the whole text."""

        def told() -> str | None:
            shown = self.driver.find_element(By.CSS_SELECTOR, css).text
            return shown if words in shown else None

        found = self.wait(told, f"{words!r} in {css}")
        assert found is not None
        return found

    def go(self, path: str) -> None:
        """Open a page of the hub; ``path`` begins with ``/``."""
        self.driver.get(self.hub.url + path)

    def fill_login(self, name: str, password: str) -> None:
        """Fill the login form and send it."""
        field = self.see("#username_input")
        field.clear()
        field.send_keys(name)
        self.driver.find_element(By.ID, "password_input").send_keys(password)
        # A refused login shows the same form on a new page: what was sent must be gone before anything is read.
        self.leave_by("form [type=submit]")

    def leave_by(self, css: str) -> None:
        """Click what leads to another page, and wait until this one is gone."""
        page = self.driver.find_element(By.TAG_NAME, "html")
        self.click(css)

        def gone() -> bool:
            try:
                return not stale_when_left(page.is_enabled)
            except StaleElementReferenceException:
                return True

        self.wait(gone, f"another page after {css}")

    def log_in(self, name: str, page: str = "/hub/spawn") -> None:
        """Log in with the right password and go on to a page."""
        self.go(f"/hub/login?next={page}")
        self.fill_login(name, PASSWORD)
        self.wait(lambda: "/hub/login" not in self.driver.current_url, "the end of the login")

    def script(self, code: str) -> Any:
        """Return what a script in the page gives."""
        return self.driver.execute_script(code)

    def cdp(self, command: str, **parameters: object) -> None:
        """Send a command of the Chrome DevTools protocol."""
        self.driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})

    def servers(self) -> dict[str, Any]:
        """The servers of whoever the page says is logged in, as the hub's API lists them."""
        name = self.driver.find_element(By.CSS_SELECTOR, "#login_widget span").text
        servers: dict[str, Any] = self.hub.api("GET", f"users/{name}").json["servers"]
        return servers


def stale_when_left(what: Callable[[], Found]) -> Found:
    """Do something with a page; one that was left in between is told as stale, however the driver words it."""
    try:
        return what()
    except WebDriverException as error:
        if LEFT in (error.msg or ""):
            raise StaleElementReferenceException(error.msg) from None
        raise
