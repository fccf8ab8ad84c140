"""Admission: quota, pools in order of preference, host."""

import dataclasses
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.hosts.admit import (
    Demand,
    Holding,
    LiveHost,
    LivePool,
    Placement,
    admit,
    check_quota,
    narrowed,
)

G = 1024**3
HOUR = 3600


def demand(**what: object) -> Demand:
    """Return a demand of user ``me`` for server ``new`` of profile ``cpu``."""
    return Demand(**{"user": "me", "server": "new", "profile": "cpu", **what})  # type: ignore[arg-type]


def mine(server: str, **what: object) -> Holding:
    """Return what another server of user ``me`` holds."""
    return Holding("me", server, **what)  # type: ignore[arg-type]


def theirs(server: str, **what: object) -> Holding:
    """Return what a server of somebody else holds."""
    return Holding("other", server, **what)  # type: ignore[arg-type]


def cpu(name: str, memory: int = 32, **what: object) -> LiveHost:
    """Return a host without GPUs; memory in GiB."""
    return LiveHost(name, memory * G, **what)  # type: ignore[arg-type]


def gpu(name: str, count: int = 4, memory: int = 128, **what: object) -> LiveHost:
    """Return a host with GPUs called ``NAME-0`` and so on, which keeps 16 GiB for each."""
    ids = tuple(f"{name}-{number}" for number in range(count))
    given = {"gpu_model": "K80", "memory_per_gpu": 16 * G, **what}
    return LiveHost(name, memory * G, gpus=ids, **given)  # type: ignore[arg-type]


def pool(*hosts: LiveHost, name: str = "cpu", strategy: str = "spread") -> LivePool:
    """Return a pool."""
    return LivePool(name, hosts, strategy)  # type: ignore[arg-type]


