"""What Slurm's words mean for a user."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.slurm_dask.errors import SlurmRefused, SlurmUnavailable
from nbplatform_spawners.slurm_dask.meanings import ending, never_starts, refusal, safe, waiting
from nbplatform_spawners.slurm_dask.models import JobState
from tests.unit.slurm_facts import SBATCH_ERRORS

ASKED = {
    "partition": "htc",
    "account": "atlas",
    "cpus-per-task": "64",
    "mem": "900G",
    "time": "9-00:00:00",
    "gres": "gpu:9",
}
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdW4iOiJhZGEifQ.c2lnbmF0dXJl"


def waits(reason: str, state: str = "PENDING") -> JobState:
    """A job that waits in htc."""
    return JobState("7", "w", "ada", state, reason, partition="htc")


@pytest.mark.parametrize(
    ("reason", "words", "never"),
    [
        ("Resources", "the queue 'htc' is full: it starts when nodes are free (Resources)", False),
        ("Priority", "other jobs are before it in the queue 'htc' (Priority)", False),
        ("PartitionTimeLimit", "its wall time is more than the queue 'htc' ever allows", True),
        ("PartitionConfig", "the queue 'htc' can never give it this much", True),
        ("PartitionDown", "the queue 'htc' is down", False),
        ("JobHeldUser", "you hold it: release it with scontrol release 7", False),
        ("BadConstraints", "no node can be what was asked for", True),
        ("AssocMaxJobsLimit", "as many jobs running as your account allows", False),
        ("AssocGrpCPULimit", "uses all the cores", False),
        ("AssocGrpCpuLimit", "uses all the cores", False),
        ("AssocGrpNodeLimit", "your account is used up by all who share it", False),
        ("QOSMaxJobsPerUserLimit", "as many jobs as your quality of service (QOS) allows", False),
        ("QOSMaxCpuPerUserLimit", "as much as your quality of service (QOS) allows", False),
        ("QOSMaxWallDurationPerJobLimit", "more than your quality of service (QOS) ever allows", True),
        ("QOSMaxMemoryPerJob", "more than your quality of service (QOS) ever allows", True),
        ("QOSGrpGRES", "your quality of service (QOS) is used up by all", False),
        ("QOSSomethingNew", "outside of what your quality of service (QOS) allows", False),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-3]", "reserved or down: wait", False),
        ("Dependency", "has not started yet", False),
        ("DependencyNeverSatisfied", "it never starts", True),
        ("", "Slurm has not looked at it yet", False),
        ("ANewWord", "Slurm says no more than this word (ANewWord)", False),
        ("x{queue}\n{0}" * 200, "Slurm says no more than this word", False),
    ],
)
def test_why_a_job_waits_is_one_clause(reason: str, words: str, never: bool) -> None:
    """It says what to do where there is something to do, and Slurm's own word for whom the user asks."""
    said = waiting(waits(reason), "help@example.org")
    assert words in said
    assert "\n" not in said
    assert len(said) < 400
    assert never_starts(waits(reason)) is never


def test_a_job_that_does_not_wait_is_not_said_to_wait_for_ever() -> None:
    """A reason stays behind when a job starts or ends."""
    assert waiting(waits("Priority", "CONFIGURING")) == "its nodes are being made ready"
    assert not never_starts(waits("PartitionTimeLimit", "CANCELLED"))


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (JobState("7", "w", "a", "TIMEOUT"), "it reached its wall time: ask for more with walltime="),
        (
            JobState("7", "w", "a", "OUT_OF_MEMORY", "OutOfMemory", nodes="n1"),
            "ask for more with memory= (on n1, OutOfMemory)",
        ),
        (JobState("7", "w", "a", "NODE_FAIL", nodes="n1"), "its node failed (on n1)"),
        (
            JobState("7", "w", "a", "FAILED", "NonZeroExitCode", nodes="n1", exit_code=3),
            "its program failed (exit code 3, on n1, NonZeroExitCode)",
        ),
        (JobState("7", "w", "a", "FAILED", exit_code=137), "its program failed (signal 9)"),
        (JobState("7", "w", "a", "CANCELLED", "Resources", exit_code=0), "it was cancelled"),
        (JobState("7", "w", "a", "A_NEW_WORD"), "Slurm calls it A_NEW_WORD"),
    ],
)
def test_why_a_job_ended_is_one_clause(job: JobState, words: str) -> None:
    """With the node and the code, which whoever is asked for help needs."""
    assert ending(job).endswith(words)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (SBATCH_ERRORS["partition"], SlurmRefused, "Slurm has no queue 'htc': ask for another with queue="),
        (SBATCH_ERRORS["account"], SlurmRefused, "the account 'atlas' may not use the queue 'htc'"),
        (SBATCH_ERRORS["memory"], SlurmRefused, "no node of the queue 'htc' has 64 cores, 900G of memory and gpu:9"),
        (SBATCH_ERRORS["node"], SlurmRefused, "no node of the queue 'htc' has 64 cores, 900G of memory and gpu:9"),
        (SBATCH_ERRORS["quota"], SlurmRefused, "your quota, or the queue 'htc', does not allow"),
        (SBATCH_ERRORS["time"], SlurmRefused, "Slurm says no, ask help@example.org with this sentence: Invalid --time"),
        (SBATCH_ERRORS["reservation"], SlurmRefused, "does not know the reservation"),
        (SBATCH_ERRORS["down"], SlurmUnavailable, "Slurm cannot be asked now: try again in a few minutes"),
        ("Zero Bytes were transmitted or received", SlurmRefused, "does not accept who you are"),
        ("sbatch: error: Job rejected by job_submit/lua: no project", SlurmRefused, "a rule of the site refuses it"),
        ("squeue: fatal: Could not establish a configuration source", SlurmUnavailable, "cannot be asked"),
        ("invalid partition NAME specified", SlurmRefused, "no queue 'htc'"),
        ("", SlurmRefused, "Slurm says no"),
    ],
)
def test_why_slurm_said_no_is_one_sentence(said: str, kind: type[Exception], words: str) -> None:
    """With the value that was asked for, what to do, and Slurm's own words; down is not refused."""
    error = refusal(said, ASKED, "help@example.org")
    assert type(error) is kind
    assert words in error.message
    assert "\n" not in error.message


def test_without_the_script_the_defaults_are_meant() -> None:
    """A call that has no script, such as a cancel, has a sentence too."""
    assert "(the default one)" in refusal(SBATCH_ERRORS["account"], {}).message


@pytest.mark.parametrize(
    "said",
    [
        f"sbatch: error: auth failed with {TOKEN}",
        f"X-SLURM-USER-TOKEN: {TOKEN} is expired",
        f"SLURM_JWT={TOKEN}",
        f"slurm_jwt={TOKEN}\nsbatch: error: Invalid partition name specified",
        f"{'x' * 190} {TOKEN}",
    ],
)
def test_a_token_is_never_in_a_message(said: str) -> None:
    """Whatever Slurm or a proxy repeats; not half of one at the end of a cut text either."""
    for text in (safe(said), refusal(said, ASKED).message):
        assert "eyJ" not in text
        assert "c2lnbmF0" not in text


@given(
    st.text(max_size=300), st.dictionaries(st.sampled_from(sorted(ASKED)), st.one_of(st.none(), st.text(max_size=80)))
)
def test_any_words_and_values_are_one_bounded_line(said: str, asked: dict[str, str | None]) -> None:
    """Braces, line breaks and control characters of others do nothing."""
    message = refusal(said + " Invalid account or account/partition", asked).message
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 1500
    assert waiting(JobState("7", "w", "ada", "PENDING", said, partition=said)).isprintable()
