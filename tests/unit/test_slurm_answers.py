"""What Slurm answers, as values."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.slurm_dask.answers import (
    NOT_FOUND,
    RestError,
    read_json,
    read_rest_errors,
    read_rest_jobs,
    read_rest_partitions,
    read_rest_submit,
    read_rest_versions,
    read_sbatch,
    read_sinfo,
    read_squeue,
    squeue_format,
)
from nbplatform_spawners.slurm_dask.models import JobState
from nbplatform_spawners.slurm_dask.tag import Tag, read_tag
from tests.unit.slurm_facts import (
    MARK,
    NEWER_JOB,
    NOT_SUBMITTED,
    OTHER_USER,
    REST_JOBS,
    SQUEUE,
    SUBMITTED,
    SUBMITTED_WITH_ERROR,
    UNKNOWN_JOB,
)

SUBMITTED_AT = datetime(2026, 11, 23, 22, 11, 31, tzinfo=UTC)
CANCELLED_AT = datetime(2026, 11, 23, 22, 12, 38, tzinfo=UTC)
WORKER = JobState(
    id="1",
    name="dask-worker-0123456789ab-0",
    user="games",
    state="RUNNING",
    tag="nbplatform/1 hub=h user=games server= run=r cluster=0123456789ab",
    partition="main",
    submitted=SUBMITTED_AT,
    started=SUBMITTED_AT,
    nodes="n1",
)


def record(number: str = "7", user: str = "ada", name: str = "n", comment: str = "(null)", **more: str) -> str:
    """A line of squeue's, as a real one prints it."""
    fields = {
        "state": "RUNNING",
        "reason": "None",
        "partition": "main",
        "submitted": "1795471891",
        "start": "1795471891",
    }
    words = [number, user, *{**fields, "nodes": "n1", **more}.values(), name, comment]
    mark = f"<{MARK}>"
    return f"{mark}{mark.join(words)}{mark}\n"


def test_squeues_lines_become_jobs() -> None:
    """The running worker with everything that squeue says of it."""
    jobs = read_squeue(SQUEUE, MARK)
    assert list(jobs) == ["6", "22", "24", "25", "26", "1", "2", "23", "3"]
    assert jobs["1"] == WORKER
    assert read_tag(jobs["1"].tag) == Tag("h", "games", "", "r", "0123456789ab")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (
            "24",
            {
                "state": "PENDING",
                "reason": "Resources",
                "started": None,
                "expected": datetime(2026, 11, 23, 23, 12, 41, tzinfo=UTC),
            },
        ),
        ("26", {"reason": "PartitionTimeLimit", "started": None, "expected": None}),
        ("3", {"state": "CANCELLED", "started": None, "expected": None, "nodes": ""}),
        ("6", {"state": "FAILED", "reason": "NonZeroExitCode", "started": CANCELLED_AT, "expected": None}),
        ("2", {"name": "odd|name with é", "tag": '|pipe "q" \\n x', "reason": ""}),
        ("22", {"name": "two\nlines", "tag": "c1\nc2\tx"}),
        ("23", {"name": "latin", "tag": "\ufffd\ufffd"}),
        ("25", {"tag": "", "nodes": ""}),
    ],
)
def test_a_job_is_told_as_it_is(number: str, expected: dict[str, Any]) -> None:
    """A start is expected while it waits, and has been once it held a node; odd names stay what they are."""
    job = read_squeue(SQUEUE, MARK)[number]
    assert {key: getattr(job, key) for key in expected} == expected


def test_a_name_cannot_forge_another_job() -> None:
    """A user's text may hold anything but the mark of this call: one record stays one record."""
    forged = record("8", "alice", comment="nbplatform/1 hub=h user=alice server= run=r cluster=c").replace(
        MARK, "f" * 16
    )
    jobs = read_squeue(record(name=f"x\n{forged}", comment=forged), MARK)
    assert list(jobs) == ["7"]
    assert jobs["7"].user == "ada"


