"""Two real hubs on one real Keycloak: ours with ``nbplatform-keycloak``, and a stock one with GenericOAuthenticator.

Both are clients of the same realm with the same settings, both ask for the same scopes, and the same people log in.
Each meets Keycloak through a gate of its own, which counts what comes and takes the same time on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.components import MissingComponent
from tests.components.hub import Hub
from tests.components.keycloak import Keycloak, running_keycloak
from tests.keycloak.site import Site, keycloak_site, site_hub

from .runner import CannotRun

USER = "alice"
USERINFO = """\
c.GenericOAuthenticator.userdata_from_id_token = False
c.GenericOAuthenticator.userdata_url = "ISSUER/protocol/openid-connect/userinfo"
"""


@dataclass(frozen=True)
class LoginSide:
    """One of the two hubs.

    Attributes:
        name: ``ours`` or ``peer``.
        site: its surroundings.
        hub: the hub.
    """

    name: str
    site: Site
    hub: Hub


@contextmanager
def keycloak() -> Iterator[Keycloak]:
    """The Keycloak of a benchmark.

    Raises:
        CannotRun: the machine lacks it.
    """
    with ExitStack() as stack:
        try:
            one = stack.enter_context(running_keycloak())
        except MissingComponent as lacking:
            raise CannotRun(str(lacking)) from None
        yield one


@contextmanager
def login_sides(more: str = "", *, from_userinfo: bool = False) -> Iterator[tuple[LoginSide, LoginSide]]:
    """Both hubs, ours first.

    Args:
        more: further lines of both configurations.
        from_userinfo: the stock hub asks Keycloak who somebody is, in place of reading the id_token.

    Raises:
        CannotRun: the machine lacks a component.
    """
    with ExitStack() as stack:
        one = stack.enter_context(keycloak())
        sides = []
        for name in ("ours", "peer"):
            site = stack.enter_context(keycloak_site(one))
            config = site.config if name == "ours" else site.stock_config
            if from_userinfo:
                config += site.placed(USERINFO)
            try:
                hub = stack.enter_context(site_hub(site, config + more))
            except MissingComponent as lacking:
                raise CannotRun(str(lacking)) from None
            sides.append(LoginSide(name, site, hub))
        yield sides[0], sides[1]
