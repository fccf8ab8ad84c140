"""The tables and objects of ``nbplatform hosts``."""

from nbplatform_spawners.hosts.report import (
    Finding,
    HostStatus,
    finding_lines,
    finding_object,
    server_lines,
    status_object,
    status_table,
)
from tests.unit.hosts_facts import GIB, container, status_of, target_of

BUSY = status_of(
    target_of("gpu01", "gpu", 1.5, gpus=("GPU-1", "GPU-2")),
    container("bob", "deep", gpus=("GPU-2",), memory=16 * GIB),
    container("ada", memory=2 * GIB, state="created"),
    container("eve", memory=8 * GIB, gpus=("GPU-1",), state="exited"),
)
LOST = HostStatus(target_of("cpu01", drain=True), "cannot be asked: it does not answer within 2 s")


def test_the_table_says_what_is_promised_of_what_may_be() -> None:
    """A created container holds, one that ended does not; of a host out of reach nothing is known."""
    assert status_table([LOST, BUSY]) == [
        "HOST   POOL  REACHABLE  DRAIN  MEMORY            GPUS    SERVERS  ENGINE  API",
        "cpu01  cpu   no         yes    ? of 32 GiB       -       ?        -       -",
        "gpu01  gpu   yes        -      18 GiB of 48 GiB  1 of 2  2        29.8.0  1.51".replace(
            "GiB  1 of", "GiB  1 of"
        ),
        "cpu01: cannot be asked: it does not answer within 2 s",
        "1 of 2 hosts reachable, 2 servers on them",
    ]


def test_hosts_with_the_same_trouble_stand_together() -> None:
    """A dozen hosts without certificates are one line."""
    lost = [HostStatus(target_of(f"cpu{number}"), "no certificates") for number in range(7)]
    assert status_table(lost)[-2:] == [
        "cpu0, cpu1, cpu2, cpu3, cpu4 and 2 more: no certificates",
        "0 of 7 hosts reachable, 0 servers",
    ]


def test_the_object_has_null_for_what_is_not_known() -> None:
    """Unknown is never 0."""
    assert status_object(LOST) == {
        "host": "cpu01",
        "pool": "cpu",
        "reachable": False,
        "problem": "cannot be asked: it does not answer within 2 s",
        "drain": True,
        "memory_promised": None,
        "memory": 32 * GIB,
        "gpus_taken": None,
        "gpus": [],
        "servers": None,
        "engine": None,
        "api": None,
    }


def test_the_object_of_a_host_lists_its_servers() -> None:
    """Each with what it holds."""
    shown = status_object(BUSY)
    assert (shown["memory_promised"], shown["gpus_taken"], shown["gpus"]) == (18 * GIB, ["GPU-2"], ["GPU-1", "GPU-2"])
    assert shown["servers"][0] == {
        "user": "bob",
        "server": "deep",
        "container": "abcabcabcabc",
        "state": "running",
        "memory": 16 * GIB,
        "gpus": ["GPU-2"],
    }


def test_servers_stand_in_a_table_by_user() -> None:
    """A table for people; nothing for none."""
    assert server_lines(BUSY.holding) == [
        "USER  SERVER     STATE    MEMORY  GPUS",
        "ada   (default)  created  2 GiB   -",
        "bob   deep       running  16 GiB  GPU-2",
    ]
    assert server_lines(()) == []


def test_a_hostile_label_cannot_write_on_the_terminal() -> None:
    """Labels are text from a host; control characters are shown, not sent."""
    (_, line) = server_lines([container("ada\x1b[2J", "x\ny")])
    assert line.startswith("ada\\x1b[2J  x\\ny")


def test_findings_are_sorted_problems_first_and_said_once() -> None:
    """What is so on several hosts is one line, and one count."""
    findings = [
        Finding("b", "image", "scipy:1 is missing"),
        Finding("a", "network", "no network yet", "note"),
        Finding("a", "image", "scipy:1 is missing"),
        Finding("a", "image", "scipy:1 is missing"),
        Finding("", "source", "20.yaml:1: no"),
    ]
    assert finding_lines(findings, 2) == [
        "rules: source: 20.yaml:1: no",
        "a, b: image: scipy:1 is missing",
        "a: note: network: no network yet",
        "2 hosts looked at: 2 problems, 1 note",
    ]
    assert finding_lines([], 1) == ["1 host looked at: 0 problems, 0 notes"]
    assert finding_object(findings[-1]) == {
        "host": None,
        "level": "problem",
        "about": "source",
        "message": "20.yaml:1: no",
    }
