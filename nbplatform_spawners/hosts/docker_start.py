"""From a plan to a running container on one host: what is asked in which order, and what each answer means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import Refusal
from ..identity import Identity
from ..plan import SpawnPlan
from ..render.docker_names import names_archive
from .containers import OWNER_LABELS, labels_of
from .docker_errors import ImageMissing, NameTaken, SourceMissing
from .docker_host import DockerHost

PullPolicy = Literal["always", "ifnotpresent", "never", "skip"]
_NAME_FILES = ("/etc/passwd", "/etc/group")


@dataclass(frozen=True)
class Order:
    """What is to be created.

    Attributes:
        plan: what the server is given.
        render: makes the body of the request from a plan.
        name: of the container.
        hub_id: whose containers may be replaced.
        pull: when the image is fetched.
        tell: takes (bytes done, bytes in all) while the image is fetched.
    """

    plan: SpawnPlan
    render: Callable[[SpawnPlan], dict[str, Any]]
    name: str
    hub_id: str
    pull: PullPolicy
    tell: Callable[[int, int], None]


async def create(host: DockerHost, order: Order) -> str:
    """Create the container of a server and return its id.

    An image that is not there is fetched; an optional mount whose source is not there is left out; what an earlier
    server of the same name left behind is removed.

    Raises:
        Refusal: ``storage``: a source that is not optional is missing.
        HostError: the host refuses, or cannot be asked.  After ``HostUnreachable`` it is not known whether the
            container was made.
    """
    if order.pull == "always":
        await _pull(host, order)
    plan, pulled = order.plan, order.pull == "always"
    replaced = False
    while True:
        try:
            return await host.create(order.render(plan), order.name)
        except ImageMissing:
            if pulled or order.pull in ("never", "skip"):
                raise
            await _pull(host, order)
            pulled = True
        except SourceMissing as missing:
            plan = _without(plan, missing)
        except NameTaken as taken:
            if replaced:
                raise
            await _remove_own(host, order, taken)
            replaced = True


async def _pull(host: DockerHost, order: Order) -> None:
    order.tell(0, 0)  # a registry may take its time until the first bytes come
    await host.pull(order.plan.image or "", order.tell)


def _without(plan: SpawnPlan, missing: SourceMissing) -> SpawnPlan:
    """Return the plan without the optional mounts of a missing source.

    Raises:
        Refusal: one of them is not optional.
    """
    concerned = [mount for mount in plan.mounts if mount.source == missing.source]
    if not concerned or not all(mount.optional for mount in concerned):
        raise Refusal("storage", f"{missing.source} does not exist on {missing.host}") from missing
    return replace(plan, mounts=tuple(mount for mount in plan.mounts if mount not in concerned))


async def _remove_own(host: DockerHost, order: Order, taken: NameTaken) -> None:
    """Remove what an earlier start of the same server left under the name.

    Raises:
        NameTaken: it belongs to somebody else.
    """
    found = await host.inspect(taken.container or order.name)
    own = labels_of(order.plan, order.hub_id)
    if any(found.labels.get(label) != own[label] for label in OWNER_LABELS):
        raise taken
    await host.remove(found.id)


class Names:
    """The names of users and groups that an image brings, read once from each image."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[str, str]] = {}

    async def give(self, host: DockerHost, container: str, identity: Identity) -> None:
        """Let the names of an identity resolve in a created container.

        Args:
            host: where the container is.
            container: its id.
            identity: whose server.

        Raises:
            HostError: the host cannot do it.
        """
        image = (await host.inspect(container)).image_id  # its name may be that of another image tomorrow
        if image not in self._read:
            texts = [await host.read(container, path) for path in _NAME_FILES]
            passwd, group = ((text or b"").decode(errors="surrogateescape") for text in texts)
            self._read[image] = passwd, group
        await host.put(container, "/", names_archive(identity, *self._read[image]))
