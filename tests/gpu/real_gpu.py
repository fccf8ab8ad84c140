"""A Docker host that has this machine's GPUs: a ``dockerd`` of its own, with storage, socket and CDI folder of its own.

    with need(gpu_host()) as host: ...

It changes nothing of a Docker that the machine has: it runs in a mount and a PID namespace, makes no network and no
firewall rule, and takes everything with it when it ends.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.components import MissingComponent
from tests.components.docker_host_main import remove_cgroups
from tests.components.docker_modern import modern_docker
from tests.components.docker_wait import children, wait_for
from tests.components.keeper import Keeper, Kept, keeper

from .machine_image import machine_root

IMAGE = "nbplatform/machine:test"
BAKED = "nbplatform/machine:asks-for-all"
"""The same image with ``NVIDIA_VISIBLE_DEVICES=all`` in its environment, as NVIDIA's CUDA images have it."""
KIND = "nvidia.com/gpu"
API = "1.44"
CDI_SINCE = (28, 2)
CONTROL = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
PREPARE = "mkdir -p /run/containerd && mount -t tmpfs -o mode=711 tmpfs /run/containerd"
"""Commands inside: a containerd of the machine must not be found by its socket."""
ENGINE = "NBPLATFORM_GPU_ENGINE"
"""Variable: folder with dockerd and its programs."""
TORCH = "NBPLATFORM_GPU_TORCH"
"""Variable: a Python that has PyTorch."""
TORCH_FACTS = "import json, sys, torch; print(json.dumps([torch.__version__, sys.prefix, sys.base_prefix, *sys.path]))"


@dataclass(frozen=True)
class Gpu:
    """One GPU of the machine.

    Attributes:
        uuid: its id.
        model: what it calls itself.
        minor: number of its device node.
    """

    uuid: str
    model: str
    minor: int


@dataclass(frozen=True)
class Torch:
    """A PyTorch that the machine has.

    Attributes:
        python: the interpreter that imports it.
        version: its own.
        folders: what it needs of the machine.
    """

    python: str
    version: str
    folders: tuple[str, ...]


