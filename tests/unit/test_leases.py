"""Who holds what: hosts and hub together, each container once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.hosts.admit import Demand, Holding, LiveHost, LivePool, admit
from nbplatform_spawners.hosts.containers import Container
from nbplatform_spawners.hosts.leases import Known, Lease, lease_from_dict, lease_of, orphans, unknown_holdings

NOBODY = Known({})
URL = "tcp://wn1:2376"


def container(key: str = "c1", user: str = "ada", server: str = "", state: str = "running", **more: Any) -> Container:
    """A container of host wn1 that holds GPU-1."""
    what = {"host": "wn1", "name": f"hub-{user}-{server}".rstrip("-"), "gpus": ("GPU-1",), "memory": 10, **more}
    return Container(id=key, user=user, server=server, state=state, **what)


def lease(key: str = "c1", user: str = "ada", server: str = "", **more: Any) -> Lease:
    """A lease of such a container."""
    what = {"host": "wn1", "url": URL, "name": f"hub-{user}-{server}".rstrip("-"), "gpus": ("GPU-1",), "memory": 10}
    return Lease(id=key, user=user, server=server, **{**what, **more})


def start(user: str = "ada", server: str = "", host: str = "wn1", gpus: tuple[str, ...] = ("GPU-1",)) -> Holding:
    """What a start has reserved."""
    return Holding(user, server, host, gpus, 10, gpu_count=len(gpus))


Case = tuple[list[Container], list[Lease], Known, list[Holding], list[tuple[str, str, tuple[str, ...]]]]
LEAVING = "default server (being stopped on wn1)"
HOLDINGS: dict[str, Case] = {
    "nothing anywhere": ([], [], NOBODY, [], []),
    "a container that the hub has recorded counts in its books": (
        [container()],
        [],
        Known({("ada", ""): "c1"}),
        [],
        [],
    ),
    "one that nobody knows holds what it says": ([container()], [], NOBODY, [], [("ada", LEAVING, ("GPU-1",))]),
    "the same owner's new container does not hide the old one": (
        [container("old"), container("new", name="other")],
        [],
        Known({("ada", ""): "new"}),
        [],
        [("ada", LEAVING, ("GPU-1",))],
    ),
    "a container that was created and not started holds its GPU, and nobody's quota": (
        [container(state="created")],
        [],
        NOBODY,
        [],
        [("", LEAVING, ("GPU-1",))],
    ),
    "so does the lease of one that was never told to start": (
        [],
        [lease(started=False)],
        NOBODY,
        [],
        [("", LEAVING, ("GPU-1",))],
    ),
    "one that is paused holds both": ([container(state="paused")], [], NOBODY, [], [("ada", LEAVING, ("GPU-1",))]),
    "and one that is being removed": ([container(state="removing")], [], NOBODY, [], [("ada", LEAVING, ("GPU-1",))]),
    "one that has exited holds nothing": ([container(state="exited")], [], NOBODY, [], []),
    "nor does a dead one": ([container(state="dead")], [], NOBODY, [], []),
    "a start's own container counts with its reservation": ([container()], [], NOBODY, [start()], []),
    "a start with other GPUs is another container's": (
        [container()],
        [],
        NOBODY,
        [start(gpus=("GPU-2",))],
        [("ada", LEAVING, ("GPU-1",))],
    ),
    "so is one on another host": (
        [container()],
        [],
        NOBODY,
        [start(host="wn2")],
        [("ada", LEAVING, ("GPU-1",))],
    ),
    "so is one of the same user's other server": (
        [container()],
        [],
        NOBODY,
        [start(server="two")],
        [("ada", LEAVING, ("GPU-1",))],
    ),
    "a container that must end counts beside a start of the same server with the same GPUs": (
        [container()],
        [lease()],
        NOBODY,
        [start()],
        [("ada", LEAVING, ("GPU-1",))],
    ),
    "a lease holds though its host has never told of the container": (
        [],
        [lease()],
        NOBODY,
        [],
        [("ada", LEAVING, ("GPU-1",))],
    ),
    "so does one whose container may never have been made": (
        [],
        [lease("", started=False)],
        NOBODY,
        [],
        [("", LEAVING, ("GPU-1",))],
    ),
    "a container that was told to start, and whose host told of it before, counts": (
        [container(state="created")],
        [lease(started=True)],
        NOBODY,
        [],
        [("ada", LEAVING, ("GPU-1",))],
    ),
    "a lease and its container count once": ([container()], [lease()], NOBODY, [], [("ada", LEAVING, ("GPU-1",))]),
    "also where the lease knows a name alone": ([container()], [lease("")], NOBODY, [], [("ada", LEAVING, ("GPU-1",))]),
    "a server that is being stopped counts in the books until it is gone": (
        [container()],
        [lease()],
        Known({("ada", ""): "c1"}),
        [],
        [],
    ),
    "a lease outlives the same server's next container": (
        [container("new")],
        [lease("old", gpus=("GPU-2",))],
        Known({("ada", ""): "new"}),
        [],
        [("ada", LEAVING, ("GPU-2",))],
    ),
    "containers of one name on two hosts are two": (
        [container(), container("c2", host="wn2", gpus=("GPU-9",))],
        [],
        NOBODY,
        [],
        [("ada", LEAVING, ("GPU-1",)), ("ada", "default server (being stopped on wn2)", ("GPU-9",))],
    ),
    "a named server is named": (
        [container(server="two")],
        [],
        NOBODY,
        [],
        [("ada", "two (being stopped on wn1)", ("GPU-1",))],
    ),
}


@pytest.mark.parametrize(("containers", "leaving", "known", "starting", "expected"), HOLDINGS.values(), ids=HOLDINGS)
def test_each_container_counts_once_and_none_is_forgotten(
    containers: list[Container],
    leaving: list[Lease],
    known: Known,
    starting: list[Holding],
    expected: list[tuple[str, str, tuple[str, ...]]],
) -> None:
    """Whatever is not positively gone holds what it was given."""
    found = unknown_holdings(containers, leaving, known, starting)
    assert [(held.user, held.server, held.gpus) for held in found] == expected
    assert all(held.memory == 10 for held in found)


def test_a_new_start_of_the_same_server_does_not_get_the_old_ones_gpu() -> None:
    """Admission replaces what a server held before; a container of it that still runs is no such thing."""
    held = unknown_holdings([container()], [lease()], NOBODY, [])
    pool = LivePool("gpu", (LiveHost("wn1", 100, ("GPU-1", "GPU-2")),))
    assert admit(Demand("ada", "", "gpu", gpus=1), (pool,), held).gpus == ("GPU-2",)


ORPHANS: dict[str, tuple[Known, bool]] = {
    "nobody knows it": (NOBODY, True),
    "the hub has recorded it": (Known({("ada", ""): "c1"}), False),
    "the hub has recorded another one for this server": (Known({("ada", ""): "c2"}), True),
    "the hub has a server whose container it does not know": (Known({("ada", ""): ""}), True),
    "this server is being started": (Known({}, frozenset({("ada", "")})), False),
    "another one of the user is being started": (Known({}, frozenset({("ada", "two")})), True),
}


@pytest.mark.parametrize("state", ["created", "running", "exited"])
@pytest.mark.parametrize(("known", "orphan"), ORPHANS.values(), ids=ORPHANS)
def test_an_orphan_belongs_to_no_server_and_to_no_start(known: Known, orphan: bool, state: str) -> None:
    """Also one that has ended: it takes space."""
    one = container(state=state)
    assert list(orphans([one], known)) == ([one] if orphan else [])


def test_a_lease_with_an_id_is_for_that_container_alone() -> None:
    """The same server's next container has the same name."""
    assert lease("c1").is_for(container("c1"))
    assert not lease("c1").is_for(container("c2"))
    assert not lease("c1").is_for(container("c1", host="wn2"))


