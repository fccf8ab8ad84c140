"""The suite's own counting and ``--require all``, on small suites of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
PASSES = "def test_passes():\n    pass\n"

# name: (test module, the line without --require, the line with --require all, the reason that both must name)
SKIPS = {
    "a skip inside a test": (
        "import pytest\ndef test_one():\n    pytest.skip('no docker here')\n" + PASSES,
        "collected 2, passed 1, failed 0, skipped 1",
        "collected 2, passed 1, failed 1, skipped 0",
        "no docker here",
    ),
    "a skip inside a fixture": (
        "import pytest\n@pytest.fixture\ndef hub():\n    pytest.skip('no hub here')\ndef test_one(hub):\n    pass\n"
        + PASSES,
        "collected 2, passed 1, failed 0, skipped 1",
        "collected 2, passed 1, failed 1, skipped 0",
        "no hub here",
    ),
    "a skip mark": (
        "import pytest\n@pytest.mark.skipif(True, reason='too old')\ndef test_one():\n    pass\n" + PASSES,
        "collected 2, passed 1, failed 0, skipped 1",
        "collected 2, passed 1, failed 1, skipped 0",
        "too old",
    ),
    "importorskip inside a test": (
        "import pytest\ndef test_one():\n    pytest.importorskip('no_such_module')\n" + PASSES,
        "collected 2, passed 1, failed 0, skipped 1",
        "collected 2, passed 1, failed 1, skipped 0",
        "could not import 'no_such_module'",
    ),
    "importorskip of a whole module": (
        "import pytest\npytest.importorskip('no_such_module')\n" + PASSES,
        "collected 1, passed 0, failed 0, skipped 1",
        "collected 1, passed 0, failed 1, skipped 0",
        "could not import 'no_such_module'",
    ),
    "a skip of a whole module": (
        "import pytest\npytest.skip('not on this machine', allow_module_level=True)\n" + PASSES,
        "collected 1, passed 0, failed 0, skipped 1",
        "collected 1, passed 0, failed 1, skipped 0",
        "not on this machine",
    ),
    "unittest's skip of a whole module": (
        "import unittest\nraise unittest.SkipTest('not for unittest either')\n",
        "collected 1, passed 0, failed 0, skipped 1",
        "collected 1, passed 0, failed 1, skipped 0",
        "not for unittest either",
    ),
    "a test that is expected to fail": (
        "import pytest\n@pytest.mark.xfail(reason='known bug')\ndef test_one():\n    assert False\n" + PASSES,
        "collected 2, passed 1, failed 0, skipped 1",
        "collected 2, passed 1, failed 1, skipped 0",
        "expected to fail: known bug",
    ),
    "a test that says it is expected to fail": (
        "import pytest\ndef test_one():\n    pytest.xfail('later')\n" + PASSES,
        "collected 2, passed 1, failed 0, skipped 1",
        "collected 2, passed 1, failed 1, skipped 0",
        "expected to fail: later",
    ),
    "a table without rows": (
        "import pytest\n@pytest.mark.parametrize('row', [])\ndef test_one(row):\n    pass\n" + PASSES,
        "collected 2, passed 1, failed 0, skipped 1",
        "collected 2, passed 1, failed 1, skipped 0",
        "empty parameter set",
    ),
    "a skip inside a subtest": (
        "import pytest\ndef test_one(subtests):\n    with subtests.test():\n        pytest.skip('not this part')\n",
        "collected 1, passed 0, failed 0, skipped 1",
        "collected 1, passed 0, failed 1, skipped 0",
        "not this part",
    ),
    "a skip in a teardown": (
        "import pytest\n@pytest.fixture\ndef late():\n    yield\n    pytest.skip('too late')\n"
        "def test_one(late):\n    pass\n",
        "collected 1, passed 0, failed 0, skipped 1",
        "collected 1, passed 0, failed 1, skipped 0",
        "too late",
    ),
}

# name: (test module, the line, the exit code)
NO_SKIPS = {
    "all pass": (PASSES, "collected 1, passed 1, failed 0, skipped 0", pytest.ExitCode.OK),
    "one fails": (
        "def test_one():\n    assert False\n" + PASSES,
        "collected 2, passed 1, failed 1, skipped 0",
        pytest.ExitCode.TESTS_FAILED,
    ),
    "an error in a setup": (
        "import pytest\n@pytest.fixture\ndef bad():\n    raise OSError\ndef test_one(bad):\n    pass\n" + PASSES,
        "collected 2, passed 1, failed 1, skipped 0",
        pytest.ExitCode.TESTS_FAILED,
    ),
    "an error in a teardown": (
        "import pytest\n@pytest.fixture\ndef bad():\n    yield\n    raise OSError\ndef test_one(bad):\n    pass\n",
        "collected 1, passed 0, failed 1, skipped 0",
        pytest.ExitCode.TESTS_FAILED,
    ),
    "a test after which the run is ended": (
        "import pytest\ndef test_one():\n    pytest.exit('enough', returncode=0)\n" + PASSES,
        "collected 2, passed 0, failed 0, skipped 0",
        pytest.ExitCode.OK,
    ),
}


def last_lines(pytester: pytest.Pytester, module: str, *arguments: str) -> tuple[pytest.RunResult, list[str]]:
    """Run a suite that has this suite's conftest; its result and its lines."""
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(test_it=module)
    plugins = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:asyncio"]  # slow, and not asked here
    result = pytester.runpytest(*plugins, *arguments)
    return result, result.stdout.lines