PLACED: dict[str, tuple[Demand, tuple[LivePool, ...], tuple[Holding, ...], Placement]] = {
    "spread takes the host with the most free memory": (
        demand(memory=G),
        (pool(cpu("a"), cpu("b"), cpu("c")),),
        (theirs("x", host="a", memory=8 * G), theirs("y", host="b", memory=4 * G), theirs("z", host="c", memory=9 * G)),
        Placement("b", "cpu"),
    ),
    "pack takes the host with the least that still fits": (
        demand(memory=24 * G),
        (pool(cpu("a"), cpu("b"), cpu("c"), strategy="pack"),),
        (theirs("x", host="a", memory=8 * G), theirs("y", host="b", memory=4 * G), theirs("z", host="c", memory=9 * G)),
        Placement("a", "cpu"),
    ),
    "what is left may be used to the last byte": (
        demand(memory=24 * G),
        (pool(cpu("a")),),
        (theirs("x", host="a", memory=8 * G),),
        Placement("a", "cpu"),
    ),
    "equal hosts are taken in name order, whatever order they come in": (
        demand(memory=G),
        (pool(cpu("b"), cpu("a")),),
        (),
        Placement("a", "cpu"),
    ),
    "equal hosts are packed in name order as well": (
        demand(memory=G),
        (pool(cpu("b"), cpu("a"), strategy="pack"),),
        (),
        Placement("a", "cpu"),
    ),
    "the first pool comes first, however much the second has": (
        demand(memory=G),
        (pool(cpu("z", 2), name="large"), pool(cpu("a", 999))),
        (),
        Placement("z", "large"),
    ),
    "the second pool serves when the first is full": (
        demand(memory=4 * G),
        (pool(cpu("z", 2), name="large"), pool(cpu("a"))),
        (),
        Placement("a", "cpu"),
    ),
    "the second pool serves when the first does not answer": (
        demand(memory=G),
        (pool(cpu("z", answers=False), name="large"), pool(cpu("a"))),
        (),
        Placement("a", "cpu"),
    ),
    "a draining host takes no new server": (
        demand(memory=G),
        (pool(cpu("a", 999, drain=True), cpu("b", 2)),),
        (),
        Placement("b", "cpu"),
    ),
    "a host that does not answer takes no new server": (
        demand(memory=G),
        (pool(cpu("a", 999, answers=False), cpu("b", 2)),),
        (),
        Placement("b", "cpu"),
    ),
    "the first free GPUs of the host are granted": (
        demand(gpus=2, memory=G),
        (pool(gpu("g"), name="gpu"),),
        (theirs("x", host="g", gpus=("g-0", "g-2")),),
        Placement("g", "gpu", ("g-1", "g-3")),
    ),
    "a server without a GPU gets none on a GPU host": (
        demand(memory=G),
        (pool(gpu("g"), name="gpu"),),
        (),
        Placement("g", "gpu", ()),
    ),
    "all GPUs of one server are on one host": (
        demand(gpus=2),
        (pool(gpu("g", 1), gpu("h", 1), gpu("i", 2, memory=64), name="gpu"),),
        (),
        Placement("i", "gpu", ("i-0", "i-1")),
    ),
    "another model does not serve": (
        demand(gpus=1, gpu_model="A100"),
        (pool(gpu("g", memory=999), gpu("h", gpu_model="A100"), gpu("i", memory=998, gpu_model=None), name="gpu"),),
        (),
        Placement("h", "gpu", ("h-0",)),
    ),
    "without a model any serves": (
        demand(gpus=1),
        (pool(gpu("g", memory=999, gpu_model=None), gpu("h"), name="gpu"),),
        (),
        Placement("g", "gpu", ("g-0",)),
    ),
    "memory is kept for the GPUs that nobody holds": (
        demand(memory=65 * G),
        (pool(gpu("g"), name="gpu"), pool(cpu("a", 999))),
        (),
        Placement("a", "cpu"),
    ),
    "what is not kept may be used": (
        demand(memory=64 * G),
        (pool(gpu("g"), name="gpu"),),
        (),
        Placement("g", "gpu"),
    ),
    "memory is not kept for a GPU that somebody holds": (
        demand(memory=65 * G),
        (pool(gpu("g"), name="gpu"),),
        (theirs("x", host="g", gpus=("g-3",), memory=15 * G),),
        Placement("g", "gpu"),
    ),
    "memory is not kept for a GPU that this server asks for": (
        demand(gpus=1, memory=80 * G),
        (pool(gpu("g"), name="gpu"),),
        (),
        Placement("g", "gpu", ("g-0",)),
    ),
    "the kept memory does not decide which host is the emptiest": (
        demand(memory=G),
        (pool(gpu("g", memory=128), cpu("a", 100)),),
        (),
        Placement("g", "cpu"),
    ),
    "what this very server held before does not count": (
        demand(server="", gpus=4, memory=128 * G, quota={"servers": 1, "gpus": 4}),
        (pool(gpu("g"), name="gpu"),),
        (mine("", host="g", gpus=("g-0", "g-1", "g-2", "g-3"), memory=128 * G),),
        Placement("g", "gpu", ("g-0", "g-1", "g-2", "g-3")),
    ),
    "a server of the same name of somebody else counts": (
        demand(server="", gpus=1),
        (pool(gpu("g"), name="gpu"),),
        (theirs("", host="g", gpus=("g-0",)),),
        Placement("g", "gpu", ("g-1",)),
    ),
    "memory held on another host does not count": (
        demand(memory=32 * G),
        (pool(cpu("a"), cpu("b", 2)),),
        (theirs("x", host="b", memory=32 * G), theirs("y", memory=32 * G)),
        Placement("a", "cpu"),
    ),
    "a GPU stays taken when its host was renamed": (
        demand(gpus=1),
        (pool(gpu("g"), name="gpu"),),
        (theirs("x", host="old-name", gpus=("g-0",)),),
        Placement("g", "gpu", ("g-1",)),
    ),
    "a pool without hosts leaves the choice to the backend": (
        demand(gpus=2, memory=999 * G),
        (LivePool("anywhere"), pool(cpu("a", 9999))),
        (),
        Placement("", "anywhere", ()),
    ),
    "a pool without hosts comes in its turn": (
        demand(memory=G),
        (pool(cpu("a")), LivePool("anywhere")),
        (),
        Placement("a", "cpu"),
    ),
    "a server without a demand fits everywhere": (
        demand(),
        (pool(cpu("a", 1)),),
        (theirs("x", host="a", memory=G),),
        Placement("a", "cpu"),
    ),
}


