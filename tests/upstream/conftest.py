"""Upstream's environment, once for all tests here."""

from __future__ import annotations

import pytest

from tests.components import MissingComponent

from .environment import Upstream, upstream


@pytest.fixture(scope="session")
def environment() -> Upstream:
    """The environment; a machine on which it cannot be made skips."""
    try:
        return upstream()
    except MissingComponent as lacking:
        pytest.skip(str(lacking))
