"""One small site and one hub for a module's tests; a test that breaks them makes its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.components.hub import Hub, running_hub, stop_server
from tests.components.need import need
from tests.hub.site import Site, make_site


@contextmanager
def temporary_site() -> Iterator[Site]:
    """A site in a folder of its own that other users may pass through."""
    top = Path(tempfile.mkdtemp(prefix="nbp-site-"))
    top.chmod(0o711)
    try:
        yield make_site(top)
    finally:
        shutil.rmtree(top, ignore_errors=True)


@pytest.fixture
def own_site() -> Iterator[Site]:
    """A site for one test alone."""
    with temporary_site() as site:
        yield site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The module's site."""
    with temporary_site() as site:
        yield site


@pytest.fixture(scope="module")
def shared_hub(site: Site) -> Iterator[Hub]:
    """The module's hub."""
    with need(running_hub(site.config)) as hub:
        for user in ("ada", "ben", "eve"):
            hub.api("POST", f"users/{user}")
        yield hub


@pytest.fixture
def hub(shared_hub: Hub, site: Site) -> Iterator[Hub]:
    """The module's hub; every server that a test left is stopped, the rules and accounts are put back."""
    yield shared_hub
    site.write_rules()
    site.write_accounts()
    for user in shared_hub.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(shared_hub, user["name"], name)
