"""Client certificates that a host does not accept, and a host that is not what it says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components.docker_fleet import DockerFleet, Settings
from tests.components.docker_pki import Authority
from tests.components.need import need
from tests.docker.faults import Scene, matches, scene, until

HOSTS = {
    "good": Settings("modern"),
    "foreign-old": Settings(),
    "foreign-new": Settings("modern"),
    "expired-old": Settings(),
    "expired-new": Settings("modern"),
    "untrusted": Settings(),
}
REASONS = {
    "foreign": "TLS is refused|certificate",
    "expired": "expired",
    "untrusted": "its certificate is not accepted",
}


def folders(fleet: DockerFleet) -> str:
    """Make a directory of certificates with a folder for each host that has bad ones; return the configuration."""
    top = fleet.folder / "tls"
    shutil.copytree(fleet.certificates, top)
    kinds = {"foreign": fleet.authority.foreign_client(), "expired": fleet.authority.expired_client()}
    kinds["untrusted"] = fleet.authority.client("untrusting", trusts=Authority(fleet.folder / "elsewhere").ca)
    for name in HOSTS:
        if kind := kinds.get(name.partition("-")[0]):
            shutil.copytree(kind, top / name)
    return f"c.DockerFleetSpawner.tls_directory = {str(top)!r}\n"


@pytest.fixture(scope="module")
def there() -> Iterator[Scene]:
    """The module's fleet and hub."""
    with need(scene(HOSTS, more=folders)) as made:
        yield made


@pytest.mark.parametrize("host", [host for host in HOSTS if host != "good"])
def test_a_bad_certificate_takes_away_one_host_and_the_log_says_why(there: Scene, host: str) -> None:
    """The administrator reads which host and what is wrong; the user that the host does not answer, and no secret."""
    there.hub.wait_for_log(f"host {host} does not answer; its servers count as running")
    line = matches(f"host {host} does not answer", there.hub.log_text())[0]
    assert matches(REASONS[host.partition("-")[0]], line), line
    refused = there.try_start("ada", host)
    assert "unreachable" in refused["message"], refused
    assert there.containers(host) == []
    assert matches("PRIVATE KEY|key.pem", there.hub.log_text()) == []


def test_other_hosts_work_beside_those_with_bad_certificates(there: Scene) -> None:
    """Also where a pool holds both: the good one is chosen."""
    assert there.start("ben", "good").host == "good"
    assert there.start("eve", "any").host == "good"
    there.clean()


@pytest.mark.parametrize("host", ["expired-old", "expired-new"])
def test_a_renewed_certificate_is_used_without_a_restart(there: Scene, host: str) -> None:
    """Files are read again as long as the host refuses."""
    own = there.fleet.folder / "tls" / host
    for name in ("key.pem", "cert.pem"):
        renew(Path(there.fleet.certificates) / name, own / name)
    there.hub.wait_for_log(f"host {host} answers again")
    assert there.start("ada", host).host == host
    there.clean()
    assert until("it is clean", lambda: there.containers() == [])


def renew(new: Path, old: Path) -> None:
    """Put a file in the place of another, at once."""
    beside = old.with_suffix(".new")
    shutil.copy2(new, beside)
    beside.replace(old)
