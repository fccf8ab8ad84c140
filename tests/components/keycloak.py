"""A real Keycloak on the loopback address, with the realms ``site`` and ``edugain``, in memory.

    with running_keycloak() as keycloak:
        with gate(keycloak.url) as front:  # tests.components.keycloak_gate: where hub and browsers meet it
            issuer = f"{front.url}/realms/site"

Its addresses follow the request (``--hostname-strict=false``): each gate in front of it is an issuer of its own, so
that each test module has faults of its own.  One Keycloak serves a whole test run: its start takes half a minute.

``python -m tests.components.keycloak FILE`` starts one for development and writes what it is to the file; a test run
with ``NBPLATFORM_TEST_KEYCLOAK=FILE`` then uses it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests

from .keeper import Keeper, keeper
from .keycloak_build import built_keycloak, found_java, java_environment
from .keycloak_realms import ENVIRONMENT, RealmKey, RealmKeys, edugain_realm, site_realm
from .ports import free_ports

READY_LIMIT = 240.0  # seconds; 17 on a calm machine
ADMIN = "admin"
SITE = "site"
FEDERATION = "edugain"
EXISTING = "NBPLATFORM_TEST_KEYCLOAK"
HEAP = ("-Xms64m", "-Xmx768m", "-XX:MaxMetaspaceSize=256m", "-XX:TieredStopAtLevel=1")
OPENS = ("java.util", "java.util.concurrent", "java.security", "java.lang")


class KeycloakDied(Exception):
    """Keycloak did not come up; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Keycloak:
    """A running Keycloak.

    Attributes:
        url: where it listens itself, without a trailing slash.
        management: where it tells its health.
        password: of its administrator ``admin``.
        pid: of its process.
        site_keys: the signing keys of the realm ``site``.
        edugain_keys: those of the realm ``edugain``.
    """

    url: str
    management: str
    password: str
    pid: int
    site_keys: RealmKeys
    edugain_keys: RealmKeys

    def realm(self, name: str = SITE) -> str:
        """Address of a realm, past every gate."""
        return f"{self.url}/realms/{name}"

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Keycloak's process stands still while the block runs; connections are accepted and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def ready(self) -> bool:
        """Whether it serves, and all realms are there."""
        with suppress(requests.RequestException), requests.Session() as session:
            session.trust_env = False
            return session.get(f"{self.management}/health/ready", timeout=5).status_code == 200
        return False

    def to_json(self) -> str:
        """Everything another process needs to use it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Keycloak:
        """The opposite of :meth:`to_json`."""
        plain = json.loads(text)
        keys = {
            realm: RealmKeys(*(RealmKey(**plain[realm][which]) for which in ("signing", "older")))
            for realm in ("site_keys", "edugain_keys")
        }
        return cls(**{**plain, **keys})


@contextmanager
def running_keycloak() -> Iterator[Keycloak]:
    """A Keycloak that is ready; it ends, with all that it stored, when the block or the owner ends.

    Raises:
        MissingComponent: there is no Java, or Keycloak is not built.
        KeycloakDied: it does not come up.
    """
    existing = os.environ.get(EXISTING, "")
    if existing:
        yield Keycloak.from_json(Path(existing).read_text())
        return
    with fresh_keycloak() as keycloak:
        yield keycloak


@contextmanager
def fresh_keycloak() -> Iterator[Keycloak]:
    """A Keycloak that nobody else uses, whatever runs already; see :func:`running_keycloak`."""
    built = built_keycloak()
    with ExitStack() as stack:
        one = stack.enter_context(keeper("keycloak"))
        yield start(one, built)


def start(one: Keeper, built: Path) -> Keycloak:
    """Start Keycloak below a keeper and wait until it is ready."""
    ports = free_ports()
    url = f"http://127.0.0.1:{ports.public}"
    site, edugain = (RealmKeys(RealmKey.made(name), RealmKey.made(name)) for name in (SITE, FEDERATION))
    home = made_home(one.folder / "home", built)
    realms = (site_realm(SITE, site, f"{url}/realms/{FEDERATION}"), edugain_realm(FEDERATION, edugain, [SITE]))
    for realm in realms:
        (home / "data" / "import" / f"{realm['realm']}.json").write_text(json.dumps(realm))
    password = secrets.token_urlsafe(12)
    java = found_java()
    env = {**java_environment(java), **ENVIRONMENT}
    env |= {"KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN, "KC_BOOTSTRAP_ADMIN_PASSWORD": password}
    process = one.start(
        command(java, home, ports.public, ports.hub), env=env, cwd=home, log=one.folder / "keycloak.log"
    )
    keycloak = Keycloak(url, f"http://127.0.0.1:{ports.hub}", password, process.pid, site, edugain)
    limit = time.monotonic() + READY_LIMIT
    while not keycloak.ready():
        if not process.alive() or time.monotonic() > limit:
            raise KeycloakDied("Keycloak did not come up:\n" + "\n".join(process.log_text().splitlines()[-40:]))
        time.sleep(0.2)
    return keycloak


def made_home(home: Path, built: Path) -> Path:
    """A home of its own for one Keycloak: the programs are the built one's, the data are not."""
    (home / "data" / "import").mkdir(parents=True)
    shutil.copytree(built / "conf", home / "conf")
    for part in ("lib", "providers", "themes"):
        (home / part).symlink_to(built / part)
    return home


def command(java: str, home: Path, port: int, management: int) -> list[str]:
    """The command that runs Keycloak: what its own script would run, without a shell in between."""
    opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENS]
    return [
        java,
        *HEAP,
        *opens,
        "-Dfile.encoding=UTF-8",
        "-Duser.language=en",
        "-Duser.country=US",
        "-Djava.security.egd=file:/dev/urandom",
        "-Djava.util.concurrent.ForkJoinPool.common.threadFactory="
        "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
        "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
        "-Dpicocli.disable.closures=true",
        f"-Dkc.home.dir={home}",
        f"-Djboss.server.config.dir={home / 'conf'}",
        *("-cp", str(home / "lib" / "quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint"),
        *("start", "--optimized", "--import-realm", "--cache=local"),  # else it listens for a cluster beyond loopback
        *("--http-enabled=true", "--http-host=127.0.0.1", f"--http-port={port}", "--hostname-strict=false"),
        *("--http-management-host=127.0.0.1", f"--http-management-port={management}"),
    ]


def main(arguments: list[str]) -> int:
    """Run one until SIGTERM or Ctrl-C, and write what it is to a file that only this user reads."""

    def stop(number: int, frame: Any) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    file = Path(arguments[0])
    with running_keycloak() as keycloak:
        file.touch(mode=0o600)
        file.write_text(keycloak.to_json())
        sys.stdout.write(f"{keycloak.url} admin {keycloak.password}; {EXISTING}={file}\n")
        sys.stdout.flush()
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
