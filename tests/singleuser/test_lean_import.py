"""Speed-up ``lean-import``: the grammar is built at its first use, nothing is lost, and it knows when to do nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .scripts import run_lines

APPLIED = "from nbplatform_spawners.singleuser import lean_import, start\nlean_import.apply()\n"
STATE = """
tell(used=start.in_use, grammar="rfc3987_syntax" in sys.modules, lark="lark" in sys.modules,
     jsonschema="jsonschema" in sys.modules, none=[n for n, m in sys.modules.items() if m is None and "rfc" in n])
"""
CHECKERS = """
import jsonschema
from jsonschema import _format
tell(checkers={name: sorted(one.checkers) for name, one in _format._draft_checkers.items()},
     classwide=list(jsonschema.FormatChecker.checkers),
     raises={name: str(one.checkers["iri"][1]) for name, one in _format._draft_checkers.items()
             if "iri" in one.checkers})
"""
VERDICTS = """
from jsonschema import Draft202012Validator as Validator
addresses = ["http://example.org/é", "é/relative", "no iri", "http://[", "", 5, None]
tell(verdicts={name: [Validator({"format": name}, format_checker=Validator.FORMAT_CHECKER).is_valid(one)
                      for one in addresses] for name in ("iri", "iri-reference")})
"""


def module(folder: Path, name: str, text: str) -> Path:
    """Write a module that is found before the real one."""
    path = folder / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def test_the_grammar_is_not_built_at_the_start() -> None:
    """``jsonschema`` is there, the grammar is not, and no trace of the stand-in is left."""
    told, errors = run_lines(APPLIED + STATE)
    assert told == {"used": ["lean-import"], "grammar": False, "lark": False, "jsonschema": True, "none": []}
    assert errors == ""


def test_stock_builds_the_grammar_at_the_start() -> None:
    """The tripwire: when this fails, upstream does without the grammar, and ``lean-import`` can be removed."""
    told, _ = run_lines("import jsonschema\ntell(grammar='rfc3987_syntax' in sys.modules, lark='lark' in sys.modules)")
    assert told == {"grammar": True, "lark": True}, "jsonschema no longer imports rfc3987_syntax: remove lean-import"


def test_stock_servers_import_what_is_left_out() -> None:
    """The second tripwire: a server without ``jsonschema`` would gain nothing by an import of it."""
    told, _ = run_lines("import jupyter_server.serverapp\ntell(grammar='rfc3987_syntax' in sys.modules)")
    assert told == {"grammar": True}, "jupyter_server no longer imports rfc3987_syntax: remove lean-import"


def test_a_lean_server_does_not_import_it_by_another_way() -> None:
    """Everything that a server imports at its start goes without the grammar."""
    told, _ = run_lines(
        APPLIED + "import jupyterhub.singleuser.extension, jupyterlab.labapp, jupyter_server_terminals\n" + STATE
    )
    assert told["used"] == ["lean-import"]
    assert not told["grammar"]


def test_every_checker_is_registered_as_stock_does() -> None:
    """The same formats, in the same drafts, with the same exceptions: also the tripwire for their shape."""
    stock, _ = run_lines(CHECKERS)
    lean, _ = run_lines(APPLIED + CHECKERS)
    assert lean == stock
    assert set(stock["raises"]) == {"draft7", "draft201909", "draft202012"}


def test_an_address_is_judged_as_stock_judges_it() -> None:
    """The first use builds the grammar; verdicts are the same, and some are bad."""
    stock, _ = run_lines(VERDICTS)
    lean, _ = run_lines(APPLIED + VERDICTS)
    assert lean == stock
    assert {True, False} <= set(stock["verdicts"]["iri"])


def test_the_first_use_imports_the_real_module() -> None:
    """Whoever imports it afterwards, or asks for another of its names, has the real one."""
    told, _ = run_lines(
        APPLIED
        + "before = 'rfc3987_syntax' in sys.modules\n"
        + "from jsonschema import draft7_format_checker as checker\n"
        + "checker.conforms('http://example.org/é', 'iri')\n"
        + "import rfc3987_syntax\n"
        + "tell(before=before, parses=bool(rfc3987_syntax.parse('iri', 'a:b')))"
    )
    assert told == {"before": False, "parses": True}


ABSENT = """
import importlib.machinery
class Hides:
    def find_spec(self, name, path=None, target=None):
        if name == HIDDEN: raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hides())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == HIDDEN else real(name, package)
