"""The image ``images/base`` as an archive in the cache, built here on a Debian root without any registry.

``python -m tests.components.base_image`` builds it and prints its path.  It is built again when its Dockerfile, its
requirements, the package or the machine's Debian packages have changed.  The big part, without the package, is kept
in an archive of its own, so that a change of the package costs some seconds.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from . import MissingComponent
from .debian_root import make_root, packages
from .docker_engine import SYSTEM_PATH, engine
from .docker_host_main import remove_cgroups
from .docker_lan import PLENTY, ROOMY, memory_available
from .docker_wait import wait_for
from .images import BASE
from .keeper import keeper
from .proxy import CA_BUNDLE, cache_folder, only_one

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "images" / "base"
CGROUP = "nbplatform-build"
DEBIAN = "nbplatform/debian:test"
SERVER = "nbplatform/base-server:test"
PACKAGE_STAGE = "FROM server AS package"  # where the Dockerfile goes on from the big part
KEPT = 3  # archives of the image that stay in the cache; each is some 400 MB
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
INDEX_SETTINGS = ("index-url", "extra-index-url", "trusted-host")


@cache
def base_image() -> Path:
    """Return the image's archive, as ``docker save`` writes it; builds it first where it is not there.

    One process gets the same archive each time, whatever changes meanwhile.

    Raises:
        MissingComponent: it cannot be built here; says why.
    """
    engine("debian")
    versions = packages()
    below = digest(json.dumps(versions).encode(), *contents(SOURCES / "Dockerfile", SOURCES / "requirements.txt"))
    whole = digest(below.encode(), *contents(SOURCES / "verify.py"), *package_parts())
    folder = cache_folder() / "images"
    target = folder / f"base-{below}-{whole}.tar"
    if not target.exists():
        with only_one(folder):
            if not target.exists():
                build(folder / f"server-{below}.tar", target, versions)
                remove_old(folder, below)
    os.utime(target)
    return target


def digest(*parts: bytes) -> str:
    """Return a short name for some contents."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]


def contents(*paths: Path) -> Iterator[bytes]:
    """Yield the names and contents of files."""
    for path in paths:
        yield path.name.encode() + b"\0" + path.read_bytes()


INSIDE = ("singleuser", "slurm_dask", "rules")
"""Folders of the package that servers and kernels import from."""


def package_parts() -> Iterator[bytes]:
    """Yield what of the package matters in an image; the rest is the hub's, and nothing in an image imports it."""
    package = ROOT / "nbplatform_spawners"
    found = [path for name in INSIDE for path in (package / name).rglob("*")]
    files = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    yield from contents(*sorted(package.glob("*.py")), *sorted(files))
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    yield settings["options.entry_points"]["console_scripts"].encode()


