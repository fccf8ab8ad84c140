"""Which jobs belong to a server that is gone: the only ones that the reaper ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .models import JobState
from .tag import Tag, read_tag

Server = tuple[str, str]
"""Names of a user and of a server of theirs; the default server's name is empty."""


@dataclass(frozen=True)
class ServerState:
    """What the hub says of a server.

    Attributes:
        run: which start of the server it is; None when the hub does not know.
        pending: it is being started, stopped or looked for.
        ready: it runs.
    """

    run: str | None
    pending: bool
    ready: bool


@dataclass(frozen=True)
class Orphan:
    """A job whose server is gone.

    Attributes:
        job: the job.
        tag: its tag.
        why: one clause for the log.
    """

    job: JobState
    tag: Tag
    why: str


def orphans(jobs: Iterable[JobState], servers: Mapping[Server, ServerState], hub: str) -> list[Orphan]:
    """Return the jobs of this hub whose server is positively gone.

    A job counts only when it has not ended, its tag is of this hub, and it runs as the user whom the tag names: nobody
    can have another's job ended by a tag.  Its server is gone when the hub has none of that name, or runs another start
    of it.  A server that is pending, or of whose start the hub does not know, is not gone.

    Args:
        jobs: what Slurm said, asked *before* the hub: a server that began in between is in ``servers`` then.
        servers: all servers of all users of the hub that are not stopped.
        hub: the hub's name.  Without one there are no orphans.
    """
    found = []
    for job in jobs:
        tag = None if job.ended else read_tag(job.tag)
        if tag is None or not hub or tag.hub != hub or not tag.user or tag.user != job.user:
            continue
        why = _gone(tag, servers.get((tag.user, tag.server)))
        if why is not None:
            found.append(Orphan(job, tag, why))
    return found


def _gone(tag: Tag, server: ServerState | None) -> str | None:
    if server is None:
        return "its server is gone"
    if server.pending or not server.ready or not server.run or not tag.run or server.run == tag.run:
        return None
    return "its server has been started anew since"
