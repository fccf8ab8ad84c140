"""The runner of the benchmarks.  How fast anything is, no test asks."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1

from benchmarks import __main__ as command_line
from benchmarks import runner, spawns
from benchmarks.cells import packed, unpacked
from benchmarks.hub_sides import configurations
from benchmarks.large_site import RULES, identities, rule_files, worst_rule_files
from benchmarks.pairs import Pairs, by_turns
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
    assert printed.err == "scripts/bench: unknown benchmark 'alnoe\\n'; there are: absent, alone, compared\n"


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


def test_every_benchmark_is_there() -> None:
    """Every module of the package adds its own by the decorator."""
    rules = {"decide", "decide_worst", "edit", "reload"}
    servers = {"cell", "spawn", "spawn_p90", "spawn_lab", "spawn_lab_p90"}
    culler = {"cull", "second_look", "pass", "pass_asking", "pass_cpu", "verdicts"}
    assert rules | servers | culler <= set(runner.find_benchmarks())


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


def test_ours_and_the_peer_take_turns_and_the_first_round_does_not_count() -> None:
    """A B A B: what the machine does besides meets both; each side keeps its figures in their order."""
    order: list[str] = []

    def side(name: str, figures: list[list[float]]) -> Callable[[], list[float]]:
        measured = iter(figures)

        def run() -> list[float]:
            order.append(name)
            return next(measured)

        return run

    told: list[str] = []
    ours, peer = side("ours", [[99.0], [1.0], [2.0]]), side("peer", [[88.0], [10.0], [20.0]])
    pairs = by_turns(ours, peer, rounds=2, warm_up=1, told=told.append)
    assert order == ["ours", "peer"] * 3
    assert pairs == Pairs((1.0, 2.0), (10.0, 20.0))
    assert told == ["warming up: 99 ours, 88 peer", "1 of 2: 1 ours, 10 peer", "2 of 2: 2 ours, 20 peer"]


def test_a_round_of_several_repetitions_gives_all_of_them() -> None:
    """A round may measure many cells: each counts, and the round is told by its median."""
    told: list[str] = []
    pairs = by_turns(lambda: [1.0, 2.0, 9.0], lambda: [4.0], rounds=2, warm_up=0, told=told.append)
    assert pairs == Pairs((1.0, 2.0, 9.0) * 2, (4.0, 4.0))
    assert told[0] == "1 of 2: 2 ours, 4 peer"


TWENTY = tuple(float(number) for number in range(1, 21))


@pytest.mark.parametrize(
    ("figures", "median", "p90"),
    [
        pytest.param(TWENTY, 10.5, 18.1, id="twenty: between the 18th and the 19th"),
        pytest.param(TWENTY[::-1], 10.5, 18.1, id="in any order"),
        pytest.param((*TWENTY[:19], 1000.0), 10.5, 18.1, id="one run that went wrong changes neither"),
        pytest.param(
            (*TWENTY[:17], 100.0, 100.0, 100.0), 10.5, 100.0, id="three of twenty show in the percentile alone"
        ),
        pytest.param((1.0, 2.0), 1.5, 1.9, id="two"),
        pytest.param((7.0,), 7.0, 7.0, id="one"),
    ],
)
def test_the_median_and_the_90th_percentile_are_of_each_side(
    figures: tuple[float, ...], median: float, p90: float
) -> None:
    """The same sum for both sides; the percentile lies between the figures around it."""
    pairs = Pairs(figures, tuple(10 * one for one in figures))
    assert pairs.median() == Figure(median, 10 * median)
    found = pairs.p90()
    assert (found.ours, found.peer) == (pytest.approx(p90), pytest.approx(10 * p90))


def test_one_measuring_session_serves_the_median_and_the_percentile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``spawn`` and ``spawn_p90`` are of the same runs; a server with JupyterLab is measured on its own."""
    sessions: list[bool] = []

    @contextmanager
    def two_sides(*, lab: bool) -> Iterator[tuple[FakeSide, FakeSide]]:
        sessions.append(lab)
        yield FakeSide(1.0), FakeSide(3.0)

    monkeypatch.setattr(spawns, "two_sides", two_sides)
    monkeypatch.setattr(spawns, "_session", functools.cache(spawns._session.__wrapped__))
    assert command_line.main(["spawn", "spawn_p90", "spawn_lab_p90", "--json"]) == 0
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert [(one["name"], one["ours"], one["peer"]) for one in found] == [
        ("spawn", 11.5, 34.5),
        ("spawn_p90", pytest.approx(19.1), pytest.approx(57.3)),
        ("spawn_lab_p90", pytest.approx(19.1), pytest.approx(57.3)),
    ]
    assert sessions == [False, True]
    assert "spawn: 20 of 20: 21 ours, 63 peer (s)" in printed.err.splitlines()


class FakeSide:
    """A side whose starts take longer each time.

    Args:
        step: seconds that a start takes longer than the one before.
    """

    def __init__(self, step: float) -> None:
        self.step = step
        self.starts = 0

    def start_and_stop(self) -> list[float]:
        """Measure nothing."""
        self.starts += 1
        return [self.step * self.starts]


@pytest.mark.parametrize("lab", [False, True])
def test_both_sides_are_told_the_same(lab: bool) -> None:
    """The two configurations end alike: arguments, environment and whose configuration counts."""
    ours, peer = configurations(Path("/site"), "c.JupyterHub.spawner_class = 'nbplatform-local'\n", lab=lab)
    tails = [text[text.index("c.Spawner.disable_user_config") :] for text in (ours, peer)]
    assert tails[0] == tails[1]
    assert ("jupyterlab=False" in tails[0]) is not lab


def test_messages_are_packed_as_jupyter_server_reads_them() -> None:
    """What is sent is what the server's own function unpacks, and the other way round; buffers are skipped."""
    parts = ({"msg_id": "1"}, {}, {"a": 1}, {"code": "pass # é"})
    message = packed("shell", *parts)
    channel, read = deserialize_msg_from_ws_v1(message)
    assert (channel, [json.loads(part) for part in read]) == ("shell", list(parts))
    assert unpacked(message) == ["shell", *parts]
    written = serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts] + [b"\0buffer"], "iopub")
    assert unpacked(written) == ["iopub", *parts]
