"""Run the tests of real GPUs on this machine, or say why they cannot be run here.

They grant a GPU as the platform does: rules, admission, the body of the request and the door to the host are the
project's own, the Docker daemon and the GPU are real.  No hub is needed, and no network once the project's Python
environment is made.

What the machine must have:
  an NVIDIA GPU with its driver      nvidia-smi finds it, 'ldconfig -p' lists libcuda, libnvidia-ml and
                                     libnvidia-ptxjitcompiler; not divided by MIG
  root                               for a Docker daemon of the tests' own: storage, socket and CDI folder lie in a
                                     temporary folder, no network and no firewall rule is made, and a Docker that
                                     runs here is not touched
  Docker 28.2 or newer               dockerd and its programs: the folder that --engine names, else the installed one,
                                     else what 'python -m tests.components.docker_modern' has built
  unshare, nsenter, ldd              of every Linux distribution
What may be there:
  nvidia-ctk                         writes the CDI specification; else the tests write it by hand
  PyTorch                            in the first python3 of the PATH, or in the one that --torch names

A machine that lacks something is no failure: the reason is printed, and the exit status is 0.  With '--require all' it
is 1.  Everything that is not named here goes to pytest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from steps import say

CHECKOUT = Path(__file__).resolve().parent.parent
TESTS = "tests/gpu/test_real_gpu.py"
EXTRAS = ("docker", "test")


def main(words: Sequence[str]) -> int:
    """Run the tests; returns pytest's exit status, or what ``--require`` says where they cannot be run."""
    arguments, others = read_arguments(words)
    lacking = lacking_here()
    if lacking:
        say(f"the tests of real GPUs are skipped: {lacking}")
        return 1 if arguments.require else 0
    python = arguments.python or project_python()
    if python is None:
        return 1
    environment = dict(os.environ)
    for variable, value in (("NBPLATFORM_GPU_ENGINE", arguments.engine), ("NBPLATFORM_GPU_TORCH", arguments.torch)):
        if value:
            environment[variable] = value
    command = [python, "-m", "pytest", TESTS, *(["--require", "all"] if arguments.require else []), *others]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL).returncode  # noqa: S603


def read_arguments(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return what the command line says, and what pytest is told."""
    about = (__doc__ or "").rstrip()
    parser = argparse.ArgumentParser(
        prog="gpu-tests",
        usage="./scripts/gpu-tests [OPTION...] [PYTEST ARGUMENT...]",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--engine", metavar="FOLDER", type=absolute, help="folder with dockerd and its programs")
    parser.add_argument(
        "--python",
        metavar="PYTHON",
        type=program,
        help="a Python that has the project's extras 'docker' and 'test' (default: the project's own environment, "
        "which is made where it is missing)",
    )
    parser.add_argument("--torch", metavar="PYTHON", type=program, help="a Python that has PyTorch")
    parser.add_argument("--require", choices=["all"], help="all: whatever is skipped is a failure")
    return parser.parse_known_args(words)


def absolute(path: str) -> str:
    """Return a path that holds in the checkout, too; its links are kept, which tell a Python its environment."""
    return str(Path(path).absolute())


def program(name: str) -> str:
    """Return the path of a program that is named by path or by name."""
    return absolute(shutil.which(name) or name)


def lacking_here() -> str:
    """Return what the machine lacks that is seen at once; empty when it has all of that."""
    if shutil.which("nvidia-smi") is None:
        return "there is no NVIDIA GPU here (nvidia-smi, a part of NVIDIA's driver, is not on the PATH)"
    found = subprocess.run(["nvidia-smi", "-L"], stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S607
    if found.returncode != 0 or "GPU" not in found.stdout:
        return f"nvidia-smi finds no GPU: {(found.stdout + found.stderr).strip()}"
    if os.geteuid() != 0:
        return "a Docker daemon of the tests' own needs root"
    for name in ("unshare", "nsenter", "ldd", "ldconfig"):
        if shutil.which(name) is None:
            return f"{name} is not on the PATH"
    return ""


def project_python() -> str | None:
    """Return the Python of the project's own environment; None when it cannot be made."""
    command = [str(CHECKOUT / "scripts" / "setup-env"), *EXTRAS]
    made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return made.stdout.strip() if made.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
