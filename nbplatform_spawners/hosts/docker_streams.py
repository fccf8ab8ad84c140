"""Files and logs of containers: streams from the daemon, of which no more is read than is wanted."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator

import docker.errors
import requests

from .docker_client import Client

_CHUNK = 1 << 16
_HEADER = 8
_LINES = 200
_FRAME_KINDS = b"\x00\x01\x02"


def read_file(client: Client, container: str, path: str, most: int) -> bytes | None:
    """Return the beginning of a regular file of a container; one symbolic link is followed.

    Args:
        client: of this thread.
        container: id.
        path: absolute, inside.
        most: bytes that are read.

    Returns:
        None when there is no such file, or it is something else.

    Raises:
        docker.errors.APIError: the daemon refuses; also when there is no such container.
    """
    for _ in range(2):
        found = _member(client, container, path, most)
        if not isinstance(found, str):
            return found
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), found))
    return None


def _member(client: Client, container: str, path: str, most: int) -> bytes | str | None:
    """Return a file's content, a link's target, or None."""
    address = client.url_of(f"/containers/{container}/archive")
    with client.get(address, params={"path": path}, stream=True) as response:
        try:
            client.demand_success(response)
        except docker.errors.NotFound as error:
            if "no such container: " in str(error.explanation).lower():
                raise
            return None
        try:
            with tarfile.open(fileobj=_Reader(response), mode="r|") as archive:
                member = archive.next()
                if member is None or not (member.isfile() or member.issym()):
                    return None
                if member.issym():
                    return member.linkname
                content = archive.extractfile(member)
                return content.read(most) if content else None
        except tarfile.TarError as error:
            raise requests.exceptions.ContentDecodingError("no archive in the answer") from error


class _Reader(io.RawIOBase):
    """A response as a file, for :mod:`tarfile`."""

    def __init__(self, response: requests.Response) -> None:
        self._chunks = response.iter_content(_CHUNK)
        self._held = b""

    def read(self, size: int = -1) -> bytes:
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._held = chunk
        wanted = size if size >= 0 else len(self._held)
        given, self._held = self._held[:wanted], self._held[wanted:]
        return given


def read_log(client: Client, container: str, most: int) -> str:
    """Return the end of what a container wrote, at most ``most`` characters; empty when its log cannot be read back.

    Raises:
        docker.errors.APIError: the daemon refuses; also when there is no such container.
    """
    address = client.url_of(f"/containers/{container}/logs")
    params = {"stdout": "1", "stderr": "1", "tail": str(_LINES)}
    with client.get(address, params=params, stream=True) as response:
        if response.status_code == requests.codes.not_implemented:
            return ""
        client.demand_success(response)
        raw = b"".join(response.iter_content(_CHUNK))
    return unframed(raw).decode(errors="replace")[-most:]


def unframed(raw: bytes) -> bytes:
    """Return the payload of Docker's multiplexed stream; a stream that is none, a terminal's, as it is."""
    parts = list(_payloads(raw))
    return raw if None in parts else b"".join(part for part in parts if part is not None)


def _payloads(raw: bytes) -> Iterator[bytes | None]:
    start = 0
    while start < len(raw):
        header = raw[start : start + _HEADER]
        if len(header) < _HEADER or header[0] not in _FRAME_KINDS or header[1:4] != b"\x00\x00\x00":
            yield None
            return
        end = start + _HEADER + int.from_bytes(header[4:], "big")
        yield raw[start + _HEADER : end]
        start = end
