"""The benchmarks that need Keycloak, for real but in their smallest form: how long anything takes, no test asks."""

from __future__ import annotations

import functools

import pytest

from benchmarks import __main__ as command_line
from benchmarks import keycloak_login, keycloak_refresh, keycloak_verify, runner
from tests.components.keycloak import Keycloak


@pytest.fixture
def small(keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every benchmark as small as it can be, on the Keycloak of this run."""
    for module in (keycloak_login, keycloak_verify):
        monkeypatch.setattr(module, "RUNS", 1)
    monkeypatch.setattr(keycloak_refresh, "ROUNDS", 1)
    monkeypatch.setattr("benchmarks.keycloak_sides.running_keycloak", functools.partial(_given, keycloak))
    monkeypatch.setattr(keycloak_login, "_session", functools.cache(keycloak_login._session.__wrapped__))


class _given:  # noqa: N801 - stands for a context manager
    """The Keycloak that runs already; it does not end with the block."""

    def __init__(self, keycloak: Keycloak) -> None:
        self._keycloak = keycloak

    def __enter__(self) -> Keycloak:
        return self._keycloak

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("small")
def test_the_login_is_measured_on_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    """The difference in milliseconds, and both medians with their ratio, of the same runs."""
    assert command_line.main(["login", "login_whole"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[1:3]}
    _, difference, peer, ratio, unit = rows["login"]
    assert (peer, ratio, unit) == ("-", "-", "ms")
    _, ours, peer, ratio, _ = rows["login_whole"]
    assert float(ratio) == pytest.approx(float(ours) / float(peer), abs=0.01)
    assert float(difference) == pytest.approx(1000 * (float(ours) - float(peer)), abs=1.0)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("small")
def test_many_requests_with_an_expired_token_make_one_refresh(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours asks once; the stock hub asks more than once."""
    assert command_line.main(["refresh"]) == 0
    _, ours, peer, _ratio, unit = capsys.readouterr().out.splitlines()[1].split()
    assert (float(ours), unit) == (1.0, "grants")
    assert float(peer) > 1.0


@pytest.mark.usefixtures("small")
def test_a_verification_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """A real token, verified for real; nobody to compare with, as stock verifies nothing."""
    assert command_line.main(["verify"]) == 0
    _, ours, peer, ratio, unit = capsys.readouterr().out.splitlines()[1].split()
    assert (peer, ratio, unit) == ("-", "-", "ms")
    assert float(ours) > 0


def test_every_keycloak_benchmark_is_there() -> None:
    """Every module of the package adds its own by the decorator."""
    assert set(runner.find_benchmarks()) >= {"login", "login_whole", "refresh", "verify"}
