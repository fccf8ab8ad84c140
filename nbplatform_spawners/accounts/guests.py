"""A bounded pool of local accounts for guests: each is given to one person, once and for ever, and written down first.

The record is a file that only grows; ``guest_record`` says what is in it.  A line is on the disk before its account is
given out, then the mark beside it is, so the pool survives being killed at any moment.  Several processes may use one
pool.  A record that is missing or damaged gives nothing out: nobody gets another person's files by a lost disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import threading
from datetime import datetime, timedelta
from pathlib import Path

from ..errors import BadFile, DirectoryUnavailable, Refusal
from ..identity import Account
from ..names import bounded
from .directory import NotLinked
from .guest_file import append, content_of, mark_of, opened, settled_content
from .guest_record import Guest, Record
from .guest_settings import GuestSettings, parse_guest_settings
from .settings_file import MAX_SETTINGS

FULL = "guests-full"
NEARLY_FULL = 0.9
"""Part of the accounts that are given out from which on each assignment is warned of."""
_Signature = tuple[int, ...]


class GuestsFull(Refusal):
    """Every account of the pool is given out; those that have ended are not given to somebody else.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        all_of_them = "the only account for guests is" if count == 1 else f"all {count} accounts for guests are"
        super().__init__(FULL, f"{all_of_them} given out")
        self.count = count

    def __reduce__(self) -> tuple[type[GuestsFull], tuple[int]]:
        return (GuestsFull, (self.count,))


class GuestExpired(Refusal):
    """A guest's account has ended; ``nbplatform accounts guests prolong`` gives it another end.

    Args:
        name: of the account.
        until: when it ended.
    """

    def __init__(self, name: str, until: datetime) -> None:
        ended = until.isoformat(timespec="minutes")
        super().__init__(
            "account", f"account {bounded(name)}: this guest account ended on {ended}; it can be prolonged"
        )
        self.name, self.until = name, until

    def __reduce__(self) -> tuple[type[GuestExpired], tuple[str, datetime]]:
        return (GuestExpired, (self.name, self.until))


