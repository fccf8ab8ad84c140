"""Which limits hold for a server: the rules as they are now, what was noted at its start, or the command's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nbplatform_spawners.culler.limits import LimitsFinder, Options
from nbplatform_spawners.culler.models import Running
from nbplatform_spawners.culler.policy import Limits
from nbplatform_spawners.rules.parse import parse_rules

NOW = datetime(2026, 11, 24, 8, 12, tzinfo=UTC)
RULES = b"""\
profiles:
  cpu: {title: "CPU", allow: true}
  gpu: {title: "GPU", gpus: 1}
rules:
  - name: whitelist
    match: {groups: [ml], profiles: [gpu]}
    allow: true
    idle: {cull_after_gpu: 12h, extend: 6h}
  - name: forever
    match: {users: [eve]}
    idle: {cull_after: never, cull_after_gpu: never}
  - name: until noon
    match: {groups: [school], until: 2026-11-24T12:00+01:00}
    idle: {cull_after: 2h}
defaults:
  idle: {cull_after: 3d, cull_after_gpu: 1d, warn_before: 2h, max_age: 7d, busy_max: 4d}
"""
BOOK = parse_rules({"site.yaml": RULES})


def running(user: str = "ada", groups: tuple[str, ...] = (), **state: Any) -> Running:
    """Return a server as its spawner noted it."""
    identity = {
        "name": user,
        "uid": 1001,
        "gid": 1000,
        "groups": {"users": 1000, **{name: 2000 + len(name) for name in groups}},
        "primary_group": "users",
        "home": f"/home/{user}",
        "shell": "/bin/bash",
    }
    noted = {"version": 1, "identity": identity, "profile": "cpu", "gpu_count": 0, "idle": {"cull_after": 60}, **state}
    return Running(user, "", NOW - timedelta(days=1), None, None, True, noted)


def limits(server: Running, options: Options | None = None, now: datetime = NOW, book: Any = BOOK) -> Limits:
    """Return the limits of a server."""
    return LimitsFinder(book, options or Options(), now).standing(server).limits


DAY = 86400


def test_the_rules_decide_for_identity_and_profile() -> None:
    """Every key of ``idle`` comes from the rule book, with the rule that set it."""
    found = limits(running())
    assert replace(found, origins={}) == Limits(3 * DAY, 7200, 7 * DAY, 4 * DAY, 0)
    assert found.origins["idle"].where == "site.yaml:15"


def test_a_gpu_has_its_own_limit_whatever_the_profile_is_called() -> None:
    """What counts is that the server holds one."""
    assert limits(running(gpu_count=1)).idle == DAY
    assert limits(running(gpu_count=0, gpus=["GPU-1"])).idle == 3 * DAY
    assert limits(running(profile="gpu", groups=("ml",), gpu_count=1)).idle == DAY // 2
    assert limits(running(profile="gpu", groups=("ml",), gpu_count=1)).extend == 6 * 3600


def test_never_is_never() -> None:
    """Neither the defaults nor the command's own timeout come behind it."""
    assert limits(running("eve"), Options(timeout=60)).idle is None


def test_a_rule_that_ends_gives_way_while_the_server_runs() -> None:
    """Limits are decided at each pass, by the time of the pass."""
    school = running(groups=("school",))
    assert limits(school).idle == 7200
    assert limits(school, now=NOW + timedelta(hours=4)).idle == 3 * DAY


# id, server, book
NOTED = [
    ("no rules", running(), None),
    ("the identity was cut to fit", running(identity={**running().state["identity"], "cut": True}), BOOK),
    ("the identity is of another form", running(identity=["ada"]), BOOK),
    ("the identity is missing", running(identity=None), BOOK),
    ("the profile is gone", running(profile="old"), BOOK),
]


@pytest.mark.parametrize(("_", "server", "book"), NOTED, ids=[row[0] for row in NOTED])
def test_without_a_decision_what_was_noted_at_the_start_holds(_: str, server: Running, book: Any) -> None:
    """Nobody gets another limit since something cannot be decided."""
    assert limits(server, Options(timeout=9), book=book).idle == 60


def test_a_server_that_is_not_ours_has_the_commands_limits() -> None:
    """As upstream's culler has them, also beside rules."""
    stock = replace(running(), state={})
    assert limits(stock, Options(timeout=600, max_age=900)) == Limits(idle=600, max_age=900)
    assert limits(stock) == Limits()


def test_the_smaller_age_wins() -> None:
    """``--max-age`` holds for every server, the rules may say less."""
    assert limits(running(), Options(max_age=DAY)).max_age == DAY
    assert "max_age" not in limits(running(), Options(max_age=DAY)).origins
    assert limits(running(), Options(max_age=30 * DAY)).max_age == 7 * DAY


def test_who_left_the_whitelist_is_no_longer_allowed() -> None:
    """The limits go on to hold; what happens is the administrator's choice."""
    found = LimitsFinder(BOOK, Options(), NOW).standing(running(profile="gpu", gpu_count=1))
    assert found.off == "the rules no longer allow it: no rule allows you the profile 'gpu'"
    assert found.limits.idle == DAY
    gone = LimitsFinder(BOOK, Options(), NOW).standing(running(profile="old"))
    assert gone.off == "the rules have no profile 'old' any more"


def test_nonsense_in_a_state_is_no_limit() -> None:
    """A state of another form never stops anybody."""
    server = running(idle={"cull_after": "60", "max_age": -1, "warn_before": None})
    assert limits(server, book=None) == Limits()
