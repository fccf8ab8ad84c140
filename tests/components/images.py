"""Images for tests: ``tiny`` (2 MB, answers HTTP at once) and ``base`` (images/base), and how a host gets them.

load(host, "tiny")      # -> "nbplatform/tiny:test"
load(host, "base")      # -> "nbplatform/base:test"
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from . import MissingComponent
from .docker_host import DockerHost

TINY = "nbplatform/tiny:test"
BASE = "nbplatform/base:test"

# Answers 404 or 200 to every request, and ends at SIGTERM also as the first process of a container.
SERVER = """#!/bin/sh
trap 'kill $!; exit 0' TERM INT
httpd -f -p 8888 -h /www &
wait
"""
COMMANDS = ("nbplatform-singleuser", "jupyterhub-singleuser")


def load(host: DockerHost, image: str) -> str:
    """Put an image on a host unless it is there; returns its name.

    Args:
        host: where to.
        image: ``tiny`` or ``base``.

    Raises:
        MissingComponent: the image cannot be made here.
    """
    names = {"tiny": TINY, "base": BASE}
    client = host.client(timeout=300)
    try:
        if not client.images(names[image]):
            if image == "tiny":
                import_tiny(client)
            else:
                from .base_image import base_image

                with open(base_image(), "rb") as file:
                    for _ in client.load_image(file):
                        pass
    finally:
        client.close()
    return names[image]


def load_all(hosts: Iterable[DockerHost], image: str) -> str:
    """Put an image on several hosts, two at a time; returns its name."""
    with ThreadPoolExecutor(2) as pool:
        names = set(pool.map(lambda host: load(host, image), hosts))
    (name,) = names
    return name


def import_tiny(client: Any, name: str = TINY, padding: bytes = b"") -> None:
    """Make the tiny image on a daemon; ``padding`` goes into a file of its own, to make it bigger."""
    repository, _, tag = name.rpartition(":")
    changes = ['CMD ["nbplatform-singleuser"]', "EXPOSE 8888", "ENV LANG=C.UTF-8"]
    client.import_image_from_data(tiny_root(padding), repository=repository, tag=tag, changes=changes)


def tiny_root(padding: bytes = b"") -> bytes:
    """Return the root of the tiny image as a tar archive: busybox under all its names, and a server.

    Raises:
        MissingComponent: busybox is not there.
    """
    busybox = static_busybox()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in (("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o755)):
            add(tar, name, mode)
        for name, mode in (("root", 0o700), ("run", 0o755), ("sys", 0o755), ("tmp", 0o1777), ("www", 0o755)):
            add(tar, name, mode)
        add(tar, "bin/busybox", 0o755, busybox.read_bytes())
        for applet in applets(busybox):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for command in COMMANDS:
            add(tar, f"bin/{command}", 0o755, SERVER.encode())
        add(tar, "etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")
        add(tar, "etc/group", 0o644, b"root:x:0:\n")
        add(tar, "www/index.html", 0o644, b"tiny\n")
        if padding:
            add(tar, "padding", 0o644, padding)
    return archive.getvalue()


def add(tar: tarfile.TarFile, name: str, mode: int, content: bytes | None = None) -> None:
    """Add a folder, or a file with some content, that belongs to root."""
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    entry.size = len(content or b"")
    tar.addfile(entry, io.BytesIO(content or b""))


def static_busybox() -> Path:
    """Return a busybox that needs no libraries.

    Raises:
        MissingComponent: there is none.
    """
    path = shutil.which("busybox")
    if path is None:
        raise MissingComponent("busybox is not installed (as root: apt-get install busybox-static)")
    return Path(path)


@cache
def applets(busybox: Path) -> tuple[str, ...]:
    """Return the names under which busybox works."""
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return tuple(name for name in names if name != "busybox")
