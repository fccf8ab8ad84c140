"""The client certificates by which a Docker host knows the hub, in Docker's own layout."""

from __future__ import annotations

import socket
import ssl
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from ..names import bounded
from .docker_errors import CertificateProblem

_CA, _CERT, _KEY = "ca.pem", "cert.pem", "key.pem"


@dataclass(frozen=True)
class Certificates:
    """Paths of the files that open one host.

    Attributes:
        ca: who must have signed the host's certificate.
        cert: the hub's own certificate.
        key: its private key.
    """

    ca: str
    cert: str
    key: str


def find_certificates(directory: str, host: str) -> Certificates | None:
    """Return the certificates for a host; None when no directory is configured.

    They lie as Docker's ``DOCKER_CERT_PATH`` has them: ``ca.pem``, ``cert.pem`` and ``key.pem``, in a folder of the
    host's name below the directory, or in the directory itself where there is no such folder.

    Args:
        directory: where to look; empty for nowhere.
        host: name of the host.

    Raises:
        CertificateProblem: a file is missing or cannot be read, or others than its owner and group can use the key.
    """
    if not directory:
        return None
    folder = Path(directory, host)
    try:
        if host in ("", ".", "..") or "/" in host or not folder.is_dir():
            folder = Path(directory)
    except OSError as error:
        raise CertificateProblem(
            host, f"host {host}: cannot look into {bounded(directory)}: {error.strerror}"
        ) from None
    for name in (_CA, _CERT, _KEY):
        _demand_readable(host, folder / name)
    _demand_private(host, folder / _KEY)
    return Certificates(*(str(folder / name) for name in (_CA, _CERT, _KEY)))


def expires(path: str) -> datetime | None:
    """Return until when the first certificate of a PEM file holds, with its time zone; None when it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def context_of(files: Certificates) -> ssl.SSLContext:
    """Return what shows our certificate to a daemon and accepts its CA's only.

    Raises:
        OSError: a file cannot be read or used.
    """
    context = ssl.create_default_context(cafile=files.ca)
    context.load_cert_chain(files.cert, files.key)
    return context


def complaint(address: tuple[str, int], files: Certificates, limit: float) -> ssl.SSLError | None:
    """Return what a daemon has against our certificate; None when nothing is heard of it.

    With TLS 1.3 it says so after the handshake, when a request may be on its way already and break the connection
    before the words are read.  So this connection sends nothing and listens.

    Args:
        address: of the daemon.
        files: the certificates.
        limit: seconds to connect, and to listen.
    """
    try:
        with (
            socket.create_connection(address, limit) as plain,
            context_of(files).wrap_socket(plain, server_hostname=address[0]) as connection,
        ):
            connection.recv(1)
    except ssl.SSLError as error:
        return error
    except OSError:
        return None
    return None


def _demand_readable(host: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise CertificateProblem(host, f"host {host}: cannot read {bounded(str(path), 200)}: {why}") from error


def _demand_private(host: str, path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o037:
        shown = bounded(str(path), 200)
        raise CertificateProblem(
            host, f"host {host}: others than its owner can use {shown} (mode {mode:04o}): set its mode to 0400 or 0440"
        )
