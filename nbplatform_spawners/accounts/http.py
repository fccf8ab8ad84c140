"""An HTTP service that answers with JSON as an account directory."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import BadFile, DirectoryUnavailable, Mistake
from ..identity import Account, IdRange
from ..names import bounded
from .cached import CachedDirectory
from .directory import AccountDirectory, NotLinked, UnknownAccount
from .group_names import DroppedNames
from .http_answers import MAX_ANSWER, Garbage, parse_json, read_account
from .http_settings import HttpSettings, parse_http_settings
from .secret_file import check_readable, read_secret

try:
    import requests
    from urllib3.exceptions import HTTPError, ReadTimeoutError
except ModuleNotFoundError as error:
    if error.name != "requests":
        raise
    raise ValueError("accounts from an HTTP service need requests; install nbplatform-spawners[hub]") from None

KEPT_SESSIONS = 4
KEPT_FOR = 60.0
"""Seconds for which a connection that nobody uses is good: firewalls forget idle ones, and tell neither side."""
_PIECE = 65536
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "nbplatform"}
_STATUSES = {401: "it refuses our token", 403: "it refuses our token", 429: "it is asked too often"}


def open_http(path: Path, allowed: IdRange, log: logging.Logger | None) -> AccountDirectory:
    """Return the directory that a settings file describes, with its cache; the service is not asked yet.

    Args:
        path: of the settings file; read once.
        allowed: the gids that servers may have.
        log: see :class:`HttpDirectory`.

    Raises:
        BadFile: it holds mistakes or cannot be read.
        DirectoryUnavailable: the token's file, or that of the authority's certificates, cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFile([Mistake(str(path), 0, f"cannot be read: {error.strerror}")]) from None
    settings = parse_http_settings(content, path.name)
    if settings.token_file:
        read_secret(settings.token_file)
    check_readable(settings.ca_file)
    directory = HttpDirectory(settings, allowed, log)
    return CachedDirectory(directory, settings.cache) if settings.cache else directory