"""


@pytest.mark.parametrize("hidden", ["rfc3987_syntax", "jsonschema"])
def test_nothing_is_done_where_a_package_is_not_installed(hidden: str) -> None:
    """Without the grammar, or without ``jsonschema``, there is nothing to gain and nothing to say."""
    told, errors = run_lines(f"HIDDEN = {hidden!r}\n" + ABSENT + APPLIED + STATE)
    assert told["used"] == []
    assert not told["grammar"]
    assert not told["jsonschema"]
    assert errors == ""


def test_nothing_is_done_where_the_other_parser_is_installed(tmp_path: Path) -> None:
    """``jsonschema`` then uses ``rfc3987``, and the grammar is never imported."""
    folder = module(tmp_path, "rfc3987", "def parse(text, rule): return text\n")
    told, errors = run_lines(APPLIED + "import jsonschema\n" + STATE, folder)
    assert told["used"] == []
    assert not told["grammar"]
    assert errors == ""


# id, what the changed jsonschema says, whether the real grammar is loaded then, part of the warning
CHANGED = [
    ("it is not imported any more", "x = 1\n", False, "does not take is_valid_syntax"),
    (
        "another name of it is taken",
        "from rfc3987_syntax import parse\nassert parse('iri', 'a:b')\n",
        True,
        "does not take is_valid_syntax",
    ),
    (
        "one of its submodules is taken",
        "from rfc3987_syntax.utils import load_grammar\nimport rfc3987_syntax.syntax_helpers as helpers\n"
        "assert helpers.is_valid_syntax('iri', 'a:b')\n",
        None,
        "does not take is_valid_syntax",
    ),
    ("it cannot be imported", "raise ImportError('broken')\n", False, "cannot be imported: broken"),
]


@pytest.mark.parametrize(("_", "text", "grammar", "warning"), CHANGED, ids=[row[0] for row in CHANGED])
def test_a_changed_jsonschema_is_imported_as_it_is(
    tmp_path: Path, _: str, text: str, grammar: bool | None, warning: str
) -> None:
    """What it imports is the real thing then; the speed-up leaves itself out with one line, and no trace."""
    told, errors = run_lines(APPLIED + STATE, module(tmp_path, "jsonschema", text))
    assert told["used"] == []
    assert told["none"] == []
    assert grammar is None or told["grammar"] is grammar
    assert errors.count("\n") == 1
    assert errors.startswith("speed-up lean-import leaves itself out: jsonschema ")
    assert warning in errors


def test_the_real_module_can_be_imported_after_a_change(tmp_path: Path) -> None:
    """Whatever ``jsonschema`` did with the stand-in, the next import gives the whole module."""
    for number, (_, text, _grammar, _warning) in enumerate(CHANGED):
        folder = module(tmp_path / str(number), "jsonschema", text)
        after = "import rfc3987_syntax\ntell(valid=rfc3987_syntax.is_valid_syntax_iri('a:b'))"
        told, _errors = run_lines(APPLIED + after, folder)
        assert told == {"valid": True}


@pytest.mark.parametrize("loaded", ["jsonschema", "rfc3987_syntax"])
def test_what_is_loaded_already_is_left_alone(loaded: str) -> None:
    """A site's own start-up code may have imported either: one line says so."""
    told, errors = run_lines(f"import {loaded}\n" + APPLIED + STATE)
    assert told["used"] == []
    assert told["grammar"]
    assert "leaves itself out: jsonschema or rfc3987_syntax is loaded already" in errors
