"""Which folders of a host the rules may mount."""

import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.render.docker_roots import check_roots, check_source

BAD = [
    *("/", "//", "/etc", "/etc/nbplatform", "/proc", "/proc/1", "/sys", "/sys/fs", "/dev", "/dev/shm", "/run"),
    *("/run/docker", "/var", "/var/run", "/var/run/docker.sock", "/var/lib", "/var/lib/docker"),
    *("/var/lib/docker/volumes", "/var/lib/containerd", "/boot", "/root", "/root/x", "/usr", "/usr/bin", "/bin"),
    *("/sbin", "/lib", "/lib64", "/srv/docker.sock", "home", "", "./home", "/home/..", "/home/./x", "/ho\nme"),
]


@pytest.mark.parametrize("root", BAD)
def test_a_root_that_is_or_holds_a_part_of_the_system_is_a_mistake(root: str) -> None:
    """Also the folders around one, and those in which sockets and other containers lie."""
    with pytest.raises(ValueError, match="mount root") as caught:
        check_roots(["/home", root])
    assert "\n" not in str(caught.value)


def test_storage_is_a_good_root() -> None:
    """With or without a slash at the end; none at all means that the rules mount nothing."""
    check_roots(["/home", "/cvmfs/", "/sps", "/srv/data", "/usr/local/sw", "/var/scratch", "/etcetera", "/running"])
    check_roots([])


@pytest.mark.parametrize("source", ["/home", "/home/alice", "/cvmfs", "/cvmfs/sw.example.org"])
def test_a_source_is_a_root_or_lies_below_one(source: str) -> None:
    """Compared without a slash at the end."""
    check_source(source, ["/home/", "/cvmfs"])


def test_a_root_that_would_hold_the_system_does_not_open_it() -> None:
    """A source is checked by itself: the roots are not trusted to have been checked."""
    with pytest.raises(Refusal, match="part of the system"):
        check_source("/var/lib/docker/volumes", ["/"])


def test_the_refusal_names_a_few_roots_and_no_endless_source() -> None:
    """It reaches the user and the log."""
    with pytest.raises(Refusal, match=r"\(/r0, /r1, /r2, /r3, /r4\)") as caught:
        check_source("/" + "x" * 5000, [f"/r{number}" for number in range(50)])
    assert len(caught.value.message) < 300


def test_without_roots_nothing_can_be_mounted() -> None:
    """The sentence says so."""
    with pytest.raises(Refusal, match=r"\(none\)"):
        check_source("/home/alice", [])
