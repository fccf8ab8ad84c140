"""The wheel installs bare, works without JupyterHub, and asks for nothing but what it needs."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from .pages import ROOT

NO_NETWORK = re.compile(r"NewConnectionError|NameResolutionError|Network is unreachable|Temporary failure in name res")
HEAVY = ("yaml", "jupyterhub", "traitlets", "tornado", "sqlalchemy", "jinja2", "argon2", "escapism", "asyncio")


@dataclass(frozen=True)
class Installed:
    """A fresh environment with the wheel and nothing else.

    Attributes:
        wheel: the built file.
        bin: the environment's programs.
    """

    wheel: Path
    bin: Path

    def run(self, *argv: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs, without what the caller's environment says of Python."""
        program = [str(self.bin / argv[0]), *argv[1:]]
        return subprocess.run(
            program, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False
        )

    def metadata(self) -> Message:
        """Return the wheel's METADATA."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            return Parser().parsestr(archive.read(name).decode())


def clean_environment() -> dict[str, str]:
    """Return the environment without what it says of Python: a caller's PYTHONPATH would show the checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def must(argv: Sequence[str | Path], cwd: Path) -> None:
    """Run a command that needs the package index; skip where there is no network, fail for any other reason."""
    ran = subprocess.run(
        argv, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=280, check=False
    )
    if ran.returncode and NO_NETWORK.search(ran.stdout + ran.stderr):
        pytest.skip("the package index cannot be reached")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment into which the wheel, built from a copy of the sources, is installed without an extra."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    for name in ("nbplatform_spawners", "tests", "docs"):  # the last two must not slip into the wheel
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    must([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(sources)], folder)
    (wheel,) = folder.glob("*.whl")
    return install(wheel, str(wheel), folder / "env")


def install(wheel: Path, requirement: str, env: Path) -> Installed:
    """Return a fresh environment into which ``requirement``, the wheel with or without extras, is installed."""
    must([sys.executable, "-m", "venv", "--without-pip", str(env)], env.parent)
    python = env / "bin" / "python"
    must([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", requirement], env.parent)
    return Installed(wheel, python.parent)


def test_importing_the_package_loads_nothing_heavy(installed: Installed) -> None:
    """The package also sits in user images: ``import nbplatform_spawners`` costs nothing."""
    code = f"import sys, nbplatform_spawners; print([name for name in {HEAVY!r} if name in sys.modules])"
    ran = installed.run("python", "-I", "-c", code)
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr


def test_the_command_line_works_without_jupyterhub(installed: Installed) -> None:
    """An administrator checks, explains and tests rules on a machine that has no hub."""
    assert installed.run("python", "-I", "-c", "import jupyterhub").returncode != 0
    accounts = str(ROOT / "placement_rules" / "tests" / "accounts" / "accounts.yaml")
    checked = installed.run("nbplatform", "rules", "check", str(ROOT / "placement_rules"), "--accounts", accounts)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = installed.run("nbplatform", "rules", "test", str(ROOT / "placement_rules"), "--accounts", accounts)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert json.loads(installed.run("nbplatform", "rules", "schema").stdout)["$schema"]
    shown = installed.run("nbplatform", "accounts", "show", "alice", "--accounts", accounts)
    assert json.loads(shown.stdout)["name"] == "alice"


POINTS = """
import json
from importlib.metadata import entry_points
groups = ("jupyterhub.spawners", "jupyterhub.authenticators")
points = [point for group in groups for point in entry_points(group=group)]
found = {point.name: point.load() for point in points if point.name.startswith("nbplatform-")}
from jupyterhub.auth import Authenticator
from jupyterhub.spawner import Spawner
kinds = {"spawner": Spawner, "authenticator": Authenticator}
print(json.dumps({
    name: [cls.__module__, *(kind for kind, base in kinds.items() if issubclass(cls, base))]
    for name, cls in found.items()
}))
"""


def test_with_the_extras_of_a_hub_every_entry_point_loads(installed: Installed, tmp_path: Path) -> None:
    """``nbplatform-spawners[hub,docker,keycloak]`` brings all that spawners and authenticators import."""
    hub = install(installed.wheel, f"{installed.wheel}[hub,docker,keycloak]", tmp_path / "env")
    ran = hub.run("python", "-I", "-c", POINTS, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "nbplatform-local": ["nbplatform_spawners.spawners.local", "spawner"],
        "nbplatform-docker": ["nbplatform_spawners.spawners.docker", "spawner"],
        "nbplatform-file": ["nbplatform_spawners.auth.file", "authenticator"],
        "nbplatform-pam": ["nbplatform_spawners.auth.pam", "authenticator"],
        "nbplatform-keycloak": ["nbplatform_spawners.auth.keycloak", "authenticator"],
    }


KEPT = (".py", ".html", ".js", ".json", ".typed", ".yaml")


def test_the_wheel_holds_the_package_and_nothing_else(installed: Installed) -> None:
    """Templates, settings, JupyterLab's extension, the typing mark and the licence are in it; tests and docs not."""
    with zipfile.ZipFile(installed.wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nbplatform_spawners"}
    package = [path for path in (ROOT / "nbplatform_spawners").rglob("*") if path.suffix in KEPT]
    assert {str(path.relative_to(ROOT)) for path in package} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)


def test_requirements_and_extras_are_what_setup_cfg_says(installed: Installed) -> None:
    """Only the extras asked for are installed: the wheel's own metadata says the same as setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {name: named(lines) for name, lines in config["options.extras_require"].items()}
    metadata = installed.metadata()
    assert set(metadata.get_all("Provides-Extra") or []) == set(extras)
    required = [str(line) for line in metadata.get_all("Requires-Dist") or []]
    assert named("\n".join(line for line in required if "extra ==" not in line)) == named(
        config["options"]["install_requires"]
    )
    for extra, names in extras.items():
        assert named("\n".join(line for line in required if re.search(rf"""extra == ["']{extra}["']""", line))) == names


def named(lines: str) -> set[str]:
    """Return the names of the projects that lines of requirements ask for."""
    found = (re.match(r"[A-Za-z0-9._-]+", line.strip()) for line in lines.split("\n"))
    return {match[0].lower() for match in found if match}
