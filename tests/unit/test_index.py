"""The index of rules: who is worth a look."""

import pytest

from nbplatform_spawners.rules.index import make_index
from nbplatform_spawners.rules.patterns import make_patterns


def demands(**lists: list[str]) -> dict:
    """Return one rule's demands."""
    return {key: make_patterns(entries) for key, entries in lists.items()}


RULES = [
    demands(users=["alice", "bob"]),  # 0
    demands(groups=["atlas", "ml-*"]),  # 1
    demands(),  # 2
    demands(profiles=["gpu*"]),  # 3
    demands(groups=["*"], profiles=["cpu"]),  # 4: by the profile, which is in front of a wildcard
    demands(groups=["*-2026"]),  # 5
    demands(providers=["*"]),  # 6
    demands(users=["a?ice", "c*"], groups=["nobody"]),  # 7
    demands(users=["*x*"], groups=["?"]),  # 8: nothing better: by the first
]

CASES = {
    "nobody": ({}, [2]),
    "an exact name": ({"users": ["bob"]}, [0, 2, 8]),
    "a beginning": ({"users": ["carol"]}, [2, 7, 8]),
    "exact and a beginning": ({"users": ["alice"]}, [0, 2, 7, 8]),
    "a group": ({"groups": ["atlas"]}, [1, 2, 5]),
    "a group's beginning": ({"groups": ["ml-vision"]}, [1, 2, 5]),
    "several groups, each rule once": ({"groups": ["ml-vision", "atlas", "ml-audio"]}, [1, 2, 5]),
    "a name shorter than every beginning": ({"groups": ["m"]}, [2, 5]),
    "a profile": ({"profiles": ["cpu"]}, [2, 4]),
    "a profile's beginning": ({"profiles": ["gpu-pair"]}, [2, 3]),
    "a provider": ({"providers": ["edugain"]}, [2, 6]),
    "a kind that no rule demands": ({"unknown": ["x"]}, [2]),
}


@pytest.mark.parametrize(("names", "expected"), CASES.values(), ids=CASES)
def test_only_rules_that_may_hold_are_looked_at(names: dict, expected: list[int]) -> None:
    """Rules lie under the beginnings of the names they demand; they come in the order of the files."""
    assert make_index(RULES).candidates(names) == expected
