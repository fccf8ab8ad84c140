"""Containers of notebook servers on the cluster's network: with nothing of Slurm, or with munge and commands."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.components.debian_root import make_root, packages
from tests.components.docker_host import DockerHost
from tests.components.slurm import USERS, Slurm
from tests.components.slurm_machines import closed_parent

ROOT = Path(__file__).parents[2]
CLIENT = "nbplatform/slurm-client:test"
LIFESPAN = 600  # seconds
Binds = Mapping[str | Path, str]


def load_client(host: DockerHost) -> str:
    """Put the image that has Slurm's commands on a host, from this machine's packages; returns its name."""
    client = host.client(timeout=300)
    try:
        if not client.images(CLIENT):
            with tempfile.TemporaryDirectory(prefix="nbplatform-slurm-client-") as folder:
                root = Path(folder, "root")
                root.mkdir(mode=0o755)
                make_root(root, packages("slurm-client"))
                archive = Path(folder, "root.tar")
                subprocess.run(["tar", "-C", root, "-c", "-f", archive, "."], check=True)
                repository, _, tag = CLIENT.rpartition(":")
                client.import_image_from_file(str(archive), repository=repository, tag=tag)
    finally:
        client.close()
    return CLIENT


def software(slurm: Slurm) -> Binds:
    """Return what nodes and servers share besides HOMEs: Python with its packages, at the same paths.

    A folder above it that only root may enter gets an open one in its place.
    """
    base = Path(sys.base_prefix).resolve()
    wanted = {Path(sys.prefix), ROOT, *([] if base in (Path("/usr"), Path("/usr/local")) else [base])}
    binds: dict[str | Path, str] = dict.fromkeys(wanted, "ro")
    for path in wanted:
        if closed := closed_parent(path):
            stand_in = slurm.places.top / "opened" / closed.name
            (stand_in / path.relative_to(closed)).mkdir(parents=True, exist_ok=True)
            binds[f"{stand_in}:{closed}"] = "rw"
    return binds


class Server:
    """A notebook server's container that does nothing yet.

    Args:
        host: where it runs.
        slurm: the cluster.
        image: what it is made from.
        user: whose it is; it runs as that user's numbers without any capability.
        binds: more folders and files of the machine, at the same path or at ``SOURCE:TARGET``, and their mode.
    """

    def __init__(self, host: DockerHost, slurm: Slurm, image: str, user: str, binds: Binds) -> None:
        one = USERS[user]
        self._client = host.client(timeout=120)
        mounts = []
        for path, mode in {slurm.home / user: "rw", **software(slurm), **binds}.items():
            source, _, target = str(path).partition(":")
            mounts.append(f"{source}:{target or source}:{mode}")
        settings = self._client.create_host_config(
            binds=mounts, cap_drop=["ALL"], security_opt=["no-new-privileges"], init=True
        )
        made = self._client.create_container(
            image,
            entrypoint=["sleep"],
            command=["infinity"],
            user=f"{one.uid}:{one.gid}",
            working_dir=str(slurm.home / user),
            environment={"HOME": str(slurm.home / user), "USER": user, "LANG": "C.UTF-8"},
            host_config=settings,
        )
        self.id = made["Id"]
        self._client.start(self.id)

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command in it and return its status and all it wrote."""
        task = self._client.exec_create(self.id, list(argv), environment=dict(env or {}))["Id"]
        output = self._client.exec_start(task).decode(errors="replace")
        return self._client.exec_inspect(task)["ExitCode"], output

    def remove(self) -> None:
        """Remove it with all that runs in it."""
        self._client.remove_container(self.id, force=True)
        self._client.close()


@contextmanager
def server(host: DockerHost, slurm: Slurm, image: str, user: str, binds: Binds | None = None) -> Iterator[Server]:
    """A server's container, which is gone after the block."""
    one = Server(host, slurm, image, user, binds or {})
    try:
        yield one
    finally:
        one.remove()


@contextmanager
def token_giver(slurm: Slurm, tokens: Mapping[str, str]) -> Iterator[str]:
    """Stand in for the hub's service at the wire: who shows a known token gets a JWT of one user; yields the address.

    Args:
        slurm: the cluster.
        tokens: the user of each token that a server may show.
    """

    class Giver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            user = tokens.get(self.headers.get("Authorization", "").removeprefix("token "))
            end = datetime.now(UTC) + timedelta(seconds=LIFESPAN)
            answer: dict[str, Any] = {"message": "this token is not known"}
            if user is not None:
                answer = {"token": slurm.mint(user, LIFESPAN), "user": user, "expires_at": end.isoformat()}
            content = json.dumps(answer).encode()
            self.send_response(200 if user is not None else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((slurm.address, 0), Giver) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{slurm.address}:{web.server_port}/services/nbplatform-slurm/token"
        finally:
            web.shutdown()
            thread.join()
