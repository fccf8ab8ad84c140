"""The benchmarks of the account directory, in their smallest form: how long anything takes, no test asks."""

from __future__ import annotations

import pytest

from benchmarks import __main__ as command_line
from benchmarks import directory
from tests.components.need import need
from tests.components.slapd import slapd


def test_a_benchmark_of_the_directory_prints_its_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both run, and neither has a peer."""
    with need(slapd()):
        pass
    for name, value in {"ACCOUNTS": 20, "GROUPS": 3, "LOOKUPS": 3, "OPENINGS": 2}.items():
        monkeypatch.setattr(directory, name, value)
    assert command_line.main(["directory", "directory_cold"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert [(name, peer, unit) for name, _, peer, _, unit in rows] == [
        ("directory", "-", "ms"),
        ("directory_cold", "-", "ms"),
    ]
    assert all(float(figure) > 0 for _, figure, *_ in rows)
