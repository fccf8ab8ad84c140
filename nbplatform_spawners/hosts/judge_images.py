"""Whether all hosts have the images of the rules, and the same.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .docker_answers import ImageInfo
from .report import Finding

_ADVICE = "run 'nbplatform hosts pull'"
_SHOWN = 22
"""Characters of a digest that are shown: `x."""


def image_findings(hosts: Mapping[str, Mapping[str, ImageInfo | None]]) -> Iterator[Finding]:
    """Yield what is wrong with images.

    Images are the same when registries know them under one digest.  Ids are compared only where there is no digest on
    either side: the two image stores of Docker give one image different ids.

    Args:
        hosts: host to the images that it should have, each with what it has of it.
    """
    for image in sorted({image for images in hosts.values() for image in images}):
        there = {host: found for host, images in hosts.items() if (found := images.get(image)) is not None}
        for host, images in hosts.items():
            if image in images and images[image] is None:
                yield Finding(host, "image", f"{image} is missing: {_ADVICE}")
        yield from _differences(image, there)


def _differences(image: str, there: Mapping[str, ImageInfo]) -> Iterator[Finding]:
    """Yield the hosts whose image is not that of most others; of as many, one that a registry knows, then the first."""
    groups: list[list[str]] = []
    for host, found in there.items():
        group = next((group for group in groups if _same(found, there[group[0]])), None)
        groups.append([host]) if group is None else group.append(host)
    groups.sort(key=lambda group: (-len(group), not there[group[0]].repo_digests))
    for group in groups[1:]:
        usual, own = there[groups[0][0]], there[group[0]]
        told = f"{image} is {_shown(own)} here and {_shown(usual)} on {_hosts(groups[0])}"
        for host in group:
            if bool(own.repo_digests) == bool(usual.repo_digests):
                yield Finding(host, "image", f"{told}: {_ADVICE}")
            else:
                advice = "one came from no registry, so they cannot be compared"
                yield Finding(host, "image", f"{told}: {advice}", "note")


def _same(one: ImageInfo, other: ImageInfo) -> bool:
    digests = [{name.rpartition("@")[2] for name in found.repo_digests} for found in (one, other)]
    if digests[0] and digests[1]:
        return not digests[0].isdisjoint(digests[1])
    return one.id == other.id


def _shown(found: ImageInfo) -> str:
    return (found.repo_digests[0].rpartition("@")[2] if found.repo_digests else f"id {found.id}")[:_SHOWN]


def _hosts(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
