"""How long a login waits: pure, with the time as an argument."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from ..errors import NbplatformError

_MAX_KEYS = 10_000
_LONGEST_NAME = 128
_KNOWN_ADDRESSES = 4


@dataclass(frozen=True)
class Limits:
    """When and how much logins are slowed down; times in seconds.

    Attributes:
        free_per_name: failures of one name that cost nothing: people mistype.
        free_per_address: failures from one address that cost nothing: a school sits behind one address.
        first: the wait after the free failures; it doubles with each further one.
        longest: no wait is longer, so that somebody else's guesses keep nobody out for long.
        forget: failures are forgotten when there was none for this long.
        pending: logins of one name from one address that may wait at once.
        pending_per_name: logins of one name that may wait at once, from all addresses where it never succeeded.
        pending_per_address: logins from one address that may wait at once.
        pending_total: logins that may wait at once in all.
    """

    free_per_name: int = 3
    free_per_address: int = 20
    first: float = 0.5
    longest: float = 8.0
    forget: float = 900.0
    pending: int = 4
    pending_per_name: int = 8
    pending_per_address: int = 40
    pending_total: int = 1000


@dataclass
class _Failures:
    count: int
    last: float


class TooManyError(NbplatformError):
    """So many logins wait already that this one is not even looked at."""


class Throttle:
    """Counts failed logins per name and per client address, in bounded memory.

    Each attempt is counted as failed when it begins, and taken back when it succeeds: many at once are slowed
    down as much as one after the other.  Nothing here depends on whether a name exists.

    Of one name only so many may wait at once wherever they come from, because a client on the hub's own machine can
    invent its address: with the default limits, and after the first few failures, 8 passwords of a name are tried in 8
    seconds, and what comes beyond is refused at once.  So that guessing does not keep the person out, an address from
    which the name has logged in (the last four, until a restart) does not count there; ``pending`` alone bounds it.
    From a new address, or where guesses claim the known one, the person may have to try again while somebody guesses.

    Args:
        limits: when and how much.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._pending: dict[tuple[str, str], int] = {}
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def begin(self, name: str, address: str, now: float) -> float:
        """Note an attempt and return the seconds that it must wait before it is looked at.

        Every call that returns is followed by one of ``end``.

        Args:
            name: the name as it will be looked up.
            address: the client's address.
            now: seconds on a clock that never goes back.

        Raises:
            TooManyError: refuse it; there is nothing to end.
        """
        pair = (_name_key(name), _address_key(address))
        if self._is_full(*pair):
            raise TooManyError
        self._pending[pair] = self._pending.get(pair, 0) + 1
        limits = self.limits
        return max(
            self._wait(("name", pair[0]), limits.free_per_name, now),
            self._wait(("address", pair[1]), limits.free_per_address, now),
        )

    def end(self, name: str, address: str, succeeded: bool) -> None:
        """Note how an attempt ended.

        A success forgets the name's failures, but only itself at the address: else one good account would buy an
        attacker as many guesses as they like.
        """
        pair = (_name_key(name), _address_key(address))
        self._pending[pair] -= 1
        if not self._pending[pair]:
            del self._pending[pair]
        if succeeded:
            self._remember(*pair)
            self._failures.pop(("name", pair[0]), None)
            of_address = self._failures.get(("address", pair[1]))
            if of_address is not None:
                of_address.count = max(0, of_address.count - 1)

    def __len__(self) -> int:
        return len(self._failures) + len(self._known)

    def _is_full(self, name: str, address: str) -> bool:
        """Tell whether one more attempt is one too many."""
        limits, pending, known = self.limits, self._pending, self._known.get(name, ())
        of_address = sum(count for (_, other), count in pending.items() if other == address)
        of_name = sum(count for (other, place), count in pending.items() if other == name and place not in known)
        return (
            pending.get((name, address), 0) >= limits.pending
            or (address not in known and of_name >= limits.pending_per_name)
            or of_address >= limits.pending_per_address
            or sum(pending.values()) >= limits.pending_total
        )

    def _remember(self, name: str, address: str) -> None:
        """Note that a name has logged in from an address; a name pushes out no addresses but its own."""
        before = self._known.pop(name, ())
        self._known[name] = (address, *(other for other in before if other != address))[:_KNOWN_ADDRESSES]
        while len(self._known) > _MAX_KEYS:
            self._known.popitem(last=False)

    def _wait(self, key: tuple[str, str], free: int, now: float) -> float:
        entry = self._failures.pop(key, None)
        if entry is None or now - entry.last > self.limits.forget:
            entry = _Failures(0, now)
        before = entry.count
        entry.count, entry.last = before + 1, now
        self._failures[key] = entry  # the latest stands last, the oldest goes first
        while len(self._failures) > _MAX_KEYS:
            self._failures.popitem(last=False)
        if before < free:
            return 0.0
        return float(min(self.limits.longest, self.limits.first * 2 ** min(before - free, 32)))


def _name_key(name: str) -> str:
    return name[:_LONGEST_NAME]


def _address_key(address: str) -> str:
    """Return the address, or for IPv6 its /64: one subscriber has all of it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:_LONGEST_NAME]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
