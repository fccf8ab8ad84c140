"""One certificate for one cluster: its scheduler, its workers and its owner all show it, and accept no other."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SKEW = timedelta(minutes=5)
"""How far behind a node's clock may be."""
MARGIN = timedelta(hours=1)
"""How long a certificate is good beyond what was asked, for clocks that are ahead and jobs that end slowly."""


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, PEM both.

    Attributes:
        cert: may be seen by anybody.
        key: whoever has it may do with the cluster what its owner may, which is to run code as them.
    """

    cert: bytes
    key: bytes = field(repr=False)


def make_certificate(cluster: str, now: datetime, lifespan: int) -> Certificate:
    """Return a new certificate that signs itself: no authority exists that could make a second one.

    It serves both ends of a connection, and is the authority that both ends trust.

    Args:
        cluster: the cluster's id, which becomes the certificate's name.
        now: aware time.
        lifespan: seconds that the cluster may last from now: the wait for its nodes and its wall time.  The
            certificate is good from 5 minutes ago until 1 hour beyond.

    Raises:
        ValueError: the time is naive, or the lifespan not positive.
    """
    if now.tzinfo is None:
        raise ValueError("the time at which a certificate begins needs an offset")
    if lifespan <= 0:
        raise ValueError(f"a certificate must last longer than {lifespan} seconds")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cluster)])
    public = key.public_key()
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(seconds=lifespan) + MARGIN)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(cluster)]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(cert.public_bytes(serialization.Encoding.PEM), private)


def expires(cert: bytes) -> datetime | None:
    """Return until when a PEM certificate is good, as an aware time; None when it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(cert).not_valid_after_utc
    except ValueError:
        return None


def context_of(cert: str, key: str, *, server: bool) -> ssl.SSLContext:
    """Return what shows the cluster's certificate and demands it of the other side.

    Names are not compared: one certificate is trusted, whatever address it is met at.

    Args:
        cert, key: paths of the PEM files.
        server: whether it is for the side that listens.

    Raises:
        OSError: a file cannot be read or used (``ssl.SSLError`` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cert)
    context.load_cert_chain(cert, key)
    return context


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
