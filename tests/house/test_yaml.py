"""What administrators copy works: rule sites parse and keep their promises, configurations name real settings."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import pytest

from nbplatform_spawners.cli import main
from nbplatform_spawners.rules.check import find_warnings
from nbplatform_spawners.rules.store import load

from .configurations import configurable_classes, exists
from .pages import ROOT

RULES = ROOT / "placement_rules"
SITES = [
    ("the starter site", RULES, RULES / "tests" / "accounts" / "accounts.yaml"),
    ("the example site", RULES / "example-site" / "placement_rules", RULES / "example-site" / "accounts.yaml"),
]
SITE_IDS = [row[0] for row in SITES]
CONFIGS = sorted((ROOT / "hub_config").rglob("jupyterhub_config.py"))


@pytest.mark.parametrize(("_", "directory", "accounts"), SITES, ids=SITE_IDS)
def test_a_site_loads_without_mistake_or_warning(_: str, directory: Path, accounts: Path) -> None:
    """Rules that come with the project are an example to follow."""
    book = load(directory)
    assert book.rules
    assert find_warnings(book) == ()


@pytest.mark.parametrize(("_", "directory", "accounts"), SITES, ids=SITE_IDS)
def test_a_site_keeps_its_promises(_: str, directory: Path, accounts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every case of a site passes, and there are cases."""
    assert main(["rules", "test", str(directory), "--accounts", str(accounts)]) == 0, capsys.readouterr().out
    assert " 0 passed" not in capsys.readouterr().out


def test_every_yaml_file_of_the_rules_is_looked_at() -> None:
    """No YAML file lies below placement_rules that the sites, their cases and their accounts do not read."""
    read = {path for _, directory, accounts in SITES for path in (*directory.glob("*.yaml"), accounts)}
    read |= {path for _, directory, _ in SITES for path in (directory / "tests").glob("*.yaml")}
    assert set(RULES.rglob("*.y*ml")) == read


def settings_of(path: Path) -> list[tuple[int, str, str]]:
    """Return (line, class, setting) of every ``c.Class.setting`` of a configuration, commented ones included."""
    lines = path.read_text(encoding="utf-8").split("\n")
    tree = ast.parse("\n".join(line.removeprefix("# ") if line.startswith("# c.") else line for line in lines))
    return [
        (node.lineno, node.value.attr, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == "c"
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_every_setting_of_a_configuration_exists(path: Path) -> None:
    """A misspelt setting would be ignored in silence; those in comments are meant to be used, too."""
    known = configurable_classes()
    found = settings_of(path)
    wrong = [f"{path.name}:{line}: c.{owner}.{name}" for line, owner, name in found if not exists(owner, name, known)]
    assert found
    assert not wrong


def test_a_misspelt_setting_is_noticed(tmp_path: Path) -> None:
    """The walk sees active and commented lines alike."""
    path = tmp_path / "config.py"
    path.write_text("c.JupyterHub.bind_url = 1\n# c.Spawner.defualt_url = 2\n# prose about c.Spawner\n")
    assert settings_of(path) == [(1, "JupyterHub", "bind_url"), (2, "Spawner", "defualt_url")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_a_configuration_compiles(path: Path) -> None:
    """It is Python that uses nothing but what it imports and what JupyterHub gives it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = {
        (name.asname or name.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert used <= stored | imported | {"get_config", "load_subconfig", "__file__"} | set(dir(builtins))
