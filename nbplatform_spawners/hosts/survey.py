"""Ask the hosts of the rules, all at once: how they are, what a check wants to know, and to fetch images.

A host that does not answer is no error here but an answer, and delays none of the others.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from ..names import bounded
from ..render.targets import is_within
from .containers import HUB_LABEL, Container, containers_of
from .docker_answers import HostInfo, ImageInfo, NetworkInfo
from .docker_errors import CertificateProblem, HostError, HostRefused, SourceMissing
from .docker_host import DockerHost
from .docker_tls import Certificates, expires, find_certificates
from .judge import NETWORK, HostFacts
from .probe import LIVES, SCRIPT, Sight, merged, probe_config, probe_question, read_answer
from .report import Asking, HostStatus, Target
from .uses import Uses

_PORT = 8888
_CHUNK = 12 * 1024
"""Bytes of one question to a probe: its answer must fit into what is kept of a command's output."""
_UNSEEN = "sources, links and ids of GPUs"
_SLACK = 1.0
"""Seconds that a host may take beyond the limit of its slowest call, to be told of that call's own problem."""


@dataclass(frozen=True)
class Wanted:
    """What a check looks at.  Not hashable: it holds mappings.

    Attributes:
        uses: images and sources by host.
        roots: mount roots.
        probe_image: image of the probe; empty for the first of the host's images that it has.
    """

    uses: Uses
    roots: tuple[str, ...]
    probe_image: str = ""


async def look(target: Target, asking: Asking) -> HostStatus:
    """Return how a host is; never raises on what the host does."""
    return (await _look(target, asking))[0]


async def look_closely(target: Target, asking: Asking, wanted: Wanted) -> HostFacts:
    """Return all that a check wants to know of a host; never raises on what the host does."""
    (status, clock_ahead), certificates = await asyncio.gather(_look(target, asking), _certificates(target, asking))
    facts = HostFacts(status, clock_ahead, certificates=certificates)
    if not status.reachable:
        return facts
    try:
        async with _door(target, asking) as door:
            images = await _images(door, wanted.uses.images.get(door.name, ()))
            network = await _network(door)
            facts = replace(facts, images=images, networks={NETWORK: network})
            return await _probed(door, wanted, facts)
    except HostError as error:
        return replace(facts, unseen=f"the rest was not looked at: {_plain(error)}")


async def pull(target: Target, asking: Asking, image: str, tell: Callable[[int, int], None]) -> str:
    """Fetch an image on a host; return why that failed, empty when it is there now.

    Args:
        target: where.
        asking: how.
        image: which.
        tell: takes bytes done and bytes in all.
    """
    try:
        async with _door(target, asking) as door:
            await door.info()  # a host that hangs is told by this call's limit, not by the long one of a fetch
            await door.pull(image, tell)
    except HostError as error:
        said = _plain(error)
        return said.partition(f"{bounded(image, 200)}: ")[2] or said  # the image stands in the line already
    return ""


@asynccontextmanager
async def _door(target: Target, asking: Asking) -> AsyncIterator[DockerHost]:
    """Open a host and close it afterwards.

    Raises:
        CertificateProblem: there are no good certificates for it, or its address cannot be used.
    """
    host, certificates = target.host, _certificates_for(target, asking)
    if certificates is None and urlsplit(host.url).scheme == "tcp":
        raise CertificateProblem(host.name, "no client certificates: name their folder with --tls-directory")
    try:
        door = DockerHost(
            host.name,
            host.url,
            certificates,
            hub_id=asking.hub_id,
            port=_PORT,
            limit=asking.limit,
            pull_limit=asking.pull_limit,
        )
    except ValueError as error:
        raise CertificateProblem(host.name, str(error)) from error
    try:
        yield door
    finally:
        door.close()


def _certificates_for(target: Target, asking: Asking) -> Certificates | None:
    if urlsplit(target.host.url).scheme == "unix":
        return None
    return find_certificates(asking.tls_directory, target.host.name)


async def _look(target: Target, asking: Asking) -> tuple[HostStatus, float]:
    """Return how a host is, and how far its clock is ahead."""
    try:
        async with _door(target, asking) as door, asyncio.timeout(asking.limit + _SLACK):
            before = datetime.now(UTC)
            info = await door.info()
            ahead = _ahead(info, before, datetime.now(UTC))
            containers = await _containers(door, asking.hub_id)
    except CertificateProblem as error:
        return HostStatus(target, _plain(error), "tls"), 0.0
    except HostRefused as error:
        return HostStatus(target, _plain(error), "refused"), 0.0
    except HostError as error:
        about = "tls" if "TLS" in error.message or "certificate" in error.message else "unreachable"
        return HostStatus(target, _plain(error), about), 0.0
    except TimeoutError:
        return HostStatus(target, f"it did not answer all within {asking.limit:g} s"), 0.0
    return HostStatus(target, info=info, containers=containers), ahead


def _plain(error: HostError) -> str:
    """Return an error's sentence without the host's name before it: that stands in the line already."""
    return error.message.removeprefix(f"host {error.host}").removeprefix(":").strip()


