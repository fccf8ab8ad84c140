"""The ledger of GPUs under every order of events that Hypothesis thinks of, with hosts that fail at any step.

What is driven is the real code: JupyterHub's own users and spawns, the platform's spawner, fleet, reaper and ledger,
docker-py.  Only the Docker daemons are made up (see :mod:`tests.docker.wire`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from .ledger_machine import OWNED, Ledger
from .wire import Fault

ADA, BEN, EVE = OWNED[::2]
ADA_TWO, BEN_TWO, EVE_TWO = OWNED[1::2]
GPU_FOR_EACH = [(owner, "gpu") for owner in (BEN, EVE, BEN_TWO, EVE_TWO)]
"""Whoever begins again itself, ada, ends first what is left of its server."""


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Thousands of lines about failing hosts say nothing here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def stop_fails(ledger: Ledger, *faults: Fault) -> None:
    """A host that answers cannot stop a server, or says that it cannot; all want its GPU."""
    ledger.start_together([(ADA, "gpu")])
    ledger.stop(0, [("stop", fault) for fault in faults], GPU_FOR_EACH)


def stop_on_lost_host(ledger: Ledger) -> None:
    """A server is stopped while its host is down; the hub is killed; the host is back; its owner may have no more."""
    ledger.start_together([(ADA, "pair")])
    ledger.break_or_mend_host("wn1", None)
    ledger.look([], polled=True, long=True)
    ledger.stop(0, [], [(ADA, "gpu"), (ADA_TWO, "gpu")])
    ledger.administrate(set(), None, killed=True)
    ledger.start_together([(ADA, "gpu")])
    ledger.break_or_mend_host("wn1", None)
    ledger.start_together(GPU_FOR_EACH)


def killed_while_creating(ledger: Ledger) -> None:
    """A hub is killed when a host has made a container; the next one has to find it."""
    ledger.start_meanwhile(0, "pair", "create", "thaw, kill", GPU_FOR_EACH)
    ledger.look([], polled=True, long=False)
    ledger.start_together([(ADA, "gpu"), *GPU_FOR_EACH])


def creation_unanswered(ledger: Ledger, fault: Fault) -> None:
    """A host makes a container and does not say so, nor what it has; the user tries again at once."""
    for step in ("create", "list"):
        ledger.world.daemons["wn1"].fail(step, fault)
    ledger.administrate({"wn2"}, None, killed=False)
    ledger.start_together([(ADA, "gpu")])
    ledger.start_together([(ADA, "gpu")])
    ledger.look([], polled=True, long=True)
    ledger.start_together(GPU_FOR_EACH)


def all_at_once(ledger: Ledger) -> None:
    """Everybody wants a GPU at the same moment; then the hub comes back, and they want one more."""
    ledger.start_together(GPU_FOR_EACH)
    ledger.administrate(set(), None, killed=True)
    ledger.start_together(GPU_FOR_EACH)


def cancelled(ledger: Ledger, step: str, when: str) -> None:
    """A start is cancelled at one of its steps; the next ones want its GPU."""
    ledger.start_meanwhile(0, "pair", step, when, GPU_FOR_EACH)


def host_lost(ledger: Ledger, how: Fault | None) -> None:
    """A host with servers is out of reach: they are polled, the hub is killed, it is back; none is lost."""
    ledger.start_together([(ADA, "gpu"), *GPU_FOR_EACH[:2]])
    ledger.break_or_mend_host("wn1", how)
    ledger.look([], polled=True, long=True)
    ledger.administrate(set(), "wn1", killed=True)
    ledger.look([], polled=True, long=True)
    ledger.start_together(GPU_FOR_EACH)
    ledger.break_or_mend_host("wn1", how)
    ledger.administrate(set(), None, killed=False)
    ledger.look([], polled=True, long=True)


HISTORIES: dict[str, Callable[[Ledger], None]] = {
    "a stop that fails": lambda ledger: stop_fails(ledger, Fault.ERROR),
    "a stop that breaks off": lambda ledger: stop_fails(ledger, Fault.DROP, Fault.DROP),
    "a stop that is done and not answered": lambda ledger: stop_fails(ledger, Fault.ERROR_AFTER),
    "a stop on a host that is down": stop_on_lost_host,
    "a kill of the hub while it creates": killed_while_creating,
    "a creation that nobody tells of": lambda ledger: creation_unanswered(ledger, Fault.ERROR_AFTER),
    "a creation that is refused without a reason": lambda ledger: creation_unanswered(ledger, Fault.ERROR),
    "everybody at once": all_at_once,
    **{
        f"a DELETE at {step}, {when}": partial(cancelled, step=step, when=when)
        for step in ("create", "start", "inspect")
        for when in ("cancel", "thaw, cancel")
    },
    "a host that is down": lambda ledger: host_lost(ledger, None),
    "a host that hangs": lambda ledger: host_lost(ledger, Fault.HANG),
    "a host with errors": lambda ledger: host_lost(ledger, Fault.ERROR),
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_the_ledger_is_right_after(history: Callable[[Ledger], None]) -> None:
    """What the search must not miss: the orders of events that each fault in a ledger would show in."""
    ledger = Ledger()
    try:
        history(ledger)
        ledger.nothing_is_wrong()
    except BaseException:
        ledger.run(ledger.end())
        ledger.runner.close()
        raise
    ledger.teardown()


Ledger.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestLedger = Ledger.TestCase
