"""What is wrong with hosts, judged by the rules: facts in, findings out.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..errors import Refusal
from ..render.docker_roots import check_source
from ..render.targets import is_within
from ..rules.units import format_count, format_size
from .docker_answers import HostInfo, ImageInfo, NetworkInfo
from .judge_images import image_findings
from .probe import Sight
from .report import Finding, HostStatus, named
from .uses import Source, Uses

CLOCK_SKEW = 5.0
"""Seconds that clocks may differ."""
NETWORK = "nbplatform"
"""The network that the platform makes on each host."""
_TELLS_DEVICES = (1, 50)
_READ_ONLY_WHOLE = (1, 44)
_MOST_NAMED = 10
_CDI_KIND = "nvidia.com/gpu="


@dataclass(frozen=True)
class HostFacts:
    """What was seen of one host.  Not hashable: it holds mappings.

    Attributes:
        status: whether it answered, and what it told.
        clock_ahead: seconds that its clock is ahead of this machine's, less what the question may have taken.
        certificates: what each is to how long it holds; None where that cannot be read.
        images: image to what the host has of it; None for one that is missing.
        networks: the platform's own by name, None for one that is not there; empty where nobody looked.
        sight: what the probe saw; None when there was none.
        unseen: why the probe saw nothing or not all; empty when it saw all.
        absent_roots: mount roots that the host does not have.
    """

    status: HostStatus
    clock_ahead: float = 0.0
    certificates: Mapping[str, datetime | None] = field(default_factory=dict)
    images: Mapping[str, ImageInfo | None] = field(default_factory=dict)
    networks: Mapping[str, NetworkInfo | None] = field(default_factory=dict)
    sight: Sight | None = None
    unseen: str = ""
    absent_roots: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The host's name."""
        return self.status.target.host.name


@dataclass(frozen=True)
class Expected:
    """What the hosts are held against.  Not hashable: it holds mappings.

    Attributes:
        uses: what the rules use on which host.
        roots: folders below which sources must lie.
        now: aware time of the check.
        certificate_days: days that certificates must still hold.
    """

    uses: Uses
    roots: tuple[str, ...]
    now: datetime
    certificate_days: int = 30


def judge(hosts: Sequence[HostFacts], expected: Expected) -> list[Finding]:
    """Return everything that is wrong, or worth a note.

    Args:
        hosts: all that were looked at.
        expected: what the rules say.
    """
    found = list(_sources_outside(hosts, expected))
    for facts in hosts:
        found += _certificates(facts, expected.now, timedelta(days=expected.certificate_days))
        if not facts.status.reachable or facts.status.info is None:
            found.append(Finding(facts.name, facts.status.about, _out_of_reach(facts.status)))
            continue
        found += _daemon(facts, facts.status.info)
        found += _machine(facts, facts.status.info)
        found += _gpus(facts, facts.status.info)
        found += _seen(facts, expected)
    found += image_findings({facts.name: facts.images for facts in hosts if facts.status.reachable})
    return found


def _out_of_reach(status: HostStatus) -> str:
    """Return why a host cannot be asked and, where it was asked, what to look at."""
    advice = {
        "unreachable": "is the machine up, does Docker run there, and may this machine reach its port?",
        "tls": "are ca.pem, cert.pem and key.pem still in date, and of the authority that the host trusts?",
    }
    said = status.problem or "it told nothing"
    return f"{said}: {advice[status.about]}" if said.startswith("cannot be asked") else said


def _sources_outside(hosts: Sequence[HostFacts], expected: Expected) -> Iterator[Finding]:
    """Yield the sources that every spawn with them would be refused for, each once."""
    names = {facts.name for facts in hosts}
    for source in {one.path: one for name in names for one in expected.uses.sources.get(name, ())}.values():
        try:
            check_source(source.path, expected.roots)
        except Refusal as refusal:
            advice = "list its folder in c.DockerFleetSpawner.mount_roots, and with --mount-root here"
            yield Finding("", "source", f"{source.where}: {refusal.message}; {advice}")


def _certificates(facts: HostFacts, now: datetime, must_hold: timedelta) -> Iterator[Finding]:
    for what, until in facts.certificates.items():
        if until is None:
            yield Finding(facts.name, "tls", f"{what} cannot be read: is it a PEM file?")
        elif until <= now:
            yield Finding(facts.name, "tls", f"{what} expired on {until:%Y-%m-%d}: make a new one")
        elif until - now < must_hold:
            left = format_count((until - now).days, "day")
            yield Finding(facts.name, "tls", f"{what} expires on {until:%Y-%m-%d}, in {left}: make a new one")


def _daemon(facts: HostFacts, info: HostInfo) -> Iterator[Finding]:
    skew = facts.clock_ahead
    if abs(skew) > CLOCK_SKEW:
        way = "ahead of" if skew > 0 else "behind"
        advice = "let chrony or systemd-timesyncd keep the time of both"
        yield Finding(facts.name, "clock", f"its clock is {abs(skew):.0f} s {way} this machine's: {advice}")
    if _version(info.api_version) < _READ_ONLY_WHOLE:
        what = "below a read-only mount, what the host has mounted there itself can be written"
        advice = "mount it read-only on the host, or use Docker 25 or newer"
        yield Finding(facts.name, "api", f"it speaks API {info.api_version}: {what}; {advice}", "note")
    if not info.live_restore:
        advice = 'set "live-restore": true in its /etc/docker/daemon.json'
        yield Finding(facts.name, "engine", f"servers stop whenever Docker restarts: {advice}", "note")
    for warning in info.warnings:
        if "limit" in warning:
            yield Finding(facts.name, "engine", f"Docker says {warning}: servers may take more than they were given")
    yield from _networks(facts)