def _ahead(info: HostInfo, before: datetime, after: datetime) -> float:
    """Return by how many seconds a host's clock is outside the time in which it was asked."""
    if info.clock is None or before <= info.clock <= after:
        return 0.0
    return (info.clock - (after if info.clock > after else before)).total_seconds()


async def _containers(door: DockerHost, hub_id: str) -> tuple[Container, ...]:
    if hub_id:
        return await door.containers()
    listed = await door.call("containers", all=True, filters={"label": [HUB_LABEL]})
    return containers_of(door.name, listed, _PORT)


async def _certificates(target: Target, asking: Asking) -> dict[str, datetime | None]:
    """Return how long the certificates of both sides hold; empty where there are none that can be used."""
    try:
        files = _certificates_for(target, asking)
    except CertificateProblem:
        return {}
    if files is None:
        return {}
    own = {f"the certificate {path}": expires(path) for path in (files.ca, files.cert)}
    theirs = await _server_certificate(target.host.url, files, asking.limit)
    return {**own, "the host's own certificate": theirs} if theirs else own


async def _server_certificate(url: str, files: Certificates, limit: float) -> datetime | None:
    """Return how long the certificate holds that a host shows; None when no connection comes about."""
    address = urlsplit(url)
    with suppress(OSError, TimeoutError):  # whatever is wrong there, the daemon's silence has been told already
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.cert, files.key, password=lambda: "")
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(address.hostname, address.port, ssl=context)
        try:
            shown = writer.get_extra_info("peercert") or {}
        finally:
            writer.transport.abort()
        if "notAfter" in shown:
            return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    return None


async def _images(door: DockerHost, images: tuple[str, ...]) -> dict[str, ImageInfo | None]:
    found = await asyncio.gather(*(door.has_image(image) for image in images))
    return dict(zip(images, found, strict=True))


async def _network(door: DockerHost) -> NetworkInfo | None:
    try:
        return await door.ensure_network(NETWORK)
    except HostRefused as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None


async def _probed(door: DockerHost, wanted: Wanted, facts: HostFacts) -> HostFacts:
    """Return the facts with what a probe on the host saw."""
    image = wanted.probe_image or next((name for name, found in facts.images.items() if found), "")
    if not image:
        advice = "pull one, or name another that is there with --probe-image"
        return replace(facts, unseen=f"{_UNSEEN}: the host has no image of the rules to look with; {advice}")
    try:
        sight, absent = await _probe(door, wanted, image)
    except HostError as error:
        advice = "the image must have sh, sleep and readlink; name another with --probe-image"
        return replace(facts, unseen=f"{_UNSEEN}, with the image {image}: {_plain(error)}; {advice}")
    unseen = "" if sight.whole else f"some {_UNSEEN}: the answer was too long, or took too long"
    return replace(facts, sight=sight, absent_roots=absent, unseen=unseen)


async def _probe(door: DockerHost, wanted: Wanted, image: str) -> tuple[Sight, tuple[str, ...]]:
    """Return what a probe saw, and the mount roots that the host does not have."""
    roots = list(wanted.roots)
    name = f"nbplatform-probe-{secrets.token_hex(4)}"
    while True:
        try:
            container = await door.create(probe_config(image, roots), name)
        except SourceMissing as missing:
            if missing.source not in roots:
                raise
            roots.remove(missing.source)
        else:
            break
    absent = tuple(root for root in wanted.roots if root not in roots)
    try:
        await door.start(container)
        return await _ask_probe(door, container, wanted, absent), absent
    finally:
        with suppress(HostError):  # it removes itself within a few minutes
            await door.remove(container)


async def _ask_probe(door: DockerHost, container: str, wanted: Wanted, absent: tuple[str, ...]) -> Sight:
    """Ask in questions that are not too long, for half of the container's life at most."""
    seen: list[Sight] = []
    deadline = asyncio.get_running_loop().time() + LIVES / 2
    for question in _questions(door.name, wanted, absent):
        if asyncio.get_running_loop().time() > deadline:
            seen.append(Sight())
            break
        status, answer = await door.execute(container, ["/bin/sh", "-c", SCRIPT], question)
        if status != 0:
            raise HostRefused(door.name, f"the script ended with status {status}")
        seen.append(read_answer(answer))
    return merged(seen)


def _questions(host: str, wanted: Wanted, absent: tuple[str, ...]) -> Iterator[bytes]:
    """Yield the questions about all sources, then those about the folders; always one, for the GPUs."""
    roots = tuple(root for root in wanted.roots if root not in absent)
    paths = [source.path for source in wanted.uses.sources.get(host, ()) if _is_visible(source.path, roots)]
    folders = dict.fromkeys([*roots, *wanted.uses.folders.get(host, ())])
    yield from _chunks(paths)
    yield probe_question((), [folder for folder in folders if _is_visible(folder, roots)])


def _chunks(paths: list[str]) -> Iterator[bytes]:
    chunk: list[str] = []
    size = 0
    for path in paths:
        chunk.append(path)
        size += len(path)
        if size > _CHUNK:
            yield probe_question(chunk, ())
            chunk, size = [], 0
    if chunk:
        yield probe_question(chunk, ())


def _is_visible(path: str, roots: tuple[str, ...]) -> bool:
    return any(is_within(path, root) for root in roots)
