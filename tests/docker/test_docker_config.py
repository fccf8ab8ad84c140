"""The shipped deployment for Docker hosts: its files fit each other, and servers outlive its hub."""

from __future__ import annotations

import ast
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.docker_tls import find_certificates
from nbplatform_spawners.hosts.proc import children
from nbplatform_spawners.rules.check import find_warnings
from nbplatform_spawners.rules.store import load
from nbplatform_spawners.spawners.docker_fleet import publish_address
from tests.components.docker_engine import engine
from tests.components.hub import run_cell
from tests.components.need import need
from tests.docker.shipped import CONFIG, SHIPPED, Deployment
from tests.house.pages import code_blocks

PAGE = "docs/how-to/docker-deployment.md"
UNITS = ("jupyterhub.service", "jupyterhub-proxy.service")
USED = ("JUPYTERHUB_CRYPT_KEY", "CONFIGPROXY_AUTH_TOKEN")
"""Variables that JupyterHub itself reads."""


def test_servers_outlive_the_hub_and_the_proxy_needs_no_hub(shipped: Deployment) -> None:
    """While the hub is down, killed, users go on with their servers on both hosts; then it knows them as before."""
    users = {"ada": "cpu", "ben": "gpu"}
    for user, profile in users.items():
        shipped.start_for(user, profile)
        run_cell(shipped, user, "1", token=shipped.token_of(user))  # its server now knows this token for minutes
    before = {user: shipped.container(user)[1]["Id"] for user in users}
    shipped.kill9()
    for user in users:
        assert run_cell(shipped, user, "print(40 + 2)", token=shipped.token_of(user)) == "42\n"
    shipped.launch()
    for user in users:
        shipped.wait_until_ready(user)
        assert shipped.container(user)[1]["Id"] == before[user]
        assert shipped.status(f"/user/{user}/api") == 200
    shipped.stop_for("ada")
    with pytest.raises(LookupError, match="0 containers"):
        shipped.container("ada")


def test_an_orderly_end_of_the_hub_touches_neither_servers_nor_proxy(shipped: Deployment) -> None:
    """As at an update; a proxy that was started anew meanwhile is told everything by the next hub."""
    shipped.start_for("ben", "gpu")
    before = shipped.container("ben")[1]["Id"]
    shipped.stop()
    assert shipped.status("/user/ben/api") == 200
    shipped.proxy.stop()
    shipped.start_proxy()
    assert shipped.status("/user/ben/api") == 503
    shipped.launch()
    shipped.wait_until_ready("ben")
    assert shipped.status("/user/ben/api") == 200
    assert shipped.container("ben")[1]["Id"] == before


def culler_of(hub: Deployment) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of the culler that a hub has started."""
    for pid in children(hub.pid):
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
        if "nbplatform_spawners.culler" in command:
            pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")[:-1]
            return command, dict(pair.split("=", 1) for pair in pairs)
    raise LookupError("the hub has no culler")


def test_the_culler_asks_hub_and_servers_by_internal_tls(shipped: Deployment) -> None:
    """The service that the configuration starts, with its own token and rights, looks at a server with a GPU."""
    shipped.start_for("ben", "gpu")
    command, environment = culler_of(shipped)
    ran = subprocess.run(
        [*command, "--dry-run"], env=environment, cwd=shipped.folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    row = next(line.split() for line in ran.stdout.splitlines() if line.startswith("ben "))
    assert row[1] == "keep"
    assert row[5] in ("server", "jupyter"), ran.stdout
    assert "0 did not answer" in ran.stdout
    assert "JUPYTERHUB_CRYPT_KEY" not in environment


def variables(text: str) -> set[str]:
    """Return the names of the platform's variables in a text."""
    return set(re.findall(r"NBPLATFORM_[A-Z_]+", text))


def test_the_example_environment_tells_every_variable_and_no_other() -> None:
    """What an administrator can set is in one file; what is set there has an effect."""
    example = (SHIPPED / "environment.example").read_text()
    told = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert told == {*variables(CONFIG.read_text()), *variables((SHIPPED / "start-proxy").read_text()), *USED}


