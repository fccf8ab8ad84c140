"""Benchmark of the culler's decisions: many servers of many different people, by the rules of the example site.

From what the hub's REST API answers about each user to a verdict for each server.  No two people are the same one, so
no decision is found among those that were made before.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from nbplatform_spawners.accounts.parse import parse_accounts
from nbplatform_spawners.culler.activity import Activity
from nbplatform_spawners.culler.limits import LimitsFinder, Options
from nbplatform_spawners.culler.models import Running, running_servers
from nbplatform_spawners.culler.policy import Server, verdict
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.plan import STATE_VERSION
from nbplatform_spawners.rules.engine import decide
from nbplatform_spawners.rules.model import RuleBook
from nbplatform_spawners.rules.parse import parse_rules

from .runner import Figure, benchmark, median_of

SITE = Path(__file__).resolve().parent.parent / "placement_rules" / "example-site"
SERVERS = 10_000
PROFILES = {"cpu": 0, "cpu-large": 0, "gpu": 1}
"""Profiles of the example site that groups may have, and the GPUs of a server of each."""
NOON = datetime.fromisoformat("2026-11-25T12:00+01:00")
LONGEST = timedelta(days=4)  # without use: longer than the usual limit of the site, three days


@benchmark(
    "verdicts",
    unit="s",
    about=f"{SERVERS:,} servers of as many people decided by the example site's rules: limits of now, whether still"
    " allowed, keep, warn or stop; median of 5",
)
def verdicts() -> Figure:
    """Measure from the hub's models to verdicts."""
    book = example_book()
    users = list(models(SERVERS))

    def one_round() -> float:
        begin = time.perf_counter()
        found = decided(book, users)
        took = time.perf_counter() - begin
        assert sum(found.values()) == SERVERS
        return took

    return Figure(median_of(one_round, runs=5))


def example_book() -> RuleBook:
    """Return the rules of the example site."""
    return parse_rules({path.name: path.read_bytes() for path in (SITE / "placement_rules").glob("*.yaml")})


def models(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield users with one server each, as the hub's REST API describes them to a service with the culler's scopes.

    They are of the groups of the example site's accounts; each profile is one that the rules allow to such a person.

    Args:
        count: how many.
        seed: another seed gives other people of the same mix.
    """
    random = Random(seed)
    accounts = parse_accounts((SITE / "accounts.yaml").read_bytes(), "accounts.yaml").accounts
    book = example_book()
    originals = [replace(accounts[name].identity, name=f"{name}0") for name in sorted(accounts)]
    allowed = [
        (one, profile)
        for one in originals
        for profile in PROFILES
        if decide(book, one, profile=profile, now=NOON).allowed
    ]
    for number, (original, profile) in zip(range(count), itertools.cycle(allowed), strict=False):
        name = f"{original.name}{number}"
        person = replace(original, name=name, uid=100_000 + number, home=f"/home/{name}")
        used = NOON - random.random() * LONGEST
        yield user_model(person, profile, used)


def user_model(person: Identity, profile: str, used: datetime) -> dict[str, Any]:
    """Return one user with a running server.

    Args:
        person: who.
        profile: of the server.
        used: when the hub last saw it used; aware.
    """
    gpus = PROFILES[profile]
    state = {
        "version": STATE_VERSION,
        "identity": person.to_dict(),
        "profile": profile,
        "generation": "0" * 12,
        "host": "gpu01" if gpus else "cpu01",
        "pool": "gpu" if gpus else "cpu",
        "gpus": [f"GPU-{person.uid}-{number}" for number in range(gpus)],
        "gpu_count": gpus,
        "memory": 4 << 30,
        "cpu": 2.0,
        "idle": {"cull_after": 3 * 86400, "cull_after_gpu": 86400, "warn_before": 7200, "max_age": None},
        "started": (used - timedelta(hours=8)).isoformat(timespec="seconds"),
        "reason": "allowed",
    }
    server = {
        "name": "",
        "started": (used - timedelta(hours=8)).isoformat(),
        "last_activity": used.isoformat(),
        "pending": None,
        "ready": True,
        "stopped": False,
        "url": f"/user/{person.name}/",
        "state": state,
    }
    return {"kind": "user", "name": person.name, "servers": {"": server}}


def decided(book: RuleBook, users: list[dict[str, Any]]) -> Mapping[str, int]:
    """Decide every server of some users, as a pass does; return how many of each kind of verdict."""
    finder = LimitsFinder(book, Options(), NOON)
    running = itertools.chain.from_iterable(map(running_servers, users))
    return Counter(_kind(finder, one) for one in running)


def _kind(finder: LimitsFinder, running: Running) -> str:
    server = Server(
        running.started,
        Activity(last=running.last_activity),
        with_gpu=running.gpu_count > 0,
        warned=NOON - timedelta(hours=2),
    )
    return verdict(server, finder.standing(running).limits, finder.now).kind
