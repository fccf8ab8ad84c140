"""What a cluster gets, and what the site allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.slurm_dask.errors import ClusterRefused
from nbplatform_spawners.slurm_dask.limits import QUEUES, Wish, check, check_workers, checked_word, effective
from nbplatform_spawners.slurm_dask.models import Defaults, GroupDefaults, Limits, Site

GIB = 1024**3
SITE = Site(
    defaults=Defaults(queue="htc", account="guests", cores=2, memory=4 * GIB, walltime=7200, n_workers=1),
    groups=(
        GroupDefaults("atlas", account="atlas"),
        GroupDefaults("gpu-users", queue="gpu"),
        GroupDefaults("cms", account="cms", queue="cms"),
    ),
    limits=Limits(workers=20, cores=8, memory=16 * GIB, gpus=2, walltime=86400, clusters=2),
    support="help@example.org",
)
WISH = Wish("htc", "guests", 2, 4 * GIB, 7200, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "config", "groups", "expected"),
    [
        ({}, {}, [], WISH),
        ({}, {}, ["atlas"], replace(WISH, account="atlas")),
        ({}, {}, ["cms", "atlas"], replace(WISH, account="atlas", queue="cms")),
        ({}, {}, ["cms", "gpu-users"], replace(WISH, account="cms", queue="gpu")),
        ({}, {"queue": "long", "memory": "8 GiB"}, ["cms"], Wish("long", "cms", 2, 8 * GIB, 7200, 1, 0)),
        ({"queue": "short"}, {"queue": "long"}, ["cms"], replace(WISH, queue="short", account="cms")),
        ({"queue": None, "cores": None}, {"cores": None}, [], WISH),
        (
            {"walltime": "1-00:00:00", "n_workers": 0, "gpus": 1},
            {},
            [],
            replace(WISH, walltime=86400, n_workers=0, gpus=1),
        ),
        ({"queue": "htc,long"}, {}, [], replace(WISH, queue="htc,long")),
        ({}, {"python": "/x", "walltime": "00:30:00"}, [], replace(WISH, walltime=1800)),
    ],
)
def test_the_first_that_says_something_decides(
    arguments: dict[str, object], config: dict[str, object], groups: list[str], expected: Wish
) -> None:
    """Argument, then the user's own configuration, then the first entry of their groups that sets it, then the site."""
    assert effective(arguments, config, SITE, groups) == expected


def test_a_site_that_says_nothing_leaves_queue_and_account_to_slurm() -> None:
    """Both are None then: no line of the script names them."""
    wish = effective({}, {}, Site(), [])
    assert (wish.queue, wish.account, wish.cores, wish.n_workers) == (None, None, 1, 0)


@pytest.mark.parametrize("name", ["queue", "account"])
@pytest.mark.parametrize("place", ["argument", "configuration"])
@pytest.mark.parametrize(
    "value",
    [
        "htc\n#SBATCH --uid=0",
        "htc --mem=900G",
        "a\rb",
        "-x",
        "--wrap=x",
        "",
        " ",
        "a'b",
        'a"b',
        "a$b",
        "a;b",
        "a\0b",
        "é",
        "a" * 65,
        5,
        ["a"],
        True,
        b"a",
    ],
)
def test_a_name_that_would_write_another_line_is_refused(name: str, place: str, value: object) -> None:
    """What a user writes becomes a line of the job script: it can add no line, no option and no word."""
    given_here = {name: value}
    with pytest.raises(ClusterRefused, match=f"{name}=.* is no name that Slurm could know") as caught:
        effective(given_here if place == "argument" else {}, given_here if place != "argument" else {}, SITE, [])
    assert "\n" not in caught.value.message


