"""What a Docker daemon's answers, and its silence, mean.

A status of 500 alone means nothing: the daemon answers with it to a full disk as to a fault of its own.  What is not
known here by its text leaves open what has happened.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from http import HTTPStatus

import requests
import urllib3.exceptions

from ..names import bounded
from .docker_errors import (
    ContainerGone,
    HostError,
    HostRefused,
    HostUnreachable,
    ImageMissing,
    NameTaken,
    SourceMissing,
)

_SAID = 300
"""Characters of a daemon's own words that are passed on."""
_QUERY = re.compile(r"(\w+://[^\s\"'?]*)\?[^\s\"']*")
_USER = re.compile(r"(\w+://)[^\s\"'/@]*@")
_CONTAINER = re.compile(r"no such container: ", re.IGNORECASE)
_IMAGE = re.compile(r"no such image", re.IGNORECASE)
_NAME = re.compile(r"name .* is already in use(?: by container \"?(?P<id>[0-9a-f]{12,64}))?", re.IGNORECASE)
_SOURCE = re.compile(r"bind source path does not exist: (?P<source>/.*)")
_UNMOUNTED = re.compile(r"error mounting \"(?P<source>/[^\"]*)\" to rootfs .*: no such file or directory")
_NETWORK = re.compile(r"network .* not found|could not find a network", re.IGNORECASE)
_VERSION = re.compile(r"client version \S+ is too (?:old|new)", re.IGNORECASE)
_DEFINITE = re.compile(
    r"no space left on device|disk quota exceeded|read-only file system|cannot allocate memory"
    r"|OCI runtime|failed to create (?:shim|task)|runc did not terminate"
    r"|port is already allocated|address already in use|driver failed programming external connectivity"
    r"|could not select device driver|CDI device|unknown (?:or invalid )?runtime",
    re.IGNORECASE,
)
_BROKEN = (
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    http.client.RemoteDisconnected,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)
_SLOW = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def safe(text: str) -> str:
    """Return a daemon's words fit for a user and a log: bounded, without what may be a secret in an address."""
    return bounded(_USER.sub(r"\1", _QUERY.sub(r"\1", text.strip())), _SAID)


def is_other_version(status: int, said: str) -> bool:
    """Tell whether a daemon did nothing, because it does not speak our version of its language."""
    return status == HTTPStatus.BAD_REQUEST and _VERSION.search(said) is not None


def is_missing_network(error: HostError) -> bool:
    """Tell whether a network that the host should have is missing there."""
    return isinstance(error, HostRefused) and _NETWORK.search(error.message) is not None


def meaning(host: str, status: int, said: str) -> HostError:
    """Return what an answer that is no success means.

    Args:
        host: name of the host.
        status: HTTP status of the answer.
        said: the daemon's explanation, as it came.
    """
    words = f"host {host} says no: {safe(said)}"
    if found := _SOURCE.search(said) or _UNMOUNTED.search(said):
        return SourceMissing(host, words, status, found["source"].strip())
    if status == HTTPStatus.NOT_FOUND and _CONTAINER.search(said):
        return ContainerGone(host, words, status)
    if status == HTTPStatus.NOT_FOUND and _IMAGE.search(said):
        return ImageMissing(host, words, status)
    if status == HTTPStatus.CONFLICT and (taken := _NAME.search(said)):
        return NameTaken(host, words, status, taken["id"] or "")
    if status < HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.NOT_IMPLEMENTED:
        return HostRefused(host, words, status)
    if _DEFINITE.search(said):
        return HostRefused(host, words, status)
    return HostUnreachable(host, f"host {host} has trouble of its own (status {status}): {safe(said)}")


def silence(host: str, error: BaseException, limit: float) -> HostUnreachable:
    """Return what it means that no answer came.

    Args:
        host: name of the host.
        error: what the client met.
        limit: seconds that the call was given.
    """
    return HostUnreachable(host, f"host {host} cannot be asked: {_why(list(_causes(error)), limit)}")


def is_broken(error: BaseException) -> bool:
    """Tell whether a connection ended without an answer, as one does that was idle while its daemon restarted."""
    causes = list(_causes(error))
    return any(isinstance(cause, _BROKEN) for cause in causes) and not any(isinstance(c, _SLOW) for c in causes)


def _why(causes: list[BaseException], limit: float) -> str:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({bounded(getattr(cause, 'verify_message', ''))})"
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _BROKEN):
            return f"TLS is refused ({bounded(getattr(cause, 'reason', None) or type(cause).__name__)})"
        if isinstance(cause, socket.gaierror):
            return "its name is not known"
        if isinstance(cause, ConnectionRefusedError):
            return "it refuses the connection"
        if isinstance(cause, FileNotFoundError | PermissionError):
            return f"its socket cannot be used ({cause.strerror})"
        if isinstance(cause, OSError) and cause.errno in _NO_ROUTE:
            return "there is no way to it"
    if any(isinstance(cause, requests.ConnectTimeout) for cause in causes):
        return "no connection to it comes about"
    if any(isinstance(cause, _SLOW) for cause in causes):
        return f"it does not answer within {limit:g} s"
    if any(isinstance(cause, _BROKEN) for cause in causes):
        return "it broke the connection"
    return f"it does not speak as Docker does ({type(causes[0]).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it came from, the innermost last."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            linked = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
            waiting += [other for other in linked if isinstance(other, BaseException)]