@pytest.mark.parametrize(("asked", "pools", "holdings", "expected"), PLACED.values(), ids=PLACED)
def test_a_server_is_placed(
    asked: Demand, pools: tuple[LivePool, ...], holdings: tuple[Holding, ...], expected: Placement
) -> None:
    """The pools in order of preference, then the host: eligible, and with the most free memory or the least."""
    assert admit(asked, pools, holdings) == expected


FULL_GPU = tuple(theirs(f"s{number}", host="g", gpus=(f"g-{number}",), idle=number * HOUR + 59) for number in range(4))

REFUSED: dict[str, tuple[Demand, tuple[LivePool, ...], tuple[Holding, ...], str]] = {
    "all GPUs are taken": (
        demand(gpus=1, memory=16 * G),
        (pool(gpu("g"), name="gpu"),),
        (*FULL_GPU, theirs("cpu", host="g", idle=99 * HOUR)),
        "full: 4 of 4 GPUs of pool gpu are taken; the oldest has been idle 3h",
    ),
    "the only GPU is taken": (
        demand(gpus=1),
        (pool(gpu("g", 1), name="gpu"),),
        (theirs("x", host="g", gpus=("g-0",)),),
        "full: 1 of 1 GPU of pool gpu is taken",
    ),
    "GPUs are left, but not on one host": (
        demand(gpus=2),
        (pool(gpu("g", 2), gpu("h", 2), name="gpu"),),
        (theirs("x", host="g", gpus=("g-0",)), theirs("y", host="h", gpus=("h-1",), idle=30)),
        "full: 2 of 4 GPUs of pool gpu are taken; you ask for 2 on one host, the freest has 1 left",
    ),
    "only GPUs of the right model are counted": (
        demand(gpus=1, gpu_model="A100"),
        (pool(gpu("g", 1, gpu_model="A100"), gpu("h"), name="gpu"),),
        (theirs("x", host="g", gpus=("g-0",)),),
        "full: 1 of 1 GPU of pool gpu is taken",
    ),
    "memory is short": (
        demand(memory=16 * G),
        (pool(cpu("a", 16), cpu("b", 8)),),
        (theirs("x", host="a", memory=4 * G, idle=2 * HOUR + 60), theirs("y", host="b", memory=4 * G, idle=None)),
        "full: 16 GiB of memory is asked for, the emptiest host of pool cpu has 12 GiB left;"
        " the oldest has been idle 2h1m",
    ),
    "memory is short, GPUs are not": (
        demand(gpus=1, memory=100 * G),
        (pool(gpu("g"), name="gpu"),),
        (theirs("x", host="g", memory=10 * G),),
        "full: 100 GiB of memory is asked for, the emptiest host of pool gpu has 70 GiB left",
    ),
    "memory is promised beyond what there is": (
        demand(memory=G),
        (pool(cpu("a", 1)),),
        (theirs("x", host="a", memory=5 * G),),
        "full: 1 GiB of memory is asked for, the emptiest host of pool cpu has 0 bytes left",
    ),
    "two pools are full": (
        demand(memory=64 * G),
        (pool(cpu("a"), name="large"), pool(cpu("b"))),
        (),
        "full: 64 GiB of memory is asked for, the emptiest host of pool large and cpu has 32 GiB left",
    ),
    "what does not answer and what is drained is said as well": (
        demand(memory=64 * G),
        (pool(cpu("a"), cpu("b", answers=False), cpu("c", drain=True)),),
        (),
        "full: 64 GiB of memory is asked for, the emptiest host of pool cpu has 32 GiB left;"
        " 1 of 3 hosts does not answer and 1 of 3 hosts is being drained",
    ),
    "no host answers": (
        demand(),
        (pool(cpu("a", answers=False), cpu("b", answers=False, drain=True)),),
        (),
        "unreachable: no host of pool cpu takes servers now: 2 of 2 hosts do not answer; try again later",
    ),
    "every host is drained": (
        demand(),
        (pool(cpu("a", drain=True)),),
        (),
        "unreachable: no host of pool cpu takes servers now: 1 of 1 host is being drained; try again later",
    ),
    "the hosts with the model do not answer": (
        demand(gpus=1, gpu_model="A100"),
        (pool(gpu("g"), gpu("h", gpu_model="A100", answers=False), name="gpu"),),
        (),
        "unreachable: no host of pool gpu takes servers now: 1 of 1 host does not answer; try again later",
    ),
    "no host has the model": (
        demand(gpus=1, gpu_model="A100"),
        (pool(gpu("g"), name="gpu"),),
        (),
        "unplaceable: no host of pool gpu has 1 GPU of the model A100",
    ),
    "no host has so many GPUs": (
        demand(gpus=5),
        (pool(gpu("g"), name="gpu"),),
        (),
        "unplaceable: no host of pool gpu has 5 GPUs",
    ),
    "a machine alone: all GPUs are taken": (
        demand(gpus=1),
        (pool(gpu("here"), name="here"),),
        tuple(dataclasses.replace(held, host="here", gpus=(f"here-{at}",)) for at, held in enumerate(FULL_GPU)),
        "full: 4 of 4 GPUs of here are taken; the oldest has been idle 3h",
    ),
    "a machine alone: too few GPUs are left": (
        demand(gpus=3),
        (pool(gpu("here"), name="here"),),
        (theirs("x", host="here", gpus=("here-0", "here-1")),),
        "full: 2 of 4 GPUs of here are taken; you ask for 3, it has 2 left",
    ),
    "a machine alone: memory is short": (
        demand(memory=16 * G),
        (pool(cpu("here", 16), name="here"),),
        (theirs("x", host="here", memory=15 * G),),
        "full: 16 GiB of memory is asked for, here has 1 GiB left",
    ),
    "a machine alone does not answer": (
        demand(),
        (pool(cpu("here", answers=False), name="here"),),
        (),
        "unreachable: here takes no servers now: it does not answer; try again later",
    ),
    "a machine alone is drained": (
        demand(),
        (pool(cpu("here", drain=True), name="here"),),
        (),
        "unreachable: here takes no servers now: it is being drained; try again later",
    ),
    "a machine alone: another model": (
        demand(gpus=1, gpu_model="A100"),
        (pool(gpu("here"), name="here"),),
        (),
        "unplaceable: here has no GPU of the model A100",
    ),
    "a machine alone: too many GPUs": (
        demand(gpus=5),
        (pool(gpu("here"), name="here"),),
        (),
        "unplaceable: 5 GPUs are asked for, here has 4",
    ),
    "a machine alone: no GPU at all": (
        demand(gpus=1),
        (pool(cpu("here"), name="here"),),
        (),
        "unplaceable: 1 GPU is asked for, here has none",
    ),
    "a machine beside a pool is in a pool of its own": (
        demand(memory=64 * G),
        (pool(cpu("here"), name="here"), pool(cpu("b"))),
        (),
        "full: 64 GiB of memory is asked for, the emptiest host of pool here and cpu has 32 GiB left",
    ),
    "no pool is decided": (
        demand(profile="odd"),
        (),
        (),
        "unplaceable: nothing says in which pool the profile 'odd' runs",
    ),
    "the quota comes before the hosts": (
        demand(gpus=9, quota={"servers": 0}),
        (),
        (),
        "quota: you hold 0 and ask for 1 more, your quota is 0 servers",
    ),
}


