"""A real Docker registry on a fleet's network, which can be slow, or break in the middle of a pull.

with registry(fleet) as shelf:
    image = shelf.publish("lab:1")              # -> "10.233.1.1:43210/lab:1", which every host can pull
    shelf.slow(20, shelf.size("lab:1"))         # a pull of it now takes 20 s
    shelf.breaks(shelf.size("lab:1") // 2)      # and now it never comes to its end
    shelf.mend()
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from . import MissingComponent
from .delay import proxy_words, wait_until_listening
from .docker_fleet import DockerFleet
from .images import tiny_root
from .keeper import Keeper, Kept, keeper
from .ports import free_ports

LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG = "application/vnd.docker.container.image.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
TIMEOUT = 60.0


class Registry:
    """One registry; made by :func:`registry`.

    Attributes:
        address: ``IP:PORT``, in front of image names.
        log: what it wrote.
    """

    def __init__(self, keeper: Keeper, ip: str) -> None:
        self._keeper = keeper
        ports = free_ports()
        self._inner = f"127.0.0.1:{ports.hub}"
        self._ip, self._port = ip, ports.public
        self.address = f"{ip}:{self._port}"
        self.log = keeper.folder / "registry.log"
        self._front: Kept | None = None
        self._sizes: dict[str, int] = {}
        self._start()
        self.mend()

    def publish(self, name: str, *, padding: bytes = b"", root: bytes | None = None) -> str:
        """Put an image on the shelf, over the registry's own protocol; returns the name to pull it by.

        Args:
            name: such as ``lab:1``.
            padding: bytes that make the tiny image bigger and different; random ones do not get smaller again.
            root: another root instead, a tar archive.
        """
        root = root or tiny_root(padding)
        layer = gzip.compress(root, 1, mtime=0)
        config = self._config(root)
        manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST}
        repository, _, tag = name.partition(":")
        manifest["config"] = self._blob(repository, config, CONFIG)
        manifest["layers"] = [self._blob(repository, layer, LAYER)]
        url = f"http://{self._inner}/v2/{repository}/manifests/{tag}"
        self._ask("PUT", url, data=json.dumps(manifest).encode(), headers={"Content-Type": MANIFEST})
        self._sizes[name] = len(layer) + len(config)
        return f"{self.address}/{name}"

    def size(self, name: str) -> int:
        """Return how many bytes a pull of a published image carries."""
        return self._sizes[name]

    def slow(self, seconds: float, size: int) -> None:
        """From now on, ``size`` bytes take ``seconds``."""
        self._restart(rate=size / seconds)

    def breaks(self, after: int) -> None:
        """From now on, every connection is reset once this many bytes have come, all together."""
        self._restart(limit=after)

    def mend(self) -> None:
        """From now on, all is quick and well."""
        self._restart()

    def _config(self, root: bytes) -> bytes:
        settings = {"Cmd": ["nbplatform-singleuser"], "ExposedPorts": {"8888/tcp": {}}, "Env": ["PATH=/bin"]}
        layers = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(root).hexdigest()}"]}
        return json.dumps(
            {"architecture": "amd64", "os": "linux", "config": settings, "rootfs": layers, "history": [{}]}
        ).encode()

    def _blob(self, repository: str, content: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = self._ask("POST", f"http://{self._inner}/v2/{repository}/blobs/uploads/")
        url = begun.headers["Location"]
        headers = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", f"{url}{'&' if '?' in url else '?'}digest={digest}", data=content, headers=headers)
        return {"mediaType": kind, "size": len(content), "digest": digest}

    def _ask(self, method: str, url: str, **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, url, timeout=TIMEOUT, **options)
        answer.raise_for_status()
        return answer

    def _start(self) -> None:
        program = shutil.which("docker-registry") or shutil.which("registry")
        if program is None:
            raise MissingComponent("docker-registry is not installed (as root: apt-get install docker-registry)")
        settings = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self._keeper.folder / "shelf")}},
            "http": {"addr": self._inner, "secret": "of no use to anyone"},
        }
        file = self._keeper.folder / "registry.yml"
        file.write_text(json.dumps(settings))  # which is YAML, too
        self._keeper.start([program, "serve", file], log=self.log)
        ip, _, port = self._inner.partition(":")
        wait_until_listening(ip, int(port))

    def _restart(self, *, rate: float = 0, limit: int = 0) -> None:
        if self._front is not None:
            self._front.kill9()
        words = proxy_words(self.address, self._inner, rate=rate, limit=limit)
        self._front = self._keeper.start(words, cwd=Path("/"), log=self._keeper.folder / "front.log")
        wait_until_listening(self._ip, self._port)


@contextmanager
def registry(fleet: DockerFleet) -> Iterator[Registry]:
    """A registry that every host of a fleet, and nobody else but this machine, can reach.

    Raises:
        MissingComponent: the machine has no registry program.
    """
    with keeper("registry", grace=2.0) as one:
        yield Registry(one, fleet.hub_ip)
