"""Speed-up ``late-gc``: the collector rests for the start alone, whatever happens to the extension."""

from __future__ import annotations

import pytest

from .scripts import run_lines

APPLIED = """
import gc, time
from nbplatform_spawners.singleuser import late_gc, start
before = gc.get_threshold()
late_gc.apply()
during = gc.get_threshold()
"""
STATE = "tell(before=before, during=during, after=gc.get_threshold(), enabled=gc.isenabled(), used=start.in_use)"


def test_the_collector_rests_until_the_server_has_started() -> None:
    """It is rare but never off, and as ever when the extension says that the server listens."""
    told, errors = run_lines(APPLIED + "start.started()\n" + STATE)
    assert told["before"][0] < 100_000 < told["during"][0]
    assert told["before"][1:] == told["during"][1:]
    assert told["after"] == told["before"]
    assert told["enabled"]
    assert told["used"] == ["late-gc"]
    assert errors == ""


def test_the_collector_is_back_without_the_extension() -> None:
    """A timer of its own ends the rest where nothing else does."""
    wait = (
        "limit = time.monotonic() + 30\n"
        "while gc.get_threshold() != before and time.monotonic() < limit: time.sleep(0.01)\n"
    )
    told, _ = run_lines(
        "from nbplatform_spawners.singleuser import start\nstart.LONGEST = 0.2\n" + APPLIED + wait + STATE
    )
    assert told["during"] != told["before"]
    assert told["after"] == told["before"]


def test_no_thread_is_left_when_the_server_has_started() -> None:
    """Afterwards it costs nothing: no thread, and nothing of the start to look at."""
    told, _ = run_lines(
        APPLIED
        + "import threading\nstart.started()\n"
        + "for one in threading.enumerate():\n    if one is not threading.current_thread(): one.join(30)\n"
        + "tell(threads=threading.active_count(), frozen=gc.get_freeze_count() > 1000)"
    )
    assert told == {"threads": 1, "frozen": True}


# What a server imports at its start.
IMPORTS = "import jupyterhub.singleuser.extension, jupyterlab.labapp, jupyter_server_terminals\n"
RUNS = "def runs(): return sum(one['collections'] for one in gc.get_stats())\n"
WORTH_IT = 50  # runs of the collector in a stock start, of which there are some hundred; fewer are not worth a speed-up


def test_a_start_does_not_reach_the_threshold() -> None:
    """The tripwire: a server that makes so many objects at its start would not rest."""
    told, _ = run_lines(
        "import gc\ngc.set_threshold(1_000_000)\n"
        + IMPORTS
        + "from nbplatform_spawners.singleuser.late_gc import THRESHOLD\n"
        + "tell(made=gc.get_count()[0], threshold=THRESHOLD)"
    )
    made, threshold = told["made"], told["threshold"]
    assert made < threshold / 2, f"a start makes {made} objects: raise late_gc.THRESHOLD to three times as many"


def test_in_a_stock_start_the_collector_runs_often() -> None:
    """The second tripwire: when this fails, a start has become so small, or Python so calm, that nothing is gained."""
    told, _ = run_lines("import gc\n" + RUNS + "before = runs()\n" + IMPORTS + "tell(runs=runs() - before)")
    assert told["runs"] > WORTH_IT, f"a stock start runs the collector {told['runs']} times only: remove late-gc"


def test_in_our_start_the_collector_does_not_run() -> None:
    """What the rest is for: the same imports, and not one run."""
    told, _ = run_lines(APPLIED + RUNS + "before = runs()\n" + IMPORTS + "tell(runs=runs() - before)")
    assert told == {"runs": 0}


def test_cyclic_waste_is_collected_afterwards() -> None:
    """The collector works: what refers to itself goes, without a call."""
    told, _ = run_lines(
        APPLIED
        + "import weakref\nstart.started()\n"
        + "class Ring: pass\nring = Ring(); ring.self = ring; gone = weakref.ref(ring); del ring\n"
        + "kept = [[] for _ in range(100_000)]\ntell(gone=gone() is None)"
    )
    assert told == {"gone": True}


# id, lines before it is applied
LEFT_ALONE = [
    ("switched off by the site", "import gc\ngc.disable()\n"),
    ("rare by the site's choice", "import gc\ngc.set_threshold(2_000_000)\n"),
    ("off by its threshold", "import gc\ngc.set_threshold(0)\n"),
]


@pytest.mark.parametrize(("_", "lines"), LEFT_ALONE, ids=[row[0] for row in LEFT_ALONE])
def test_a_collector_of_the_sites_own_choice_is_left_alone(_: str, lines: str) -> None:
    """What somebody has set on purpose stays, before and after."""
    told, _errors = run_lines(lines + APPLIED + "start.started()\n" + STATE)
    assert told["before"] == told["during"] == told["after"]
    assert told["used"] == []


def test_a_threshold_that_was_set_meanwhile_stays() -> None:
    """An extension that chooses its own is not overruled."""
    told, _ = run_lines(APPLIED + "gc.set_threshold(5000, 5, 5)\nstart.started()\n" + STATE)
    assert told["after"] == [5000, 5, 5]


def test_without_a_thread_to_end_it_there_is_no_rest() -> None:
    """Where the limit of processes is reached, nothing could put the collector back: so it is not touched."""
    told, errors = run_lines(
        "import threading\n"
        'def refuse(self): raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = refuse\n" + APPLIED + STATE
    )
    assert told["before"] == told["during"]
    assert told["used"] == []
    assert "speed-up late-gc leaves itself out: nothing could end its rest" in errors