class HttpDirectory:
    """Accounts of an HTTP service: ``GET URL/accounts/NAME`` and ``GET URL/federated?provider=…&subject=…``.

    Only 200 with the JSON of one account is an account, and only 404 with the JSON ``{"error": "unknown account"}``
    is none: a proxy in front of the service that lost its way answers 404, too.  Everything else, and every answer
    that is not what it should be, says nothing about anybody.  Redirects are not followed.

    Args:
        settings: where and how.
        allowed: the gids that servers may have; supplementary groups outside are left out.
        log: told of groups that are left out or have no safe name; nobody is told when None.
    """

    absence_is_proof = True

    def __init__(self, settings: HttpSettings, allowed: IdRange, log: logging.Logger | None = None) -> None:
        self.settings = settings
        self.allowed = allowed
        self._dropped = DroppedNames(log)
        self._sessions: queue.LifoQueue[tuple[float, requests.Session]] = queue.LifoQueue(KEPT_SESSIONS)
        if not settings.encrypted and log is not None:
            log.warning(
                "account service %s is asked without encryption: who reads the network reads the accounts and the"
                " token, and who changes it chooses anybody's uid",
                settings.url,
            )

    def lookup(self, name: str) -> Account:
        """Return the account of this name; see ``AccountDirectory.lookup``."""
        try:
            path = f"/accounts/{quote(name, safe='')}"
        except UnicodeEncodeError:
            raise UnknownAccount(name) from None
        if not name.strip("."):  # a path that ends in /.. would be another route
            raise UnknownAccount(name)
        answer = self._answer(path, {})
        if answer is None:
            raise UnknownAccount(name)
        account = self._account(answer)
        if account.identity.name != name:
            raise DirectoryUnavailable(f"{self._garbage()} the account of somebody else")
        return account

    def lookup_federated(self, provider: str, subject: str) -> Account:
        """Return the account linked to this pair; see ``AccountDirectory.lookup_federated``."""
        try:
            f"{provider}{subject}".encode()
        except UnicodeEncodeError:
            raise NotLinked(provider, subject) from None
        if not (provider and subject):
            raise NotLinked(provider, subject)
        answer = self._answer("/federated", {"provider": provider, "subject": subject})
        if answer is None:
            raise NotLinked(provider, subject)
        if (answer.get("provider"), answer.get("subject")) != (provider, subject):
            raise DirectoryUnavailable(f"{self._garbage()} an account that is not said to be linked to this pair")
        return self._account(answer)

    def _account(self, answer: dict[str, Any]) -> Account:
        try:
            account, got = read_account(answer, self.allowed)
        except Garbage as error:
            raise DirectoryUnavailable(f"{self._garbage()} {error}") from None
        self._dropped.tell_all(got)
        return account

    def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the JSON object of an account, None where the service says that there is none.

        Raises:
            DirectoryUnavailable: anything else.
        """
        status, content = self._ask(path, query)
        if status not in (200, 404):
            raise DirectoryUnavailable(
                f"{self.settings.url}: {_STATUSES.get(status, f'it answers with status {status}')}"
            )
        try:
            answer = parse_json(content)
        except Garbage as error:
            raise DirectoryUnavailable(f"{self._garbage()} {error} (status {status})") from None
        if status == 200:
            return answer
        if answer.get("error") != "unknown account":
            raise DirectoryUnavailable(f"{self._garbage()} 404 without the error 'unknown account'")
        return None

    def _garbage(self) -> str:
        return f"{self.settings.url}: it answers with"

    def _ask(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        session, used = self._session()
        try:
            try:
                found = self._exchange(session, path, query)
            except requests.ConnectionError as error:
                if not used or isinstance(error, requests.Timeout):
                    raise
                session.close()  # the service was restarted, or closed what was idle
                session = _new_session()
                found = self._exchange(session, path, query)
        except (requests.Timeout, ReadTimeoutError):
            session.close()
            raise DirectoryUnavailable(
                f"{self.settings.url}: no answer within {self.settings.timeout} seconds"
            ) from None
        except (requests.RequestException, HTTPError, OSError) as error:
            session.close()
            raise DirectoryUnavailable(f"{self.settings.url}: {bounded(_cause(error), 300)}") from None
        except BaseException:
            session.close()
            raise
        self._keep(session)
        return found

    def _session(self) -> tuple[requests.Session, bool]:
        """Return a session, and whether it was used before, not long ago."""
        while True:
            try:
                since, session = self._sessions.get_nowait()
            except queue.Empty:
                return _new_session(), False
            if time.monotonic() - since < KEPT_FOR:
                return session, True
            session.close()

    def _keep(self, session: requests.Session) -> None:
        try:
            self._sessions.put_nowait((time.monotonic(), session))
        except queue.Full:
            session.close()

    def _exchange(self, session: requests.Session, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body; bounded in size, and the body in time."""
        limit = float(self.settings.timeout)
        headers = dict(_HEADERS)
        if self.settings.token_file:
            headers["Authorization"] = f"Bearer {read_secret(self.settings.token_file)}"
        deadline = time.monotonic() + limit
        with session.get(
            self.settings.url + path,
            params=query,
            headers=headers,
            timeout=limit,
            allow_redirects=False,
            stream=True,
            verify=self.settings.ca_file or True,
        ) as response:
            content = bytearray()
            while piece := response.raw.read1(_PIECE, decode_content=False):
                content += piece
                if len(content) > MAX_ANSWER:
                    raise DirectoryUnavailable(f"{self._garbage()} more than {MAX_ANSWER} bytes")
                if time.monotonic() > deadline:
                    raise requests.Timeout
            return response.status_code, bytes(content)


def _new_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a .netrc would replace our token, a proxy of the environment see it
    return session


def _cause(error: BaseException) -> str:
    """Return what went wrong, in the words of the innermost error: the outer ones repeat the address."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
