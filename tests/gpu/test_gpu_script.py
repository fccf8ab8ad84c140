"""``./scripts/gpu-tests``: what it says, and how it ends, where it cannot run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "gpu-tests"
NO_DRIVER = 'echo "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."; exit 9'
NO_DETAILS = '[ "$1" = -L ] && echo "GPU 0: A Model (UUID: GPU-1)" || { echo "it is lost"; exit 15; }'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with everything that this machine has but NVIDIA's driver."""
    for folder in reversed(os.environ["PATH"].split(":")):
        for program in Path(folder).glob("*") if Path(folder).is_dir() else ():
            if not program.name.startswith("nvidia") and os.access(program, os.X_OK):
                (tmp_path / program.name).unlink(missing_ok=True)
                (tmp_path / program.name).symlink_to(program)
    return tmp_path


def answers(path: Path, script: str) -> None:
    """Put a ``nvidia-smi`` on the PATH."""
    (path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (path / "nvidia-smi").chmod(0o755)


def run(path: Path, *words: str) -> tuple[int, str]:
    """Run the script; its status and all that it writes."""
    environment = {**os.environ, "PATH": str(path), "NBPLATFORM_PYTHON": sys.executable}
    done = subprocess.run([SCRIPT, *words], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


def test_a_machine_without_a_gpu_is_told_why_nothing_ran(path: Path) -> None:
    """One sentence, and no failure unless everything is required."""
    status, said = run(path)
    assert (status, said.count("\n")) == (0, 1)
    assert "the tests of real GPUs are skipped: there is no NVIDIA GPU here" in said
    assert run(path, "--require", "all") == (1, said)


def test_a_driver_that_does_not_work_is_named(path: Path) -> None:
    """Its own words say what is wrong."""
    answers(path, NO_DRIVER)
    status, said = run(path)
    assert status == 0
    assert "nvidia-smi finds no GPU: NVIDIA-SMI has failed" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets as far as the tests")
def test_each_test_says_why_it_cannot_run(path: Path) -> None:
    """What is seen no earlier than in the tests skips them, with the same effect."""
    answers(path, NO_DETAILS)
    status, said = run(path, "--python", sys.executable)
    assert status == 0, said
    assert "passed 0, failed 0, skipped 1" in said
    assert "nvidia-smi finds no GPU: it is lost" in said
    status, said = run(path, "--python", sys.executable, "--require", "all")
    assert (status, "skipped, but --require all was given" in said) == (1, True)


def test_help_says_what_the_machine_must_have(path: Path) -> None:
    """Without a GPU, too."""
    status, said = run(path, "--help")
    assert status == 0
    assert all(word in said for word in ("nvidia-smi", "root", "Docker 28.2", "nvidia-ctk", "--engine", "--torch"))
