"""Client certificates in Docker's own layout."""

import datetime
import os
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.docker_errors import CertificateProblem
from nbplatform_spawners.hosts.docker_tls import Certificates, expires, find_certificates
from tests.components.docker_pki import Authority


def put(folder: Path, *names: str) -> Path:
    """Write files that only their owner can read."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).write_text(name)
        (folder / name).chmod(0o400)
    return folder


def in_folder(folder: Path) -> Certificates:
    """Return the certificates of one folder."""
    return Certificates(str(folder / "ca.pem"), str(folder / "cert.pem"), str(folder / "key.pem"))


def test_no_directory_gives_no_certificates() -> None:
    """A fleet of Unix sockets needs none."""
    assert find_certificates("", "gpu01") is None


def test_the_directory_serves_every_host_without_a_folder_of_its_own(tmp_path: Path) -> None:
    """One client certificate is enough for a site with one CA."""
    put(tmp_path)
    assert find_certificates(str(tmp_path), "gpu01") == in_folder(tmp_path)


def test_a_hosts_own_folder_comes_first(tmp_path: Path) -> None:
    """And is never mixed with the common one."""
    put(tmp_path)
    own = put(tmp_path / "gpu01", "ca.pem", "key.pem")
    with pytest.raises(CertificateProblem, match=r"host gpu01: cannot read '.*gpu01/cert\.pem': No such file"):
        find_certificates(str(tmp_path), "gpu01")
    put(own, "cert.pem")
    assert find_certificates(str(tmp_path), "gpu01") == in_folder(own)
    assert find_certificates(str(tmp_path), "gpu02") == in_folder(tmp_path)


@pytest.mark.parametrize("host", ["", ".", "..", "../up", "/etc"])
def test_a_hosts_name_leads_nowhere_else(tmp_path: Path, host: str) -> None:
    """What is no single folder's name stands for the directory itself."""
    put(tmp_path / "up")
    put(tmp_path / "here")
    assert find_certificates(str(tmp_path / "here"), host) == in_folder(tmp_path / "here")


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem"])
def test_each_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """The administrator reads which one to bring."""
    (put(tmp_path) / name).unlink()
    with pytest.raises(CertificateProblem, match=name) as caught:
        find_certificates(str(tmp_path), "gpu01")
    assert caught.value.host == "gpu01"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_key_for_its_owner_and_readers_in_its_group_is_accepted(tmp_path: Path, mode: int) -> None:
    """A hub may read it through its group."""
    (put(tmp_path) / "key.pem").chmod(mode)
    assert find_certificates(str(tmp_path), "h") is not None


@pytest.mark.parametrize("mode", [0o444, 0o604, 0o660, 0o602, 0o641])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Who has the key is root on the host."""
    (put(tmp_path) / "key.pem").chmod(mode)
    with pytest.raises(CertificateProblem, match=rf"key\.pem.*mode {mode:04o}.*set its mode to 0400 or 0440"):
        find_certificates(str(tmp_path), "h")


def test_an_unreadable_key_is_a_clear_error(tmp_path: Path) -> None:
    """A folder in its place, or a file that the hub may not read."""
    key = put(tmp_path) / "key.pem"
    key.unlink()
    key.mkdir()
    with pytest.raises(CertificateProblem, match="cannot read"):
        find_certificates(str(tmp_path), "h")


def test_the_end_of_a_certificate_is_read_with_its_time_zone(tmp_path: Path) -> None:
    """`hosts check` warns before it comes."""
    authority = Authority(tmp_path / "pki")
    good, bad = authority.client() / "cert.pem", authority.expired_client() / "cert.pem"
    now = datetime.datetime.now(datetime.UTC)
    lasts, lasted = expires(str(good)), expires(str(bad))
    assert lasts is not None
    assert lasted is not None
    assert lasted < now < lasts


def test_what_is_no_certificate_has_no_end(tmp_path: Path) -> None:
    """Neither a missing file nor nonsense raises."""
    assert expires(str(tmp_path / "none.pem")) is None
    (tmp_path / "text.pem").write_bytes(os.urandom(50))
    assert expires(str(tmp_path / "text.pem")) is None