class GuestPool:
    """Accounts for people whom nobody linked to an account of the site.

    Safe to call from several threads, and together with other processes.  Each call may block for ``LOCK_LIMIT``.

    Args:
        path: the settings file; a change in it is taken at the next call, a bad one changes nothing.
        log: told of each assignment, when few accounts are left, and when the settings are bad.

    Raises:
        BadFile: the settings hold mistakes; carries all of them.
        DirectoryUnavailable: the settings cannot be read.
    """

    def __init__(self, path: Path, log: logging.Logger | None = None) -> None:
        self.path = path
        self.log = log or logging.getLogger(__name__)
        self._lock = threading.Lock()
        self._read: tuple[_Signature, Record] | None = None
        self._given: dict[tuple[str, str], str] = {}
        try:
            self._seen = _signature(path)
            self._settings = _load(path)
        except OSError as error:
            raise DirectoryUnavailable(f"the guests file {path} cannot be read: {error.strerror}") from None

    @property
    def settings(self) -> GuestSettings:
        """What the settings file says now, or what it said when it was last good."""
        with self._lock:
            try:
                seen = _signature(self.path)
                if seen != self._seen:
                    self._seen = seen  # a bad file is told once
                    self._settings = _load(self.path)
            except BadFile as error:
                self._complain(bounded(error.mistakes[0], 300))
            except OSError as error:
                if self._seen:
                    self._complain(str(error.strerror))
                self._seen = ()
            return self._settings

    def _complain(self, problem: str) -> None:
        self.log.error("guests file %s is bad: %s; what it said before holds on", self.path, problem)

    def serves(self, provider: str) -> bool:
        """Tell whether people of an identity provider may be guests."""
        return provider in self.settings.providers

    @property
    def record_path(self) -> Path:
        """Where it is written down who has which account."""
        named = self.settings.record
        return Path(named) if named else self.path.with_suffix(".record")

    def account(self, provider: str, subject: str, now: datetime, *, new: bool = True) -> Account:
        """Return the account of a guest, a new one for somebody who has none.

        Args:
            provider: alias of the identity provider of the login.
            subject: who the person is there.
            now: the aware time.
            new: whether one may be given out: at a login, not at a look at somebody who is logged in.

        Raises:
            NotLinked: people of this provider are no guests here, or this one is none and ``new`` is false.
            GuestsFull: there is no account left.
            GuestExpired: the person's account has ended.
            DirectoryUnavailable: the record cannot be read or written, or is damaged.
        """
        settings = self.settings
        if provider not in settings.providers:
            raise NotLinked(provider, subject)
        guest = self.known(provider, subject)
        if guest is None:
            if not new:
                raise NotLinked(provider, subject)
            guest = self._assign(settings, provider, subject, now)
        if guest.until is not None and now >= guest.until:
            raise GuestExpired(guest.name, guest.until)
        return settings.account(guest.name, guest.uid, guest.provider, guest.until)

    def known(self, provider: str, subject: str) -> Guest | None:
        """Return the guest who is this person, None when they have no account; gives nothing out.

        Raises:
            DirectoryUnavailable: see ``account``.
        """
        return self.record().guests.get((provider, subject))

    def record(self) -> Record:
        """Return what is written down now.

        Raises:
            DirectoryUnavailable: see ``account``.
        """
        path = self.record_path
        with self._lock:
            with contextlib.suppress(OSError):
                if self._read and self._read[0] == _signatures(path):
                    return self._read[1]
            with opened(path, fcntl.LOCK_SH) as file:
                record = content_of(path, file)
                seen = _signatures(path)
            if not record.settled:
                with opened(path, fcntl.LOCK_EX) as file:
                    return self._newest(path, settled_content(path, file))
            self._read = (seen, self._newest(path, record))
            return record

    def _newest(self, path: Path, record: Record) -> Record:
        """Return the record, unless it lacks a guest that it had: an old copy would give accounts out twice."""
        for pair, name in self._given.items():
            if pair not in record.guests or record.guests[pair].name != name:
                what = f"the record of guests {path} is older than what it said before"
                raise DirectoryUnavailable(
                    f"{what}: {name} would be given to somebody else; bring the newest copy back"
                )
        self._given.update({pair: guest.name for pair, guest in record.guests.items()})
        return record

    def prolong(self, name: str, until: datetime | None, now: datetime) -> Guest:
        """Give a guest's account another end, later or earlier.

        Args:
            name: of the account.
            until: the new end (aware); None for no end.
            now: the aware time.

        Raises:
            KeyError: no guest has this account.
            DirectoryUnavailable: see ``account``.
        """
        path = self.record_path
        with opened(path, fcntl.LOCK_EX) as file:
            record = settled_content(path, file)
            guest = {guest.name: guest for guest in record.guests.values()}[name]
            line, after = record.prolonged(guest, until, now)
            append(path, file, record, line, after)
        return after.guests[guest.provider, guest.subject]

    def _assign(self, settings: GuestSettings, provider: str, subject: str, now: datetime) -> Guest:
        path = self.record_path
        until = None if settings.expires_after is None else now + timedelta(seconds=settings.expires_after)
        with opened(path, fcntl.LOCK_EX) as file:
            record = self._newest(path, settled_content(path, file))
            if (provider, subject) in record.guests:  # another process was quicker
                return record.guests[provider, subject]
            name, uid = _free(settings, record)
            guest = Guest(name, uid, provider, subject, now, until)
            settings.account(name, uid, provider, until)  # refused now rather than for ever
            line, after = record.assigned(guest)
            append(path, file, record, line, after)
            self._newest(path, after)
        told = (name, uid, provider, bounded(subject, 200))
        self.log.info("guest account %s uid=%d is given to provider=%s subject=%s", *told)
        if len(after.guests) >= NEARLY_FULL * settings.count:
            self.log.warning(
                "%d of %d guest accounts of %s are given out", len(after.guests), settings.count, self.path
            )
        return guest


def _free(settings: GuestSettings, record: Record) -> tuple[str, int]:
    """Return the first account that nobody ever had, whatever the settings were then."""
    names = {guest.name for guest in record.guests.values()}
    uids = {guest.uid for guest in record.guests.values()}
    for number in range(1, settings.count + 1):
        name, uid = settings.name(number), settings.uid(number)
        if name not in names and uid not in uids:
            return name, uid
    raise GuestsFull(settings.count)


def _load(path: Path) -> GuestSettings:
    with path.open("rb") as file:
        return parse_guest_settings(file.read(MAX_SETTINGS + 1), path.name)


def _signature(path: Path) -> _Signature:
    found = path.stat()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _signatures(path: Path) -> _Signature:
    return (*_signature(path), *_signature(mark_of(path)))
