"""TLS to a real LDAP server: verified from the first byte and after StartTLS, whatever the machine's settings say."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.errors import DirectoryUnavailable
from tests.components.docker_pki import Authority
from tests.components.slapd import PASSWORD, Slapd

from .site import directory_of, settings_for

NO_TLS = "its certificate is of no trusted authority, for another name, or has ended"


def address(server: Slapd, how: str, host: str = "127.0.0.1") -> str:
    """Return the server's address for ``ldaps`` or for StartTLS."""
    return (server.ldaps if how == "ldaps" else server.ldap).replace("127.0.0.1", host)


@pytest.fixture(params=["ldaps", "StartTLS"])
def how(request: pytest.FixtureRequest) -> str:
    """Either way to TLS."""
    return str(request.param)


def test_a_server_with_the_right_certificate_answers(nis: Slapd, tmp_path: Path, how: str) -> None:
    """Both ways, with the authority that the settings name."""
    directory = directory_of(tmp_path, settings_for(nis, servers=[address(nis, how)]))
    assert directory.lookup("alice").identity.uid == 62001


def wrong(what: str, server: Slapd, how: str, folder: Path) -> dict[str, Any]:
    """Return what makes settings meet a wrong certificate."""
    if what == "another authority":
        return {"servers": [address(server, how)], "ca_file": str(Authority(folder / "other").ca)}
    if what == "another name":
        return {"servers": [address(server, how, "localhost")]}
    return {"servers": [address(server, how)], "ca_file": None}


@pytest.mark.parametrize("what", ["another authority", "another name", "no authority named"])
@pytest.mark.parametrize("machine", ["as it is", "told to trust everybody"])
def test_a_wrong_certificate_is_no_answer(
    nis: Slapd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, what: str, machine: str
) -> None:
    """An administrator who wrote ``TLS_REQCERT never`` for some tool has not switched it off for uids."""
    if machine != "as it is":
        (tmp_path / "ldap.conf").write_text("TLS_REQCERT never\n")
        monkeypatch.setenv("LDAPTLS_REQCERT", "never")
        monkeypatch.setenv("LDAPCONF", str(tmp_path / "ldap.conf"))
    directory = directory_of(tmp_path, settings_for(nis, **wrong(what, nis, how, tmp_path)))
    with pytest.raises(DirectoryUnavailable, match=NO_TLS):
        directory.lookup("alice")


def test_a_certificate_that_has_ended_is_no_answer(own: Slapd, tmp_path: Path, how: str) -> None:
    """An hour is enough."""
    own.stop()
    own.authority.server("slapd", ["127.0.0.1"], valid=datetime.timedelta(hours=-1))
    own.start()
    directory = directory_of(tmp_path, settings_for(own, servers=[address(own, how)]))
    with pytest.raises(DirectoryUnavailable, match=NO_TLS):
        directory.lookup("alice")


def test_an_authority_that_cannot_be_read_is_said_at_the_start(nis: Slapd, tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(DirectoryUnavailable, match=r"/none/ca\.pem cannot be read: No such file"):
        directory_of(tmp_path, settings_for(nis, ca_file="/none/ca.pem"))


def test_a_file_without_certificates_is_no_authority(nis: Slapd, tmp_path: Path, how: str) -> None:
    """Nobody is trusted by it."""
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    directory = directory_of(tmp_path, settings_for(nis, servers=[address(nis, how)], ca_file=str(empty)))
    with pytest.raises(DirectoryUnavailable):
        directory.lookup("alice")


def test_without_encryption_only_when_the_settings_say_so_and_with_a_warning(
    nis: Slapd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The default for ldap:// is StartTLS; the warning says what it means and shows no password."""
    with caplog.at_level(logging.WARNING):
        directory = directory_of(tmp_path, settings_for(nis, servers=[nis.ldap], encryption="none"))
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"LDAP servers {nis.ldap} are asked without encryption: who reads the network")
    assert PASSWORD not in warning
    assert directory.lookup("alice").identity.uid == 62001


def test_a_server_without_tls_gets_no_password(own: Slapd, tmp_path: Path) -> None:
    """StartTLS that is refused is no reason to go on in the clear."""
    own.stop()
    own.without_tls()
    own.start()
    directory = directory_of(tmp_path, settings_for(own, servers=[own.ldap]))
    with pytest.raises(DirectoryUnavailable):
        directory.lookup("alice")
    clear = directory_of(tmp_path, settings_for(own, servers=[own.ldap], encryption="none"))
    assert clear.lookup("alice").identity.uid == 62001
