"""What is free now, as the spawn page tells it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbplatform_spawners.hosts.admit import Demand, Holding, LiveHost, LivePool
from nbplatform_spawners.hosts.free import Free, free_in_words, free_now

G = 1024**3
SMALL = Demand("ada", "", "cpu", memory=4 * G)
ONE_GPU = Demand("ada", "", "gpu", memory=8 * G, gpus=1, gpu_model="K80")
CPU1 = LiveHost("cpu01", 32 * G)
CPU2 = LiveHost("cpu02", 64 * G)
GPU1 = LiveHost("gpu01", 32 * G, gpus=("GPU-1", "GPU-2"), gpu_model="K80", memory_per_gpu=8 * G)
OTHER_MODEL = LiveHost("gpu02", 96 * G, gpus=("GPU-3",), gpu_model="H100")


def on(host: str, memory: int, *gpus: str, user: str = "ben", server: str = "") -> Holding:
    """What another server holds there."""
    return Holding(user, server, host, gpus=gpus, memory=memory * G)


def pool(*hosts: LiveHost) -> tuple[LivePool, ...]:
    """One pool of these hosts."""
    return (LivePool("pool", hosts),)


LOOKS: dict[str, tuple[Demand, tuple[LivePool, ...], tuple[Holding, ...], Free | None]] = {
    "an empty host": (SMALL, pool(CPU1), (), Free(0, 0, 32 * G, 32 * G, 1, 1, 0)),
    "what is held is not free": (SMALL, pool(CPU1), (on("cpu01", 20),), Free(0, 0, 12 * G, 32 * G, 1, 1, 0)),
    "hosts of all pools add up": (
        SMALL,
        pool(CPU1) + pool(CPU2),
        (on("cpu01", 4), on("cpu02", 4)),
        Free(0, 0, 88 * G, 96 * G, 2, 2, 0),
    ),
    "what is held elsewhere does not count": (
        SMALL,
        pool(CPU1),
        (on("cpu02", 20),),
        Free(0, 0, 32 * G, 32 * G, 1, 1, 0),
    ),
    "more promised than there is leaves nothing, not less": (
        SMALL,
        pool(CPU1, CPU2),
        (on("cpu01", 40),),
        Free(0, 0, 64 * G, 96 * G, 2, 2, 0),
    ),
    "what this very server held is free for it": (
        SMALL,
        pool(CPU1),
        (on("cpu01", 20, user="ada"),),
        Free(0, 0, 32 * G, 32 * G, 1, 1, 0),
    ),
    "another server of the same user counts": (
        SMALL,
        pool(CPU1),
        (on("cpu01", 20, user="ada", server="two"),),
        Free(0, 0, 12 * G, 32 * G, 1, 1, 0),
    ),
    "one of two GPUs is taken": (
        ONE_GPU,
        pool(GPU1),
        (on("gpu01", 8, "GPU-1"),),
        Free(1, 2, 24 * G, 24 * G, 1, 1, 0),
    ),
    "memory that is kept for GPUs is not free for others": (
        SMALL,
        pool(GPU1),
        (on("gpu01", 4),),
        Free(2, 2, 12 * G, 16 * G, 1, 1, 0),
    ),
    "a GPU that is taken with less memory makes no more than there is": (
        SMALL,
        pool(GPU1),
        (on("gpu01", 2, "GPU-1"),),
        Free(1, 2, 16 * G, 16 * G, 1, 1, 0),
    ),
    "another model is not looked at": (ONE_GPU, pool(GPU1, OTHER_MODEL), (), Free(2, 2, 24 * G, 24 * G, 1, 1, 0)),
    "hosts without GPUs are not looked at": (ONE_GPU, pool(CPU2, GPU1), (), Free(2, 2, 24 * G, 24 * G, 1, 1, 0)),
    "a host that does not answer is unknown, not empty and not full": (
        SMALL,
        pool(CPU1, replace(CPU2, answers=False)),
        (on("cpu01", 20), on("cpu02", 20)),
        Free(0, 0, 12 * G, 32 * G, 2, 1, 1),
    ),
    "no host answers": (SMALL, pool(replace(CPU1, answers=False)), (), Free(0, 0, 0, 0, 1, 0, 1)),
    "a host that is being drained has nothing for new servers": (
        SMALL,
        pool(CPU1, replace(CPU2, drain=True)),
        (),
        Free(0, 0, 32 * G, 32 * G, 2, 1, 0),
    ),
    "no host could ever serve it": (ONE_GPU, pool(CPU1, OTHER_MODEL), (), None),
    "a pool without hosts": (SMALL, (LivePool("kubernetes"),), (on("", 20),), None),
    "one pool without hosts among others": (SMALL, (*pool(CPU1), LivePool("kubernetes")), (), None),
    "no pool": (SMALL, (), (), None),
}


@pytest.mark.parametrize(("demand", "pools", "holdings", "expected"), LOOKS.values(), ids=LOOKS)
def test_what_is_free_is_what_the_serving_hosts_have_left(
    demand: Demand, pools: tuple[LivePool, ...], holdings: tuple[Holding, ...], expected: Free | None
) -> None:
    """Hosts' memory and GPUs, less what is held and what is kept; unknown is neither free nor taken."""
    assert free_now(demand, pools, holdings) == expected


WORDS = {
    "memory": (SMALL, Free(0, 0, 12 * G, 32 * G, 1, 1, 0), "12 of 32 GiB of memory"),
    "GPUs are said where some are asked for": (
        ONE_GPU,
        Free(1, 2, 12 * G, 32 * G, 1, 1, 0),
        "1 of 2 GPUs, 12 of 32 GiB of memory",
    ),
    "GPUs are not said where none is asked for": (SMALL, Free(1, 2, 12 * G, 32 * G, 1, 1, 0), "12 of 32 GiB of memory"),
    "a single GPU": (ONE_GPU, Free(0, 1, 12 * G, 32 * G, 1, 1, 0), "0 of 1 GPU, 12 of 32 GiB of memory"),
    "nothing left": (SMALL, Free(0, 0, 0, 32 * G, 1, 1, 0), "0 of 32 GiB of memory"),
    "units that differ": (SMALL, Free(0, 0, 512 * 1024**2, 2048 * G, 1, 1, 0), "512 MiB of 2 TiB of memory"),
    "no more digits than people choose by": (
        SMALL,
        Free(0, 0, 12_345_678_901, 33_285_996_544, 1, 1, 0),
        "11.4 of 31 GiB of memory",
    ),
    "one host does not answer": (
        SMALL,
        Free(0, 0, 12 * G, 32 * G, 3, 2, 1),
        "12 of 32 GiB of memory, 1 of 3 hosts does not answer",
    ),
    "two hosts do not answer": (
        SMALL,
        Free(0, 0, 12 * G, 32 * G, 3, 1, 2),
        "12 of 32 GiB of memory, 2 of 3 hosts do not answer",
    ),
    "no host answers": (SMALL, Free(0, 0, 0, 0, 2, 0, 2), "not known"),
    "none answers, or takes servers": (SMALL, Free(0, 0, 0, 0, 2, 0, 1), "not known"),
    "all are being drained": (SMALL, Free(0, 0, 0, 0, 2, 0, 0), "nothing"),
}


@pytest.mark.parametrize(("demand", "free", "expected"), WORDS.values(), ids=WORDS)
def test_what_is_free_is_told_in_one_line(demand: Demand, free: Free, expected: str) -> None:
    """Numbers for what is known, words for what is not."""
    assert free_in_words(free, demand) == expected
