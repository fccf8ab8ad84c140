"""JupyterLab's side panel for Dask, with a real Slurm behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.test_dask import PANEL, canvases
from tests.browser.test_journey import see_the_lab
from tests.browser.user import User
from tests.components.browser import browser
from tests.components.need import need
from tests.components.slurm import Slurm, running_slurm
from tests.slurm.panel import TASKS, Lab, running_lab

ITEM = ".dask-ClusterListingItem"
NEW = ".dask-DaskClusterManager [data-command='dask:launch-cluster'], .dask-DaskClusterManager .jp-CommandToolbarButton"
STREAM = "iframe[src*='individual-task-stream']"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A real Slurm."""
    with need(running_slurm()) as one:
        yield one


@pytest.fixture
def lab(slurm: Slurm, tmp_path: Path) -> Iterator[Lab]:
    """Alice's JupyterLab; every job that it left is ended."""
    with running_lab(slurm, tmp_path) as one:
        yield one
    slurm.clear()


@pytest.fixture
def user(lab: Lab, tmp_path: Path) -> Iterator[User]:
    """Alice in front of her browser; there is no hub, only an address as a hub gives it."""
    with need(browser()) as driver:
        yield User(driver, lab, tmp_path)  # type: ignore[arg-type]


def press(user: User, words: str, css: str) -> None:
    """Press the button with these words, once it can be pressed."""

    def pressed() -> bool:
        for one in user.driver.find_elements(By.CSS_SELECTOR, css):
            if one.is_displayed() and one.is_enabled() and one.text.strip().lower() == words:
                one.click()
                return True
        return False

    user.wait(pressed, f"the button {words!r}")


def scale(user: User, count: int) -> None:
    """Ask for so many workers in the panel's dialog."""
    user.click(f"{ITEM} .dask-ClusterListingItem-scale")
    field = user.see(".jp-Dialog .dask-ScalingInput:not(:disabled)")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(str(count))
    user.click(".jp-Dialog .jp-mod-accept")


def test_the_panel_starts_scales_shows_and_ends_a_cluster(lab: Lab, user: User) -> None:
    """*New* submits jobs as the user, *Scale* more of them, a button draws, and *Shutdown* leaves no job behind."""
    user.go(lab.page)
    see_the_lab(user)
    user.click("[data-id='dask-dashboard-launcher'], li[title='Dask']")
    user.click(NEW)
    user.see_text(ITEM, "SlurmCluster 1")
    user.see_text(ITEM, "/user/alice/proxy/nbplatform-dask/")
    assert any("dask-scheduler-" in job and "RUNNING" in job for job in lab.slurm.squeue("alice"))
    scale(user, 2)
    user.see_text(ITEM, "Number of Workers: 2")
    assert len(lab.slurm.squeue("alice")) == 3
    press(user, "task stream", f"{PANEL} button, .dask-DaskSidebar button")
    user.driver.switch_to.frame(user.see(STREAM))
    user.wait(lambda: canvases(user) > 0, "the drawing")
    assert lab.compute() == sum(range(TASKS + 1))
    user.driver.switch_to.default_content()
    user.click(f"{ITEM} .dask-ClusterListingItem-stop")
    user.wait(lambda: not user.driver.find_elements(By.CSS_SELECTOR, ITEM), "the cluster's end in the panel")
    lab.slurm.wait_for_jobs(0, "alice")
