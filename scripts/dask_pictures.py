"""What leads to the picture of the side panel for Dask: a JupyterLab of a user of a real Slurm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.components.slurm import running_slurm
from tests.slurm.panel import PREFIX, TOKEN, Lab, running_lab

if TYPE_CHECKING:
    from pictures import Visitor

CLICK = "document.querySelector(arguments[0]).click()"
ITEM = ".dask-ClusterListingItem"
NEW = ".dask-DaskClusterManager .jp-CommandToolbarButton"
SCALE = """
const field = document.querySelector('.jp-Dialog .dask-ScalingInput:not(:disabled)');
Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '3');
field.dispatchEvent(new Event('input', {bubbles: true}));
document.querySelector('.jp-Dialog .jp-mod-accept').click()"""
"""Asks for three workers in the panel's dialog, whose field is React's."""
STREAM = """
const wanted = [...document.querySelectorAll('.dask-DaskSidebar button')].find(
    one => !one.disabled && one.innerText.trim().toLowerCase() === 'task stream');
wanted?.click();
return !!wanted"""
DRAWN = """
const deep = root => [...root.querySelectorAll('*')].reduce(
    (sum, one) => sum + (one.tagName === 'CANVAS') + (one.shadowRoot ? deep(one.shadowRoot) : 0), 0);
const pane = document.querySelector("iframe[src*='individual-task-stream']");
return pane?.contentDocument ? deep(pane.contentDocument) : 0"""
labs: dict[str, Lab] = {}
"""The JupyterLab that is visited, by its address."""


@contextlib.contextmanager
def panel_site() -> Iterator[Lab]:
    """A Slurm and a JupyterLab of a user of it; both end with the block.

    Raises:
        MissingComponent: this machine has no Slurm.
    """
    with running_slurm() as slurm, running_lab(slurm, slurm.home.parent) as lab:
        labs[lab.url] = lab
        yield lab
        slurm.clear()


def panel(visitor: Visitor) -> None:
    """A cluster of three workers that the panel has started, and the graph of what they do."""
    visitor.driver.get(f"{visitor.url}{PREFIX}lab?reset&token={TOKEN}")
    visitor.sees(".jp-LabShell .jp-Launcher")
    splash = "return !document.querySelector('#jupyterlab-splash')"
    visitor.wait(lambda: visitor.driver.execute_script(splash), "the end of the splash")
    for css in ("[data-id='dask-dashboard-launcher']", NEW):  # the tabs do not take a script's click
        visitor.sees(css)
        visitor.driver.find_element("css selector", css).click()
    visitor.sees(ITEM, "SlurmCluster")
    visitor.driver.execute_script(CLICK, f"{ITEM} .dask-ClusterListingItem-scale")
    visitor.sees(".jp-Dialog .dask-ScalingInput")
    visitor.driver.execute_script(SCALE)
    visitor.sees(ITEM, "Number of Workers: 3")
    visitor.wait(lambda: visitor.driver.execute_script(STREAM), "the button of the task stream")
    visitor.wait(lambda: visitor.driver.execute_script(DRAWN), "the drawing")
    labs[visitor.url].compute()
    visitor.show(ITEM)
