"""Benchmark of a refresh: how many times Keycloak is asked when a page and all that it loads find an expired token."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.components.keycloak_gate import TOKEN
from tests.components.session import TIMEOUT

from .keycloak_sides import USER, LoginSide, login_sides
from .runner import CannotRun, Figure, benchmark, tell

ROUNDS = 5
PARALLEL = 20
LIFE = 2  # seconds of an access token, and after which the hubs look again
CONFIG = f"c.Authenticator.auth_refresh_age = {LIFE}\n"


@benchmark(
    "refresh", unit="grants", about=f"refresh grants for {PARALLEL} requests at once with an expired token, median"
)
def refresh() -> Figure:
    """Return the medians of both sides; a stock hub that reads the id_token never uses the refresh token at all."""
    with login_sides(CONFIG, from_userinfo=True) as (ours, peer):
        return Figure(*(measure_refreshes(side, rounds=ROUNDS) for side in (ours, peer)))


def measure_refreshes(side: LoginSide, *, rounds: int) -> float:
    """Return the median of the refresh grants of each round; somebody new is logged in for each.

    A stock hub whose refresh token was used at the same time by two requests may throw the person out.
    """
    site = side.site
    site.admin.set_client(site.client_id, site.realm, attributes={"access.token.lifespan": str(LIFE)})
    found = []
    for number in range(1, rounds + 1):
        found.append(one_burst(side))
        tell(f"refresh: {number} of {rounds}: {found[-1]} {side.name} (grants)")
    return statistics.median(found)


def one_burst(side: LoginSide) -> int:
    """Return how many grants many requests at once make, once the token has ended."""
    visitor = side.site.log_in(USER)
    cookies = visitor.cookies("/hub/home")
    visitor.close()
    time.sleep(LIFE + 1.5)
    side.site.gate.forget()
    with ThreadPoolExecutor(PARALLEL) as pool:
        statuses = list(pool.map(lambda _: _get(f"{side.site.url}/hub/home", cookies), range(PARALLEL)))
    if side.name == "ours" and set(statuses) != {200}:
        raise CannotRun(f"requests were answered {sorted(set(statuses))}")
    return side.site.gate.count(TOKEN)


def _get(url: str, cookies: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Cookie": cookies, "Sec-Fetch-Mode": "navigate"}
        return session.get(url, headers=headers, timeout=TIMEOUT, allow_redirects=False).status_code
