"""What one machine could never serve: its users know no pools and no hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbplatform_spawners.rules.model import Host, Pool
from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.rules.unplaceable import sole_host, why_unplaceable

G = 1024**3
HERE = "this machine"
PROFILES = b"""\
profiles:
  cpu: {title: "CPU"}
  k80: {title: "One K80", gpus: 1, gpu_model: K80}
  any: {title: "One GPU", gpus: 1}
  three: {title: "Three GPUs", gpus: 3}
"""
WITHOUT: dict[str, object] = {}
WITH_TWO: dict[str, object] = {"gpus": ("A", "B"), "gpu_model": "H100"}

ONE_MACHINE: dict[str, tuple[str, int, dict[str, object], str | None]] = {
    "it fits": ("cpu", 8, WITHOUT, None),
    "no GPU, a model is asked for": ("k80", 1, WITHOUT, "this machine has no GPU of the model K80"),
    "GPUs of another model": ("k80", 1, WITH_TWO, "this machine has no GPU of the model K80"),
    "no GPU at all": ("any", 1, WITHOUT, "1 GPU is asked for, this machine has none"),
    "too few GPUs": ("three", 1, WITH_TWO, "3 GPUs are asked for, this machine has 2"),
    "too little memory": ("cpu", 9, WITHOUT, "9 GiB of memory is asked for, this machine cannot give more than 8 GiB"),
}


@pytest.mark.parametrize(("profile", "memory", "host", "expected"), ONE_MACHINE.values(), ids=ONE_MACHINE)
def test_a_machine_alone_is_spoken_of_by_its_name(
    profile: str, memory: int, host: dict[str, object], expected: str | None
) -> None:
    """Where the only pool's only host has the pool's name, the sentence names neither a pool nor a host."""
    here = Host(HERE, "", 8 * G, **host)  # type: ignore[arg-type]
    book = replace(parse_rules({"rules.yaml": PROFILES}), pools={HERE: Pool(HERE, (here,))})
    fields = {"pool": (HERE,), "memory": memory * G}
    assert why_unplaceable(book, book.profiles[profile], fields) == expected


SOLE: dict[str, tuple[list[tuple[str, tuple[str, ...]]], str | None]] = {
    "the pool is its host": ([("here", ("here",))], "here"),
    "the host has another name": ([("cpu", ("cpu01",))], None),
    "two hosts": ([("here", ("here", "there"))], None),
    "two pools": ([("here", ("here",)), ("there", ("there",))], None),
    "no host": ([("here", ())], None),
    "no pool": ([], None),
}


@pytest.mark.parametrize(("pools", "expected"), SOLE.values(), ids=SOLE)
def test_only_a_single_host_with_its_pools_name_is_a_machine(
    pools: list[tuple[str, tuple[str, ...]]], expected: str | None
) -> None:
    """Wherever there is something to tell apart, pools and hosts are named."""
    assert sole_host(pools) == expected
