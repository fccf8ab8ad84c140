"""Connections to LDAP servers: opened under a time limit, kept and used again, one server tried after the other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import ldap

from ..errors import DirectoryUnavailable, Refusal
from .ldap_connection import Connection, TooMuch, in_words
from .ldap_settings import LdapSettings

T = TypeVar("T")
SET_ASIDE = 30.0
"""Seconds for which a server that failed is asked after the others."""
KEPT_FOR = 60.0
"""Seconds for which a connection that nobody uses is good: firewalls forget idle ones, and tell neither side."""
_SPARE = 0.5
"""Seconds beyond the time limit that an opening has in its thread, so that the library tells first."""


class Server:
    """One server and its connections that nobody uses at the moment.

    Attributes:
        url: its address.
        aside_until: until then (monotonic) it is asked after the others.
        problem: what it was last found to have; empty when all is well.
    """

    def __init__(self, url: str, settings: LdapSettings) -> None:
        self.url, self.settings = url, settings
        self.aside_until = 0.0
        self.problem = ""
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Connection]] = []
        self._stuck = 0

    def ask(self, question: Callable[[Connection], T]) -> T:
        """Return what ``question`` makes of a connection; a kept one that the server has closed is opened again.

        Raises:
            ldap.LDAPError, DirectoryUnavailable: this server cannot answer.
        """
        connection = self._take()
        if connection is not None:
            try:
                return self._on(connection, question)
            except ldap.TIMEOUT:
                self._forget()
                raise
            except ldap.SERVER_DOWN:  # it was restarted, or closes what is idle: the others are gone, too
                self._forget()
        return self._on(self._open(), question)

    def _take(self) -> Connection | None:
        """Return the connection that was used last; None when that is long ago, or there is none."""
        with self._lock:
            since, connection = self._idle.pop() if self._idle else (0.0, None)
        if connection is not None and time.monotonic() - since >= KEPT_FOR:
            connection.close()
            self._forget()
            return None
        return connection

    def _forget(self) -> None:
        """Close every connection that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _on(self, connection: Connection, question: Callable[[Connection], T]) -> T:
        answered = False
        try:
            answer = question(connection)
            answered = True
            return answer
        except (Refusal, DirectoryUnavailable):  # an answer, too
            answered = True
            raise
        finally:
            if answered:
                self._keep(connection)
            else:
                connection.close()

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < self.settings.connections:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def _open(self) -> Connection:
        """Open a connection in a thread of its own: the library's limits cover neither names nor a TLS handshake."""
        with self._lock:
            if self._stuck:
                raise DirectoryUnavailable("an earlier connection to it still hangs")
        opening = _Opening(self.url, self.settings)
        thread = threading.Thread(target=opening.run, args=(self._unstuck,), name="nbplatform-ldap", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            raise DirectoryUnavailable("no thread can be started") from None
        thread.join(self.settings.timeout + _SPARE)
        with self._lock:
            self._stuck += opening.give_up()
        return opening.result()

    def _unstuck(self) -> None:
        with self._lock:
            self._stuck -= 1


class _Opening:
    """One connection on its way: from the thread that opens it to the one that waits, or does not any more."""

    def __init__(self, url: str, settings: LdapSettings) -> None:
        self.url, self.settings = url, settings
        self._lock = threading.Lock()
        self._given_up = False
        self._connection: Connection | None = None
        self._error: BaseException | None = None

    def run(self, late: Callable[[], None]) -> None:
        """Open it; ``late`` is called when nobody waits any more."""
        connection: Connection | None = None
        error: BaseException | None = None
        try:
            connection = Connection(self.url, self.settings)
        except BaseException as raised:  # noqa: BLE001 - handed over to the one who waits
            error = raised
        with self._lock:
            self._connection, self._error = connection, error
            given_up = self._given_up
        if given_up:
            if connection is not None:
                connection.close()
            late()

    def give_up(self) -> bool:
        """Wait no longer; tell whether it is still under way."""
        with self._lock:
            self._given_up = self._connection is None and self._error is None
            return self._given_up

    def result(self) -> Connection:
        """Return the connection, or raise why there is none."""
        if self._connection is not None:
            return self._connection
        raise self._error or DirectoryUnavailable(f"no connection within {self.settings.timeout} seconds")


class Servers:
    """All servers of a directory; safe to call from several threads.

    Args:
        settings: how they are asked.
        log: told when a server fails and when it answers again; nobody is told when None.
    """

    def __init__(self, settings: LdapSettings, log: logging.Logger | None = None) -> None:
        self.servers = tuple(Server(url, settings) for url in settings.servers)
        self.log = log

    def ask(self, question: Callable[[Connection], T]) -> T:
        """Return what ``question`` makes of a connection to the first server that can answer.

        Raises:
            DirectoryUnavailable: none can; says why, server by server.
            Refusal: as ``question`` raises it.
        """
        problems = []
        now = time.monotonic()
        for server in sorted(self.servers, key=lambda server: server.aside_until > now):
            try:
                answer = server.ask(question)
            except TooMuch as error:
                raise DirectoryUnavailable(f"{server.url}: {error}") from None
            except (ldap.LDAPError, DirectoryUnavailable) as error:
                problems.append(f"{server.url}: {self._failed(server, error)}")
            except Refusal:
                self._well(server)
                raise
            else:
                self._well(server)
                return answer
        raise DirectoryUnavailable("; ".join(problems))

    def _failed(self, server: Server, error: BaseException) -> str:
        problem = str(error) if isinstance(error, DirectoryUnavailable) else in_words(error)
        server.aside_until = time.monotonic() + SET_ASIDE
        if self.log is not None and problem != server.problem:
            self.log.warning("LDAP server %s cannot be used: %s", server.url, problem)
        server.problem = problem
        return problem

    def _well(self, server: Server) -> None:
        if self.log is not None and server.problem:
            self.log.info("LDAP server %s answers again", server.url)
        server.problem, server.aside_until = "", 0.0
