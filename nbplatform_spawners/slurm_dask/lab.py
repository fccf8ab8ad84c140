"""What JupyterLab's side panel for Dask starts: ``SlurmCluster``, with a link that the panel follows.

dask-labextension makes it in the notebook server's own process, with ``asynchronous=True``, from its configuration
``labextension.factory``: ``module: nbplatform_spawners.slurm_dask.lab``, ``class: SlurmCluster``, ``args``, ``kwargs``.
``kwargs`` are the cluster's arguments; the site's defaults hold for all that is not said.
"""

from __future__ import annotations

from typing import Any

from . import cluster
from .lab_link import lab_link


class SlurmCluster(cluster.SlurmCluster):
    """A cluster of the side panel; the panel shows the name of this class."""

    @property
    def dashboard_link(self) -> Any:
        """Where the panel finds the dashboard."""
        return lab_link(super().dashboard_link or "")
