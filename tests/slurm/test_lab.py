"""What the side panel for Dask starts: chosen by the extension's configuration, with a link that the panel follows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nbplatform_spawners.slurm_dask import cluster, dashboard, lab, lab_link

LOOK = """
import logging, types
import dask.config
from nbplatform_spawners.slurm_dask import dashboard
dashboard._offer_to_the_panel(types.SimpleNamespace(log=logging.getLogger()))
print(dask.config.get("labextension.factory.module"), dask.config.get("labextension.factory.class"))
"""
OURS = "nbplatform_spawners.slurm_dask.lab SlurmCluster"
# id, the user's own configuration of Dask, the factory
CONFIGURED = [
    ("nothing configured", "", OURS),
    ("arguments alone", "labextension: {factory: {kwargs: {queue: htc}}}", OURS),
    ("a factory of their own", "labextension: {factory: {module: mine, class: Own}}", "mine Own"),
]


def test_the_panel_starts_ours_unless_another_is_configured(tmp_path: Path) -> None:
    """What a site or a user has configured for dask-labextension wins."""
    for number, (name, text, factory) in enumerate(CONFIGURED):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "own.yaml").write_text(text)
        env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "DASK_CONFIG": str(folder)}
        said = subprocess.run([sys.executable, "-c", LOOK], env=env, check=True, capture_output=True, text=True)
        assert said.stdout.strip() == factory, name


def test_the_factory_is_there() -> None:
    """The names that the configuration holds lead to a cluster, which the panel shows by its class's name."""
    wanted = dashboard.FACTORY["labextension"]["factory"]
    assert wanted == {"module": lab.__name__, "class": lab.SlurmCluster.__name__}
    assert issubclass(lab.SlurmCluster, cluster.SlurmCluster)


# id, the cluster's link, the panel's
LINKS = [
    (
        "behind a server",
        "/user/ada/nbplatform/dask/0123456789ab/status",
        "/user/ada/proxy/nbplatform-dask/0123456789ab/status",
    ),
    ("without a hub", "https://192.0.2.5:8787/status", "https://192.0.2.5:8787/status"),
    ("not there yet", "", ""),
]


def test_the_link_is_one_that_the_panel_follows() -> None:
    """The panel takes a link as it stands only below the server's ``proxy/``."""
    for name, link, shown in LINKS:
        assert lab_link.lab_link(link) == shown, name
