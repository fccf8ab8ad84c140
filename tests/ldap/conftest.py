"""Directory servers that the tests of one module share."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from tests.components.need import need
from tests.components.slapd import Slapd, slapd

from .site import BIS, NIS, groups, people


def pytest_runtest_setup() -> None:
    """Skip what asks a server where the client cannot be installed."""
    if importlib.util.find_spec("ldap") is None:
        pytest.skip(
            "python-ldap is not installed (as root: apt-get install gcc libldap2-dev libsasl2-dev python3-dev,"
            " then pip install nbplatform-spawners[ldap])"
        )


@pytest.fixture(scope="module")
def nis() -> Iterator[Slapd]:
    """A server whose groups name their members (RFC 2307)."""
    with need(slapd(schema="nis", entries=[*people(), *groups(NIS)])) as server:
        yield server


@pytest.fixture(scope="module")
def bis() -> Iterator[Slapd]:
    """A server whose groups have their members' distinguished names (RFC 2307bis)."""
    with need(slapd(schema="rfc2307bis", entries=[*people(), *groups(BIS)])) as server:
        yield server


@pytest.fixture
def own() -> Iterator[Slapd]:
    """A server for one test, which may break it."""
    with need(slapd(entries=[*people(), *groups(NIS)])) as server:
        yield server
