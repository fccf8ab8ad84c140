"""Local logins against a YAML accounts file: for demos and small sites."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error
from tornado import web
from traitlets import Bool

from ..accounts.yaml_file import YamlDirectory
from ..errors import DirectoryUnavailable
from ..names import bounded
from .errors import LoginRefused
from .lookup import UNAVAILABLE
from .mixin import IdentityMixin
from .throttle import Limits, Throttle, TooManyError

_LONGEST_PASSWORD = 1024
_TOO_MANY_REQUESTS = 429
_NOBODYS_HASH = (  # of a random text that was thrown away; checked where a file has no password at all
    "$argon2id$v=19$m=65536,t=3,p=4$zVPMi067R9etlqjwTbpK7Q$B+yVWdFFCYz+TSEKmaPJZe2nlsMue5ODoJd7siRFRjk"
)


class FileAuthenticator(IdentityMixin):
    """Logs in who has a password in the accounts file (``c.FileAuthenticator.accounts``).

    Passwords are Argon2 hashes; ``nbplatform accounts hash`` makes one.  An unknown name and a wrong password look
    the same and cost the same time.  Failed logins are slowed down, by name and by client address, but never by more
    than a few seconds; ``Throttle`` says what keeps one person's guesses from locking another one out.
    """

    allow_all = Bool(
        True,
        help="""Whether everybody with a password in the accounts file may log in.  Default: true, other than for most
        authenticators: the file is the list of those who may.  When false, ``allowed_users`` narrows it down;
        ``blocked_users`` and ``admin_users`` hold in any case.  Example: ``c.FileAuthenticator.allow_all = False``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True, allow_config=True)

    login_limits = Limits()
    """When and how much failed logins are slowed down; a subclass may set others."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._throttle = Throttle(self.login_limits)
        self._hasher = PasswordHasher()
        # Two at once: each takes a processor and tens of megabytes.  They cannot hang.
        self._checks = ThreadPoolExecutor(2, thread_name_prefix="nbplatform-password")

    @cached_property
    def directory(self) -> YamlDirectory:
        """The accounts file.

        Raises:
            ValueError: ``accounts`` is not the path of a YAML file.
            BadFile, DirectoryUnavailable: see ``YamlDirectory``.
        """
        directory = super().directory
        if not isinstance(directory, YamlDirectory):
            raise ValueError(f"c.FileAuthenticator.accounts is {self.accounts!r}; it must be the path of a .yaml file")
        return directory

    async def authenticate(self, handler: web.RequestHandler | None, data: Any) -> str | None:
        """Return the name of who has shown the right password, else None.  Called by the hub.

        Raises:
            LoginRefused: 400 without name and password, 403 for a name that is not safe, 429 when too many logins
                wait already, 503 when the accounts file cannot be read in time.
        """
        username, password = _credentials(data)
        name = self.normalize_username(username)
        address = self.client_address(handler)
        try:
            wait = self._throttle.begin(name, address, time.monotonic())
        except TooManyError:
            message = "too many logins at once; try again in a few seconds"
            raise self.login_refused(name, handler, message, status=_TOO_MANY_REQUESTS) from None
        right = False
        try:
            if wait:
                self.log.info("login of user=%s from=%s waits %.1f s: failures before", bounded(name), address, wait)
                await asyncio.sleep(wait)
            right = await self._is_right(name, password)
        except DirectoryUnavailable as error:
            self.log.error("accounts file %s: %s", self.accounts, error)
            raise self.login_refused(name, handler, UNAVAILABLE, status=503) from None
        finally:
            self._throttle.end(name, address, right)
        if not right:
            return None
        self.check_name(username, handler)
        return username

    async def _is_right(self, name: str, password: str) -> bool:
        file = await self._asker.ask(self.directory.read, self.directory_timeout)
        stored = file.password_hashes.get(name)
        checked = stored or self._spare_hash(file.password_hashes)
        loop = asyncio.get_running_loop()
        same = await loop.run_in_executor(self._checks, self._verify, checked, password[:_LONGEST_PASSWORD])
        return same and stored is not None and len(password) <= _LONGEST_PASSWORD

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (Argon2Error, ValueError):  # a mismatch, a hash that cannot be read, text that is no Unicode
            return False

    def _spare_hash(self, hashes: Mapping[str, str]) -> str:
        """Return a hash to check for who has none, so that it costs what most others cost."""
        if not hashes:
            return _NOBODYS_HASH
        costs = {stored: stored.split("$")[-3] for stored in hashes.values()}
        usual = Counter(costs.values()).most_common(1)[0][0]
        return next(stored for stored, cost in costs.items() if cost == usual)


def _credentials(data: Any) -> tuple[str, str]:
    """Return name and password of a login form.

    Raises:
        LoginRefused: 400, one of them is not there or not text.
    """
    username, password = (data.get("username"), data.get("password")) if isinstance(data, Mapping) else (None, None)
    if isinstance(username, str) and isinstance(password, str) and username:
        return username, password
    raise LoginRefused(400, "a user name and a password are expected")
