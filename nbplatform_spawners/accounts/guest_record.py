"""The record of who has which guest account, as lines of text: pure.

Each line is one JSON object and ends with ``chain``, a hash over the line and everything above it: a line that was
changed, taken out or put elsewhere is noticed.  Lines are only ever added.  A *mark*, kept in a second file, holds how
many lines had been made safe before their accounts were given out, so that a record that lost its last lines is
noticed as well, and one that was cut while a line was written (which nobody had been given) is told from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..names import bounded

FORMAT = "nbplatform guests 1"
_CHAIN = 32


class Damaged(ValueError):
    """A record, or its mark, is not as it was written; says where."""


@dataclass(frozen=True)
class Guest:
    """A person with a guest account.

    Attributes:
        name, uid: of the account.
        provider, subject: who the person is.
        since: when the account was assigned (aware).
        until: when it ends (aware); None for no end.
    """

    name: str
    uid: int
    provider: str
    subject: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class Record:
    """What a record says.

    Attributes:
        guests: by (provider, subject), in the order of assignment.
        lines: how many whole lines there are.
        size: their bytes; what stands behind them was cut while it was written.
        chain: hash of them all.
        settled: the mark knows of every line; of one that it does not, whoever wrote it was killed.
    """

    guests: Mapping[tuple[str, str], Guest]
    lines: int
    size: int
    chain: str
    settled: bool = True

    @property
    def mark(self) -> bytes:
        """The content of the mark that belongs to this record."""
        return json.dumps({"format": FORMAT, "lines": self.lines, "chain": self.chain}).encode() + b"\n"

    def assigned(self, guest: Guest) -> tuple[bytes, Record]:
        """Return the line that assigns an account, and the record with it."""
        body = {
            "assigned": guest.name,
            "uid": guest.uid,
            "provider": guest.provider,
            "subject": guest.subject,
            "since": guest.since.isoformat(),
            "until": _written(guest.until),
        }
        return self._with(body, guest)

    def prolonged(self, guest: Guest, until: datetime | None, now: datetime) -> tuple[bytes, Record]:
        """Return the line that gives a guest's account another end, and the record with it."""
        body = {"prolonged": guest.name, "at": now.isoformat(), "until": _written(until)}
        return self._with(body, replace(guest, until=until))

    def _with(self, body: Mapping[str, Any], guest: Guest) -> tuple[bytes, Record]:
        line = _line(body, self.chain)
        guests = {**self.guests, (guest.provider, guest.subject): guest}
        return line, Record(guests, self.lines + 1, self.size + len(line), _chain_of(body, self.chain))


def first_record(pool: str) -> tuple[bytes, Record]:
    """Return the first line of a new record, and the record that it makes.

    Args:
        pool: random text, so that no two records begin alike.
    """
    body = {"format": FORMAT, "pool": pool}
    line = _line(body, "")
    return line, Record({}, 1, len(line), _chain_of(body, ""))


def read_record(content: bytes, mark: bytes) -> Record:
    """Return what a record says.

    Args:
        content: the bytes of the record; a last line without an end was cut while it was written, and is left out.
        mark: the content of the mark, read before the record was.

    Raises:
        Damaged: it is not as it was written.
    """
    lines, chain = _read_mark(mark)
    reader = _Reader()
    whole = content[: content.rfind(b"\n") + 1]
    chains = [""]
    for number, line in enumerate(whole.splitlines(keepends=True), 1):
        chains.append(reader.read(line, number, chains[-1]))
    if len(chains) - 1 < lines:
        raise Damaged(f"it has {len(chains) - 1} whole lines, and {lines} were written")
    if chains[lines] != chain:
        raise Damaged("it is not the record that its mark was written for")
    return Record(reader.guests, len(chains) - 1, len(whole), chains[-1], settled=len(chains) - 1 == lines)


def _read_mark(mark: bytes) -> tuple[int, str]:
    try:
        plain = json.loads(mark)
        found = (plain["lines"], plain["chain"])
        if plain["format"] == FORMAT and isinstance(found[0], int) and found[0] > 0 and isinstance(found[1], str):
            return found
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise Damaged("its mark cannot be read")


class _Reader:
    """Reads line after line."""

    def __init__(self) -> None:
        self.guests: dict[tuple[str, str], Guest] = {}
        self._by_name: dict[str, Guest] = {}
        self._uids: set[int] = set()

    def read(self, line: bytes, number: int, chain: str) -> str:
        """Take one line; return the chain with it."""
        try:
            body = json.loads(line)
            told = body.pop("chain")
            if told != _chain_of(body, chain):
                raise Damaged(f"line {number} was changed, or one above it is missing")
            if (number == 1) != ("format" in body) or body.get("format", FORMAT) != FORMAT:
                raise Damaged(f"line {number} does not belong there")
            if number > 1:
                self._take(body)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise error if isinstance(error, Damaged) else Damaged(f"line {number} cannot be read") from None
        return str(told)

    def _take(self, body: Mapping[str, Any]) -> None:
        until = datetime.fromisoformat(body["until"]) if body["until"] is not None else None
        if "assigned" in body:
            since = datetime.fromisoformat(body["since"])
            guest = Guest(body["assigned"], body["uid"], body["provider"], body["subject"], since, until)
            if guest.name in self._by_name or guest.uid in self._uids or (guest.provider, guest.subject) in self.guests:
                raise Damaged(f"the account {bounded(guest.name)} is given twice, or its person has two")
        else:
            guest = replace(self._by_name[body["prolonged"]], until=until)
        self.guests[guest.provider, guest.subject] = self._by_name[guest.name] = guest
        self._uids.add(guest.uid)


def _chain_of(body: Mapping[str, Any], chain: str) -> str:
    text = json.dumps([chain, body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_CHAIN]


def _line(body: Mapping[str, Any], chain: str) -> bytes:
    return json.dumps({**body, "chain": _chain_of(body, chain)}).encode() + b"\n"


def _written(until: datetime | None) -> str | None:
    return until.isoformat() if until else None
