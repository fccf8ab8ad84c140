"""Dask clusters on Slurm from a notebook, under one's own account, gone with the server.

``SlurmCluster`` is loaded when it is first asked for: this package also sits in the hub, where Dask is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import SlurmCluster

__all__ = ["SlurmCluster"]


def __getattr__(name: str) -> object:
    if name == "SlurmCluster":
        from .cluster import SlurmCluster

        return SlurmCluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
