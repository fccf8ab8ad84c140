"""Jobs, tags, amounts and versions: the small values of Dask on Slurm."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.errors import NbplatformError
from nbplatform_spawners.slurm_dask.amounts import (
    MIB,
    format_memory,
    format_walltime,
    parse_memory,
    parse_walltime,
    walltime_minutes,
)
from nbplatform_spawners.slurm_dask.errors import (
    CannotCarry,
    ClusterFailed,
    ClusterRefused,
    SlurmRefused,
    SlurmUnavailable,
)
from nbplatform_spawners.slurm_dask.models import ENDED_STATES, PENDING_STATES, JobState
from nbplatform_spawners.slurm_dask.tag import MAX_TAG, Tag, read_tag
from nbplatform_spawners.slurm_dask.versions import mismatch

GIB = 1024**3
TAG = Tag("hub", "ada", "", "r1", "0123456789ab")
TEXT = "nbplatform/1 hub=hub user=ada server= run=r1 cluster=0123456789ab"
HERE = {"python": "3.11", "distributed": "2026.8.0", "dask": "2026.8.0", "cloudpickle": "3.1.1", "msgpack": "1.1.0"}


@pytest.mark.parametrize(
    ("state", "is_pending", "is_running", "is_ended"),
    [
        ("PENDING", True, False, False),
        ("CONFIGURING", True, False, False),
        ("REQUEUED", True, False, False),
        ("RUNNING", False, True, False),
        ("COMPLETING", False, True, False),
        ("SUSPENDED", False, True, False),
        ("A_NEW_WORD", False, True, False),
        ("COMPLETED", False, False, True),
        ("CANCELLED", False, False, True),
        ("TIMEOUT", False, False, True),
        ("NODE_FAIL", False, False, True),
    ],
)
def test_a_state_is_pending_running_or_ended(state: str, is_pending: bool, is_running: bool, is_ended: bool) -> None:
    """Each state is exactly one of them; a word that is not known is not an end."""
    job = JobState("1", "a", "ada", state)
    assert (job.pending, job.running, job.ended) == (is_pending, is_running, is_ended)


def test_no_state_is_both_pending_and_ended() -> None:
    """The two lists have nothing in common."""
    assert not PENDING_STATES & ENDED_STATES


def test_a_tag_is_one_line_of_words() -> None:
    """The text is the one that other tools may look for."""
    assert TAG.text() == TEXT
    assert read_tag(TEXT) == TAG


@given(st.builds(Tag, *[st.text(max_size=25)] * 5))
def test_a_tag_comes_back_as_it_was(tag: Tag) -> None:
    """Any Unicode text survives, and nothing in it breaks the line, a column or a quote."""
    try:
        text = tag.text()
    except ValueError:
        assert sum(
            len(value.encode("utf-8", "surrogatepass")) for value in vars(tag).values()
        ) * 3 + 60 > MAX_TAG or any("\ud800" <= char <= "\udfff" for value in vars(tag).values() for char in value)
        return
    assert read_tag(text) == tag
    assert text.isascii()
    assert text.count(" ") == 5
    assert not set(text) & set("\"'\\|$`\n\t#<>")


@pytest.mark.parametrize(
    "text",
    [
        None,
        5,
        "",
        "(null)",
        TEXT + " ",
        TEXT + "\n",
        TEXT.upper(),
        TEXT.replace("nbplatform/1", "nbplatform/2"),
        TEXT.replace("user=ada", "user=a%64a"),
        TEXT.replace("user=ada", "user=%zz"),
        TEXT.replace("user=ada", "user=%FF"),
        TEXT.replace("user=ada", "user=a da"),
        TEXT.replace("user=ada ", ""),
        TEXT.replace("user=ada", "user=ada user=bob"),
        TEXT.replace("user=ada", f"user={'a' * MAX_TAG}"),
    ],
)
def test_what_is_no_tag_is_none(text: object) -> None:
    """Only what this package writes itself is read; one tag has one text."""
    assert read_tag(text) is None


@given(st.one_of(st.text(max_size=200), st.integers(), st.binary(max_size=20), st.none()))
def test_reading_a_tag_never_fails(text: object) -> None:
    """Comments are other users' text: no text of theirs stops the reaper."""
    found = read_tag(text)
    assert found is None or found.text() == text


@pytest.mark.parametrize("tag", [replace(TAG, server="s" * 1000), replace(TAG, server="é" * 200)])
def test_a_tag_too_long_for_a_comment_is_refused(tag: Tag) -> None:
    """It is not cut: a cut name might be another server's."""
    with pytest.raises(ValueError, match="too long"):
        tag.text()