@given(st.text(st.characters(exclude_characters="\0"), max_size=60), st.text(max_size=60))
def test_any_name_and_comment_are_read_as_they_are(name: str, comment: str) -> None:
    """No text of one user hides another's job."""
    jobs = read_squeue(record("1", name=name, comment=comment) + record("2"), MARK)
    assert list(jobs) == ["1", "2"]
    assert jobs["1"].name == name


@pytest.mark.parametrize(
    "text",
    [
        "slurm_load_jobs error\n",
        record()[:-5],
        record()[:-1],
        record() + "x",
        "x" + record(),
        record().replace(MARK, "a" * 16),
        record("0"),
        record("5_[0-2]"),
        record("x"),
        record("1" * 11),
        record("\uff17"),
        record(state="running"),
        record(state=""),
        record(submitted="yesterday"),
        record(start="2026-11-23T22:11:31"),
        record(start="9" * 13),
        record(start="-1"),
    ],
)
def test_an_answer_of_another_form_is_refused(text: str) -> None:
    """Half an answer is no answer: jobs that are missing in it would count as ended."""
    with pytest.raises(ValueError, match=r"squeue|job"):
        read_squeue(text, MARK)


def test_no_jobs_are_no_jobs() -> None:
    """squeue prints nothing then."""
    assert read_squeue("", MARK) == {}


@pytest.mark.parametrize("mark", ["", "short", "with space" * 2, "%" * 20, "a" * 65, "é" * 20])
def test_a_mark_that_could_be_guessed_is_refused(mark: str) -> None:
    """It is what keeps the fields apart."""
    assert squeue_format(MARK).startswith(f"<{MARK}>%A<{MARK}>%u<")
    with pytest.raises(ValueError, match="mark"):
        squeue_format(mark)


@pytest.mark.parametrize(
    ("text", "number"), [("17\n", "17"), ("17;cluster\n", "17"), ("a plugin's greeting\n17\n\n", "17"), ("17", "17")]
)
def test_the_number_of_a_submitted_job_is_read(text: str, number: str) -> None:
    """``--parsable`` prints the number, and the cluster's name where there are several."""
    assert read_sbatch(text) == number


@pytest.mark.parametrize(
    "text", ["", "\n", "Submitted batch job 17\n", "17 18\n", "-1\n", "0\n", "17\nsbatch: error\n"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    """A guess would cancel another job later."""
    with pytest.raises(ValueError, match="sbatch printed no job's number"):
        read_sbatch(text)


def test_partitions_are_read_once_each() -> None:
    """sinfo has a line for each state of a partition's nodes."""
    assert read_sinfo("main\nmain\nsmall\n\n") == ["main", "small"]
    assert read_rest_partitions({"partitions": [{"name": "main"}, {"name": "small"}]}) == ["main", "small"]


def test_rest_tells_the_same_of_a_job_as_squeue_does() -> None:
    """Both were asked on the same Slurm at the same time; REST knows exit codes as well."""
    jobs, lines = read_rest_jobs(REST_JOBS), read_squeue(SQUEUE, MARK)
    assert jobs["1"] == lines["1"] == WORKER
    assert jobs["3"] == lines["3"]
    assert jobs["24"] == lines["24"]
    assert (jobs["6"].exit_code, jobs["7"].exit_code, jobs["12"].exit_code) == (3, 137, None)


def test_newer_interfaces_are_read_too() -> None:
    """States are lists there, and numbers say whether they are set."""
    job = read_rest_jobs({"jobs": [NEWER_JOB]})["5"]
    assert (job.state, job.exit_code, job.started) == ("FAILED", 3, CANCELLED_AT)
    killed = copy.deepcopy(NEWER_JOB)
    killed["exit_code"]["signal"]["id"] = {"set": True, "infinite": False, "number": 9}
    assert read_rest_jobs({"jobs": [killed]})["5"].exit_code == 137


@pytest.mark.parametrize(
    ("body", "number"),
    [(SUBMITTED, "27"), (SUBMITTED_WITH_ERROR, "33"), (NOT_SUBMITTED, None), ({"job_id": 0}, None), ({}, None)],
)
def test_a_job_that_is_in_the_queue_is_known_even_with_an_error(body: dict[str, Any], number: str | None) -> None:
    """slurmrestd submits a job that its partition never allows, and says both: without the id it would be lost."""
    assert read_rest_submit(body) == number


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (SUBMITTED, []),
        ({}, []),
        (NOT_SUBMITTED, [RestError(2000, "Invalid partition name specified")]),
        (OTHER_USER, [RestError(5005, "Zero Bytes were transmitted or received")]),
        (UNKNOWN_JOB, [RestError(2017, "Unable to find JobId=99999: Invalid job id specified")]),
        ({"errors": [{"error_number": "x"}]}, [RestError(0, "")]),
    ],
)
def test_errors_are_read(body: dict[str, Any], errors: list[RestError]) -> None:
    """Their number has two names; a text that stands twice is said once."""
    assert read_rest_errors(body) == errors
    assert read_rest_errors(UNKNOWN_JOB)[0].number in NOT_FOUND


