"""Certificates for Docker daemons and their clients: an authority, a certificate for each host, and clients'."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority that keeps its key in memory.

    Attributes:
        folder: where everything that it issues is written, each below a name of its own.
        ca: its certificate, a PEM file.
    """

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(self._name, self._key, datetime.datetime.now(datetime.UTC) + 30 * DAY)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(usage, True)
        self.ca = write(folder / "ca.pem", self._sign(builder))

    def server(self, name: str, addresses: Sequence[str], *, valid: datetime.timedelta = 30 * DAY) -> tuple[Path, Path]:
        """Issue a server's certificate for IP addresses; returns the paths of the certificate and of its key.

        Args:
            name: its subject and part of the folder's name.
            addresses: for which it holds.
            valid: how long from now; negative for one that has expired.
        """
        names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        folder = self.folder / f"server-{name}"
        self._issue(folder, name, ExtendedKeyUsageOID.SERVER_AUTH, valid, x509.SubjectAlternativeName(names))
        return folder / "cert.pem", folder / "key.pem"

    def client(self, name: str = "client", *, valid: datetime.timedelta = 30 * DAY, trusts: Path | None = None) -> Path:
        """Issue a client's certificate; returns a folder with ca.pem, cert.pem and key.pem, as Docker's tools expect.

        Args:
            name: its subject and part of the folder's name.
            valid: how long from now; negative for one that has expired.
            trusts: the ``ca.pem`` of the folder; this authority's own when None.
        """
        folder = self.folder / f"client-{name}"
        self._issue(folder, name, ExtendedKeyUsageOID.CLIENT_AUTH, valid)
        write(folder / "ca.pem", (trusts or self.ca).read_bytes())
        return folder

    def expired_client(self) -> Path:
        """Issue a client's certificate that ended an hour ago."""
        return self.client("expired", valid=datetime.timedelta(hours=-1))

    def foreign_client(self) -> Path:
        """Return a client's folder that trusts these servers, its certificate issued by another authority."""
        return Authority(self.folder / "foreign", "another authority").client("foreign", trusts=self.ca)

    def _issue(
        self,
        folder: Path,
        name: str,
        usage: x509.ObjectIdentifier,
        valid: datetime.timedelta,
        names: x509.SubjectAlternativeName | None = None,
    ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key, datetime.datetime.now(datetime.UTC) + valid)
        builder = builder.add_extension(x509.BasicConstraints(False, None), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        if names is not None:
            builder = builder.add_extension(names, False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        write(folder / "cert.pem", self._sign(builder.add_extension(authority, False)))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write(folder / "key.pem", private, mode=0o600)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 31 * DAY)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def write(path: Path, content: bytes, mode: int = 0o644) -> Path:
    """Write a file that never has wider permissions than ``mode``; returns its path."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return path