def test_a_name_that_is_no_unicode_is_refused() -> None:
    """Half a surrogate pair has no bytes."""
    with pytest.raises(ValueError, match="no Unicode"):
        replace(TAG, server="\ud800").text()


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("4 GiB", 4 * GIB),
        ("4GB", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("4Gi", 4 * GIB),
        ("1.5 GiB", GIB * 3 // 2),
        ("512 MiB", 512 * MIB),
        ("512mib", 512 * MIB),
        ("1e9", 10**9),
        ("2e3 kB", 2 * 10**6),
        ("5000000", 5000000),
        ("5000000 B", 5000000),
        (GIB, GIB),
        (2e9, 2 * 10**9),
    ],
)
def test_memory_is_read_as_dask_reads_it(value: object, size: int) -> None:
    """GB are thousands and GiB are powers of two, as in Dask's own documents."""
    assert parse_memory(value) == size


@pytest.mark.parametrize(
    "value",
    ["", "GiB", "4 foos", "-4 GiB", "4,5 GiB", "1" * 50, "1e99 GiB", "0", 0, -5, 1000, True, None, [], "4 GiB\n#"],
)
def test_other_memory_is_refused(value: object) -> None:
    """The sentence shows the value, and it is one line."""
    with pytest.raises(ValueError, match="memory") as caught:
        parse_memory(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**70, 1e300, pytest.param(10**5000, id="thousands of digits")]
)
def test_memory_that_is_no_amount_is_refused(value: Any) -> None:
    """A number that no machine has is a sentence, not a crash."""
    with pytest.raises(ValueError, match="memory"):
        parse_memory(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90", 5400),
        (90, 5400),
        ("90:30", 5430),
        ("02:00:00", 7200),
        ("2:0:0", 7200),
        ("1-00:00:00", 86400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:15", 131415),
        (" 10 ", 600),
        (timedelta(hours=2), 7200),
    ],
)
def test_wall_time_is_read_as_slurm_reads_it(value: object, seconds: int) -> None:
    """sbatch(1), --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours, and so on."""
    assert parse_walltime(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        0,
        "00:00:00",
        "UNLIMITED",
        "2h",
        "-1",
        -1,
        "1:2:3:4",
        "1-",
        "-1:00",
        "٣",
        "9" * 30,
        True,
        None,
        1.5,
        "1\n2",
    ],
)
def test_other_wall_time_is_refused(value: object) -> None:
    """No end is no wall time: a cluster always has one."""
    with pytest.raises(ValueError, match="wall time"):
        parse_walltime(value)


@given(st.integers(min_value=1, max_value=10**8))
def test_a_wall_time_comes_back_as_it_was(seconds: int) -> None:
    """What is written into a job script is what was asked for; Slurm keeps no less."""
    assert parse_walltime(format_walltime(seconds)) == seconds
    assert 0 <= walltime_minutes(seconds) * 60 - seconds < 60


@given(st.integers(min_value=MIB, max_value=2**50))
def test_memory_is_never_rounded_down(size: int) -> None:
    """A worker is told its memory; Slurm must not give it less."""
    megabytes = int(format_memory(size).removesuffix("M"))
    assert 0 <= megabytes * MIB - size < MIB


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (HERE, None),
        ({**HERE, "cloudpickle": "3.0.0", "msgpack": "1.0.8", "python": "3.11.9"}, None),
        ({**HERE, "python": "3.12"}, "the nodes have Python 3.12, this notebook has Python 3.11"),
        (
            {**HERE, "distributed": "2026.7.1"},
            "the nodes have distributed 2026.7.1, this notebook has distributed 2026.8.0",
        ),
        ({**HERE, "dask": "2026.8.1"}, "dask 2026.8.1"),
        ({**HERE, "cloudpickle": "2.9"}, "cloudpickle 2.9"),
        ({key: text for key, text in HERE.items() if key != "msgpack"}, "the nodes have no msgpack"),
        ({}, "the nodes have no Python, no distributed, no dask, no cloudpickle and no msgpack"),
        ({**HERE, "python": "3.9", "dask": "1"}, "the nodes have Python 3.9 and dask 1, this notebook"),
        ({**HERE, "dask": "x\n" * 500}, "x"),
    ],
)
def test_different_versions_are_one_sentence(there: dict[str, str], words: str | None) -> None:
    """Both versions and what to do are in it; what makes no difference is not."""
    said = mismatch(HERE, there)
    if words is None:
        assert said is None
    else:
        assert said is not None
        assert words in said
        assert "use a kernel" in said
        assert "\n" not in said
        assert len(said) < 500


@pytest.mark.parametrize("error", [SlurmUnavailable, SlurmRefused, ClusterRefused, CannotCarry, ClusterFailed])
def test_every_error_is_of_the_family_and_says_its_sentence(error: Any) -> None:
    """A caller catches one family and shows ``message``."""
    caught = error("a sentence")
    assert isinstance(caught, NbplatformError)
    assert (str(caught), caught.message) == ("a sentence", "a sentence")


def test_the_package_loads_nothing_heavy() -> None:
    """It sits in the hub too, where there is no Dask; ``SlurmCluster`` is loaded when it is asked for."""
    code = (
        "import sys, nbplatform_spawners.slurm_dask as p;"
        "assert not {'dask', 'distributed', 'tornado', 'yaml'} & sys.modules.keys();"
        "assert p.__all__ == ['SlurmCluster'];"
        "assert not hasattr(p, 'Other')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
