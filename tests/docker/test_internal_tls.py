"""TLS between proxy, hub and servers on several hosts; certificates reach containers without lying on a disk."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

import pytest
from certipy import Certipy
from cryptography import x509
from jupyterhub.utils import make_ssl_context

from nbplatform_spawners.hosts import docker_host
from nbplatform_spawners.hosts.docker_errors import HostRefused
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.spawners.docker_certificates import hand_over, issue, waiting
from tests.components.docker_fleet import DockerHost
from tests.components.hub import run_cell
from tests.docker.shipped import Deployment

SERVERS = [("ada", "cpu", ""), ("ben", "gpu", ""), ("ada", "cpu", "two")]
ADA = Identity("ada", 62101, 61000, {"users": 61000}, "users", "/home/ada", "/bin/sh")
SECRET = "/run/nbplatform/keyfile.pem"


def start_all(hub: Deployment) -> None:
    """Start all servers of these tests; those that run already stay."""
    for user, profile, server in SERVERS:
        hub.start_for(user, profile, server)


def published(hub: Deployment, user: str, server: str = "") -> tuple[str, int]:
    """Return where a user's server listens for the hub and the proxy."""
    host, seen = hub.container(user, server)
    (binding,) = seen["NetworkSettings"]["Ports"]["8888/tcp"]
    assert binding["HostIp"] == host.ip
    return host.ip, int(binding["HostPort"])


def inside(host: DockerHost, container: str, path: str) -> bytes:
    """Return a file as the server itself sees it; root has no more rights in there than anybody."""
    return host.cli("exec", container, "cat", path).encode()


def asked(address: tuple[str, int], context: ssl.SSLContext, path: str) -> str:
    """Return the first line of what a server answers over TLS; "refused" where it breaks the connection off."""
    try:
        with socket.create_connection(address, 10) as plain, context.wrap_socket(plain) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(1000).decode(errors="replace").partition("\r\n")[0] or "refused"
    except (ssl.SSLError, ConnectionError):
        return "refused"


def test_servers_on_several_hosts_work_behind_the_proxy(shipped: Deployment) -> None:
    """Proxy to server, server to hub, WebSockets and the hub's own look: all with TLS, on both kinds of Docker."""
    start_all(shipped)
    for user, _, server in SERVERS:
        code = "import os; print(os.environ['JUPYTERHUB_API_URL'].split(':')[0], os.getuid())"
        said = run_cell(shipped, user, code, server, token=shipped.token_of(user))
        assert said.split() == ["https", {"ada": "62101", "ben": "62102"}[user]]
    assert {shipped.container(user, server)[0].name for user, _, server in SERVERS} == {"wn1", "wn2"}


def test_a_key_is_on_no_disk_and_in_nothing_that_docker_tells(shipped: Deployment) -> None:
    """It lies in a tmpfs of the user's own; the host's Docker directories and the hub's hold no line of it."""
    start_all(shipped)
    for user, _, server in SERVERS:
        host, seen = shipped.container(user, server)
        lines = inside(host, seen["Id"], SECRET).decode().split()
        line = next(line for line in lines if len(line) == 64)
        assert host.cli("exec", seen["Id"], "stat", "-f", "-c", "%T", SECRET).split() == ["tmpfs"]
        assert line not in json.dumps(seen)
        told = [shipped.site.fleet.folder, Path("/run/docker"), shipped.folder]
        assert holding(host, line, *told) == []
        host.cli("exec", seen["Id"], "sh", "-c", f"echo {line} > /tmp/copy")
        assert holding(host, line, *told) != [], "the search finds what there is"
        host.cli("exec", seen["Id"], "rm", "/tmp/copy")


def holding(host: DockerHost, text: str, *folders: Path) -> list[str]:
    """Return the files that hold a text, as root of the host finds them; no view of a running container."""
    search = 'grep -rlasF --devices=skip --exclude-dir=merged -e "$0" "$@"; true'  # files come and go meanwhile
    found = host.run_on_host("sh", "-c", search, text, *folders)
    return found.split()


@pytest.mark.parametrize("name", ["keyfile", "certfile", "cafile"])
def test_only_the_server_s_own_user_reads_its_certificates(shipped: Deployment, name: str) -> None:
    """Owner and mode of the files and of their folder."""
    shipped.start_for("ada", "cpu")
    host, seen = shipped.container("ada")
    folder = "/run/nbplatform"
    said = host.cli("exec", seen["Id"], "stat", "-c", "%u %a", folder, f"{folder}/{name}.pem")
    assert said.splitlines() == ["62101 700", "62101 600"]


def test_a_server_answers_hub_and_proxy_and_nobody_else(shipped: Deployment, tmp_path: Path) -> None:
    """Its published port is open to all machines that reach the host; the handshake ends there without a certificate of
    the hub's or the proxy's: with none, and with another user's."""
    start_all(shipped)
    host, seen = shipped.container("ben")
    other = shipped.context()
    for name in ("certfile", "keyfile"):
        (tmp_path / name).write_bytes(inside(host, seen["Id"], f"/run/nbplatform/{name}.pem"))
    other.load_cert_chain(tmp_path / "certfile", tmp_path / "keyfile")
    address, path = published(shipped, "ada"), "/user/ada/api"
    answers = [asked(address, shipped.context(name), path) for name in ("hub-internal", "proxy-client", "")]
    assert [*answers, asked(address, other, path)] == ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "refused", "refused"]


