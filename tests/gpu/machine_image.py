"""An image made of the machine itself: a shell, Python, and the libraries of NVIDIA's driver.

So a container has everything that could use a GPU, and lacks the GPU alone unless it is granted.  Nothing is fetched.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.components import MissingComponent

PROGRAMS = ("cat", "id", "ls", "mknod", "readlink", "sh", "sleep")
DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1")
FOLDERS = ("bin", "dev", "etc", "home", "proc", "root", "run", "sbin", "sys", "tmp", "usr")
# A real folder, so that what Docker puts there is not hidden when a test mounts the machine's /usr.
NOT_LINKED = ("bin", "sbin")
LEFT_OUT = {"__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tkinter"}
LOADED = re.compile(r"(?:=> )?(/\S+) \(0x")
PYTHON = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
"""The interpreter, on the machine and in the image."""


def machine_root() -> bytes:
    """Return the root of the image as a tar archive.

    Raises:
        MissingComponent: the machine lacks something that belongs into it.
    """
    files = dict(wanted_files())
    for library in libraries([path for path in files.values() if is_elf(path)]):
        files[in_image(library)] = library
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in FOLDERS:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for path in sorted(Path("/").glob("lib*")):
            if path.is_symlink():
                entry = tarfile.TarInfo(path.name)
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
                tar.addfile(entry)
        for name, source in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            content = source.read_bytes()
            entry.size, entry.mode = len(content), 0o755 if os.access(source, os.X_OK) else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def wanted_files() -> Iterator[tuple[str, Path]]:
    """Yield each file but the libraries that they load: its path in the image, and where it is here."""
    for program in PROGRAMS:
        found = shutil.which(program)
        if found is None:
            raise MissingComponent(f"{program} is not installed")
        yield f"bin/{program}", Path(os.path.realpath(found))
    yield in_image(Path(PYTHON)), Path(PYTHON)
    for top in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith("config-")]
            for name in names:
                path = Path(folder, name)
                if path.is_file():
                    yield in_image(path), path
    for path in driver_libraries():
        yield in_image(path), path
    if Path("/etc/ld.so.cache").exists():
        yield "etc/ld.so.cache", Path("/etc/ld.so.cache")


def driver_libraries() -> list[Path]:
    """Return the driver's libraries, under the names by which programs load them.

    Raises:
        MissingComponent: one is not where programs look.
    """
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = []
    for name in DRIVER:
        hit = re.search(rf"^\s*{re.escape(name)} \(libc6,x86-64.*\) => (\S+)$", listed, re.MULTILINE)
        if hit is None:
            raise MissingComponent(f"'ldconfig -p' does not list {name}, a part of NVIDIA's driver")
        found.append(Path(hit[1]))
    return found


def libraries(programs: Iterable[Path]) -> set[Path]:
    """Return all libraries that these load, the loader itself among them."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout
    return {Path(hit[1]) for line in said.splitlines() if (hit := LOADED.search(line))}


def is_elf(path: Path) -> bool:
    """Tell whether a file is a program or a library."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def in_image(path: Path) -> str:
    """Return a file's path in the image: links of folders followed, its own name kept."""
    return str(Path(os.path.realpath(path.parent), path.name)).lstrip("/")
