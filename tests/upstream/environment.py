"""An environment for upstream's own tests, apart from the suite's: made once, kept in the cache, keyed by versions.

It holds the same Jupyter packages as the suite's environment, in the same versions, with jupyter-collaboration and what
upstream's tests need; the tests themselves, from the source distributions of these versions; kernels that are not
ipykernel's; and Playwright, for JupyterLab's check of itself in a browser.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.components import MissingComponent
from tests.components.proxy import Node, cache_folder, fetched_node, only_one, run, system_node, wheel_node
from tests.components.proxy import environment_wheel as node_in_environment

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "nbplatform_spawners"
SAME = re.compile(
    r"jupyter.*|ip(ython|ykernel)|jsonschema.*|rfc3987.*|nb(format|convert|client)|terminado|tornado|traitlets|pyzmq"
)
"""Packages that are taken in the version that the suite's environment has."""
WANTED = [
    "async-kernel>=0.20,<1",  # Python, of its own making
    "deno>=2,<3",  # JavaScript, written in Rust
    "escapism",
    "ipykernel",
    "jupyter-collaboration>=4,<6",
    "jupyter_server[test]",
    "jupyter_server_ydoc[test]",
    "jupyterhub",
    "jupyterlab",
    "pytest-jupyter[server]",
    "pytest-xdist>=3.6,<4",
    "requests-cache",
]
PLAYWRIGHT = "playwright@^1.9.2"  # as JupyterLab's check asks for
WITH_TESTS = ("jupyter_server", "jupyter_server_ydoc")
UNUSED_AFTER = 14 * 86400  # seconds after which an environment that nobody used goes


@dataclass(frozen=True)
class Upstream:
    """The environment.

    Attributes:
        folder: where it lies.
    """

    folder: Path

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def modules(self) -> Path:
        """A folder for the path of imports that holds this checkout's package and nothing else of it."""
        return self.folder / "modules"

    def tests(self, name: str) -> Path:
        """The unpacked source distribution of a package."""
        return next((self.folder / "sources").glob(f"{name}-[0-9]*/"))

    def variables(self, home: Path) -> dict[str, str]:
        """The environment variables of a program that runs in it."""
        path = f"{self.python.parent}{os.pathsep}{os.defpath}"
        return {"PATH": path, "HOME": str(home), "PYTHONPATH": str(self.modules), "LANG": "C.UTF-8"}


def upstream() -> Upstream:
    """The environment; it is made where it is not there.

    Raises:
        MissingComponent: it cannot be made, most often for want of a network; the message says why.
    """
    same = same_versions()
    key = "\n".join([os.path.realpath(sys.executable), sys.version, str(ROOT), PLAYWRIGHT, *WANTED, *same])
    made = Upstream(cache_folder() / f"upstream-{hashlib.sha256(key.encode()).hexdigest()[:16]}")
    marker = made.folder / "complete"
    if not marker.exists():
        with only_one(cache_folder() / "upstream-lock"):
            if not marker.exists():
                shutil.rmtree(made.folder, ignore_errors=True)
                make(made, same)
                marker.touch()
                remove_unused(made.folder)
    if os.access(marker, os.W_OK):
        marker.touch()
    return made


def same_versions() -> list[str]:
    """What the suite's environment has, as pip's constraints."""
    found = {one.name.lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if SAME.fullmatch(name))


def make(made: Upstream, same: list[str]) -> None:
    """Make the environment, in a minute or two.

    Raises:
        MissingComponent: a step failed.
    """
    made.modules.mkdir(parents=True)
    (made.modules / PACKAGE).symlink_to(ROOT / PACKAGE)
    constraints = made.folder / "constraints.txt"
    constraints.write_text("\n".join(same) + "\n")
    run([sys.executable, "-m", "venv", "--without-pip", str(made.folder / "venv")], "an environment")
    if not importlib.util.find_spec("pip"):
        raise MissingComponent("the suite's environment has no pip, which makes the one for upstream's tests")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    run([*pip, "--python", str(made.python), "install", "-q", "-c", str(constraints), *WANTED], "upstream's packages")
    for name in WITH_TESTS:
        wanted = f"{name}=={version_in(made, name)}"
        target = ["--no-deps", "--no-binary", ":all:", "-d", str(made.folder / "sources"), wanted]
        run([*pip, "download", "-q", *target], f"the sources of {wanted}")
    for archive in (made.folder / "sources").glob("*.tar.gz"):
        run(["tar", "-xzf", str(archive), "-C", str(archive.parent)], archive.name)
    install_deno(made)
    install_playwright(made)


def install_deno(made: Upstream) -> None:
    """Say how Deno's kernel is started, where the environment's other kernels say it."""
    folder = made.folder / "venv" / "share" / "jupyter" / "kernels" / "deno"
    folder.mkdir(parents=True)
    deno = str(made.python.with_name("deno"))
    argv = [deno, "jupyter", "--kernel", "--conn", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Deno", "language": "typescript"}))


def version_in(made: Upstream, name: str) -> str:
    """The version of a package in the new environment."""
    ask = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run([made.python, "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def install_playwright(made: Upstream) -> None:
    """Put Playwright where JupyterLab's check looks for it; the browser is the machine's.

    Raises:
        MissingComponent: npm could not fetch it.
    """
    node = this_node(made.folder / "node")
    target = made.folder / "venv" / "share" / "jupyter" / "lab" / "browser_test"
    target.mkdir(parents=True)
    (target / "package.json").write_text('{"private": true}\n')
    command = [*node.npm, "install", "--prefix", str(target), "--no-audit", "--no-fund", "--ignore-scripts", PLAYWRIGHT]
    run(command, "Playwright", path=node.program.parent)
    programs = made.folder / "programs"
    programs.mkdir()
    (programs / "node").symlink_to(node.program)
    for name in ("npm", "npx"):  # JupyterLab's check would fetch a browser by them
        (programs / name).write_text("#!/bin/sh\nexit 0\n")
        (programs / name).chmod(0o755)


def this_node(folder: Path) -> Node:
    """A Node.js: the machine's, else the environment's, else a fetched one.

    Raises:
        MissingComponent: there is none.
    """
    return system_node() or wheel_node(node_in_environment()) or fetched_node(folder)


def remove_unused(keep: Path) -> None:
    """Remove environments of other versions that nobody used for long."""
    for marker in cache_folder().glob("upstream-*/complete"):
        if marker.parent != keep and time.time() - marker.stat().st_mtime > UNUSED_AFTER:
            shutil.rmtree(marker.parent, ignore_errors=True)