def test_a_lease_without_an_id_is_for_the_container_of_its_name() -> None:
    """The answer to its creation never came: the name is all that is known."""
    assert lease("").is_for(container("c7"))
    assert not lease("").is_for(container("c7", name="hub-ben"))
    assert not lease("").is_for(container("c7", host="wn2"))


@pytest.mark.parametrize(("state", "started"), [("created", False), ("running", True), ("removing", True)])
def test_a_lease_is_made_of_a_container(state: str, started: bool) -> None:
    """It holds what the container holds."""
    assert lease_of(container(server="two", state=state), URL) == lease(server="two", started=started)


@given(
    st.builds(
        Lease, *[st.text()] * 6, gpus=st.lists(st.text()).map(tuple), memory=st.integers(0), started=st.booleans()
    )
)
def test_a_lease_survives_the_hubs_database(one: Lease) -> None:
    """It is kept as JSON in a server's state."""
    assert lease_from_dict(json.loads(json.dumps(one.to_dict()))) == one


PLAIN = lease().to_dict()
NO_LEASES: dict[str, object] = {
    "nothing": None,
    "a text": "lease",
    "a list": [PLAIN],
    "an empty dict": {},
    "no id": {key: value for key, value in PLAIN.items() if key != "id"},
    "a number for the host": {**PLAIN, "host": 1},
    "a text for the GPUs": {**PLAIN, "gpus": "GPU-1"},
}


@pytest.mark.parametrize("plain", NO_LEASES.values(), ids=NO_LEASES)
def test_what_is_no_lease_is_none(plain: object) -> None:
    """An old or damaged state must not stop the hub."""
    assert lease_from_dict(plain) is None


@pytest.mark.parametrize("memory", ["4G", None, [1], 1.5])
def test_memory_that_cannot_be_read_is_none_at_all(memory: object) -> None:
    """The container must end all the same."""
    assert lease_from_dict({**PLAIN, "memory": memory}) == lease(memory=0)


def test_a_lease_of_an_earlier_version_counts_as_started() -> None:
    """It may run: its owner's quota is held."""
    assert lease_from_dict({key: value for key, value in PLAIN.items() if key != "started"}) == lease()
