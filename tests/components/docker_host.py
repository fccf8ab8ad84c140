"""One Docker host for tests: namespaces that are its machine, and a real ``dockerd`` inside, reached over TLS.

Made by :mod:`tests.components.docker_fleet`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import MissingComponent
from .docker_engine import Engine
from .docker_gpus import cdi_spec, gpu_uuids, install_hook, make_nodes
from .docker_lan import Lan
from .docker_wait import HostDied, children, wait_for
from .keeper import Keeper, Kept

HOST_PROGRAM = Path(__file__).with_name("docker_host_main.py")
PORT = 2376
STOP_LIMIT = 60.0  # seconds that a daemon may take to end its containers
# What a host's own view of the machine differs in: the machine's own Docker must not be found by its socket in /run.
INSIDE = "mount --make-rshared /; mount -t tmpfs -o mode=755 tmpfs /run"


@dataclass(frozen=True)
class Settings:
    """What one host is like.

    Attributes:
        engine: ``debian`` (API 1.41) or ``modern`` (API 1.56, CDI).
        min_api: oldest version of the API that a modern daemon accepts, such as ``1.44``; its own when empty.
        live_restore: containers live on when the daemon stops.
        gpus: how many stand-in GPUs it has.
        disk: size of its disk, such as ``60m``, which :meth:`DockerHost.full_disk` can fill; as big as it needs
            when empty.
        daemon: more keys of ``daemon.json``.
    """

    engine: str = "debian"
    min_api: str = ""
    live_restore: bool = True
    gpus: int = 0
    disk: str = ""
    daemon: Mapping[str, Any] = field(default_factory=dict)


class DockerHost:
    """One Docker host.

    Attributes:
        name: its host name, as Docker tells it, too.
        ip: its address on the fleet's network.
        url: ``tcp://IP:2376``, with TLS.
        certificates: folder with ca.pem, cert.pem and key.pem of a client that it lets in.
        socket: its daemon's Unix socket, for the test's own look past TLS and network.
        gpus: UUIDs of its stand-in GPUs.
        settings: what it was made with.
        log: what its daemon wrote.
    """

    def __init__(self, name: str, settings: Settings, engine: Engine, keeper: Keeper, lan: Lan) -> None:
        self.name = name
        self.settings = settings
        self.ip = lan.next_address()
        self.url = f"tcp://{self.ip}:{PORT}"
        self.certificates = lan.client
        self.gpus = gpu_uuids(f"{lan.hub_ip}/{name}", settings.gpus)
        self.folder = lan.folder / name
        self.folder.mkdir(mode=0o711)
        self.socket = self.folder / "docker.sock"
        self.log = self.folder / "dockerd.log"
        self.cgroup = f"nbplatform-{lan.number}-{name}"
        self._engine = engine
        self._keeper = keeper
        self._lan = lan
        self._shared: list[Path] = []
        self._host: Kept | None = None
        self._daemon: Kept | None = None
        self._pids: tuple[int, int] = (0, 0)
        self._prepare()

    @property
    def pid(self) -> int:
        """Process id of ``dockerd``, as the machine counts."""
        assert self._daemon is not None
        return children(self._daemon.pid)[0]

    def launch(self) -> None:
        """Make the host and start its daemon; :meth:`wait` follows."""
        (self.folder / "host").unlink(missing_ok=True)
        words = ["host", self.folder, self.name, str(self._lan.pid), self.ip, self.cgroup, INSIDE]
        log = self.folder / "host.log"
        command = [*self._lan.with_disks(), sys.executable, "-I", "-S", HOST_PROGRAM, *words]
        self._host = self._keeper.start(command, cwd=Path("/"), log=log)
        host = self._host
        wait_for((self.folder / "host").exists, host.alive, f"the host {self.name}", log)
        init, end = (self.folder / "host").read_text().split()
        self._pids = (int(init), int(end))
        for path in self._shared:
            self._share(path)
        self._start_daemon()

    def wait(self) -> None:
        """Wait until the daemon answers.

        Raises:
            HostDied: it ended or takes too long.
        """
        assert self._daemon is not None
        wait_for(self._answers, self._daemon.alive, f"dockerd on {self.name}", self.log)

    def start(self) -> None:
        """Start the daemon again, after :meth:`stop` or :meth:`kill9`, on the data it had."""
        assert self._daemon is None or not self._daemon.alive(), "it runs"
        self._start_daemon()
        self.wait()

    def stop(self) -> None:
        """Stop the daemon orderly.  Containers live on if the host was made with ``live_restore``."""
        assert self._daemon is not None
        os.kill(self.pid, signal.SIGTERM)
        self._daemon.wait(STOP_LIMIT)

    def kill9(self) -> None:
        """Kill the daemon alone.  Containers live on."""
        assert self._daemon is not None
        os.kill(self.pid, signal.SIGKILL)
        self._daemon.wait()

    def freeze(self) -> None:
        """Stop the daemon in its tracks: it takes connections and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen daemon go on."""
        assert self._daemon is not None
        os.kill(self.pid, signal.SIGCONT)
        self._daemon.signal(signal.SIGCONT)  # nsenter stops together with what it started

    def crash(self) -> None:
        """Let the whole host go down at once: daemon, containers, network.  Its disk stays."""
        assert self._host is not None
        os.kill(self._pids[1], signal.SIGKILL)
        self._host.wait()
        if self._daemon is not None:
            self._daemon.wait()

    def back(self) -> None:
        """Bring a crashed host back, with its old address and disk."""
        self.launch()
        self.wait()

    def cut(self) -> None:
        """Unplug its network: packets are lost, connections hang."""
        self._lan.ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """Plug the network in again."""
        self._lan.ip("link", "set", self.name, "up")

    def run_on_host(self, *command: str | Path, stdin: bytes = b"") -> str:
        """Run a command on the host, as root, and return what it writes.  It sees the machine's files.

        Raises:
            subprocess.CalledProcessError: it failed; ``stderr`` holds its words.
        """
        done = subprocess.run([*self._enter(), *command], input=stdin, capture_output=True, check=True, cwd="/")
        return done.stdout.decode(errors="replace")

    def start_on_host(self, *command: str | Path, log: Path | None = None) -> Kept:
        """Start a program that stays, on the host; it ends with the host."""
        return self._keeper.start([*self._enter(), *command], cwd=Path("/"), log=log)

    def end_on_host(self, program: Kept) -> None:
        """End what :meth:`start_on_host` started, if it still runs."""
        with contextlib.suppress(HostDied, ProcessLookupError):
            os.kill(children(program.pid)[0], signal.SIGKILL)
        program.wait()

    def share(self, path: Path) -> Path:
        """Make a folder a shared mount of its own on this host, so that a bind with ``rslave`` sees later mounts."""
        path.mkdir(parents=True, exist_ok=True)
        self._shared.append(path)
        self._share(path)
        return path

    def full_disk(self, free: int = 2 << 20) -> None:
        """Fill the host's own disk but for some bytes: an image does not fit, the daemon's own notes do."""
        assert self.settings.disk, "this host has no disk of its own"
        data = self.folder / "data"
        blocks, size = self.run_on_host("stat", "-f", "-c", "%a %S", data).split()
        self.run_on_host("fallocate", "-l", str(int(blocks) * int(size) - free), data / "filler")

    def room_again(self) -> None:
        """Undo :meth:`full_disk`."""
        self.run_on_host("rm", "-f", self.folder / "data" / "filler")

    def cli(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run the ``docker`` command line against this host's socket and return what it writes.

        Raises:
            MissingComponent: the machine has no such program.
            subprocess.CalledProcessError: it failed; ``stderr`` holds its words.
        """
        program = shutil.which("docker")
        if program is None:
            raise MissingComponent("the docker command line is not installed")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
        command = [program, "--host", f"unix://{self.socket}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=True, env=clean).stdout.decode()

    def client(self, *, timeout: int = 60) -> Any:
        """Return a new ``docker.APIClient`` for the Unix socket, at the newest version that both know."""
        import docker

        return docker.APIClient(f"unix://{self.socket}", version="auto", timeout=timeout)

    def log_text(self) -> str:
        """Everything that its daemon has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _prepare(self) -> None:
        for name in ("data", "cdi", "path"):
            (self.folder / name).mkdir()
        self._lan.make_disk(self.folder / "data", self.settings.disk)
        if self.gpus:
            make_nodes(self.folder / "gpus", len(self.gpus))
            if self._engine.cdi:
                (self.folder / "cdi" / "nvidia.json").write_text(cdi_spec(self.folder / "gpus", self.gpus))
            else:
                install_hook(self.folder / "path", self.gpus)
        (self.folder / "daemon.json").write_text(json.dumps(self._daemon_settings(), indent=1))

    def _daemon_settings(self) -> dict[str, Any]:
        cert, key = self._lan.authority.server(self.name, [self.ip, "127.0.0.1"])
        settings = {
            "hosts": [f"unix://{self.socket}", f"tcp://{self.ip}:{PORT}"],
            "tlsverify": True,
            "tlscacert": str(self._lan.authority.ca),
            "tlscert": str(cert),
            "tlskey": str(key),
            "data-root": str(self.folder / "data"),
            "exec-root": "/run/docker",  # the host's own: paths of sockets there have to be short
            "pidfile": "/run/docker.pid",
            "group": "root",
            "live-restore": self.settings.live_restore,
            "cgroup-parent": f"/{self.cgroup}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "insecure-registries": [f"{self._lan.hub_ip}/32"],
        }
        if self._engine.cdi:
            settings["cdi-spec-dirs"] = [str(self.folder / "cdi")]
        return {**settings, **self.settings.daemon}

    def _start_daemon(self) -> None:
        environment = {"HOME": "/root", "PATH": self._engine.search_path(self.folder / "path")}
        if self.settings.min_api:
            environment["DOCKER_MIN_API_VERSION"] = self.settings.min_api
        self.run_on_host("rm", "-f", "/run/docker.pid", self.socket)
        # The program of that PATH, not of the one that the keeper was started with.
        daemon = shutil.which("dockerd", path=environment["PATH"])
        command = [*self._enter(), daemon or "dockerd", "--config-file", self.folder / "daemon.json"]
        self._daemon = self._keeper.start(command, env=environment, cwd=Path("/"), log=self.log)

    def _enter(self) -> list[str | Path]:
        namespaces = ["--net", "--mount", "--pid", "--ipc", "--uts"]
        return ["nsenter", f"--target={self._pids[0]}", *namespaces, "--"]

    def _share(self, path: Path) -> None:
        self.run_on_host("sh", "-ec", 'mount --bind "$1" "$1"; mount --make-rshared "$1"', "sh", path)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.sock.connect(str(self.socket))
            connection.request("GET", "/_ping")
            return connection.getresponse().status == 200
        return False
