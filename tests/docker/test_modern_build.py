"""Building the modern Docker: once, behind other work, whole or not at all.  The Go here is a double on PATH."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.components import MissingComponent, docker_modern

ROOT = Path(__file__).parents[2]
BUILD = [sys.executable, "-m", "tests.components.docker_modern"]
# Says its version, and "builds" by writing a file where -o says, after BEFORE.
GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.9; exit; fi
BEFORE
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""
OWNER = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)"


def use_go(monkeypatch: pytest.MonkeyPatch, folder: Path, before: str) -> None:
    """Put a Go and an init program on PATH, and an empty cache."""
    (folder / "bin").mkdir()
    for name in ("go", "tini-static"):
        (folder / "bin" / name).write_text(GO.replace("BEFORE", before))
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


def place() -> Path:
    """Return the folder in the cache that the Go on PATH builds into."""
    go = docker_modern.found_go()
    assert go is not None
    return docker_modern.place(go)


def wait_until(path: Path) -> None:
    """Wait until a file is there."""
    limit = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < limit, f"{path} does not come"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_who_needs_it_waits_for_a_build_under_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And gets all of its programs; a second build finds them and does nothing."""
    use_go(monkeypatch, tmp_path, f"touch {tmp_path}/begun; sleep 0.2")
    with subprocess.Popen(BUILD, cwd=ROOT, stdout=subprocess.DEVNULL) as building:
        wait_until(tmp_path / "begun")
        programs = docker_modern.modern_docker()
    assert building.returncode == 0
    assert {path.name for path in programs.iterdir()} == {
        "containerd",
        "containerd-shim-runc-v2",
        "docker-init",
        "docker-proxy",
        "dockerd",
        "runc",
    }
    use_go(monkeypatch, tmp_path / "cache", "exit 1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert docker_modern.build() == programs


def test_a_build_that_fails_is_told_to_who_needs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the name of its log; nothing half-built is used, and the next build begins anew."""
    use_go(monkeypatch, tmp_path, 'case "$*" in *cmd/containerd*) echo "no such module" >&2; exit 1;; esac')
    done = subprocess.run(BUILD, cwd=ROOT, capture_output=True, text=True)
    log = place() / "build.log"
    assert (done.returncode, str(log) in done.stderr, "no such module" in log.read_text()) == (1, True, True)
    with pytest.raises(MissingComponent, match=r"not built: containerd could not be built from Go modules"):
        docker_modern.modern_docker()
    assert not [path for path in place().iterdir() if path.is_dir()]
    (tmp_path / "bin" / "go").write_text(GO.replace("BEFORE", ""))
    assert docker_modern.build() == docker_modern.modern_docker()


def test_a_build_ends_with_the_run_that_began_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Even when that run is killed: no compiler goes on for minutes behind one's back."""
    use_go(monkeypatch, tmp_path, f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 600")
    with subprocess.Popen([sys.executable, "-c", OWNER, *BUILD], cwd=ROOT) as owner:
        wait_until(tmp_path / "pid")
        go = int((tmp_path / "pid").read_text())
        assert alive(go)
        owner.send_signal(signal.SIGKILL)
    limit = time.monotonic() + 30
    while alive(go):
        assert time.monotonic() < limit, "it goes on"
        time.sleep(0.05)
    with pytest.raises(MissingComponent, match="not built"):
        docker_modern.modern_docker()
