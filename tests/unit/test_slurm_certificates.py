"""The certificate of one cluster, in the hands of those who use it: Dask on both sides, and an HTTPS server."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from nbplatform_spawners.slurm_dask.certificates import Certificate, context_of, expires, make_certificate

CLUSTER = "0123456789ab"
Pair = tuple[str, str]


def pair(folder: Path, made: Certificate) -> Pair:
    """Write a certificate and its key."""
    folder.mkdir()
    for name, content in (("tls.pem", made.cert), ("tls.key", made.key)):
        (folder / name).write_bytes(content)
    return str(folder / "tls.pem"), str(folder / "tls.key")


@pytest.fixture
def ours(tmp_path: Path) -> Pair:
    """Make the cluster's."""
    return pair(tmp_path / "ours", make_certificate(CLUSTER, datetime.now(UTC), 3600))


@pytest.fixture
def others(tmp_path: Path) -> Pair:
    """Make another one of the same name: a name proves nothing."""
    return pair(tmp_path / "others", make_certificate(CLUSTER, datetime.now(UTC), 3600))


def test_it_is_of_one_cluster_and_for_a_short_time() -> None:
    """An elliptic key of its own, the cluster's name, from 5 minutes ago until an hour beyond what was asked."""
    now = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
    made = make_certificate(CLUSTER, now, 7200)
    cert = x509.load_pem_x509_certificate(made.cert)
    assert isinstance(cert.public_key(), ec.EllipticCurvePublicKey)
    assert cert.subject.rfc4514_string() == cert.issuer.rfc4514_string() == f"CN={CLUSTER}"
    assert cert.not_valid_before_utc == now - timedelta(minutes=5)
    assert expires(made.cert) == cert.not_valid_after_utc == now + timedelta(hours=3)
    assert make_certificate(CLUSTER, now, 7200).key != made.key
    assert b"PRIVATE KEY" in made.key
    assert "PRIVATE" not in repr(made)
    assert b"PRIVATE" not in made.cert


@pytest.mark.parametrize(
    ("now", "lifespan", "told"), [(datetime.now(UTC), 0, "longer than"), (datetime(2026, 1, 1), 60, "offset")]
)
def test_a_time_that_is_none_is_refused(now: datetime, lifespan: int, told: str) -> None:
    """Not for nothing, and not at an hour of unknown where."""
    with pytest.raises(ValueError, match=told):
        make_certificate(CLUSTER, now, lifespan)


def test_what_is_no_certificate_expires_never() -> None:
    """It cannot be read, which says nothing about its end."""
    assert expires(b"no certificate") is None


class Quiet(BaseHTTPRequestHandler):
    """Answers, and writes no log."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def served(context: ssl.SSLContext) -> Iterator[str]:
    """Run an HTTPS server; yields its address."""
    server = HTTPServer(("127.0.0.1", 0), Quiet)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(url: str, context: ssl.SSLContext) -> bytes:
    """Ask, past any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(url, timeout=5) as answer:
        content: bytes = answer.read()
        return content


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_ends_show_it_and_accept_no_other(ours: Pair, others: Pair, version: ssl.TLSVersion) -> None:
    """Also when every rule of RFC 5280 is checked, as newer Pythons do; without it, or with another, nobody gets in."""
    strict = context_of(*ours, server=False)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    strict.maximum_version = version
    listening = context_of(*ours, server=True)
    listening.verify_flags |= ssl.VERIFY_X509_STRICT
    bare = ssl.create_default_context(cafile=ours[0])
    bare.check_hostname = False
    with served(listening) as url:
        assert fetch(url, strict) == b"ok"
        for wrong in (bare, context_of(*others, server=False)):
            wrong.maximum_version = version
            with pytest.raises(OSError, match=r"(?i)ssl|tls|certificate|reset|closed"):
                fetch(url, wrong)
    with (
        served(context_of(*others, server=True)) as url,
        pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        fetch(url, strict)


def test_an_expired_one_opens_nothing(tmp_path: Path) -> None:
    """Whoever finds the folder of an old cluster has nothing."""
    old = pair(tmp_path / "old", make_certificate(CLUSTER, datetime.now(UTC) - timedelta(hours=3), 3600))
    with (
        served(context_of(*old, server=True)) as url,
        pytest.raises(OSError, match="expired"),
    ):
        fetch(url, context_of(*old, server=False))


async def test_dask_uses_it_on_both_sides(ours: Pair, others: Pair) -> None:
    """A scheduler, a worker and a client with this one certificate compute; a client with another gets nowhere."""
    distributed = pytest.importorskip("distributed", reason="needs the extra 'dask'")

    def security(files: Pair) -> object:
        cert, key = files
        sides = {f"tls_{side}_{what}": path for side in ("client", "worker", "scheduler")
                 for what, path in (("cert", cert), ("key", key))}  # fmt: skip
        return distributed.Security(tls_ca_file=cert, require_encryption=True, **sides)

    mine = security(ours)
    where = {"host": "tls://127.0.0.1", "dashboard_address": "127.0.0.1:0", "security": mine}
    async with (
        distributed.Scheduler(port=0, **where) as scheduler,
        distributed.Worker(scheduler.address, nthreads=1, **where),
        distributed.Client(scheduler.address, security=mine, asynchronous=True) as client,
    ):
        assert scheduler.address.startswith("tls://")
        assert await client.submit(sum, range(10)) == 45
        with pytest.raises(OSError, match=r"(?i)timed out|certificate|ssl"):
            await distributed.Client(scheduler.address, security=security(others), asynchronous=True, timeout=1)