@pytest.mark.parametrize(("asked", "pools", "holdings", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_is_full_or_unreachable_is_said_with_numbers(
    asked: Demand, pools: tuple[LivePool, ...], holdings: tuple[Holding, ...], expected: str
) -> None:
    """One sentence behind a stable label, with numbers, naming only what is short."""
    with pytest.raises(Refusal) as caught:
        admit(asked, pools, holdings)
    assert str(caught.value) == expected


QUOTA: dict[str, tuple[Demand, tuple[Holding, ...], str | None]] = {
    "no quota is no limit": (demand(gpus=9), (mine("a"), mine("b", gpus=("g",))), None),
    "the last server": (demand(quota={"servers": 2}), (mine("a"),), None),
    "one server too many": (
        demand(quota={"servers": 2}),
        (mine("a"), mine("")),
        "you hold 2 and ask for 1 more, your quota is 2 servers; stop one of: 'a', your default server",
    ),
    "servers of others do not count": (demand(quota={"servers": 1}), (theirs("a"), theirs("b")), None),
    "this very server does not count": (demand(quota={"servers": 1}), (mine("new"),), None),
    "the last GPU": (demand(gpus=1, quota={"gpus": 2}), (mine("a", gpus=("g-0",)),), None),
    "one GPU too many": (
        demand(gpus=1, quota={"gpus": 1}),
        (mine("a", gpus=("g-0",)), mine("b")),
        "you hold 1 and ask for 1 more, your quota is 1 GPU; stop one of: 'a'",
    ),
    "two GPUs at once": (
        demand(gpus=2, quota={"gpus": 2}),
        (mine("a", gpus=("g-0",)),),
        "you hold 1 and ask for 2 more, your quota is 2 GPUs; stop one of: 'a'",
    ),
    "GPUs on all hosts count": (
        demand(gpus=1, quota={"gpus": 2}),
        (mine("a", host="g", gpus=("g-0",)), mine("b", host="h", gpus=("h-0",))),
        "you hold 2 and ask for 1 more, your quota is 2 GPUs; stop one of: 'a', 'b'",
    ),
    "GPUs that the backend chose count": (
        demand(gpus=1, quota={"gpus": 2}),
        (mine("a", gpu_count=2),),
        "you hold 2 and ask for 1 more, your quota is 2 GPUs; stop one of: 'a'",
    ),
    "who holds too many GPUs still computes on CPU": (demand(quota={"gpus": 1}), (mine("a", gpus=("g", "h")),), None),
    "a quota of GPUs does not limit servers": (demand(quota={"gpus": 0}), (mine("a"), mine("b")), None),
    "the servers are named first": (
        demand(gpus=1, quota={"servers": 1, "gpus": 1}),
        (mine("a", gpus=("g",)),),
        "you hold 1 and ask for 1 more, your quota is 1 server; stop one of: 'a'",
    ),
    "many servers are not all named": (
        demand(quota={"servers": 7}),
        tuple(mine(f"s{number}") for number in range(7)),
        "you hold 7 and ask for 1 more, your quota is 7 servers; stop one of: 's0', 's1', 's2', 's3', 's4' and 2 more",
    ),
}


@pytest.mark.parametrize(("asked", "holdings", "expected"), QUOTA.values(), ids=QUOTA)
def test_the_quota_counts_what_one_user_holds(
    asked: Demand, holdings: tuple[Holding, ...], expected: str | None
) -> None:
    """How much one user may hold at once over all servers, pending ones included, on every backend."""
    if expected is None:
        assert admit(asked, (LivePool("anywhere"),), holdings).pool == "anywhere"
    else:
        with pytest.raises(Refusal) as caught:
            admit(asked, (LivePool("anywhere"),), holdings)
        assert (caught.value.reason, caught.value.message) == ("quota", expected)


def test_the_quota_can_be_asked_by_itself() -> None:
    """A backend without hosts asks for the quota alone."""
    check_quota(demand(quota={"servers": 2}), (mine("a"),))
    with pytest.raises(Refusal, match=r"^quota: you hold 2 "):
        check_quota(demand(quota={"servers": 2}), (mine("a"), mine("b")))


def test_a_refusal_bounds_and_escapes_server_names() -> None:
    """A server's name that came from a request cannot break a log line."""
    with pytest.raises(Refusal) as caught:
        check_quota(demand(quota={"servers": 1}), (mine("a\n\x1b[31m" + "x" * 5000),))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


NARROWED: dict[str, tuple[tuple[LivePool, ...], tuple[str, ...] | None, tuple[LivePool, ...]]] = {
    "no hosts are named: all of them": ((pool(cpu("a")),), None, (pool(cpu("a")),)),
    "only the named hosts are left": ((pool(cpu("a"), cpu("b")),), ("b",), (pool(cpu("b")),)),
    "a pool that loses its last host is left out": (
        (pool(cpu("a"), name="large"), pool(gpu("g"), name="gpu", strategy="pack")),
        ("g",),
        (pool(gpu("g"), name="gpu", strategy="pack"),),
    ),
    "a pool that never had hosts stays": ((LivePool("anywhere"), pool(cpu("a"))), ("b",), (LivePool("anywhere"),)),
}


@pytest.mark.parametrize(("pools", "hosts", "expected"), NARROWED.values(), ids=NARROWED)
def test_pools_are_narrowed_to_the_decided_hosts(
    pools: tuple[LivePool, ...], hosts: tuple[str, ...] | None, expected: tuple[LivePool, ...]
) -> None:
    """``hosts`` narrows the pools; a pool without any of them must not look like one whose backend chooses."""
    assert narrowed(pools, hosts) == expected


VALUES = {
    "holding": (lambda: Holding("me", "", "a", ("g",), 1, 2, 1), "memory"),
    "live host": (lambda: gpu("g"), "drain"),
    "live pool": (lambda: pool(cpu("a")), "hosts"),
    "demand without a quota": (lambda: demand(memory=1), "memory"),
    "placement": (lambda: Placement("a", "cpu"), "host"),
}


@pytest.mark.parametrize(("make", "attribute"), VALUES.values(), ids=VALUES)
def test_what_admission_takes_and_gives_are_values(make: Callable[[], object], attribute: str) -> None:
    """Frozen, equal by content and hashable."""
    assert make() == make()
    assert hash(make()) == hash(make())
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(make(), attribute, None)


HOSTS = (gpu("g", 2, memory=64), gpu("h", 3, memory=96, gpu_model="A100"), cpu("a", 16), cpu("b", 24))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["alice", "bob", "carol"]),
        st.sampled_from(["", "one", "two"]),
        st.sampled_from([None, 0, 0, 1, 1, 2, 3]),  # None releases
        st.integers(1, 40),
        st.sampled_from([None, None, "K80", "A100"]),
        st.sampled_from(["spread", "pack"]),
    ),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_a_gpu_is_never_given_twice_and_memory_stays_within_bounds(steps: list[tuple]) -> None:
    """Whatever is started and stopped in whatever order: one holder a GPU, memory and quota within their limits."""
    held: dict[tuple[str, str], Holding] = {}
    seen: set[str] = set()
    for user, server, gpus, memory, model, strategy in steps:
        if gpus is None:
            held.pop((user, server), None)
            continue
        asked = Demand(user, server, "p", memory * G, gpus, model, {"servers": 2, "gpus": 3})
        pools = (pool(*HOSTS[:3], name="first", strategy=strategy), pool(*HOSTS[3:], name="second", strategy=strategy))
        before = tuple(held.values())
        try:
            placed = admit(asked, pools, before)
        except Refusal as refusal:
            seen.add(refusal.reason)
        else:
            assert len(placed.gpus) == gpus
            host = next(host for host in HOSTS if host.name == placed.host)
            assert set(placed.gpus) <= set(host.gpus)
            assert model in (None, host.gpu_model)
            there = [one for key, one in held.items() if key != (user, server) and one.host == placed.host]
            free_gpus = set(host.gpus).difference(placed.gpus, *(one.gpus for one in there))
            kept = host.memory_per_gpu * len(free_gpus)
            assert sum(one.memory for one in there) + asked.memory + kept <= host.memory
            held[user, server] = Holding(user, server, placed.host, placed.gpus, asked.memory)
        check_invariants(held.values())
    assert seen <= {"quota", "full", "unplaceable"}


