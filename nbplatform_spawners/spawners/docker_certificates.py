"""Internal TLS: a server's certificate is made for the host that it is on, and handed to its container while it runs.

The key is made in the hub's memory and written through ``docker exec`` into a tmpfs that only the server's own user may
read, so that it lies on no disk, neither the hub's nor the host's.  The container's command waits until it is there.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from certipy import Certipy  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from jupyterhub.utils import make_ssl_context
from traitlets import default

from ..hosts.docker_errors import HostRefused
from ..hosts.docker_host import DockerHost
from ..identity import Identity
from ..names import bounded
from ..render.targets import OWN_FOLDER

AUTHORITY = "notebooks-ca"
"""The hub's authority for servers, as JupyterHub calls it."""
_KEYS = ("keyfile", "certfile", "cafile")
_LOCAL = ("DNS:localhost", "IP:127.0.0.1")
_READY = "ready"
_WAIT = (
    f"n=0; until [ -e {OWN_FOLDER}/{_READY} ]; do n=$((n+1)); "
    "if [ $n -gt 2400 ]; then echo 'no certificates for internal TLS came' >&2; exit 69; fi; sleep 0.05; done; "
    'exec "$@"'
)
_LONGEST_NAME = 64
"""Characters that the subject of a certificate may have."""
_SKEW = timedelta(minutes=5)
"""By how much a host's clock may lag behind the hub's."""


class DockerCertificates:
    """Methods for ``DockerFleetSpawner``: its part of JupyterHub's internal TLS."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @default("ssl_alt_names")
    def _ssl_alt_names_default(self) -> list[str]:
        return []  # the host's address is always there

    async def create_certs(self) -> dict[str, str]:
        """Make nothing yet: a certificate names the host, which ``start`` chooses.  Called by the hub before it."""
        return {}

    async def move_certs(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Return where the certificates will be inside.  Called by the hub before ``start``."""
        return {key: f"{OWN_FOLDER}/{key}.pem" for key in _KEYS}

    def hub_context(self) -> SSLContext | None:
        """Return how the hub asks its servers; None without internal TLS."""
        if not self.internal_ssl:
            return None
        return _context(*(str(self.user.settings[f"internal_ssl_{name}"]) for name in ("key", "cert", "ca")))

    async def give_certificates(self, host: DockerHost, container: str, address: str, identity: Identity) -> None:
        """Make a certificate for a running container, and hand it over.

        Args:
            host: where it runs.
            container: its id.
            address: IP address or name by which hub and proxy reach the server.
            identity: whose server.

        Raises:
            HostError: the host cannot do it, or the image lacks ``tar``.
            ValueError: ``c.Spawner.ssl_alt_names`` has an entry that is neither ``DNS:…`` nor ``IP:…``.
        """
        names = self.ssl_alt_names
        if callable(names):
            names = names(self)
            names = await names if inspect.isawaitable(names) else names
        local = _LOCAL if self.ssl_alt_names_include_local else ()
        files = await asyncio.to_thread(self._make_files, [*local, *names, _alt_name(address)])
        await hand_over(host, container, files, identity)

    def _make_files(self, names: list[str]) -> dict[str, bytes]:
        record = Certipy(store_dir=self.internal_certs_location).store.get_record(AUTHORITY)
        authority = [Path(record["files"][name]).read_bytes() for name in ("cert", "key")]
        key, certificate = issue(authority[0], authority[1], f"user-{self.user.name}", names)
        trusted = Path(self.internal_trust_bundles[AUTHORITY]).read_bytes()
        return dict(zip(_KEYS, (key, certificate, trusted), strict=True))


@cache
def _context(key: str, cert: str, trusted: str) -> SSLContext:
    """Return a context that is made once: it takes tens of milliseconds, in the hub's event loop."""
    context: SSLContext = make_ssl_context(key, cert, cafile=trusted)
    return context


def _alt_name(address: str) -> str:
    try:
        return f"IP:{ip_address(address)}"
    except ValueError:
        return f"DNS:{address}"


def issue(authority: bytes, authority_key: bytes, subject: str, names: Sequence[str]) -> tuple[bytes, bytes]:
    """Return a new key and its certificate, which holds as long as its authority.

    Args:
        authority: its certificate, PEM.
        authority_key: its key, PEM.
        subject: whom the certificate is for; cut where it is too long.
        names: where the server is reached: ``DNS:name`` or ``IP:address``.

    Raises:
        ValueError: a name is of another kind.
    """
    ca = x509.load_pem_x509_certificate(authority)
    # our own key: to prove anew that it is a good one takes longer than all the rest
    ca_key: Any = serialization.load_pem_private_key(authority_key, None, unsafe_skip_rsa_key_validation=True)
    key = ec.generate_private_key(ec.SECP256R1())
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:_LONGEST_NAME])]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - _SKEW)
        .not_valid_after(ca.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage(both), True)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    kind, _, value = name.partition(":")
    if kind == "IP":
        return x509.IPAddress(ip_address(value))
    if kind == "DNS" and value:
        return x509.DNSName(value)
    raise ValueError(f"c.Spawner.ssl_alt_names: {bounded(name)} is neither DNS:NAME nor IP:ADDRESS")


def waiting(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command that starts another one when its certificates are there; two minutes is the longest it waits."""
    return ("sh", "-c", _WAIT, "sh", *command)


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return files as a tar archive; the last one in it says that the others are complete.

    Args:
        files: name without its ending to content.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in [*((f"{key}.pem", text) for key, text in files.items()), (_READY, b"")]:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


async def hand_over(host: DockerHost, container: str, files: Mapping[str, bytes], identity: Identity) -> None:
    """Write files into the tmpfs of a running container.

    Args:
        host: where it runs.
        container: its id.
        files: name without its ending to content.
        identity: whose server.

    Raises:
        HostError: the host cannot do it, or the image lacks ``tar``.
    """
    command = ["tar", "-x", "-o", "-f", "-", "-C", OWN_FOLDER]
    code, said = await host.execute(container, command, archive(files), user=f"{identity.uid}:{identity.gid}")
    if code:
        raise HostRefused(host.name, f"the certificates for internal TLS could not be written inside: {said[:200]}")
