"""The runner of the benchmarks.  How fast anything is, no test asks."""

import json
from datetime import UTC, datetime

import pytest

from benchmarks import __main__ as command_line
from benchmarks import runner
from benchmarks.large_site import RULES, identities, rule_files, worst_rule_files
from benchmarks.runner import Benchmark, CannotRun, Figure
from nbplatform_spawners.rules.parse import parse_rules

AROUND = {"machine": "2 x Processor", "versions": {"python": "3.11.7"}, "date": "2026-11-23T12:00:00+00:00"}


def cannot_run() -> Figure:
    """Measure nothing."""
    raise CannotRun("there is no daemon")


ALONE = Benchmark("alone", "ms", "nobody else does this", lambda: Figure(12.34567))
COMPARED = Benchmark("compared", "µs", "with a peer", lambda: Figure(50.0, 200.0))
ABSENT = Benchmark("absent", "s", "needs what is not here", cannot_run)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Benchmark]:
    """Put three trivial benchmarks in the place of the real ones."""
    trivial = {one.name: one for one in (ABSENT, ALONE, COMPARED)}
    monkeypatch.setattr(runner, "find_benchmarks", lambda: trivial)
    return trivial


def test_the_table_has_one_row_a_benchmark_and_the_circumstances() -> None:
    """Name, ours, peer, ratio, unit; a dash where there is no peer; machine, versions and date below."""
    results = [(one, one.measure()) for one in (ALONE, COMPARED)]
    assert runner.as_table(results, AROUND).splitlines() == [
        "name      ours   peer   ratio  unit",
        "alone     12.35  -      -      ms",
        "compared  50.0   200.0  0.25   µs",
        "",
        "2 x Processor; python 3.11.7; 2026-11-23T12:00:00+00:00",
    ]


def test_a_json_line_is_an_object_with_these_keys() -> None:
    """``name, ours, peer, unit, machine, versions, date``; peer is null where there is none."""
    assert json.loads(runner.as_json(ALONE, ALONE.measure(), AROUND)) == {
        "name": "alone",
        "ours": 12.35,
        "peer": None,
        "unit": "ms",
        **AROUND,
    }
    assert json.loads(runner.as_json(COMPARED, COMPARED.measure(), AROUND))["peer"] == 200.0


@pytest.mark.usefixtures("known")
def test_the_command_prints_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` prints nothing else on stdout, in the order asked for, each once."""
    assert command_line.main(["compared", "alone", "compared", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["compared", "alone"]
    assert [sorted(json.loads(line)) for line in lines] == [
        ["date", "machine", "name", "ours", "peer", "unit", "versions"]
    ] * 2


@pytest.mark.usefixtures("known")
def test_what_cannot_run_is_said_and_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """A benchmark that this machine cannot run is named with the reason; the others run; the exit code tells."""
    assert command_line.main([]) == 1
    printed = capsys.readouterr()
    assert "absent: not run: there is no daemon" in printed.err.splitlines()
    assert [line.split()[0] for line in printed.out.splitlines()[:3]] == ["name", "alone", "compared"]


@pytest.mark.usefixtures("known")
def test_an_unknown_name_is_a_clear_error_that_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing runs; stderr names the mistake and what there is; exit 2."""
    assert command_line.main(["alone", "alnoe\n", "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "python -m benchmarks: unknown benchmark 'alnoe\\n'; there are: absent, alone, compared\n"


@pytest.mark.usefixtures("known")
def test_the_list_says_what_each_measures(capsys: pytest.CaptureFixture[str]) -> None:
    """``--list`` runs nothing."""
    assert command_line.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "alone     nobody else does this (ms)"


def test_a_name_is_given_once() -> None:
    """Two benchmarks of one name would hide each other."""
    assert "decide" in runner.find_benchmarks()
    again = runner.benchmark("decide", unit="µs", about="again")
    with pytest.raises(ValueError, match="two benchmarks are called 'decide'"):
        again(lambda: Figure(1.0))


def test_the_benchmarks_of_the_rules_are_there() -> None:
    """Every module of the package adds its own by the decorator."""
    assert {"decide", "decide_worst", "edit", "reload"} <= set(runner.find_benchmarks())


def test_the_median_is_taken_of_all_runs() -> None:
    """One slow run does not change the figure."""
    figures = iter([1.0, 99.0, 2.0])
    assert runner.median_of(lambda: next(figures), runs=3) == 2.0


def test_a_figure_says_where_and_when_it_was_measured() -> None:
    """Machine, versions and date; a package that is not installed is left out."""
    around = runner.circumstances(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    assert around["date"] == "2026-11-23T12:00:00+00:00"
    assert {"python", "PyYAML"} <= set(around["versions"])
    assert around["machine"]


def test_the_large_site_is_a_thousand_rules_and_many_different_people() -> None:
    """What is measured on is a rule book without a mistake, the same for the same seed."""
    assert len(parse_rules(rule_files()).rules) == RULES == 1000
    assert rule_files(7) == rule_files(7) != rule_files(8)
    assert len(parse_rules(worst_rule_files()).rules) == RULES
    people = list(identities(50))
    assert len({person.name for person in people}) == 50
    assert len({person.gids for person in people}) > 40
