"""What a wire daemon holds, and what each request does to it: the subset of the Engine API that the platform uses."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbplatform_spawners.hosts.docker_answers import ICC

Files = dict[str, bytes | str]
"""Absolute path to content; a text is the target of a symbolic link."""


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


@dataclass
class WireContainer:
    """A container as a wire daemon has it.

    Attributes:
        id, name: as in Docker, the name without a slash.
        config: body of the request that created it.
        files: what was put into it, and what its image has.
        state: Docker's word.
        exit_code: when it has ended.
        port: where 8888/tcp is published; 0 for nowhere.
        commands: what was run in it: command, input and user.
    """

    id: str
    name: str
    config: dict[str, Any]
    files: Files = field(default_factory=dict)
    state: str = "created"
    exit_code: int = 0
    port: int = 0
    commands: list[tuple[list[str], bytes, str]] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self.config.get("Labels") or {})

    @property
    def gpus(self) -> tuple[str, ...]:
        """Device ids that it was created with, whatever their driver."""
        requests = (self.config.get("HostConfig") or {}).get("DeviceRequests") or []
        return tuple(device for one in requests for device in one.get("DeviceIDs") or [])


class WireState:
    """The containers, images and networks of one wire daemon.  All methods are called with the daemon's lock held.

    Attributes:
        images: reference to the files of each image that is there.
        registry: the same for images that can be pulled.
        absent: folders that do not exist on the host.
        networks: name to options.
        log: what every container has written.
        run: what a command in a container does: takes container, command, input, user; returns exit code and output.
        publish: takes a container that starts, returns the host port of 8888/tcp; the next free number if None.
        pull_events: what a pull of any image tells on the way; each is sent when ``pull_step`` has returned.
    """

    def __init__(self) -> None:
        self.containers: dict[str, WireContainer] = {}
        self.images: dict[str, Files] = {}
        self.registry: dict[str, Files] = {}
        self.absent: set[str] = set()
        self.networks: dict[str, dict[str, str]] = {"bridge": {}}
        self.log = b""
        self.run: Callable[[WireContainer, list[str], bytes, str], tuple[int, bytes]] = lambda *_: (0, b"")
        self.publish: Callable[[WireContainer], int] | None = None
        self.pull_events: list[dict[str, Any]] = []
        self.execs: dict[str, dict[str, Any]] = {}
        self._made = 0

    def find(self, key: str) -> WireContainer:
        """Return a container by id or name.

        Raises:
            Refused: 404.
        """
        for one in self.containers.values():
            if key in (one.id, one.name):
                return one
        raise Refused(404, f"No such container: {key}")

    def list(self, labels: list[str]) -> list[dict[str, Any]]:
        """Answer ``GET /containers/json``."""
        wanted = [label.partition("=")[::2] for label in labels]
        return [
            {
                "Id": one.id,
                "Names": [f"/{one.name}"],
                "Image": one.config.get("Image", ""),
                "Labels": one.labels,
                "State": one.state,
                "Ports": [{"PrivatePort": 8888, "PublicPort": one.port, "Type": "tcp"}] if one.port else [],
            }
            for one in self.containers.values()
            if all(one.labels.get(key) == value for key, value in wanted)
        ]

    def create(self, config: dict[str, Any], name: str) -> dict[str, Any]:
        """Answer ``POST /containers/create``."""
        for one in self.containers.values():
            if one.name == name:
                said = f'Conflict. The container name "/{name}" is already in use by container "{one.id}".'
                raise Refused(
                    409, f"{said} You have to remove (or rename) that container to be able to reuse that name."
                )
        if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name):
            said = f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            raise Refused(400, said)
        image = str(config.get("Image", ""))
        if image not in self.images:
            raise Refused(404, f"No such image: {image}")
        for mount in (config.get("HostConfig") or {}).get("Mounts") or []:
            if mount.get("Type") == "bind" and mount.get("Source") in self.absent:
                why = f"bind source path does not exist: {mount['Source']}"
                raise Refused(400, f'invalid mount config for type "bind": {why}')
        new = self._new_id(name)
        self.containers[new] = WireContainer(new, name, config, dict(self.images[image]))
        return {"Id": new, "Warnings": []}

    def start(self, key: str) -> None:
        """Answer ``POST /containers/ID/start``."""
        one = self.find(key)
        if one.state == "running":
            return
        host = one.config.get("HostConfig") or {}
        network = host.get("NetworkMode") or "bridge"
        if network not in (*self.networks, "default", "host", "none"):
            raise Refused(404, f"network {network} not found")
        if host.get("PortBindings"):
            self._made += 1
            one.port = self.publish(one) if self.publish else 40000 + self._made % 20000
        one.state = "running"

    def stop(self, key: str) -> None:
        """Answer ``POST /containers/ID/stop``."""
        one = self.find(key)
        if one.state == "running":
            one.state, one.exit_code, one.port = "exited", 143, 0

    def remove(self, key: str, force: bool) -> None:
        """Answer ``DELETE /containers/ID``."""
        one = self.find(key)
        if one.state == "running" and not force:
            raise Refused(409, f"You cannot remove a running container {one.id}.")
        del self.containers[one.id]

    def inspect(self, key: str) -> dict[str, Any]:
        """Answer ``GET /containers/ID/json``."""
        one = self.find(key)
        network = (one.config.get("HostConfig") or {}).get("NetworkMode") or "bridge"
        address = "172.18.0.2" if one.state == "running" else ""
        ports = {"8888/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(one.port)}]} if one.port else {}
        return {
            "Id": one.id,
            "Name": f"/{one.name}",
            "Image": image_id(str(one.config.get("Image", ""))),
            "State": {"Status": one.state, "ExitCode": one.exit_code, "OOMKilled": False, "Error": ""},
            "Config": {**one.config, "Labels": one.labels},
            "HostConfig": one.config.get("HostConfig") or {},
            "NetworkSettings": {"Ports": ports, "Networks": {network: {"IPAddress": address}}},
        }

    def put(self, key: str, path: str, archive: bytes) -> None:
        """Answer ``PUT /containers/ID/archive``."""
        one = self.find(key)
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            for member in packed:
                target = f"{path.rstrip('/')}/{member.name.lstrip('./')}"
                if member.issym():
                    one.files[target] = member.linkname
                elif (content := packed.extractfile(member)) is not None:
                    one.files[target] = content.read()

    def get(self, key: str, path: str) -> tuple[bytes, dict[str, str]]:
        """Answer ``GET /containers/ID/archive``: a tar archive, and the header that tells of the file."""
        one = self.find(key)
        if path not in one.files:
            raise Refused(404, f"Could not find the file {path} in container {one.id}")
        content, packed = one.files[path], io.BytesIO()
        member = tarfile.TarInfo(path.rpartition("/")[2])
        with tarfile.open(fileobj=packed, mode="w") as archive:
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        told = {"name": member.name, "size": member.size, "mode": 0o644, "mtime": "", "linkTarget": member.linkname}
        return packed.getvalue(), {"X-Docker-Container-Path-Stat": base64.b64encode(json.dumps(told).encode()).decode()}

    def exec_create(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``POST /containers/ID/exec``."""
        one = self.find(key)
        if one.state != "running":
            raise Refused(409, f"Container {one.id} is not running")
        new = self._new_id(key)
        self.execs[new] = {"container": one, "command": list(body.get("Cmd") or []), "user": body.get("User") or ""}
        return {"Id": new}

    def exec_run(self, key: str, stdin: bytes) -> bytes:
        """Run a command that was asked for; return what it writes."""
        asked = self.execs[key]
        asked["container"].commands.append((asked["command"], stdin, asked["user"]))
        asked["exit"], said = self.run(asked["container"], asked["command"], stdin, asked["user"])
        return said

    def exec_inspect(self, key: str) -> dict[str, Any]:
        """Answer ``GET /exec/ID/json``."""
        if key not in self.execs:
            raise Refused(404, f"No such exec instance: {key}")
        code = self.execs[key].get("exit")
        return {"Running": code is None, "ExitCode": code, "Pid": 4242}

    def image(self, name: str) -> dict[str, Any]:
        """Answer ``GET /images/NAME/json``."""
        if name not in self.images:
            raise Refused(404, f"No such image: {name}")
        repository = name.rpartition(":")[0]
        digests = [f"{repository}@{image_id(name)}"] if name in self.registry else []
        return {"Id": image_id(name), "RepoDigests": digests, "Size": 1000, "Created": "2026-11-01T00:00:00Z"}

    def pull(self, image: str, tag: str) -> Iterator[dict[str, Any]]:
        """Answer ``POST /images/create``: yield what a pull tells; the image is there when all has been said."""
        name = f"{image}:{tag or 'latest'}"
        if name not in self.registry:
            raise Refused(404, f"manifest for {name} not found: manifest unknown: manifest unknown")
        yield {"status": f"Pulling from {image}", "id": tag}
        yield from self.pull_events
        if not (self.pull_events and "error" in self.pull_events[-1]):
            self.images[name] = self.registry[name]
            yield {"status": f"Status: Downloaded newer image for {name}"}

    def network(self, name: str) -> dict[str, Any]:
        """Answer ``GET /networks/NAME``."""
        if name not in self.networks:
            raise Refused(404, f"network {name} not found")
        return {"Id": image_id(name)[7:], "Name": name, "Driver": "bridge", "Options": self.networks[name]}

    def network_create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``POST /networks/create``."""
        name = str(body.get("Name"))
        if name in self.networks:
            raise Refused(409, f"network with name {name} already exists")
        self.networks[name] = dict(body.get("Options") or {ICC: "true"})
        return {"Id": image_id(name)[7:], "Warning": ""}

    def _new_id(self, name: str) -> str:
        self._made += 1
        return hashlib.sha256(f"{name}/{self._made}".encode()).hexdigest()


def image_id(name: str) -> str:
    """Return the id that an image of this name has on every wire daemon."""
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