def test_the_defaults_that_the_example_environment_tells_are_those_that_hold() -> None:
    """Each commented line has a default of the configuration or of the script; folders are the installed ones."""
    example = dict(re.findall(r"^#(\w+)=(.*)$", (SHIPPED / "environment.example").read_text(), re.MULTILINE))
    script = dict(re.findall(r"\$\{(NBPLATFORM_\w+):-([^}]*)\}", (SHIPPED / "start-proxy").read_text()))
    calls = [node for node in ast.walk(ast.parse(CONFIG.read_text())) if isinstance(node, ast.Call)]
    gets = {
        ast.literal_eval(call.args[0]): call.args[1] for call in calls if ast.unparse(call.func) == "os.environ.get"
    }
    config = {name: node.value for name, node in gets.items() if isinstance(node, ast.Constant)}
    known = {name: value for name, value in {**script, **config}.items() if value and not str(value).startswith("$")}
    assert len(known) >= 5
    assert {name: example[name] for name in known} == known
    assert all(script[name] == known[name] for name in script.keys() & known.keys()), "script and configuration differ"


def block_of(page: str, language: str, beginning: str) -> str:
    """Return the only code block of a page in a language that begins with this text."""
    (found,) = [one.text for one in code_blocks(page) if one.language == language and one.text.startswith(beginning)]
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's commands have made certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    commands = block_of(PAGE, "sh", "# once: the authority")
    subprocess.run(["sh", "-ec", commands], cwd=folder, check=True, capture_output=True)
    return folder


