"""docker-py's client as one host's threads use it: one in each, its socket bound by the time limit of each call."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import docker.errors
import requests
import urllib3.exceptions
from docker import APIClient
from docker.tls import TLSConfig

from .docker_errors import CertificateProblem, HostRefused
from .docker_meanings import is_broken, is_other_version, meaning, silence
from .docker_tls import Certificates, complaint
from .docker_unix import UnixAdapter

T = TypeVar("T")
LOWEST_API = (1, 40)
"""Docker 19.03; what the platform needs is there."""
HIGHEST_API = (1, 51)
"""Docker 28.3; from 1.52 on, answers lack fields that dockerspawner reads."""
CONNECT_LIMIT = 3.0
"""Seconds for a connection to come about."""
_FRESH = 15.0
"""Seconds for which an idle connection is trusted with a request that must not be sent twice."""

_LISTEN = 1.0
"""Seconds to listen for why a connection was broken."""


@dataclass(frozen=True)
class Endpoint:
    """Where a daemon listens, and how it is spoken to.

    Attributes:
        host: name of the host.
        url: ``tcp://ADDRESS:PORT`` or ``unix://PATH``.
        certificates: needed for TCP.
        client_kwargs: what a site adds to docker-py's ``APIClient``; what is set here wins.
    """

    host: str
    url: str
    certificates: Certificates | None
    client_kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Terms:
    """How one call is made.

    Attributes:
        limit: seconds it may take.
        deadline: when they are over, on the monotonic clock.
        repeatable: doing it twice does no harm.
        stall: seconds without a byte that are borne, where that and not the deadline ends a call.
    """

    limit: float
    deadline: float
    repeatable: bool = True
    stall: float | None = None

    @property
    def left(self) -> float:
        """Seconds that are left.

        Raises:
            TimeoutError: none are.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


_ODD = (AttributeError, TypeError, LookupError, RecursionError)
"""What reading an answer raises that no Docker daemon gives."""


class Client(APIClient):  # type: ignore[misc]
    """docker-py's client without the environment's proxies and certificates, bounded by the terms of its call.

    Attributes:
        endpoint: where it speaks to.
        terms: of the call that is being made.
    """

    def __init__(self, endpoint: Endpoint, version: str, terms: Terms) -> None:
        tls: TLSConfig | bool = False
        if (files := endpoint.certificates) is not None:
            tls = TLSConfig(client_cert=(files.cert, files.key), ca_cert=files.ca, verify=True)
        ours = {"base_url": endpoint.url, "version": version, "timeout": terms.limit, "tls": tls}
        super().__init__(**{**endpoint.client_kwargs, **ours})
        if (parts := urlsplit(endpoint.url)).scheme == "unix":
            self.mount("http+docker://", UnixAdapter(f"{parts.netloc}{parts.path}"))
        self.trust_env = False  # else REQUESTS_CA_BUNDLE wins over the host's own CA, and a proxy is asked first
        self.endpoint = endpoint
        self.terms = terms
        self.used = time.monotonic()

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request with what is left of the call's time.  Called by requests for each one."""
        left = self.terms.left
        kwargs["timeout"] = (min(CONNECT_LIMIT, left), self.terms.stall or left)
        response: requests.Response = super().send(request, **kwargs)
        return response

    def url_of(self, path: str) -> str:
        """Return the address of a path of the API, in the version that was agreed on."""
        return f"{self.base_url}/v{self.api_version}{path}"

    def demand_success(self, response: requests.Response) -> None:
        """Raise docker-py's own error for an answer that is no success."""
        try:
            response.raise_for_status()
        except requests.HTTPError as error:
            raise docker.errors.create_api_error_from_http_exception(error) from error


class Clients:
    """The clients of one host: one for each thread that asks.

    Args:
        endpoint: where its daemon listens.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._mine = threading.local()
        self._version: str | None = None
        self.server_version = ""

    def ask(self, job: Callable[[Client], T], terms: Terms) -> T:
        """Do a job with this thread's client.

        Raises:
            HostError: the host refused, or cannot be asked.
        """
        host = self.endpoint.host
        for again in (True, False):
            try:
                return job(self._client(terms))
            except docker.errors.APIError as error:
                status, said = error.status_code or 0, str(error.explanation or "")
                if not (again and is_other_version(status, said)):
                    raise meaning(host, status, said) from error
                self.forget_version()
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                self.leave()
                if not (again and terms.repeatable and is_broken(error)):
                    raise silence(host, self._complaint(error) or error, terms.limit) from error
            except docker.errors.TLSParameterError as error:
                raise CertificateProblem(host, f"host {host}: its certificates cannot be read") from error
            except (docker.errors.DockerException, *_ODD) as error:
                self.leave()
                raise silence(host, error, terms.limit) from error
        raise AssertionError("the second try raises or returns")

    def forget_version(self) -> None:
        """Agree on a version anew before the next call."""
        self._version = None

    def leave(self) -> None:
        """Close this thread's client.  Called by a thread that ends, too."""
        client: Client | None = getattr(self._mine, "client", None)
        self._mine.client = None
        if client is not None:
            client.close()

    def _complaint(self, error: Exception) -> Exception | None:
        """Return why the daemon breaks connections, if our certificate is the reason."""
        url, files = urlsplit(self.endpoint.url), self.endpoint.certificates
        if files is None or not is_broken(error):
            return None
        return complaint((url.hostname or "", url.port or 0), files, _LISTEN)

    def _client(self, terms: Terms) -> Client:
        version = self._version or self._agree(terms)
        client: Client | None = getattr(self._mine, "client", None)
        if client is None or client.api_version != version:
            self.leave()
            client = self._mine.client = Client(self.endpoint, version, terms)
        elif not terms.repeatable and time.monotonic() - client.used > _FRESH:
            client.close()  # only its connections; the next request opens one that cannot be stale
        client.terms, client.used = terms, time.monotonic()
        return client

    def _agree(self, terms: Terms) -> str:
        """Ask the daemon which versions of the API it speaks.

        docker-py's own way of asking uses the network before the environment can be shut out.
        """
        with closing(Client(self.endpoint, "{}.{}".format(*LOWEST_API), terms)) as client:
            answer = client.version(api_version=False)
        newest = _version(answer.get("ApiVersion"))
        if newest is None:
            raise ValueError("no version in the answer")
        if newest < LOWEST_API:
            raise HostRefused(self.endpoint.host, too_old(self.endpoint.host, newest))
        oldest = _version(answer.get("MinAPIVersion")) or LOWEST_API
        self.server_version = str(answer.get("Version", ""))
        self._version = version = "{}.{}".format(*agreed(oldest, newest))
        return version


def agreed(oldest: tuple[int, int], newest: tuple[int, int]) -> tuple[int, int]:
    """Return the version to speak with a daemon that speaks these: the newest that is known here, if it speaks that."""
    return max(oldest, min(newest, HIGHEST_API))


def too_old(host: str, newest: tuple[int, int]) -> str:
    """Return the sentence about a daemon that is too old."""
    spoken, needed = (".".join(map(str, version)) for version in (newest, LOWEST_API))
    return f"the Docker of host {host} is too old: it speaks API {spoken}, {needed} (Docker 19.03) is needed"


def _version(text: object) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None
