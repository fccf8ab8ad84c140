"""What a daemon's answers and its silence mean."""

import errno
import socket
import ssl

import pytest
import requests
import urllib3.exceptions

from nbplatform_spawners.hosts.docker_errors import (
    ContainerGone,
    HostError,
    HostRefused,
    HostUnreachable,
    ImageMissing,
    NameTaken,
    SourceMissing,
)
from nbplatform_spawners.hosts.docker_meanings import (
    is_broken,
    is_missing_network,
    is_other_version,
    meaning,
    safe,
    silence,
)

ID = "4f5c" * 16
ANSWERS = {
    "no such container": (404, "No such container: alice", ContainerGone),
    "a missing file is not a missing container": (404, "Could not find the file /x in container a", HostRefused),
    "an old daemon's missing file is neither": (404, "No such container:path: a:/x", HostRefused),
    "a proxy's own 404": (404, "page not found", HostRefused),
    "no such image": (404, "No such image: base:1", ImageMissing),
    "a missing network": (404, "network nbplatform not found", HostRefused),
    "a bind source": (400, 'invalid mount config for type "bind": bind source path does not exist: /a', SourceMissing),
    "a name taken": (409, f'Conflict. The container name "/a" is already in use by container "{ID}".', NameTaken),
    "a paused container": (409, "Container x is paused", HostRefused),
    "not allowed": (403, "authorization denied by plugin", HostRefused),
    "no such container is never believed from a 500": (500, "No such container: alice", HostUnreachable),
    "a fault of the daemon's own": (500, "", HostUnreachable),
    "it could not kill": (500, "cannot stop container: tried to kill container, but did not receive an exit event",
                          HostUnreachable),
    "a proxy before it": (502, "Bad Gateway", HostUnreachable),
    "it shuts down": (503, "service unavailable", HostUnreachable),
    "not implemented": (501, "configured logging driver does not support reading", HostRefused),
    "a full disk": (500, "mkdir /var/lib/docker/x: no space left on device", HostRefused),
    "a read-only disk": (500, "open /var/lib/docker/x: read-only file system", HostRefused),
    "runc": (500, "OCI runtime create failed: container_linux.go:380: exec: not found", HostRefused),
    "a port in use": (500, "driver failed programming external connectivity: port is already allocated", HostRefused),
    "no GPU driver": (500, 'could not select device driver "nvidia" with capabilities: [[gpu]]', HostRefused),
    "no CDI device": (500, "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=1", HostRefused),
}  # fmt: skip


@pytest.mark.parametrize(("status", "said", "kind"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_means_what_its_text_says_positively(status: int, said: str, kind: type[HostError]) -> None:
    """Only what is known to be definite is definite; a 500 alone leaves open what happened."""
    error = meaning("gpu01", status, said)
    assert type(error) is kind
    assert error.host == "gpu01"
    assert "gpu01" in str(error)
    if isinstance(error, HostRefused):
        assert error.status == status


def test_what_is_missing_and_who_has_the_name_is_told() -> None:
    """The fleet acts on the folder that is missing, and on the container that has the name."""
    missing = meaning("a", 400, 'invalid mount config for type "bind": bind source path does not exist: /sps/my lab')
    taken = meaning("a", 409, f'Conflict. The container name "/x" is already in use by container "{ID}". You have')
    unsaid = meaning("a", 409, 'Conflict. The name "x" is already in use')
    assert isinstance(missing, SourceMissing)
    assert missing.source == "/sps/my lab"
    assert isinstance(taken, NameTaken)
    assert taken.container == ID
    assert isinstance(unsaid, NameTaken)
    assert unsaid.container == ""


def test_a_mount_that_vanished_after_the_creation_is_a_missing_source() -> None:
    """runc tells it in its own words."""
    said = 'OCI runtime create failed: error mounting "/sps/a" to rootfs at "/a": mount: no such file or directory'
    error = meaning("a", 500, said)
    assert isinstance(error, SourceMissing)
    assert error.source == "/sps/a"


def test_words_of_a_daemon_are_bounded_and_carry_no_secret() -> None:
    """Registries sign addresses with secrets in their query; line breaks could forge a log line."""
    shown = safe('Get "https://bob:pw@store.example/blob?X-Amz-Signature=s3cret&a=b": dial\nERROR forged' + "x" * 1000)
    assert "s3cret" not in shown
    assert "pw" not in shown
    assert "\n" not in shown
    assert len(shown) <= 300
    assert "https://store.example/blob" in shown


def test_a_missing_network_and_another_version_are_recognised() -> None:
    """Both mean that nothing was done, and that something remembered is out of date."""
    assert is_missing_network(meaning("a", 404, "failed to set up container networking: network nbp not found"))
    assert not is_missing_network(meaning("a", 404, "No such container: network"))
    assert is_other_version(400, "client version 1.51 is too new. Maximum supported API version is 1.41")
    assert is_other_version(
        400, "client version 1.40 is too old. Minimum supported API version is 1.44, please upgrade"
    )
    assert not is_other_version(500, "client version 1.40 is too old")
    assert not is_other_version(400, "invalid reference format")


def wrapped(error: Exception) -> Exception:
    """Return an error as requests hands it on."""
    return requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", error))


SILENCES = {
    "refused": (wrapped(ConnectionRefusedError(111, "no")), "it refuses the connection"),
    "slow": (requests.ReadTimeout("read timed out"), "it does not answer within 5 s"),
    "slow in the middle": (urllib3.exceptions.ReadTimeoutError(None, "", "slow"), "it does not answer within 5 s"),  # type: ignore[arg-type]
    "out of time": (TimeoutError(), "it does not answer within 5 s"),
    "no connection": (requests.ConnectTimeout("slow"), "no connection to it comes about"),
    "reset": (wrapped(ConnectionResetError(104, "reset")), "it broke the connection"),
    "name": (wrapped(socket.gaierror(-2, "unknown")), "its name is not known"),
    "route": (wrapped(OSError(errno.EHOSTUNREACH, "no route")), "there is no way to it"),
    "socket": (wrapped(FileNotFoundError(2, "No such file or directory")), "its socket cannot be used"),
    "TLS": (requests.exceptions.SSLError(ssl.SSLError(1, "alert")), "TLS is refused"),
    "nonsense": (requests.exceptions.JSONDecodeError("no", "<html>", 0), "it does not speak as Docker does"),
}


@pytest.mark.parametrize(("error", "why"), SILENCES.values(), ids=SILENCES)
def test_silence_is_explained_in_one_sentence(error: Exception, why: str) -> None:
    """Whatever the cause, the outcome is unknown, and the sentence says what an administrator can look for."""
    said = silence("cpu01", error, 5.0)
    assert type(said) is HostUnreachable
    assert str(said).startswith(f"host cpu01 cannot be asked: {why}")


def test_only_a_connection_that_ended_without_an_answer_is_broken() -> None:
    """What was slow is not asked again: it would be slow again."""
    assert is_broken(wrapped(ConnectionResetError()))
    assert is_broken(wrapped(BrokenPipeError()))
    assert not is_broken(requests.ReadTimeout())
    assert not is_broken(wrapped(ConnectionRefusedError()))
    assert not is_broken(requests.exceptions.SSLError(ssl.SSLCertVerificationError("bad")))
