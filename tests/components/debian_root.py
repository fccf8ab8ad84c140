"""A small Debian root with Python, from the packages that this machine has installed: no download, no registry.

It follows the machine's release and versions.  Only files that packages brought are taken: nothing of the machine's
own settings, accounts or certificates gets in.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from . import MissingComponent

WANTED = (  # noqa: SIM905  a list to be read
    "base-files base-passwd bash coreutils dash libc-bin sed grep findutils gzip tar util-linux hostname procps"
    " python3 python3-venv ca-certificates libstdc++6"
).split()
LEFT_OUT = re.compile(r"/usr/share/(doc|man|locale|info|i18n|lintian)/")
MERGED = re.compile(r"^/(bin|sbin|lib|lib32|lib64|libx32)/")
CHARACTERS = re.compile(r"^\S+$")
EMPTY_FOLDERS = ("dev", "etc/ssl/certs", "home", "proc", "run", "sys", "tmp", "usr/lib64", "var/tmp")


def packages(*more: str) -> dict[str, str]:
    """Return name and version of every package that goes in.

    Args:
        more: packages that are wanted besides the usual ones.

    Raises:
        MissingComponent: this is no Debian, or it lacks one that is wanted.
    """
    if not (shutil.which("apt-cache") and shutil.which("dpkg-query")):
        raise MissingComponent("the base of images comes from Debian packages, and this machine is no Debian")
    installed = {}
    for line in output("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n").splitlines():
        status, name, version = line.split()
        if status == "installed":
            installed[name] = version
    wanted_names = (*WANTED, *more)
    if lacking := [name for name in wanted_names if name not in installed]:
        raise MissingComponent(f"{lacking[0]} is not installed (as root: apt-get install {' '.join(lacking)})")
    left_out = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    found = output("apt-cache", "depends", "--recurse", "--installed", *left_out, *wanted_names).splitlines()
    return {name: installed[name] for name in sorted(set(found)) if CHARACTERS.match(name) and name in installed}


def make_root(folder: Path, names: Iterable[str]) -> None:
    """Fill an empty folder with the root, as root.

    Args:
        folder: where to.
        names: the packages, from :func:`packages`.
    """
    files = sorted({inside(line) for line in output("dpkg", "-L", *names).splitlines() if wanted(line)})
    listing = "\0".join(files).encode()
    packed = subprocess.Popen(
        ["tar", "-C", "/", "-c", "--null", "-T", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert packed.stdin is not None
    assert packed.stdout is not None
    unpacked = subprocess.Popen(["tar", "-C", folder, "-x"], stdin=packed.stdout)
    packed.stdout.close()  # the other process has it: a test that builds must not be charged with an open file
    packed.stdin.write(listing)
    packed.stdin.close()
    if packed.wait() or unpacked.wait():
        raise OSError("the packages' files cannot be copied")
    for name in EMPTY_FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"usr/{name}")
    (folder / "root").mkdir(mode=0o700)
    for name in ("tmp", "var/tmp"):
        (folder / name).chmod(0o1777)
    settings(folder)


def settings(folder: Path) -> None:
    """Write what packages' own scripts would: accounts, name service, certificates, the linker's cache."""
    for name in ("passwd", "group"):
        shutil.copyfile(f"/usr/share/base-passwd/{name}.master", folder / "etc" / name)
    (folder / "etc" / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
    bundle = folder / "etc" / "ssl" / "certs" / "ca-certificates.crt"
    public = sorted((folder / "usr" / "share" / "ca-certificates" / "mozilla").glob("*.crt"))
    bundle.write_bytes(b"".join(path.read_bytes() for path in public))
    for path in (bundle, *(folder / "etc" / name for name in ("passwd", "group", "nsswitch.conf"))):
        path.chmod(0o644)
    subprocess.run(["ldconfig", "-r", folder], check=True)


def wanted(path: str) -> bool:
    """Whether a path that a package lists is a file that goes in."""
    file = Path(path)
    return path.startswith("/") and not LEFT_OUT.match(path) and (file.is_symlink() or file.is_file())


def inside(path: str) -> str:
    """Return a listed path as it lies in the root, where /bin and its like are links to below /usr."""
    return MERGED.sub(r"usr/\1/", path).lstrip("/")


def output(*command: str) -> str:
    """Run a program and return what it writes."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