def check_invariants(holdings: object) -> None:
    """Check that no GPU has two holders, and that memory and quotas hold."""
    now = tuple(holdings)  # type: ignore[arg-type]
    holders = Counter(one for held in now for one in held.gpus)
    assert all(count == 1 for count in holders.values())
    for host in HOSTS:
        promised = sum(held.memory for held in now if held.host == host.name)
        assert promised <= host.memory
    for user in {held.user for held in now}:
        own = [held for held in now if held.user == user]
        assert len(own) <= 2
        assert sum(len(held.gpus) for held in own) <= 3


@given(STEPS, st.permutations(range(4)))
@settings(max_examples=50, deadline=None)
def test_the_order_of_hosts_and_holdings_does_not_matter(steps: list[tuple], order: list[int]) -> None:
    """Admission depends on what is there, not on the order in which the hosts or the servers were listed."""
    holdings = tuple(
        Holding(
            user, f"{server}-{number}", HOSTS[number % 4].name, HOSTS[number % 4].gpus[: gpus or 0], memory * G // 8
        )
        for number, (user, server, gpus, memory, _, _) in enumerate(steps[:6])
    )

    def outcome(hosts: tuple[LiveHost, ...], held: tuple[Holding, ...]) -> object:
        try:
            return admit(demand(gpus=1, memory=8 * G), (pool(*hosts, name="all"),), held)
        except Refusal as refusal:
            return str(refusal)

    assert outcome(HOSTS, holdings) == outcome(tuple(HOSTS[at] for at in order), holdings[::-1])
