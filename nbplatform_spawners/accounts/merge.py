"""One account from two sources, the claims of a login and the account directory: pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from ..errors import Refusal
from ..identity import Account, Identity
from ..names import bounded, is_safe
from ..oidc.claims import Claims
from ..yaml_nodes import suggestion

CLAIMS, DIRECTORY = "claims", "directory"
DEFAULT_SOURCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "uid": (CLAIMS, DIRECTORY),
        "gid": (CLAIMS, DIRECTORY),
        "groups": (DIRECTORY,),
        "home": (DIRECTORY, CLAIMS),
        "shell": (DIRECTORY, CLAIMS),
    }
)
"""Which source decides a field, in order: the first that says something."""


class Disagreement(Refusal):
    """The login and the account directory do not speak of the same account.

    Args:
        name: the account's.
        what: what they say each; the numbers of an account are no secret.
    """

    def __init__(self, name: str, what: str) -> None:
        super().__init__("account", f"account {bounded(name)}: {what}")
        self.name, self.what = name, what

    def __reduce__(self) -> tuple[type[Disagreement], tuple[str, str]]:
        return (Disagreement, (self.name, self.what))


def parse_sources(raw: object) -> Mapping[str, tuple[str, ...]]:
    """Return the whole table of sources; a field that ``raw`` does not have keeps its default.

    Args:
        raw: field to a list of ``claims`` and ``directory``, as a configuration has it.

    Raises:
        ValueError: names every mistake, one a line.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"a table is expected, field to a list of sources, not {bounded(raw)}")
    mistakes = [problem for field, named in raw.items() if (problem := _problem(field, named))]
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return MappingProxyType({**DEFAULT_SOURCES, **{field: tuple(named) for field, named in raw.items()}})


def _problem(field: object, named: object) -> str | None:
    if field not in DEFAULT_SOURCES:
        return f"unknown field {bounded(field)}{suggestion(str(field), DEFAULT_SOURCES)}"
    if not isinstance(named, list | tuple) or not named:
        return f"{field}: a list of at least one of 'claims' and 'directory' is expected, not {bounded(named)}"
    for source in named:
        if source not in (CLAIMS, DIRECTORY):
            return f"{field}: unknown source {bounded(source)}{suggestion(str(source), (CLAIMS, DIRECTORY))}"
    return f"{field}: a source stands there twice" if len({*named}) < len(named) else None


def merge(
    name: str,
    claims: Claims | None,
    account: Account | None,
    sources: Mapping[str, tuple[str, ...]],
    group_gids: Mapping[str, int],
) -> Account:
    """Return the account that both sources make together.

    Args:
        name: the hub's name of the user.
        claims: what the login says; None without a login.
        account: what the directory says; None where it was not asked or does not know the name.
        sources: as ``parse_sources`` returns it.
        group_gids: gids of the groups that claims name; see ``groups_without_gid``.

    Raises:
        Disagreement: they differ about the uid, about the gid where both may say it, or the directory answered with
            somebody else.
        Refusal: ``account``: no uid or no gid, or a value is not safe.
    """
    if account is not None and account.identity.name != name:
        raise Disagreement(name, f"the directory answered with another one, {bounded(account.identity.name)}")
    said = _Said(name, claims, account.identity if account else None, sources)
    uid, gid = said.number("uid", always=True), said.number("gid")
    groups, unnamed = _groups(said, group_gids)
    primary = _primary_group(said, gid, {**group_gids, **groups})
    if primary is not None and groups.setdefault(primary, gid) != gid:
        primary = None  # the name stands for another gid there: the number counts, the name matches no rule
    identity = Identity(
        name=name,
        uid=uid,
        gid=gid,
        groups=groups,
        primary_group=primary,
        home=said.text("home") or f"/home/{name}",
        shell=said.text("shell") or "/bin/bash",
        provider=claims.provider if claims else said.directory.provider if said.directory else None,
        unnamed_gids=unnamed,
    )
    ends = (claims.valid_until if claims else None, account.valid_until if account else None)
    return Account(identity, _earlier(*ends), account.as_of if account else None)


def groups_without_gid(claims: Claims, group_gids: Mapping[str, int]) -> tuple[str, ...]:
    """Return the groups that the claims name and ``merge`` drops, in name order: the site's table has no gid."""
    return tuple(sorted({*claims.groups} - {*group_gids}))


class _Said:
    """What each source says of one account."""

    def __init__(
        self, name: str, claims: Claims | None, directory: Identity | None, sources: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.name = name
        self.claims = claims
        self.directory = directory
        self.sources = sources

    def number(self, field: str, always: bool = False) -> int:
        """Return ``uid`` or ``gid``.

        Args:
            field: which.
            always: what both say is compared, also where only one of them may decide.
        """
        listed = self.sources[field]
        says: dict[str, int | None] = {CLAIMS: None, DIRECTORY: None}
        if self.claims is not None:
            says[CLAIMS] = getattr(self.claims, field)
        if self.directory is not None:
            says[DIRECTORY] = getattr(self.directory, field)
        both = None not in says.values() and (always or len(listed) > 1)
        if both and says[CLAIMS] != says[DIRECTORY]:
            what = f"its login says {field} {says[CLAIMS]}, the account directory says {says[DIRECTORY]}"
            raise Disagreement(self.name, what)
        for source in listed:
            number = says[source]
            if number is not None:
                return number
        raise Refusal(
            "account", f"account {bounded(self.name)}: nobody says its {field} ({' and '.join(listed)} asked)"
        )

    def text(self, field: str) -> str | None:
        """Return ``home`` or ``shell``, None where nobody says it."""
        for source in self.sources[field]:
            told: str | None = getattr(self.claims if source == CLAIMS else self.directory, field, None)
            if told is not None:
                return told
        return None


def _groups(said: _Said, group_gids: Mapping[str, int]) -> tuple[dict[str, int], tuple[int, ...]]:
    """Return the named groups, and the gids without a name, of the first source that says something."""
    for source in said.sources["groups"]:
        if source == DIRECTORY and said.directory is not None:
            return dict(said.directory.groups), said.directory.unnamed_gids
        if source == CLAIMS and said.claims is not None and (said.claims.groups or said.claims.gids):
            known = {group: group_gids[group] for group in said.claims.groups if group in group_gids}
            named = {group: gid for group, gid in known.items() if is_safe(group)}
            others = {*said.claims.gids, *known.values()} - {*named.values()}
            return named, tuple(others)
    return {}, ()


def _primary_group(said: _Said, gid: int, gids: Mapping[str, int]) -> str | None:
    """Return the name of the primary group: the directory's own, else the first that the site gives to this gid."""
    if said.directory is not None and said.directory.gid == gid and said.directory.primary_group is not None:
        return said.directory.primary_group
    names = sorted(group for group, number in gids.items() if number == gid and is_safe(group))
    return names[0] if names else None


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    ends = [end for end in (one, other) if end is not None]
    return min(ends, default=None)
