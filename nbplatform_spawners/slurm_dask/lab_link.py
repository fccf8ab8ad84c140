"""Where dashboards are found below a notebook server's address."""

from __future__ import annotations

OWN_PLACE = "nbplatform/dask"
LAB_PLACE = "proxy/nbplatform-dask"
"""dask-labextension follows a link as it stands only below the server's ``proxy/``."""
PLACES = (OWN_PLACE, LAB_PLACE)


def lab_link(link: str) -> str:
    """Return a cluster's dashboard link as dask-labextension follows it; one that is not behind a server stays.

    Args:
        link: as the cluster gives it.
    """
    return link.replace(f"/{OWN_PLACE}/", f"/{LAB_PLACE}/", 1)
