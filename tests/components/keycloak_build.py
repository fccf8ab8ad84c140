"""A real Keycloak, fetched from Maven's central repository and built once: its quickest start needs a build before.

``python -m tests.components.keycloak_build`` does it, which takes 177 MB and half a minute of one core;
``./scripts/test`` has that done behind the other tests.  The folder is kept in the cache, one for each version and set
of build options, and nothing writes to it afterwards.
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
import zipfile
from pathlib import Path

import requests

from . import MissingComponent
from .proxy import cache_folder, made_whole, only_one
from .proxy import run as run_installer

VERSION = "26.7.3"
SHA1 = "1e21a7f572581692aacb379dbba8413f99b67208"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
ADDRESS = f"https://repo1.maven.org/maven2/org/keycloak/keycloak-quarkus-dist/{VERSION}/"
NAME = f"keycloak-quarkus-dist-{VERSION}.zip"
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
BUILD_OPTIONS = ("--db=dev-mem", "--health-enabled=true", "--metrics-enabled=false")
JAVA_WANTED = 17
FETCH_LIMIT = 60.0  # seconds without a byte
BUILD_LIMIT = 900.0  # seconds that a test waits for a build under way
PR_SET_PDEATHSIG = 1


def built_keycloak() -> Path:
    """Return Keycloak's folder; waits for a build that is under way.

    Raises:
        MissingComponent: there is no Java, or it is not built; says how to do it, or why it failed.
    """
    found_java()
    folder = place()
    if not (folder / "keycloak").is_dir():
        wait_for_build(folder)
    if not (folder / "keycloak").is_dir():
        failed = folder / "failed"
        why = failed.read_text().strip() if failed.exists() else how_to_build()
        raise MissingComponent(f"Keycloak is not built: {why}")
    return folder / "keycloak"


def how_to_build() -> str:
    """Return what to do, as the end of a sentence."""
    return "run `python -m tests.components.keycloak_build` (a minute), or ./scripts/test, which does it"


def place() -> Path:
    """Return the folder in the cache for this version and these build options."""
    digest = hashlib.sha256(repr((VERSION, BUILD_OPTIONS)).encode())
    return cache_folder() / f"keycloak-{VERSION}-{digest.hexdigest()[:8]}"


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
                time.sleep(0.2)


def found_java() -> str:
    """Return a Java that is new enough.

    Raises:
        MissingComponent: there is none.
    """
    home = os.environ.get("JAVA_HOME", "")
    for candidate in (*([f"{home}/bin/java"] if home else []), shutil.which("java")):
        if candidate and java_version(candidate) >= JAVA_WANTED:
            return candidate
    raise MissingComponent(
        f"there is no Java {JAVA_WANTED} or newer for Keycloak (as root: apt-get install default-jre-headless)"
    )


def java_version(java: str) -> int:
    """Return the first number of a Java's version; 0 when it does not run."""
    try:
        done = subprocess.run([java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found else 0


def build() -> Path:
    """Return Keycloak's folder; fetches and builds it first where it is not there.

    Raises:
        MissingComponent: it cannot be had or built; says why.
    """
    folder = place()
    if (folder / "keycloak").is_dir():
        return folder / "keycloak"
    with only_one(folder):
        if not (folder / "keycloak").is_dir():
            (folder / "failed").unlink(missing_ok=True)
            try:
                build_into(folder)
            except MissingComponent as error:
                (folder / "failed").write_text(f"{error}\n")
                raise
    return folder / "keycloak"


def build_into(folder: Path) -> None:
    """Fetch, unpack and build, whole or not at all; the archive is not kept."""
    java = found_java()
    with made_whole(folder / "keycloak") as new:
        archive = fetch(new)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(new)
        archive.unlink()
        (unpacked,) = new.iterdir()
        for part in unpacked.iterdir():
            part.rename(new / part.name)
        unpacked.rmdir()
        with open(folder / "build.log", "ab") as log:
            command = ["sh", str(new / "bin" / "kc.sh"), "build", *BUILD_OPTIONS]
            done = subprocess.run(
                command, env=java_environment(java), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            )
        if done.returncode != 0:
            raise MissingComponent(f"Keycloak {VERSION} could not be built: see {folder / 'build.log'}")


def java_environment(java: str) -> dict[str, str]:
    """Return the environment of Keycloak's scripts: nothing of another Keycloak's, and the Java that was found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KC_", "KEYCLOAK", "JAVA_"))}
    return {**kept, "JAVA": java, "JAVA_HOME": str(Path(java).resolve().parent.parent)}


def fetch(folder: Path) -> Path:
    """Fetch the archive into a folder and check it: over HTTPS, by Maven where that fails.

    Raises:
        MissingComponent: it cannot be had.
    """
    archive = folder / NAME
    try:
        download(archive)
    except (requests.RequestException, OSError) as problem:
        maven = shutil.which("mvn")
        if maven is None:
            raise MissingComponent(
                f"Keycloak {VERSION} could not be fetched (is the network there?): {problem}"
            ) from None
        copy = [maven, "-B", "-q", MAVEN_COPY, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}"]
        run_installer(copy, f"Keycloak {VERSION}")
    digest = hashlib.sha1(archive.read_bytes(), usedforsecurity=False).hexdigest()
    if digest != SHA1:
        raise MissingComponent(f"what was fetched is not Keycloak {VERSION}: its SHA-1 is {digest}, not {SHA1}")
    return archive


def download(archive: Path) -> None:
    """Fetch the archive over HTTPS, through the machine's own proxy and with its own certificates if it names them."""
    with requests.get(ADDRESS + NAME, stream=True, timeout=FETCH_LIMIT) as answer, archive.open("wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_content(1 << 20):
            file.write(piece)


def main() -> int:
    """Build, for the command line; gives way to everything else on the machine and ends with its parent."""

    def stop(number: int, frame: object) -> None:
        sys.exit(143)  # raised inside subprocess.run, which then ends Java

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
