"""The dashboards of the user's own clusters, behind their notebook server: an extension of Jupyter Server.

``…/nbplatform/dask/<cluster id>/status`` is answered by the scheduler of that cluster, and so is
``…/proxy/nbplatform-dask/<cluster id>/status``: dask-labextension follows a link as it stands only below ``proxy/``.

This module imports next to nothing: it is loaded by every server, and Dask is not in every image.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from .lab_link import PLACES
from .models import FOLDER, SITE_ENV, SITE_FILE

LAB = "dask_labextension"
"""The extension whose side panel starts clusters."""
FACTORY = {"labextension": {"factory": {"module": "nbplatform_spawners.slurm_dask.lab", "class": "SlurmCluster"}}}


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Say what there is to load.  Called by Jupyter Server."""
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Answer for the dashboards, and have the side panel start such clusters.  Called before the server listens.

    Nothing of this is loaded without a site file, unless the user has had clusters: most sites have no Slurm.
    """
    site, clusters = Path(os.environ.get(SITE_ENV) or SITE_FILE), Path(FOLDER.format(home=Path.home()))
    if not (site.exists() or clusters.exists()):
        return
    try:
        from .dashboard_proxy import DashboardHandler
    except ImportError as error:
        # An image without Dask is nothing to warn of.
        serverapp.log.info("no dashboards of Dask clusters here: %s", error)
        return
    base = serverapp.base_url.rstrip("/")
    paths = [(rf"{base}/{place}/([0-9a-f]{{12}})(/.*|)", DashboardHandler, {"place": place}) for place in PLACES]
    serverapp.web_app.add_handlers(".*$", paths)
    if serverapp.jpserver_extensions.get(LAB):
        _offer_to_the_panel(serverapp)


def _offer_to_the_panel(serverapp: Any) -> None:
    """Make our clusters what the panel's *New* starts, unless the site or the user has configured another factory."""
    try:
        import dask.config

        import_module(f"{LAB}.config")  # its own defaults must be there first
    except ImportError as error:
        serverapp.log.info("the side panel for Dask starts no clusters on Slurm: %s", error)
        return
    dask.config.update_defaults(FACTORY)
