"""What leads to the pictures of logins: a hub with ``nbplatform-keycloak``, and a real Keycloak."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from steps import StepError

from tests.components.hub import HubDied
from tests.components.keycloak import KeycloakDied, running_keycloak
from tests.keycloak.site import Site, keycloak_site, site_hub

if TYPE_CHECKING:
    from pictures import Visitor

HOME_PAGE = "/hub/oauth_login?next=%2Fhub%2Fhome"
WORDS = """
c.NbplatformSpawner.site_name = "The example site"
c.IdentityMixin.support = "helpdesk@example.org"
"""


@contextlib.contextmanager
def login_site() -> Iterator[Site]:
    """A hub whose people log in through Keycloak; hub and Keycloak end with the block.

    Raises:
        MissingComponent: this machine has no Java, or Keycloak is not built.
        StepError: the hub or Keycloak does not start.
    """
    with contextlib.ExitStack() as stack:
        try:
            site = stack.enter_context(keycloak_site(stack.enter_context(running_keycloak())))
            stack.enter_context(site_hub(site, more=WORDS))
        except (HubDied, KeycloakDied) as error:
            raise StepError(str(error)) from None
        yield site


def fill_in(visitor: Visitor, name: str, password: str) -> None:
    """Fill in Keycloak's form and send it."""
    visitor.sees("#kc-form-login, #kc-login")
    for field, text in (("#username", name), ("#password", password)):
        visitor.driver.execute_script("document.querySelector(arguments[0]).value = arguments[1]", field, text)
    visitor.driver.execute_script("document.querySelector('#kc-login').click()")


def at_keycloak(visitor: Visitor) -> None:
    """Keycloak's page, with the ways in that the realm has."""
    visitor.cdp("Network.clearBrowserCookies")
    visitor.driver.get(visitor.url + HOME_PAGE)
    visitor.sees("#kc-login")
    visitor.sees("#kc-social-providers, [id^=social-]", "EduGain")


def logged_in(visitor: Visitor) -> None:
    """The hub's home page, after the login."""
    at_keycloak(visitor)
    fill_in(visitor, "alice", "alice-pw")
    visitor.sees("#login_widget", "alice")


def not_linked(visitor: Visitor) -> None:
    """Somebody of a home organisation whom nobody has linked to an account yet."""
    at_keycloak(visitor)
    visitor.driver.execute_script("document.querySelector('#social-edugain-oidc').click()")
    visitor.wait(lambda: "/realms/edugain/" in visitor.driver.current_url, "the home organisation's page")
    fill_in(visitor, "stranger", "stranger-home-pw")
    visitor.sees("body", "not-linked")
