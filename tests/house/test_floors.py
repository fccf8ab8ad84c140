"""A module imports only from floors below its own; the contract in ``setup.cfg`` knows every module and can fail."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT

PACKAGE = "nbplatform_spawners"

# id, module below the package, the line planted in it, the contract that must break
VIOLATIONS = [
    ("a value imports a decision", "mounts.py", "from .plan import SpawnPlan", "floors below its own"),
    ("a decision imports a door", "plan.py", "from .rules.store import RuleStore", "floors below its own"),
    ("the engine imports JupyterHub", "rules/engine.py", "import jupyterhub", "stay on floor 4"),
    ("a door imports traitlets", "rules/store.py", "import traitlets", "stay on floor 4"),
    ("the engine reads the clock", "rules/engine.py", "import time", "do no I/O"),
    ("the parser opens files", "rules/parse.py", "import os", "do no I/O"),
    ("a value reads YAML", "identity.py", "import yaml", "read no YAML"),
    (
        "the command line needs the hub",
        "rules/commands.py",
        "from ..spawners.errors import refuse",
        "without JupyterHub",
    ),
    ("the server needs the hub's side", "singleuser/start.py", "from ..spawners import ready", "of the hub's side"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run lint-imports on the checkout in ``folder``."""
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [program, "--no-cache", "--config", "setup.cfg"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what lint-imports looks at."""
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def test_every_contract_is_kept(checkout: Path) -> None:
    """The package as it is keeps every contract."""
    ran = lint_imports(checkout)
    assert ran.returncode == 0, ran.stdout
    assert "0 broken" in ran.stdout


@pytest.mark.parametrize(("_", "module", "line", "contract"), VIOLATIONS, ids=[row[0] for row in VIOLATIONS])
def test_a_planted_import_breaks_its_contract(checkout: Path, _: str, module: str, line: str, contract: str) -> None:
    """An import from a floor above, or of what a floor must not use, fails the run and names the contract."""
    path = checkout / PACKAGE / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    ran = lint_imports(checkout)
    broken = [told for told in ran.stdout.splitlines() if " BROKEN" in told]
    assert ran.returncode == 1
    assert any(contract in told for told in broken), ran.stdout


def test_every_module_stands_on_one_floor() -> None:
    """A new module is entered in the contract, or nobody checks it."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    floors = config["importlinter:contract:floors"]["layers"].split("\n")
    entered = [name.strip() for floor in floors for name in floor.split(":") if name.strip()]
    assert len(entered) == len(set(entered))
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / PACKAGE).rglob("*.py")]
    modules = [".".join(path.parts) for path in paths if path.name != "__init__"]
    lost = [module for module in modules if not any(f"{module}.".startswith(f"{name}.") for name in entered)]
    assert not lost, f"enter these in setup.cfg, on their floor: {lost}"


def test_the_pure_contracts_name_every_module_of_their_floors() -> None:
    """What holds for floors 0 to 2 holds for each of their modules: the lists in ``setup.cfg`` are the same."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    floors = [line for line in config["importlinter:contract:floors"]["layers"].split("\n") if line.strip()]
    on = [{name.strip() for name in floor.split(":")} for floor in floors]
    for contract, count in (("hub", 4), ("pure", 3), ("values", 2)):
        named = config[f"importlinter:contract:{contract}"]["source_modules"].split()
        assert set(named) == set().union(*on[-count:])
