"""One hub that serves JupyterLab for all browser tests, and a fresh browser for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.user import User
from tests.components.browser import browser
from tests.components.hub import Hub, running_hub, stop_server
from tests.components.need import need
from tests.hub.conftest import temporary_site
from tests.hub.site import RULES, Site

LAB = """
c.Spawner.environment = {}
c.Spawner.default_url = "/lab"
c.NbplatformSpawner.site_name = "Example Computing Centre"
"""
WORDY = f"""\
  wordy: {{title: "{"Longword" * 12}", description: "{"x" * 200}", image: "{"registry/" * 20}", allow: true}}
"""


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    """The small site, with a profile more, whose words are longer than a narrow window."""
    with temporary_site() as site:
        site.write_rules(RULES.replace("rules:\n", f"{WORDY}rules:\n", 1))
        yield site


@pytest.fixture(scope="package")
def shared_hub(site: Site) -> Iterator[Hub]:
    """The hub of all browser tests."""
    with need(running_hub(site.config + LAB)) as hub:
        yield hub


@pytest.fixture
def hub(shared_hub: Hub) -> Iterator[Hub]:
    """The hub; every server that a test left is stopped."""
    yield shared_hub
    for user in shared_hub.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(shared_hub, user["name"], name)


@pytest.fixture
def user(hub: Hub, tmp_path: Path) -> Iterator[User]:
    """Somebody who opens a browser."""
    with need(browser()) as driver:
        yield User(driver, hub, tmp_path)
