"""What ``nbplatform hosts check`` makes of what it saw."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from nbplatform_spawners.hosts.docker_answers import ImageInfo, NetworkInfo
from nbplatform_spawners.hosts.judge import HostFacts, judge
from nbplatform_spawners.hosts.judge_images import image_findings
from nbplatform_spawners.hosts.probe import Sight
from nbplatform_spawners.hosts.report import Finding, HostStatus
from nbplatform_spawners.hosts.uses import Source
from tests.unit.hosts_facts import GIB, NOW, container, expected, facts_of, status_of, target_of

HOME = Source("/home/ada", optional=False, where="90.yaml:3")
SOFT = Source("/cvmfs/soft", optional=True, where="90.yaml:3")
GPUS = ("GPU-1", "GPU-2")


def found_in(facts: HostFacts, *sources: Source) -> list[tuple[str, str, str]]:
    """Return (level, label, message) of everything found on one host."""
    found = judge([facts], expected(*sources, host=facts.name))
    assert all(finding.host == facts.name for finding in found)
    return [(finding.level, finding.about, finding.message) for finding in found]


def gpu_host(**info: Any) -> HostStatus:
    """Return the status of a host with two GPUs in the rules."""
    return status_of(target_of("gpu01", gpus=GPUS), **info)


def seen(*gpus: str) -> Sight:
    """Return what a probe saw on a machine with these GPUs."""
    return Sight(gpus=gpus, whole=True)


CDI = ("nvidia.com/gpu=GPU-1", "nvidia.com/gpu=GPU-2", "nvidia.com/gpu=all")
CERTIFICATE = "the certificate cert.pem"
CONFIGURE = "install the NVIDIA container toolkit, and run 'nvidia-ctk runtime configure' or use CDI (Docker 28.2)"
GENERATE = "run 'nvidia-ctk cdi generate --device-name-strategy=uuid' there"
LEADS = "a server with this mount is given that folder: replace the link, or make its folder a mount root"

# id, what is seen, the one finding
FINDINGS = [
    (
        "a certificate that ends soon",
        facts_of(certificates={CERTIFICATE: NOW + timedelta(days=29, hours=5)}),
        ("problem", "tls", f"{CERTIFICATE} expires on 2026-12-22, in 29 days: make a new one"),
    ),
    (
        "a certificate that has ended",
        facts_of(certificates={CERTIFICATE: NOW}),
        ("problem", "tls", f"{CERTIFICATE} expired on 2026-11-23: make a new one"),
    ),
    (
        "a certificate that is none",
        facts_of(certificates={CERTIFICATE: None}),
        ("problem", "tls", f"{CERTIFICATE} cannot be read: is it a PEM file?"),
    ),
    (
        "a host out of reach",
        facts_of(HostStatus(target_of(), "cannot be asked: nobody is there")),
        (
            "problem",
            "unreachable",
            "cannot be asked: nobody is there: is the machine up, does Docker run there,"
            " and may this machine reach its port?",
        ),
    ),
    (
        "a host that does not take the certificate",
        facts_of(HostStatus(target_of(), "cannot be asked: TLS is refused", "tls")),
        (
            "problem",
            "tls",
            "cannot be asked: TLS is refused: are ca.pem, cert.pem and key.pem still in date,"
            " and of the authority that the host trusts?",
        ),
    ),
    (
        "a key that others can read",
        facts_of(HostStatus(target_of(), "set its mode to 0400", "tls")),
        ("problem", "tls", "set its mode to 0400"),
    ),
    (
        "a host that refuses",
        facts_of(HostStatus(target_of(), "the Docker is too old", "refused")),
        ("problem", "refused", "the Docker is too old"),
    ),
    (
        "a clock that is ahead",
        facts_of(clock_ahead=61.2),
        (
            "problem",
            "clock",
            "its clock is 61 s ahead of this machine's: let chrony or systemd-timesyncd keep the time of both",
        ),
    ),
    (
        "a clock that is behind",
        facts_of(clock_ahead=-5.6),
        (
            "problem",
            "clock",
            "its clock is 6 s behind this machine's: let chrony or systemd-timesyncd keep the time of both",
        ),
    ),
    (
        "an old API",
        facts_of(status_of(api_version="1.43")),
        (
            "note",
            "api",
            "it speaks API 1.43: below a read-only mount, what the host has mounted there itself can be written;"
            " mount it read-only on the host, or use Docker 25 or newer",
        ),
    ),
    (
        "servers end with the daemon",
        facts_of(status_of(live_restore=False)),
        (
            "note",
            "engine",
            'servers stop whenever Docker restarts: set "live-restore": true in its /etc/docker/daemon.json',
        ),
    ),
    (
        "a limit that the kernel cannot hold",
        facts_of(status_of(warnings=("'WARNING: No memory limit support'", "'WARNING: bridge-nf-call is off'"))),
        (
            "problem",
            "engine",
            "Docker says 'WARNING: No memory limit support': servers may take more than they were given",
        ),
    ),
    (
        "no network yet",
        facts_of(networks={"nbplatform": None}),
        ("note", "network", "no network 'nbplatform' yet: the first server makes it"),
    ),
    (
        "a network in which servers reach each other",
        facts_of(networks={"nbplatform": NetworkInfo("1", "nbplatform", "bridge", icc=True)}),
        (
            "problem",
            "network",
            "containers in the network 'nbplatform' reach each other; when no server runs there,"
            " 'docker network rm nbplatform': the next server makes it anew",
        ),
    ),
    (
        "less memory than the rules say",
        facts_of(status_of(memory=int(31.3 * GIB))),
        (
            "problem",
            "memory",
            "the rules give it 32 GiB, the machine has 31.3 GiB: write memory: 31G or less",
        ),
    ),
    (
        "fewer CPUs than the rules say",
        facts_of(status_of(cpus=8)),
        ("problem", "cpus", "the rules give it 16 CPUs, the machine has 8: write cpus: 8 or less"),
    ),
    (
        "a GPU that the rules no longer list",
        facts_of(status_of(None, container("ada", gpus=("GPU-9",)))),
        (
            "note",
            "gpu",
            "servers hold GPU-9, which the rules do not list: they count as taken until those servers stop",
        ),
    ),
    (
        "no way to hand out GPUs",
        facts_of(gpu_host(cdi=False), sight=seen(*GPUS)),
        ("problem", "gpu", f"Docker has neither CDI nor the runtime 'nvidia': {CONFIGURE}"),
    ),
    (
        "no CDI device for a GPU",
        facts_of(gpu_host(devices=CDI[1:]), sight=seen(*GPUS)),
        ("problem", "gpu", f"no CDI device for GPU-1 of the rules: {GENERATE}"),
    ),
    (
        "a GPU of the rules is not in the machine",
        facts_of(gpu_host(devices=CDI), sight=seen("GPU-1")),
        (
            "problem",
            "gpu",
            "GPU-2 of the rules is not in the machine: correct the list 'gpus' of the host",
        ),
    ),
    (
        "another GPU is in the machine",
        facts_of(gpu_host(devices=CDI), sight=seen("GPU-1", "GPU-3")),
        (
            "problem",
            "gpu",
            "GPU-2 of the rules is not in the machine, which has GPU-3 instead: correct the list 'gpus' of the host",
        ),
    ),
    (
        "a GPU that the rules do not list",
        facts_of(gpu_host(devices=CDI), sight=seen(*GPUS, "GPU-3")),
        ("note", "gpu", "the rules do not list GPU-3, which the machine has"),
    ),
    (
        "GPUs that nobody can see",
        facts_of(gpu_host(cdi=False, runtimes=("nvidia", "runc"))),
        (
            "problem",
            "gpu",
            "the ids of its GPUs were not looked at, it shows none: run 'nvidia-smi -L' there: is the driver loaded?",
        ),
    ),
    (
        "no probe",
        facts_of(sight=None, unseen="sources: the host has no image"),
        ("problem", "not looked at", "sources: the host has no image"),
    ),
    (
        "a folder too full to look at",
        facts_of(sight=Sight(crowded=("/home",), whole=True)),
        ("note", "not looked at", "/home holds too many entries to look at all for links"),
    ),
    (
        "a source that is missing",
        facts_of(sight=Sight(missing=("/home/ada",), whole=True)),
        (
            "problem",
            "source",
            "/home/ada is not there (90.yaml:3): every server that needs it is refused; make or mount it",
        ),
    ),
    (
        "an optional source that is missing",
        facts_of(sight=Sight(missing=("/cvmfs/soft",), whole=True)),
        (
            "note",
            "source",
            "/cvmfs/soft is not there (90.yaml:3); servers start without it, it is optional",
        ),
    ),
    (
        "a mount root that is missing",
        facts_of(absent_roots=("/home", "/cvmfs")),
        ("problem", "source", "/home is not there, and with it /home/ada: mount it on the host"),
    ),
    (
        "a link that leads out",
        facts_of(sight=Sight(missing=("/home/ada",), links=(("/home/ada", "/etc"),), whole=True)),
        ("problem", "link", f"/home/ada leads to /etc, out of the mount roots; {LEADS}"),
    ),
    (
        "a link to a folder whose name begins like a root",
        facts_of(sight=Sight(links=(("/home/ada", "/home2/ada"),), whole=True)),
        ("problem", "link", f"/home/ada leads to /home2/ada, out of the mount roots; {LEADS}"),
    ),
    (
        "a link in a circle",
        facts_of(sight=Sight(loops=("/home/ada",), whole=True)),
        ("problem", "link", "/home/ada leads in a circle: replace the link"),
    ),
]


@pytest.mark.parametrize(("_", "facts", "finding"), FINDINGS, ids=[row[0] for row in FINDINGS])
def test_what_is_wrong_is_named_with_what_to_do(_: str, facts: HostFacts, finding: tuple[str, str, str]) -> None:
    """One thing wrong is one finding, and what is right is none."""
    assert found_in(facts, HOME, SOFT) == [finding]


# id, what is seen
FINE = [
    ("all as it should be", facts_of()),
    ("a clock within five seconds", facts_of(clock_ahead=-5.0)),
    ("a link within the roots", facts_of(sight=Sight(links=(("/home/ada", "/home/b"),), whole=True))),
    ("more memory and CPUs than the rules give", facts_of(status_of(memory=64 * GIB, cpus=64))),
    ("GPUs by CDI and the driver", facts_of(gpu_host(devices=CDI), sight=seen("GPU-2", "GPU-1"))),
    ("GPUs by CDI without a word of the driver", facts_of(gpu_host(devices=CDI))),
    ("GPUs by the runtime", facts_of(gpu_host(cdi=False, runtimes=("nvidia",)), sight=seen(*GPUS))),
    ("CDI that does not tell its devices", facts_of(gpu_host(api_version="1.49"), sight=seen(*GPUS))),
    ("no GPU in rules and machine", facts_of(sight=Sight(gpus=(), whole=True))),
]


@pytest.mark.parametrize(("_", "facts"), FINE, ids=[row[0] for row in FINE])
def test_what_is_right_is_no_finding(_: str, facts: HostFacts) -> None:
    """A check of good hosts is silent."""
    assert found_in(facts, HOME, SOFT) == []


def test_a_source_outside_the_roots_is_a_finding_of_the_rules() -> None:
    """Once for all hosts: every spawn would be refused for it."""
    facts = [facts_of(status_of(target_of(name))) for name in ("cpu01", "cpu02")]
    sources = (Source("/sps/x", optional=False, where="20.yaml:7"), HOME)
    wanted = expected(*sources)
    found = judge(facts, wanted)
    assert [(finding.host, finding.about) for finding in found] == [("", "source")]
    assert found[0].message.startswith("20.yaml:7: '/sps/x' cannot be mounted: ")
    assert "--mount-root" in found[0].message


def test_of_a_host_out_of_reach_nothing_else_is_said() -> None:
    """Nobody looked: missing images there would be a guess."""
    facts = facts_of(HostStatus(target_of(), "cut off"), images={"scipy:1": None}, networks={"nbplatform": None})
    assert found_in(facts) == [("problem", "unreachable", "cut off")]


def image(id_: str, *digests: str) -> ImageInfo:
    """Return an image that registries know under these digests."""
    return ImageInfo(f"sha256:{id_}", tuple(f"reg/scipy@sha256:{digest}" for digest in digests), 1, "")


# id, host to image, (host, level, what the message says)
IMAGES = [
    ("the same digest, other ids", {"a": image("1", "d"), "b": image("2", "d")}, []),
    ("no digests, the same id", {"a": image("1"), "b": image("1")}, []),
    ("one has a digest, the same id", {"a": image("1", "d"), "b": image("1")}, []),
    (
        "two digests, one of which is the other's",
        {"a": image("1", "d", "e"), "b": image("2", "e")},
        [],
    ),
    (
        "missing",
        {"a": image("1", "d"), "b": None},
        [("b", "problem", "scipy:1 is missing: run 'nbplatform hosts pull'")],
    ),
    (
        "another digest",
        {"a": image("1", "e"), "b": image("2", "d"), "c": image("3", "d")},
        [("a", "problem", "scipy:1 is sha256:e here and sha256:d on b and 1 more: run 'nbplatform hosts pull'")],
    ),
    (
        "no digest, another id",
        {"a": image("1"), "b": image("2")},
        [("b", "problem", "scipy:1 is id sha256:2 here and id sha256:1 on a: run 'nbplatform hosts pull'")],
    ),
    (
        "loaded by hand beside a registry's",
        {"a": image("1"), "b": image("2", "d")},
        [
            (
                "a",
                "note",
                "scipy:1 is id sha256:1 here and sha256:d on b: one came from no registry, so they cannot be compared",
            )
        ],
    ),
]


@pytest.mark.parametrize(("_", "hosts", "findings"), IMAGES, ids=[row[0] for row in IMAGES])
def test_images_are_compared_by_digest(
    _: str, hosts: dict[str, ImageInfo | None], findings: list[tuple[str, str, str]]
) -> None:
    """Ids alone say nothing between two image stores; most hosts are right."""
    found = list(image_findings({host: {"scipy:1": has} for host, has in hosts.items()}))
    assert found == [Finding(host, "image", said, level) for host, level, said in findings]  # type: ignore[arg-type]


def test_a_host_that_does_not_need_an_image_may_lack_it() -> None:
    """Only what the rules may run there counts."""
    assert list(image_findings({"a": {"scipy:1": image("1", "d")}, "b": {}})) == []
