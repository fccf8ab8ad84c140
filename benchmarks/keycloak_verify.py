"""Benchmark of a verification: a real id_token, signed by a key that is known, and every check of its contents."""

from __future__ import annotations

import asyncio
import statistics
import time

from nbplatform_spawners.auth.keycloak_provider import Provider
from tests.components.keycloak_realms import CLIENT_SECRET
from tests.keycloak.site import Site, keycloak_site

from .keycloak_sides import USER, keycloak
from .runner import Figure, benchmark

RUNS = 300


@benchmark("verify", unit="ms", about=f"verifying a real id_token (RS256) whose key is known: median of {RUNS}")
def verify() -> Figure:
    """Measure on a token of a real Keycloak."""
    with keycloak() as one, keycloak_site(one) as site:
        return Figure(1000 * asyncio.run(measure_verification(site, runs=RUNS)))


async def measure_verification(site: Site, *, runs: int) -> float:
    """Return the median seconds of a verification; the first one, which fetches the keys, does not count."""
    site.admin.set_client(site.client_id, site.realm, directAccessGrantsEnabled=True)
    provider = Provider(site.issuer, site.client_id, CLIENT_SECRET)
    tokens = await provider.tokens(grant_type="password", username=USER, password=f"{USER}-pw", scope="openid profile")
    token = tokens["id_token"]
    await provider.id_token(token, None)
    found = []
    for _ in range(runs):
        begin = time.perf_counter()
        await provider.id_token(token, None)
        found.append(time.perf_counter() - begin)
    return statistics.median(found)
