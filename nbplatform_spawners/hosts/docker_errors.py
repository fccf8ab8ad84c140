"""What can go wrong with one Docker host.

The difference that matters: a host that *cannot be asked* says nothing about its containers, whatever was asked of it
may have happened or not.  Only a host that *answers* can say that something is not there.
"""

from __future__ import annotations

from ..errors import NbplatformError


class HostError(NbplatformError):
    """One host could not do what it was asked.

    Args:
        host: name of the host.
        message: one sentence that a user may read.  Holds no secret.
    """

    def __init__(self, host: str, message: str) -> None:
        super().__init__(host, message)
        self.host = host
        self.message = message

    def __str__(self) -> str:
        return self.message


class HostUnreachable(HostError):
    """The host cannot be asked: nobody can tell whether what it was asked for has happened."""


class CertificateProblem(HostError):
    """The certificates for a host are missing, unreadable or readable by others; nothing was asked."""


class HostRefused(HostError):
    """The host said no.

    Args:
        host: name of the host.
        message: one sentence that a user may read.
        status: HTTP status of the answer; 0 where it came in another way.
    """

    def __init__(self, host: str, message: str, status: int = 0) -> None:
        super().__init__(host, message)
        self.status = status


class ContainerGone(HostRefused):
    """The host says that there is no such container."""


class ImageMissing(HostRefused):
    """The host says that it has no such image."""


class SourceMissing(HostRefused):
    """A folder to be mounted does not exist on the host.

    Args:
        host: name of the host.
        message: one sentence that a user may read.
        status: HTTP status of the answer.
        source: the folder's path.
    """

    def __init__(self, host: str, message: str, status: int = 0, source: str = "") -> None:
        super().__init__(host, message, status)
        self.source = source


class NameTaken(HostRefused):
    """Another container has the name.

    Args:
        host: name of the host.
        message: one sentence that a user may read.
        status: HTTP status of the answer.
        container: id of the one that has it; empty when the host did not say.
    """

    def __init__(self, host: str, message: str, status: int = 0, container: str = "") -> None:
        super().__init__(host, message, status)
        self.container = container


class PullFailed(HostRefused):
    """The host could not fetch an image.

    Args:
        host: name of the host.
        message: one sentence that a user may read.
        status: HTTP status of the answer; 0 when it failed on the way.
        image: which.
        why: ``refused`` (by the registry), ``missing`` (from it), ``away`` (it does not answer), ``space``
            (the disk is full), ``stalled``, ``slow`` (its time was over), ``other``.
    """

    def __init__(self, host: str, message: str, status: int = 0, image: str = "", why: str = "other") -> None:
        super().__init__(host, message, status)
        self.image = image
        self.why = why