def test_the_certificates_of_the_page_open_a_host_and_nothing_else(certificates: Path) -> None:
    """What the page makes by hand is what the hub takes, and a daemon with it knows the hub and is known by it."""
    found = find_certificates(str(certificates / "docker-tls"), "cpu01")
    assert found is not None
    daemon = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    daemon.verify_mode = ssl.CERT_REQUIRED
    daemon.load_cert_chain(certificates / "cpu01" / "cert.pem", certificates / "cpu01" / "key.pem")
    hub = ssl.create_default_context(cafile=found.ca)
    hub.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer versions of Python do by themselves
    hub.load_cert_chain(found.cert, found.key)
    for name in ("cpu01.example.org", "192.0.2.21"):
        handshake(hub, daemon, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(hub, daemon, "192.0.2.22")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Let two sides know each other, without a network.

    Raises:
        ssl.SSLError: one of them refuses.
    """
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(back, there, server_hostname=name), server.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for side in sides:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    assert all(side.version() for side in sides)
    assert sides[1].getpeercert()


@contextmanager
def newest_docker(folder: Path) -> Iterator[str]:
    """The program ``dockerd`` of a new Docker: it can check its settings without running."""
    yield str(shutil.which("dockerd", path=engine("modern").search_path(folder)))


def test_the_daemon_takes_the_settings_of_the_page(certificates: Path, tmp_path: Path) -> None:
    """As Docker itself checks them; the address is the one of the page's rules and certificates."""
    text = block_of(PAGE, "json", "{")
    settings = text.replace("/etc/docker/tls/ca.pem", str(certificates / "ca.pem"))
    (tmp_path / "daemon.json").write_text(settings.replace("/etc/docker/tls", str(certificates / "cpu01")))
    with need(newest_docker(tmp_path)) as program:
        command = [program, "--validate", "--config-file", tmp_path / "daemon.json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tcp://192.0.2.21:2376" in text
    assert "tcp://192.0.2.21:2376" in (SHIPPED / "placement_rules" / "site.yaml").read_text()


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_one_that_systemd_takes(unit: str, tmp_path: Path) -> None:
    """With this environment's programs in place of the installed ones."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in UNITS:
        text = (SHIPPED / name).read_text().replace("/opt/nbplatform/bin", str(Path(sys.executable).parent))
        text = text.replace("/etc/jupyterhub/start-proxy", str(SHIPPED / "start-proxy"))
        (tmp_path / name).write_text(text.replace("User=jupyterhub", "User=root"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit in line]) == (0, [])


@pytest.mark.parametrize("missing", ["NBPLATFORM_HUB_IP", "CONFIGPROXY_AUTH_TOKEN"])
def test_the_proxy_does_not_start_without_what_it_needs(missing: str, tmp_path: Path) -> None:
    """One line says which variable it is."""
    env = {"PATH": os.environ["PATH"], "NBPLATFORM_HUB_IP": "192.0.2.1", "CONFIGPROXY_AUTH_TOKEN": "x"}
    del env[missing]
    done = subprocess.run([SHIPPED / "start-proxy"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{missing}: is not set" in done.stderr


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("NBPLATFORM_HUB_IP", "NBPLATFORM_HUB_IP is not set: the address of this machine"),
        ("CONFIGPROXY_AUTH_TOKEN", "CONFIGPROXY_AUTH_TOKEN is not set: the secret"),
        ("NBPLATFORM_HUB_ID", "c.DockerFleetSpawner.hub_id is not set: give this hub a name"),
        ("NBPLATFORM_DOCKER_TLS", "ca.pem"),
    ],
)
def test_the_hub_does_not_start_without_what_it_needs(missing: str, said: str, tmp_path: Path) -> None:
    """It ends before it listens, and says what to do."""
    env = bare_environment(tmp_path)
    if missing != "NBPLATFORM_DOCKER_TLS":
        del env[missing]
    command = [sys.executable, "-m", "jupyterhub", "-f", CONFIG]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def bare_environment(folder: Path, hub_ip: str = "127.0.0.1") -> dict[str, str]:
    """Return an environment with all that the configuration demands, but for the hosts' certificates."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "NBPLATFORM", "CONFIG"))
    }
    env |= {"NBPLATFORM_HUB_IP": hub_ip, "NBPLATFORM_HUB_ID": "x", "NBPLATFORM_DOCKER_TLS": str(folder / "none")}
    return {**env, "JUPYTERHUB_CRYPT_KEY": "00" * 32, "CONFIGPROXY_AUTH_TOKEN": "x"}


def generate_certs(folder: Path, hub_ip: str) -> subprocess.CompletedProcess[str]:
    """Run what the proxy's unit runs first."""
    command = [sys.executable, "-m", "jupyterhub", "--generate-certs", "-f", CONFIG]
    env = bare_environment(folder, hub_ip)
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


# id, value, what is said
ADDRESSES = [
    ("another machine's", "192.0.2.10", "NBPLATFORM_HUB_IP=192.0.2.10 is no IPv4 address of this machine"),
    ("a name", "localhost", "NBPLATFORM_HUB_IP=localhost is no IPv4 address of this machine"),
    ("all addresses", "0.0.0.0", "NBPLATFORM_HUB_IP is not set"),
]


@pytest.mark.parametrize(("_", "hub_ip", "said"), ADDRESSES, ids=[row[0] for row in ADDRESSES])
def test_no_certificate_is_made_for_an_address_that_is_not_the_hubs(
    _: str, hub_ip: str, said: str, tmp_path: Path
) -> None:
    """It would be kept, and every page be a 503 without a word."""
    done = generate_certs(tmp_path, hub_ip)
    assert done.returncode != 0
    assert said in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


def test_certificates_for_another_address_are_made_as_the_page_says(tmp_path: Path) -> None:
    """Those of hub and proxy are new and have the address; the authorities, which running servers trust, stay."""
    assert generate_certs(tmp_path, "127.0.0.1").returncode == 0
    certs = tmp_path / "internal-ssl"
    before = {path: path.read_bytes() for path in certs.glob("*-ca*/*.crt")}
    assert len(before) == 5
    commands = block_of(PAGE, "sh", "cd /var/lib/jupyterhub").replace("/var/lib/jupyterhub", str(tmp_path))
    commands = commands.replace("/opt/nbplatform/bin", str(Path(sys.executable).parent))
    removal = [
        line.replace("runuser -u jupyterhub -- ", "") for line in commands.splitlines() if "systemctl" not in line
    ]
    subprocess.run(["sh", "-ec", "\n".join(removal)], check=True, capture_output=True)
    assert generate_certs(tmp_path, "127.0.0.2").returncode == 0
    assert {path: path.read_bytes() for path in before} == before
    for name in ("hub-internal", "proxy-api", "proxy-client"):
        shown = subprocess.run(
            ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", certs / name / f"{name}.crt"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert "IP Address:127.0.0.2" in shown.stdout


@pytest.mark.parametrize(
    ("address", "configured", "expected"),
    [
        ("192.0.2.21", "", "192.0.2.21"),
        ("192.0.2.21", "10.0.0.1", "10.0.0.1"),
        ("192.0.2.21", "0.0.0.0", "192.0.2.21"),
        ("2001:db8::21", "::", "2001:db8::21"),
        ("localhost", "", "127.0.0.1"),
    ],
)
async def test_servers_are_published_where_they_are_reached(address: str, configured: str, expected: str) -> None:
    """On the host's own address alone, unless the site names another; "all addresses" is none to reach a server at."""
    found = await publish_address(address, configured)
    assert found == expected or (address, found) == ("localhost", "::1")


def test_the_shipped_rules_hold_no_mistake() -> None:
    """They are what an administrator begins with; every profile has hosts and an image."""
    book = load(SHIPPED / "placement_rules")
    assert find_warnings(book) == ()
    assert all(pool.hosts for pool in book.pools.values())
