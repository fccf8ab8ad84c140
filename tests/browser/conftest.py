"""One hub that serves JupyterLab for all browser tests, and a fresh browser for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.user import User
from tests.components.browser import browser
from tests.components.hub import Hub, running_hub, stop_server
from tests.components.need import need
from tests.hub.conftest import temporary_site
from tests.hub.site import DOUBLES, RULES, Site

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
    with browsing(hub, tmp_path) as user:
        yield user


@pytest.fixture
def user_of_a_silent_server(tmp_path: Path) -> Iterator[User]:
    """Somebody whose server starts and never answers, at a hub of their own."""
    with temporary_site() as site:
        config = site.config + "c.JupyterHub.spawner_class = 'tests.hub.doubles.NeverAnswers'\n"
        with need(running_hub(config, extra_env=DOUBLES)) as hub, browsing(hub, tmp_path) as user:
            yield user


@contextmanager
def browsing(hub: Hub, pictures: Path) -> Iterator[User]:
    """A browser that nobody has used, of somebody who does not like moving pages: nothing slides when clicked."""
    with need(browser()) as driver:
        user = User(driver, hub, pictures)
        user.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        yield user