def remove_old(folder: Path, below: str) -> None:
    """Remove archives that are not needed any more."""
    for path in folder.glob("server-*.tar"):
        if below not in path.name:
            path.unlink()
    images = sorted(folder.glob("base-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in images[KEPT:]:
        path.unlink()


def build(server: Path, target: Path, versions: dict[str, str]) -> None:
    """Build both archives; the first is used again when it is there.

    Raises:
        MissingComponent: the build failed; holds the end of its output.
    """
    text = (SOURCES / "Dockerfile").read_text()
    with builder() as (client, folder):
        if server.exists():
            with open(server, "rb") as file:
                for _ in client.load_image(file):
                    pass
        else:
            import_debian(client, folder / "root", versions)
            run_build(client, context(folder / "first", text, None), SERVER, target="server")
            save(client, SERVER, server)
        text = f"FROM {SERVER} AS server\n{text[text.index(PACKAGE_STAGE) :]}"
        run_build(client, context(folder / "second", text, make_wheel(folder)), BASE)
        save(client, BASE, target)


@contextmanager
def builder() -> Iterator[tuple[Any, Path]]:
    """Run a Docker daemon for building: on the machine's own network, and without a trace of it afterwards."""
    import docker

    with keeper("build", grace=20.0) as one:
        socket, log = one.folder / "sock", one.folder / "dockerd.log"
        settings = {"hosts": [f"unix://{socket}"], "data-root": str(one.folder / "data"), "bridge": "none"}
        settings |= {"exec-root": "/run/docker", "pidfile": "/run/docker.pid", "group": "root", "iptables": False}
        settings |= {
            "ip6tables": False,
            "cgroup-parent": f"/{CGROUP}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
        }
        (one.folder / "daemon.json").write_text(json.dumps(settings))
        (one.folder / "data").mkdir()
        disk = f"mount -t tmpfs -o size={ROOMY} tmpfs {one.folder}/data; " if memory_available() > PLENTY else ""
        inside = f"mount -t tmpfs tmpfs /run; {disk}dockerd --config-file {one.folder}/daemon.json & wait"
        namespaces = ["--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        # A program in front that can be asked to end: unshare itself cannot.
        command = [
            "sh",
            "-c",
            'trap "kill -9 $!" TERM; unshare "$@" & wait; wait',
            "sh",
            *namespaces,
            "sh",
            "-c",
            inside,
        ]
        process = one.start(command, env={"HOME": "/root", "PATH": SYSTEM_PATH}, cwd=Path("/"), log=log)
        wait_for(lambda: answers(docker, socket), process.alive, "the builder's dockerd", log)
        client = docker.APIClient(f"unix://{socket}", version="auto", timeout=1200)
        try:
            yield client, one.folder
        finally:
            client.close()
    remove_cgroups(CGROUP)


def answers(docker: Any, socket: Path) -> bool:
    """Whether a daemon answers."""
    if not socket.exists():
        return False
    try:
        docker.APIClient(f"unix://{socket}", version="auto", timeout=5).close()
    except (docker.errors.DockerException, OSError):
        return False
    return True


def import_debian(client: Any, folder: Path, versions: dict[str, str]) -> None:
    """Make the image that stands for a registry's ``python:3.11-slim``."""
    folder.mkdir(mode=0o755)
    make_root(folder, versions)
    archive = folder.with_suffix(".tar")
    subprocess.run(["tar", "-C", folder, "-c", "-f", archive, "."], check=True)
    repository, _, tag = DEBIAN.rpartition(":")
    client.import_image_from_file(str(archive), repository=repository, tag=tag)


def context(folder: Path, dockerfile: str, wheel: Path | None) -> Path:
    """Make the folder that a build sees: the sources, this machine's way to the package index, and the wheel."""
    (folder / "wheels").mkdir(parents=True)
    (folder / "Dockerfile").write_text(dockerfile)
    for name in ("requirements.txt", "verify.py"):
        shutil.copy(SOURCES / name, folder)
    if wheel is not None:
        shutil.copy(wheel, folder / "wheels")
    if CA_BUNDLE.exists():
        shutil.copy(os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or CA_BUNDLE, folder / "ca.crt")
    settings = index_settings()
    if settings:
        config = configparser.ConfigParser(interpolation=None)
        config["global"] = settings
        with open(folder / "pip.conf", "w") as file:
            config.write(file)
    return folder


def index_settings() -> dict[str, str]:
    """Return what this user's pip is told about package indexes."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    found = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in INDEX_SETTINGS:
            found[key] = value.strip("'\"")
    return found


def make_wheel(folder: Path) -> Path:
    """Build the package's wheel from a copy of the checkout.

    Raises:
        MissingComponent: it cannot be built.
    """
    sources = folder / "sources"
    sources.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "nbplatform_spawners", sources / "nbplatform_spawners", ignore=ignore)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise MissingComponent(f"the package's wheel cannot be built: {' '.join(done.stdout.split())[-500:]}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def run_build(client: Any, folder: Path, tag: str, **options: Any) -> None:
    """Build one image, or the stage of it that ``target`` names.

    Raises:
        MissingComponent: it failed; holds the end of the output.
    """
    proxies = {name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ}  # not kept in the image
    arguments = {"BASE": DEBIAN, **proxies}
    text = []
    for line in client.build(
        path=str(folder), tag=tag, buildargs=arguments, network_mode="host", rm=True, decode=True, **options
    ):
        text.append(line.get("stream", ""))
        if "error" in line:
            tail = " | ".join("".join(text).strip().splitlines()[-10:])
            raise MissingComponent(f"the image {tag} cannot be built (is the network there?): {line['error']}: {tail}")


def save(client: Any, name: str, target: Path) -> None:
    """Write an image into an archive, whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".image-", delete=False) as file:
        try:
            for chunk in client.get_image(name):
                file.write(chunk)
            Path(file.name).rename(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


if __name__ == "__main__":
    sys.stdout.write(f"{base_image()}\n")
