"""One login in a real Chromium: Keycloak's page, the hub, and out again; and a refusal as the person sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from tests.browser.user import User
from tests.components.browser import browser
from tests.components.hub import Hub
from tests.components.need import need
from tests.keycloak.site import Site


@pytest.fixture(scope="module")
def driver() -> Iterator[WebDriver]:
    """The module's browser."""
    with need(browser()) as one:
        yield one


@pytest.fixture
def user(driver: WebDriver, hub: Hub, tmp_path: Path) -> Iterator[User]:
    """Somebody who has not logged in anywhere."""
    one = User(driver, hub, Path(os.environ.get("NBPLATFORM_SCREENSHOTS", "") or tmp_path))
    one.cdp("Network.clearBrowserCookies")
    yield one
    one.cdp("Network.clearBrowserCookies")


def at_keycloak(user: User, page: str = "/hub/home") -> None:
    """Ask the hub for a page and press its button, which leads to Keycloak."""
    user.go(page)
    user.click("#login-main .service-login a, a.btn-jupyter")
    user.see("#kc-login")


def fill_in(user: User, name: str, password: str) -> None:
    """Fill in Keycloak's form and send it."""
    user.see("#username").send_keys(name)
    user.see("#password").send_keys(password)
    user.leave_by("#kc-login")


def sessions_of_alice(site: Site) -> set[str]:
    """The ids of her sessions at Keycloak; other tests may have left some."""
    return {str(session["id"]) for session in site.admin.sessions("alice")}


def test_a_person_logs_in_through_keycloak_and_out_again(user: User, site: Site) -> None:
    """From a page of the hub to Keycloak and back to that page; the logout ends both sessions."""
    others = sessions_of_alice(site)
    at_keycloak(user, "/hub/token")
    fill_in(user, "alice", "alice-pw")
    user.see_text("#login_widget", "alice")
    assert user.driver.current_url.partition("?")[0] == f"{site.url}/hub/token"
    (session,) = sessions_of_alice(site) - others
    user.leave_by("#logout")
    user.wait(lambda: session not in sessions_of_alice(site), "the end of the session at Keycloak")
    assert user.driver.current_url.startswith(f"{site.url}/hub/")
    user.go("/hub/home")
    user.click("#login-main .service-login a, a.btn-jupyter")
    user.see("#password")  # Keycloak asks again


def test_a_person_of_a_home_organisation_is_told_what_to_send_to_whom(user: User, site: Site) -> None:
    """Refused at the hub, with the identifiers, the label, and a way to try again."""
    at_keycloak(user)
    user.leave_by("#social-edugain-saml")
    user.wait(lambda: "/realms/edugain/" in user.driver.current_url, "the home organisation's page")
    fill_in(user, "stranger", "stranger-home-pw")
    user.see_text("body", "not-linked")
    told = user.text("body")
    assert user.driver.current_url.startswith(f"{site.url}/hub/")
    assert "edugain-saml" in told
    assert user.driver.find_elements(By.PARTIAL_LINK_TEXT, "Log in again")
    assert "stranger-home-pw" not in user.driver.page_source


def test_no_page_of_the_login_shows_a_token(user: User, hub: Hub) -> None:
    """Neither the page after the login nor the address bar nor the log holds a token or the code."""
    at_keycloak(user)
    fill_in(user, "bob", "bob-pw")
    user.see_text("#login_widget", "bob")
    assert "code=" not in user.driver.current_url
    assert "eyJ" not in user.driver.page_source
    assert "eyJhbGciOi" not in hub.log_text()