class GpuHost:
    """A running daemon.

    Attributes:
        url: its socket, as the rules name it.
        gpus: the machine's.
        driver: version of NVIDIA's driver.
        engine: version of Docker.
        spec: who wrote the CDI specification.
        torch: PyTorch, in every container with a GPU; None where the machine has none.
    """

    def __init__(self, one: Keeper, engine: Path, gpus: Sequence[Gpu], driver: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nbplatform-gpu-", dir="/tmp"))
        self.folder.chmod(0o711)
        one.remove(self.folder)
        self.socket = self.folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self.gpus = tuple(gpus)
        self.driver = driver
        self.engine = ".".join(map(str, version_of(engine)))
        self.torch = found_torch()
        self.log = self.folder / "dockerd.log"
        self._keeper = one
        self._path = f"{engine}:{os.environ.get('PATH', os.defpath)}"
        (self.folder / "cdi").mkdir()
        self.spec = self._write_spec()
        (self.folder / "daemon.json").write_text(json.dumps(self._settings(), indent=1))
        init = shutil.which("docker-init", path=self._path) or shutil.which("tini", path=self._path)
        if init is None:
            raise MissingComponent("docker-init is not there, a part of Docker")
        namespaces = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        inside = f"set -e; {PREPARE}; touch '{self.folder}/up'; exec '{init}' -s -- sleep infinity"
        self._host = one.start(
            ["unshare", *namespaces, "sh", "-c", inside], cwd=Path("/"), log=self.folder / "host.log"
        )
        wait_for((self.folder / "up").exists, self._host.alive, "the host's namespaces", self.folder / "host.log")
        self._daemon: Kept | None = None

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        (self.folder / "docker.pid").unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        inside = f"--target={children(self._host.pid)[0]}"
        daemon = shutil.which("dockerd", path=self._path) or "dockerd"
        command = ["nsenter", inside, "--mount", "--pid", "--", daemon, "--config-file", self.folder / "daemon.json"]
        environment = {"HOME": "/root", "PATH": self._path}
        self._daemon = self._keeper.start(command, env=environment, cwd=Path("/"), log=self.log)
        wait_for(self.answers, self._daemon.alive, "dockerd", self.log)

    def kill9(self) -> None:
        """Kill the daemon alone.  Containers live on."""
        assert self._daemon is not None
        os.kill(children(self._daemon.pid)[0], signal.SIGKILL)
        self._daemon.wait()

    def client(self) -> Any:
        """Return a new ``docker.APIClient``."""
        import docker

        return docker.APIClient(self.url, version=API, timeout=120)

    def end(self) -> None:
        """End the daemon, its containers and the namespaces in which they live, at once."""
        self._host.kill9()
        remove_cgroups(self.folder.name)

    def answers(self) -> bool:
        """Tell whether the daemon takes connections."""
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            return connection.connect_ex(str(self.socket)) == 0

    def load_images(self) -> None:
        """Make :data:`IMAGE` and :data:`BAKED`."""
        root = machine_root()
        with closing(self.client()) as client:
            for image, changes in ((IMAGE, ["ENV LANG=C.UTF-8"]), (BAKED, ["ENV NVIDIA_VISIBLE_DEVICES=all"])):
                repository, _, tag = image.rpartition(":")
                client.import_image_from_data(root, repository=repository, tag=tag, changes=changes)

    def _write_spec(self) -> str:
        """Write the CDI specification; who did."""
        toolkit = shutil.which("nvidia-ctk")
        if toolkit:
            command = [toolkit, "cdi", "generate", "--format=json", "--device-name-strategy=uuid"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise MissingComponent(f"nvidia-ctk cannot write a CDI specification: {done.stderr[-300:]}")
            spec = json.loads(done.stdout)
        else:
            spec = spec_by_hand(self.gpus)
        if self.torch:
            # as an image with PyTorch would bring it
            spec.setdefault("containerEdits", {}).setdefault("mounts", []).extend(map(read_only, self.torch.folders))
        (self.folder / "cdi" / "nvidia.json").write_text(json.dumps(spec, indent=1))
        return "nvidia-ctk" if toolkit else "these tests"

    def _settings(self) -> dict[str, Any]:
        return {
            "hosts": [self.url],
            "data-root": str(self.folder / "data"),
            "exec-root": str(self.folder / "exec"),
            "pidfile": str(self.folder / "docker.pid"),
            "group": "root",
            "live-restore": True,
            "cgroup-parent": f"/{self.folder.name}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cdi-spec-dirs": [str(self.folder / "cdi")],
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
        }


@contextmanager
def gpu_host() -> Iterator[GpuHost]:
    """A Docker host with the machine's GPUs, and the images on it.

    Raises:
        MissingComponent: the machine lacks a GPU, or something else that this needs; says what.
    """
    gpus, driver = machine_gpus()
    if os.geteuid() != 0:
        raise MissingComponent("a Docker daemon needs root")
    engine = cdi_engine()
    with keeper("gpu", grace=8.0) as one:
        host = GpuHost(one, engine, gpus, driver)
        try:
            host.start()
            host.load_images()
            yield host
        finally:
            host.end()


def machine_gpus() -> tuple[list[Gpu], str]:
    """Return the machine's GPUs and the version of their driver.

    Raises:
        MissingComponent: it has none that whole containers can be given.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise MissingComponent("there is no NVIDIA GPU here: nvidia-smi, a part of NVIDIA's driver, is not on the PATH")
    done = subprocess.run([program, "-q", "-x"], capture_output=True, text=True)
    if done.returncode != 0:
        raise MissingComponent(f"nvidia-smi finds no GPU: {(done.stdout + done.stderr).strip()[-300:]}")
    root = ElementTree.fromstring(done.stdout)
    if any(mode.text == "Enabled" for mode in root.iter("current_mig")):
        raise MissingComponent("a GPU is divided (MIG), which these tests do not know")
    gpus = [
        Gpu(text(one, "uuid"), text(one, "product_name"), int(text(one, "minor_number"))) for one in root.iter("gpu")
    ]
    if not gpus:
        raise MissingComponent("nvidia-smi finds no GPU")
    return gpus, text(root, "driver_version")


def text(element: ElementTree.Element, name: str) -> str:
    """Return the text of an element's child."""
    return (element.findtext(name) or "").strip()


def cdi_engine() -> Path:
    """Return the folder of a Docker that knows CDI: the one that is named, the machine's own, the project's own build.

    Raises:
        MissingComponent: there is none.
    """
    if named := os.environ.get(ENGINE):
        if not Path(named, "dockerd").is_file():
            raise MissingComponent(f"{named} has no dockerd")
        return Path(named).resolve()
    own = shutil.which("dockerd")
    if own and version_of(Path(own).parent) >= CDI_SINCE:
        return Path(own).parent
    try:
        return modern_docker()
    except MissingComponent as lacking:
        installed = "the installed Docker has no CDI" if own else "no Docker is installed"
        since = ".".join(map(str, CDI_SINCE))
        raise MissingComponent(f"{installed}; Docker {since} or newer is needed, and {lacking}") from lacking


def version_of(engine: Path) -> tuple[int, ...]:
    """Return the version of a dockerd."""
    said = subprocess.run([engine / "dockerd", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"version v?(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0,)


def spec_by_hand(gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Return a CDI specification: each GPU's node under its UUID, the control nodes with any of them.

    Raises:
        MissingComponent: a node is missing.
    """
    control = [f"/dev/{name}" for name in CONTROL]
    nodes = [f"/dev/nvidia{gpu.minor}" for gpu in gpus]
    if lost := [path for path in (*control, *nodes) if not Path(path).is_char_device()]:
        raise MissingComponent(f"{lost[0]} is missing (as root: nvidia-modprobe -u -c 0)")
    return {
        "cdiVersion": "0.6.0",
        "kind": KIND,
        "devices": [
            {"name": gpu.uuid, "containerEdits": {"deviceNodes": [{"path": node}]}}
            for gpu, node in zip(gpus, nodes, strict=True)
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": [{"path": path} for path in control],
        },
    }


def read_only(folder: str) -> dict[str, Any]:
    """Return a CDI mount of a folder of the machine."""
    return {"hostPath": folder, "containerPath": folder, "options": ["ro", "nosuid", "nodev", "rbind", "rprivate"]}


def found_torch() -> Torch | None:
    """Return the PyTorch of the Python that is named, or of the first on the PATH."""
    python = os.environ.get(TORCH) or shutil.which("python3")
    if python is None:
        return None
    done = subprocess.run([python, "-E", "-c", TORCH_FACTS], capture_output=True, text=True, cwd="/")
    if done.returncode != 0:
        return None
    version, *folders = json.loads(done.stdout)
    wanted = {"/usr", *(os.path.realpath(folder) for folder in folders if os.path.isdir(folder)), *folders[:1]}
    tops = [one for one in wanted if not any(one != other and one.startswith(f"{other}/") for other in wanted)]
    return Torch(python, version, tuple(sorted(top for top in tops if top not in ("/", ""))))