@pytest.mark.parametrize("name", SKIPS)
def test_what_is_skipped_is_counted_and_named(name: str, pytester: pytest.Pytester) -> None:
    """Without --require a skip does not fail the run, and the last lines say what was skipped and why."""
    module, line, _, reason = SKIPS[name]
    result, lines = last_lines(pytester, module)
    assert line in lines
    assert [found for found in lines if found.startswith("skipped test_it.py") and reason in found]
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


@pytest.mark.parametrize("name", SKIPS)
def test_where_everything_is_required_a_skip_is_a_failure(name: str, pytester: pytest.Pytester) -> None:
    """With --require all the run fails and the reason is still told."""
    module, _, line, reason = SKIPS[name]
    result, lines = last_lines(pytester, module, "--require", "all")
    assert line in lines
    assert [found for found in lines if found.startswith("skipped test_it.py") and reason in found]
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("name", NO_SKIPS)
def test_each_test_counts_once_by_its_worst_phase(name: str, pytester: pytest.Pytester) -> None:
    """Passed, failed and skipped add up; a test that was cut short is none of them."""
    module, line, code = NO_SKIPS[name]
    result, lines = last_lines(pytester, module)
    assert line in lines
    assert result.ret == code


def test_a_run_that_is_cut_short_does_not_pass_where_everything_is_required(pytester: pytest.Pytester) -> None:
    """A test that ends the run with exit code 0 leaves other tests out: that is no success."""
    module, line, _ = NO_SKIPS["a test after which the run is ended"]
    result, lines = last_lines(pytester, module, "--require", "all")
    assert line in lines
    assert result.ret != pytest.ExitCode.OK


def test_a_skipped_module_does_not_hide_the_others(pytester: pytest.Pytester) -> None:
    """Where everything is required, a module skipped at collection fails alone and the other modules run."""
    pytester.makepyfile(test_other=PASSES)
    _, lines = last_lines(pytester, SKIPS["a skip of a whole module"][0], "--require", "all")
    assert "collected 2, passed 1, failed 1, skipped 0" in lines


def test_a_module_that_cannot_be_imported_is_a_failure(pytester: pytest.Pytester) -> None:
    """An error at collection is counted, and never a skip."""
    result, lines = last_lines(pytester, "import no_such_module\n")
    assert "collected 1, passed 0, failed 1, skipped 0" in lines
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_what_is_deselected_is_not_collected(pytester: pytest.Pytester) -> None:
    """Who chooses tests by -k gets the numbers of those."""
    module = "def test_one():\n    assert False\n" + PASSES
    _, lines = last_lines(pytester, module, "-k", "passes", "--require", "all")
    assert "collected 1, passed 1, failed 0, skipped 0" in lines


def test_only_all_can_be_required(pytester: pytest.Pytester) -> None:
    """A word that is not known is a usage error and not ignored."""
    result, _ = last_lines(pytester, PASSES, "--require", "some")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