def test_the_hub_answers_only_who_has_a_certificate(shipped: Deployment, tmp_path: Path) -> None:
    """The hub's port, which all hosts reach, ends the handshake with everybody else; servers get through."""
    shipped.start_for("ben", "gpu")
    host, seen = shipped.container("ben")
    for name in ("certfile", "keyfile", "cafile"):
        (tmp_path / name).write_bytes(inside(host, seen["Id"], f"/run/nbplatform/{name}.pem"))
    server = shipped.context()
    server.load_cert_chain(tmp_path / "certfile", tmp_path / "keyfile")
    address = (shipped.site.fleet.hub_ip, shipped.hub_port)
    found = [asked(address, context, "/hub/health") for context in (server, shipped.context())]
    assert found == ["HTTP/1.1 200 OK", "refused"]
    checked = make_ssl_context(tmp_path / "keyfile", tmp_path / "certfile", tmp_path / "cafile")
    with socket.create_connection(address, 10) as plain, checked.wrap_socket(plain, server_hostname=address[0]):
        pass  # the server's own way of checking the hub, by the address that it is told


def test_a_certificate_names_the_host_that_its_server_is_on(shipped: Deployment) -> None:
    """And nothing but it and loopback: another host cannot pass for it."""
    start_all(shipped)
    for user, _, server in SERVERS:
        host, seen = shipped.container(user, server)
        found = x509.load_pem_x509_certificate(inside(host, seen["Id"], "/run/nbplatform/certfile.pem"))
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [str(name.value) for name in names] == ["localhost", "127.0.0.1", host.ip]


def test_a_failed_server_s_page_is_the_hub_s_own(shipped: Deployment) -> None:
    """The proxy asks the hub for the page over TLS, too."""
    shipped.start_for("ben", "gpu")
    host, seen = shipped.container("ben")
    host.cli("kill", seen["Id"])
    page = shipped.visit().get("/user/ben/api")
    assert page.status in (424, 503)
    assert "JupyterHub" in page.text
    shipped.stop_for("ben")
    with pytest.raises(LookupError, match="0 containers"):
        shipped.container("ben")


# Without a hub


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Certificate and key of an authority, made as JupyterHub makes them."""
    files = Certipy(store_dir=str(tmp_path_factory.mktemp("ca"))).create_ca("notebooks-ca")["files"]
    return Path(files["cert"]).read_bytes(), Path(files["key"]).read_bytes()


def names_of(certificate: bytes) -> list[str]:
    """Return the names in a certificate."""
    loaded = x509.load_pem_x509_certificate(certificate)
    return [str(name.value) for name in loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["IP:192.0.2.1"], ["192.0.2.1"]),
        (["IP:2001:db8::1", "DNS:wn1.example.org"], ["2001:db8::1", "wn1.example.org"]),
        (["DNS:localhost", "IP:127.0.0.1", "IP:127.0.0.1", "DNS:localhost"], ["localhost", "127.0.0.1"]),
    ],
)
def test_a_certificate_has_the_names_that_were_asked_for(
    names: list[str], expected: list[str], authority: tuple[bytes, bytes]
) -> None:
    """Each once, addresses as addresses."""
    assert names_of(issue(*authority, "user-ada", names)[1]) == expected


@pytest.mark.parametrize("name", ["wn1.example.org", "DNS:", "URI:https://x", "IP:wn1", ""])
def test_a_name_of_another_kind_is_refused(name: str, authority: tuple[bytes, bytes]) -> None:
    """A certificate without the name that somebody meant would only fail later."""
    with pytest.raises(ValueError, match=r"ssl_alt_names|IPv4 or IPv6"):
        issue(*authority, "user-ada", [name])


def test_a_certificate_ends_with_its_authority_and_takes_any_user_s_name(authority: tuple[bytes, bytes]) -> None:
    """A server may run for as long as its certificate's authority is believed; X.509 has room for 64 characters."""
    ca = x509.load_pem_x509_certificate(authority[0])
    made = x509.load_pem_x509_certificate(issue(*authority, f"user-{'a' * 200}", ["DNS:x"])[1])
    assert made.not_valid_after_utc == ca.not_valid_after_utc
    assert made.subject.rfc4514_string() == f"CN=user-{'a' * 59}"
    made.verify_directly_issued_by(ca)


class WithoutTar(docker_host.DockerHost):
    """A host whose image has no ``tar``: Docker's own words and exit code for that."""

    def __init__(self) -> None:
        self.name = "wn1"

    async def execute(self, *_: object, **__: object) -> tuple[int, str]:
        """Fail as Docker does."""
        return 127, 'exec: "tar": executable file not found in $PATH'


async def test_an_image_that_cannot_take_certificates_is_named() -> None:
    """The sentence says what the image lacks, and holds nothing of what was to be written."""
    with pytest.raises(HostRefused, match='internal TLS could not be written inside: exec: "tar"') as caught:
        await hand_over(WithoutTar(), "c1", {"keyfile": b"SECRET"}, ADA)
    assert "SECRET" not in str(caught.value)


def test_a_waiting_command_starts_the_server_with_its_own_arguments() -> None:
    """Whatever they hold: nothing of them is read by the shell."""
    assert waiting(["run", "--x=$(id)", "a b"])[3:] == ("sh", "run", "--x=$(id)", "a b")
