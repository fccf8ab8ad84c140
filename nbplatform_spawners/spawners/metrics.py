"""What the hub's ``/hub/metrics`` says of the platform."""

from __future__ import annotations

from prometheus_client import Gauge

from ..rules.store import RuleStore

RULES_BAD = Gauge(
    "nbplatform_rules_bad",
    "1 while the rule files hold mistakes and the last good rules stay in use, else 0",
    ["directory"],
)
HOST_UP = Gauge(
    "nbplatform_docker_host_up",
    "1 while a Docker host answers, 0 while it does not; none before it was asked",
    ["host"],
)


def observe_host(name: str, answers: bool) -> None:
    """Show whether a Docker host answered when it was asked last."""
    HOST_UP.labels(name).set(float(answers))


def observe_rules(store: RuleStore) -> None:
    """Show a store's condition; observing it again is no mistake."""
    RULES_BAD.labels(str(store.directory)).set_function(lambda: float(store.problem is not None))