def changed(**fields: Any) -> dict[str, Any]:
    """An answer with one job, some of whose fields are others."""
    return {"jobs": [{**REST_JOBS["jobs"][0], **fields}]}


@pytest.mark.parametrize(
    "body",
    [
        {"jobs": None},
        {"jobs": {}},
        {"jobs": [1]},
        changed(job_id="x"),
        changed(job_id=True),
        changed(job_id=-1),
        changed(job_state=None),
        changed(job_state=[]),
        changed(job_state=[7]),
        changed(job_state="a b"),
        changed(name=5),
        changed(comment=["x"]),
        changed(submit_time="soon"),
        changed(submit_time=-5),
        changed(start_time=10**15),
        changed(start_time={"number": "x"}),
        changed(exit_code={"return_code": "x"}),
    ],
)
def test_a_field_that_is_another_is_refused(body: dict[str, Any]) -> None:
    """Every field that is used is checked."""
    with pytest.raises(ValueError, match=r"slurmrestd's answer|job"):
        read_rest_jobs(body)


def test_texts_that_are_null_are_empty() -> None:
    """slurmrestd says null where there is nothing."""
    job = read_rest_jobs(changed(comment=None, nodes=None, state_reason=None))["1"]
    assert (job.tag, job.nodes, job.reason) == ("", "", "")


@pytest.mark.parametrize("content", [b"", b"Authentication failure", b"[1]", b'"x"', b"{", b"[" * 100000, b"\xff\xfe"])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    """A proxy's page, a list, or brackets without end are a sentence, not a crash."""
    with pytest.raises(ValueError, match="slurmrestd's answer is no JSON"):
        read_json(content)


def test_a_comment_that_is_no_utf_8_hides_no_other_job() -> None:
    """slurmrestd passes on a comment's bytes as they are: one user's must not blind the reaper for all."""
    content = json.dumps(REST_JOBS, ensure_ascii=False).encode().replace(b'"full"', b'"\xe9\xff"')
    jobs = read_rest_jobs(read_json(content))
    assert jobs["3"].name == "\ufffd\ufffd"
    assert jobs["1"] == WORKER


def test_the_versions_that_a_server_offers_are_read() -> None:
    """From its own description; the newest comes last."""
    paths = {"/slurm/v0.0.38/ping": {}, "/slurm/v0.0.36/jobs": {}, "/slurm/v0.0.100/jobs": {}, "/slurmdb/v0.0.39/x": {}}
    assert read_rest_versions({"paths": paths}) == ["v0.0.36", "v0.0.38", "v0.0.100"]
    with pytest.raises(ValueError, match="no paths"):
        read_rest_versions({})