@given(st.text(max_size=70))
def test_a_name_that_is_taken_is_one_word(value: str) -> None:
    """Whatever passes stands in a script as it is, without quotes."""
    try:
        taken = checked_word("queue", value, QUEUES)
    except ClusterRefused:
        return
    assert taken == value
    assert taken.isascii()
    assert not taken.startswith("-")
    assert not set(taken) & set(" \t\n\r\"'\\#$;|&<>`*?()[]{}!")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cores": 0}, "cores='0' is no whole number from 1 to 100000"),
        ({"cores": 2.5}, "cores='2.5' is no whole number from 1 to 100000"),
        ({"cores": "2"}, "cores='2'"),
        ({"cores": True}, "cores='True'"),
        ({"n_workers": -1}, "n_workers='-1' is no whole number from 0 to 100000"),
        ({"n_workers": 10**9}, "n_workers="),
        ({"n_workers": 10**5000}, "n_workers=a number of thousands of digits"),
        ({"gpus": "all"}, "gpus='all'"),
        ({"memory": "lots"}, "memory='lots'"),
        ({"memory": 10**5000}, "memory="),
        ({"walltime": "2h"}, "walltime='2h'"),
        ({"walltime": "UNLIMITED"}, "walltime='UNLIMITED'"),
    ],
)
def test_a_value_of_another_kind_is_one_sentence(arguments: dict[str, Any], words: str) -> None:
    """It shows the argument as the user wrote it, before anything is submitted."""
    with pytest.raises(ClusterRefused) as caught:
        effective(arguments, {}, SITE, [])
    assert words.replace("'", "") in caught.value.message.replace("'", "")
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(
    ("change", "held", "sentence"),
    [
        ({}, 1, None),
        ({"n_workers": 20, "cores": 8, "memory": 16 * GIB, "gpus": 2, "walltime": 86400}, 1, None),
        (
            {"n_workers": 21},
            0,
            "you asked for 21 workers, and this site allows 20 workers: ask for less with n_workers=",
        ),
        ({"cores": 9}, 0, "you asked for 9 cores for each worker, and this site allows 8 cores"),
        ({"memory": 17 * GIB}, 0, "you asked for 17 GiB of memory for each worker, and this site allows 16 GiB"),
        ({"gpus": 3}, 0, "you asked for 3 GPUs for each worker, and this site allows 2 GPUs"),
        ({"walltime": 86401}, 0, "a wall time of 1 day and 1 second, and this site allows a wall time of 1 day"),
        ({}, 2, "you have 2 Dask clusters already, and this site allows 2 at once: close one first"),
    ],
)
def test_more_than_the_limit_is_one_sentence(change: dict[str, Any], held: int, sentence: str | None) -> None:
    """The value, the limit and what to do; what is equal to the limit is allowed."""
    if sentence is None:
        check(replace(WISH, **change), SITE, held)
        return
    with pytest.raises(ClusterRefused) as caught:
        check(replace(WISH, **change), SITE, held)
    assert sentence in caught.value.message
    assert held or "help@example.org" in caught.value.message


def test_a_site_without_limits_leaves_them_to_slurm() -> None:
    """Slurm's own QOS stays the law."""
    check(replace(WISH, n_workers=10**5, memory=2**60, walltime=10**9, gpus=99), Site(), 10**6)


def test_workers_are_held_to_the_limit_by_the_name_that_asked_for_them() -> None:
    """A cluster that was small at first does not grow past the limit, and nobody gets more than could be counted."""
    check_workers(20, SITE, "jobs")
    with pytest.raises(ClusterRefused, match=r"for 21 workers, and this site allows 20 workers.* less with jobs="):
        check_workers(21, SITE, "jobs")
    with pytest.raises(ClusterRefused, match="this site allows 100000 workers"):
        check_workers(10**12, Site(), "memory")


WISHES = st.builds(
    Wish,
    st.none(),
    st.none(),
    st.integers(1, 20),
    st.integers(GIB, 40 * GIB),
    st.integers(60, 200000),
    st.integers(0, 40),
    st.integers(0, 4),
)


@given(
    WISHES, st.integers(0, 4), st.sampled_from(["cores", "memory", "walltime", "n_workers", "gpus"]), st.integers(0, 99)
)
def test_less_of_what_is_allowed_is_allowed(wish: Wish, held: int, name: str, by: int) -> None:
    """Limits are monotone: asking for less, or holding less, never turns a yes into a no."""
    try:
        check(wish, SITE, held)
    except ClusterRefused:
        return
    check(replace(wish, **{name: max(getattr(wish, name) - by, 0)}), SITE, held)
    check(wish, SITE, max(held - by, 0))
