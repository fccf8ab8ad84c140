"""A Dask cluster's dashboard as its user sees it: behind the hub, and in the panes of JupyterLab."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator

import pytest
from distributed import Client
from distributed.versions import VersionMismatchWarning
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.test_journey import see_the_lab
from tests.browser.user import User
from tests.components.hub import Hub, start_server
from tests.components.keeper import keeper
from tests.hub.site import ACCOUNTS, GROUPS, Site
from tests.slurm.plain import CLUSTER, PlainCluster, make_cluster

UID, GID = ACCOUNTS["ada"][0], GROUPS["users"]
PANEL = "#dask-dashboard-launcher"
FIELD = f"{PANEL} .dask-DashboardURL input, {PANEL} input"


@pytest.fixture
def cluster(site: Site) -> Iterator[PlainCluster]:
    """A cluster whose folder is ada's, in her home."""
    root = site.top / "home" / "ada" / ".nbplatform" / "dask"
    root.mkdir(parents=True, exist_ok=True)
    with keeper("nbplatform-dask") as kept:
        one = make_cluster(kept, root, owner_grace=600)
        one.start_scheduler()
        assert one.address
        one.start_worker("--no-nanny", "--local-directory", str(one.folder / "scratch"))
        for path in (root.parent, root, one.folder, *one.folder.iterdir()):
            os.chown(path, UID, GID)  # an interpreter below root's home could not be run as she
        yield one
    shutil.rmtree(root.parent)
    shutil.rmtree(site.top / "home" / "ada" / ".jupyter", ignore_errors=True)  # else others open what is open here


@pytest.fixture(autouse=True)
def server(hub: Hub, cluster: PlainCluster) -> None:
    """Ada's server, which was started after her first cluster."""
    if "ada" not in {user["name"] for user in hub.api("GET", "users").json}:
        hub.api("POST", "users/ada")
    assert start_server(hub, "ada")[-1].get("ready"), hub.log_text()


def compute(cluster: PlainCluster) -> None:
    """Have the worker do something that the dashboard shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)  # a user may have another patch level of Python
        client = Client(cluster.address, security=cluster.security)
    with client:
        client.wait_for_workers(1, timeout=60)
        assert sum(client.gather(client.map(abs, range(-50, 0)))) == 1275


def canvases(user: User) -> int:
    """How many of Bokeh's drawings the page, or a pane of it, holds."""
    code = """
    const deep = root => [...root.querySelectorAll('*')].reduce(
        (sum, one) => sum + (one.tagName === 'CANVAS') + (one.shadowRoot ? deep(one.shadowRoot) : 0), 0);
    return deep(document)"""
    return int(user.script(code))


def test_the_dashboard_lives_behind_the_hub(user: User, cluster: PlainCluster) -> None:
    """Its page draws what the scheduler tells over a WebSocket; when the cluster ends the page says so."""
    user.log_in("ada", f"/user/ada/nbplatform/dask/{CLUSTER}/status")
    compute(cluster)
    user.wait(lambda: canvases(user) > 3, "the drawings")
    user.wait(lambda: user.driver.title == "Dask: Status", "the title that the WebSocket brings")
    cluster.started[0].kill9()
    user.go(f"/user/ada/nbplatform/dask/{CLUSTER}/status")
    user.see_text("body", f"The Dask cluster {CLUSTER} is not there")


def test_the_lab_shows_the_graphs_in_its_panes(user: User, cluster: PlainCluster) -> None:
    """The link of a cluster, given to the side panel, lights its buttons; a pane draws."""
    user.log_in("ada", "/user/ada/lab?reset")
    see_the_lab(user)
    user.click("[data-id='dask-dashboard-launcher'], li[title='Dask']")
    field = user.see(FIELD)
    field.send_keys(f"/user/ada/nbplatform/dask/{CLUSTER}/status", Keys.ENTER)
    compute(cluster)
    button = user.wait(
        lambda: next(
            one
            for one in user.driver.find_elements(By.CSS_SELECTOR, f"{PANEL} li button:not(:disabled), {PANEL} button")
            if one.text.strip().lower() == "task stream" and one.is_enabled()
        ),
        "the button of the task stream",
    )
    button.click()
    user.wait(lambda: user.driver.find_elements(By.CSS_SELECTOR, "iframe[src*='individual-task-stream']"), "the pane")
    user.driver.switch_to.frame(user.driver.find_element(By.CSS_SELECTOR, "iframe[src*='individual-task-stream']"))
    user.wait(lambda: canvases(user) > 0, "the drawing")
    user.driver.switch_to.default_content()
