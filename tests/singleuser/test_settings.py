"""What a spawner runs by default, and which values its settings take."""

from __future__ import annotations

import re
import sys

import pytest
from traitlets import TraitError

from nbplatform_spawners.spawners.base import NbplatformSpawner
from nbplatform_spawners.spawners.local import LocalSpawner


class Backend(NbplatformSpawner):
    """A backend of somebody's own, which says nothing about its command."""

    live_pools = apply_plan = stop = poll = None


def test_every_backend_starts_the_fast_server() -> None:
    """By name, since the server's environment is its own; on the hub's machine by the hub's own Python."""
    assert Backend().cmd == ["nbplatform-singleuser"]
    assert LocalSpawner().cmd == [sys.executable, "-P", "-m", "nbplatform_spawners.singleuser"]


def test_a_site_can_have_the_stock_server() -> None:
    """``c.Spawner.cmd`` is the site's."""
    assert LocalSpawner(cmd=["jupyterhub-singleuser"]).cmd == ["jupyterhub-singleuser"]


@pytest.mark.parametrize("value", [-0.1, float("nan"), 60.1, 1e9, float("inf")])
def test_an_interval_is_neither_negative_nor_so_long_that_no_start_is_seen(value: float) -> None:
    """It names the setting and the value."""
    with pytest.raises(ValueError, match=rf"ready_interval must be 0 to 60 seconds, got {re.escape(str(value))}"):
        LocalSpawner(ready_interval=value)


def test_an_unknown_speedup_is_a_mistake_in_the_hubs_configuration() -> None:
    """A site learns it at the hub's start, and not in a user's log."""
    with pytest.raises(TraitError, match="kernel_nodelay"):
        LocalSpawner(speedups=["kernel_nodelay"])