def _networks(facts: HostFacts) -> Iterator[Finding]:
    for name, network in facts.networks.items():
        if network is None:
            yield Finding(facts.name, "network", f"no network '{name}' yet: the first server makes it", "note")
        elif network.icc:
            advice = f"when no server runs there, 'docker network rm {name}': the next server makes it anew"
            yield Finding(facts.name, "network", f"containers in the network '{name}' reach each other; {advice}")


def _machine(facts: HostFacts, info: HostInfo) -> Iterator[Finding]:
    host = facts.status.target.host
    if 0 < info.memory < host.memory:
        told = f"the rules give it {format_size(host.memory)}, the machine has {format_size(info.memory)}"
        yield Finding(facts.name, "memory", f"{told}: write memory: {info.memory // 1024**3}G or less")
    if host.cpus is not None and 0 < info.cpus < host.cpus:
        told = f"the rules give it {host.cpus:g} CPUs, the machine has {info.cpus}"
        yield Finding(facts.name, "cpus", f"{told}: write cpus: {info.cpus} or less")
    strange = [gpu for gpu in facts.status.gpus_taken if gpu not in host.gpus]
    if strange:
        advice = "they count as taken until those servers stop"
        yield Finding(
            facts.name, "gpu", f"servers hold {_named(strange)}, which the rules do not list: {advice}", "note"
        )


def _gpus(facts: HostFacts, info: HostInfo) -> Iterator[Finding]:
    wanted = facts.status.target.host.gpus
    if wanted and not info.cdi and "nvidia" not in info.runtimes:
        advice = "install the NVIDIA container toolkit, and run 'nvidia-ctk runtime configure' or use CDI (Docker 28.2)"
        yield Finding(facts.name, "gpu", f"Docker has neither CDI nor the runtime 'nvidia': {advice}")
    devices = _cdi_gpus(info)
    if devices is not None and wanted:
        lost = [gpu for gpu in wanted if gpu not in devices]
        if lost:
            advice = "run 'nvidia-ctk cdi generate --device-name-strategy=uuid' there"
            yield Finding(facts.name, "gpu", f"no CDI device for {_named(lost)} of the rules: {advice}")
    yield from _gpus_of_machine(facts, wanted, devices)


def _gpus_of_machine(facts: HostFacts, wanted: tuple[str, ...], devices: tuple[str, ...] | None) -> Iterator[Finding]:
    """Yield what the driver's own list says; where there is none, CDI devices must do."""
    real = facts.sight.gpus if facts.sight else None
    if real is None:
        if wanted and facts.sight and not devices:
            advice = "run 'nvidia-smi -L' there: is the driver loaded?"
            yield Finding(facts.name, "gpu", f"the ids of its GPUs were not looked at, it shows none: {advice}")
        return
    lost = [gpu for gpu in wanted if gpu not in real]
    more = [gpu for gpu in real if gpu not in wanted]
    if lost:
        has = f", which has {_named(more)} instead" if more else ""
        advice = "correct the list 'gpus' of the host"
        yield Finding(facts.name, "gpu", f"{_named(lost)} of the rules is not in the machine{has}: {advice}")
    elif more:
        yield Finding(facts.name, "gpu", f"the rules do not list {_named(more)}, which the machine has", "note")


def _seen(facts: HostFacts, expected: Expected) -> Iterator[Finding]:
    """Yield what the probe's answer says of sources and links."""
    if facts.unseen:
        yield Finding(facts.name, "not looked at", facts.unseen)
    sources = {source.path: source for source in expected.uses.sources.get(facts.name, ())}
    needed = [one for one in sources.values() if not one.optional]
    for root in facts.absent_roots:
        lost = [one.path for one in needed if is_within(one.path, root)]
        if lost:
            told = f"{root} is not there, and with it {_named(lost)}"
            yield Finding(facts.name, "source", f"{told}: mount it on the host")
    if facts.sight is None:
        return
    out = {path: to for path, to in facts.sight.links if not any(is_within(to, root) for root in expected.roots)}
    for path, to in out.items():
        advice = "a server with this mount is given that folder: replace the link, or make its folder a mount root"
        yield Finding(facts.name, "link", f"{path} leads to {to}, out of the mount roots; {advice}")
    for path in facts.sight.loops:
        yield Finding(facts.name, "link", f"{path} leads in a circle: replace the link")
    for path in facts.sight.crowded:
        yield Finding(facts.name, "not looked at", f"{path} holds too many entries to look at all for links", "note")
    yield from _missing(facts.name, [sources[path] for path in facts.sight.missing if path in sources], out)


def _missing(host: str, sources: list[Source], out: Mapping[str, str]) -> Iterator[Finding]:
    for source in sources:
        if source.path in out:  # the probe cannot see where it leads
            continue
        told = f"{source.path} is not there ({source.where})"
        if source.optional:
            yield Finding(host, "source", f"{told}; servers start without it, it is optional", "note")
        else:
            yield Finding(host, "source", f"{told}: every server that needs it is refused; make or mount it")


def _cdi_gpus(info: HostInfo) -> tuple[str, ...] | None:
    """Return the ids that CDI knows; None where the daemon does not tell."""
    if not info.cdi or _version(info.api_version) < _TELLS_DEVICES:
        return None
    return tuple(name.removeprefix(_CDI_KIND) for name in info.devices if name.startswith(_CDI_KIND))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in text.split("."))


def _named(names: Sequence[str]) -> str:
    return named(names, _MOST_NAMED)
