"""What tests with a real Keycloak share: one Keycloak for the whole run, one site and hub for each module."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tests.components import MissingComponent
from tests.components.hub import Hub, stop_server
from tests.components.keycloak import Keycloak, running_keycloak
from tests.components.keycloak_build import built_keycloak
from tests.components.need import need
from tests.keycloak.site import Site, keycloak_site, site_hub

HERE = Path(__file__).parent
AFTER_US = (HERE.parent / "docker", HERE.parent / "gpu")
"""Folders whose tests wait for a build that takes longer."""


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    """The Keycloak of this run."""
    with need(running_keycloak()) as one:
        yield one


@pytest.fixture(scope="module")
def site(keycloak: Keycloak) -> Iterator[Site]:
    """The module's site."""
    with keycloak_site(keycloak) as one:
        yield one


@pytest.fixture
def own_site(keycloak: Keycloak) -> Iterator[Site]:
    """A site for one test alone."""
    with keycloak_site(keycloak) as one:
        yield one


@pytest.fixture(scope="module")
def shared_hub(site: Site) -> Iterator[Hub]:
    """The module's hub, with ``nbplatform-keycloak``."""
    with need(site_hub(site)) as hub:
        yield hub


@pytest.fixture
def hub(shared_hub: Hub, site: Site) -> Iterator[Hub]:
    """The module's hub; servers that a test left are stopped, and gate, rules and accounts are put back."""
    site.put_back()
    yield shared_hub
    site.put_back()
    for user in shared_hub.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(shared_hub, user["name"], name)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests behind all others but the ones that need Docker: Keycloak is built in the background."""
    items.sort(key=lambda item: (any(map(item.path.is_relative_to, AFTER_US)), item.path.is_relative_to(HERE)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for what is being built before the time limit of a test begins to run."""
    wait_for_keycloak()
    return (yield)


@cache
def wait_for_keycloak() -> None:
    """Return once no build is under way; a test that lacks its result skips with the reason."""
    with suppress(MissingComponent):
        built_keycloak()
