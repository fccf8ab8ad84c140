"""What Slurm answers, as values: every field checked.

Names and comments of jobs are other users' text, with any character in it.  So squeue is asked to set its fields apart
with a mark that nobody can foresee, and its times as seconds; and JSON is read even where its bytes are no UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..names import bounded
from .models import JobState

SQUEUE_ENVIRONMENT: Mapping[str, str] = {"SLURM_TIME_FORMAT": "%s"}
"""What squeue needs in its environment: times as seconds since 1970, which have no time zone to mistake."""
_FIELDS = ("%A", "%u", "%T", "%r", "%P", "%V", "%S", "%N", "%j", "%k")
_ID = re.compile(r"[1-9][0-9]{0,9}")
_PARSABLE = re.compile(r"([1-9][0-9]{0,9})(?:;[^\s;]+)?")
_STATE = re.compile(r"[A-Z_]{2,40}")
_NOTHING = frozenset({"", "(null)", "None", "N/A", "Unknown", "NONE"})
_LATEST = 253402300799
NOT_FOUND = frozenset({2017, 2021})
"""slurmrestd's numbers for a job that it does not know, and for one that has ended already."""


@dataclass(frozen=True)
class RestError:
    """One error of slurmrestd's: its number (0 when it has none), and its words."""

    number: int
    text: str


def squeue_format(mark: str) -> str:
    """Return the format for ``squeue --noheader --states=all -o``.

    Args:
        mark: letters and digits, made anew for each call and hard to guess.

    Raises:
        ValueError: the mark is shorter than 16 characters, or has others.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{16,64}", mark):
        raise ValueError("the mark must be 16 to 64 letters and digits")
    return f"<{mark}>{f'<{mark}>'.join(_FIELDS)}<{mark}>"


def read_squeue(text: str, mark: str) -> dict[str, JobState]:
    """Return the jobs that ``squeue`` printed in the form of ``squeue_format``, by id.

    Raises:
        ValueError: it is not of that form, or cut short.
    """
    parts = text.split(f"<{mark}>")
    size = len(_FIELDS) + 1
    if parts == [""]:
        return {}
    if len(parts) % size != 1 or parts[0] or any(part != "\n" for part in parts[size::size]):
        raise ValueError("squeue's answer is not of the form that was asked for, or cut short")
    jobs = (_squeue_job(parts[at : at + size - 1]) for at in range(1, len(parts), size))
    return {job.id: job for job in jobs}


def read_sbatch(text: str) -> str:
    """Return the job's id of what ``sbatch --parsable`` printed.

    Raises:
        ValueError: there is none.
    """
    lines = text.split("\n")
    found = _PARSABLE.fullmatch(next((line.strip() for line in reversed(lines) if line.strip()), ""))
    if found is None:
        raise ValueError(f"sbatch printed no job's number: {bounded(text)}")
    return found[1]


def read_sinfo(text: str) -> list[str]:
    """Return the partitions that ``sinfo --noheader -o %R`` printed, each once."""
    return list(dict.fromkeys(line.strip() for line in text.split("\n") if line.strip()))


def read_json(content: bytes) -> dict[str, Any]:
    """Return the object that slurmrestd answered with; bytes that are no UTF-8 become replacement characters.

    Raises:
        ValueError: it is no JSON, or no object.
    """
    try:
        body = json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise ValueError(
            f"slurmrestd's answer is no JSON: {bounded(content[:80].decode('utf-8', 'replace'))}"
        ) from None
    if not isinstance(body, dict):
        raise ValueError("slurmrestd's answer is no JSON object")
    return body


def read_rest_errors(body: Mapping[str, Any]) -> list[RestError]:
    """Return the errors in slurmrestd's answer; ``warnings`` are none.

    Raises:
        ValueError: they are not of slurmrestd's form.
    """
    found = []
    for error in _list(body, "errors"):
        number = error.get("error_number", error.get("error_code", error.get("errno", 0)))
        said = dict.fromkeys(error.get(key) for key in ("description", "error"))
        text = ": ".join(part for part in said if isinstance(part, str) and part)
        found.append(RestError(number if isinstance(number, int) else 0, text))
    return found


def read_rest_submit(body: Mapping[str, Any]) -> str | None:
    """Return the submitted job's id; None when none was submitted.

    An answer may have errors *and* an id: the job is in the queue then, and cannot start as things are.

    Raises:
        ValueError: the id is none.
    """
    number = body.get("job_id")
    return None if number in (None, 0) else _id(number)


def read_rest_jobs(body: Mapping[str, Any]) -> dict[str, JobState]:
    """Return the jobs of slurmrestd's answer by id, v0.0.38 and newer.

    Raises:
        ValueError: one says what is wrong with a field.
    """
    return {job.id: job for job in (_rest_job(job) for job in _list(body, "jobs"))}


def read_rest_partitions(body: Mapping[str, Any]) -> list[str]:
    """Return the names of the partitions of slurmrestd's answer.

    Raises:
        ValueError: they are not of slurmrestd's form.
    """
    return [_text(partition, "name") for partition in _list(body, "partitions")]


def read_rest_versions(body: Mapping[str, Any]) -> list[str]:
    """Return the versions of the interface that slurmrestd's own description (``/openapi/v3``) has, the oldest first.

    Raises:
        ValueError: it is no such description.
    """
    paths = body.get("paths")
    if not isinstance(paths, dict):
        raise ValueError("slurmrestd's description of itself has no paths")
    found = (re.match(r"/slurm/v0\.0\.([0-9]{2,4})/", path) for path in paths)
    return [f"v0.0.{number}" for number in sorted({int(match[1]) for match in found if match})]


def _squeue_job(fields: list[str]) -> JobState:
    number, user, state, reason, partition, submitted, start, nodes, name, comment = fields
    texts = _Texts(name, user, _something(reason), _something(comment), _something(partition), _something(nodes))
    return _job(_id(number), state, texts, (_seconds(submitted), _seconds(start)), None)


def _rest_job(job: Mapping[str, Any]) -> JobState:
    states = job.get("job_state")
    state = states[0] if isinstance(states, list) and states else states
    named = (_text(job, key) for key in ("name", "user_name"))
    others = (_something(_text(job, key)) for key in ("state_reason", "comment", "partition", "nodes"))
    times = (_seconds(_number(job, "submit_time")), _seconds(_number(job, "start_time")))
    return _job(_id(job.get("job_id")), state, _Texts(*named, *others), times, _exit_code(job.get("exit_code")))


class _Texts(NamedTuple):
    name: str
    user: str
    reason: str
    tag: str
    partition: str
    nodes: str


def _job(number: str, state: object, texts: _Texts, times: tuple[int, int], status: int | None) -> JobState:
    if not isinstance(state, str) or not _STATE.fullmatch(state):
        raise ValueError(f"job {number}: its state {bounded(state)} is none")
    job = JobState(number, texts.name, texts.user, state, texts.reason, texts.tag, texts.partition, nodes=texts.nodes)
    submitted, start = (_time(seconds) for seconds in times)
    began = job.running or (job.ended and bool(job.nodes))  # one that is cancelled while it waits has a start, no node
    return replace(
        job,
        submitted=submitted,
        started=start if began else None,
        expected=start if job.pending else None,
        exit_code=status if job.ended and began else None,
    )


def _something(text: str) -> str:
    return "" if text in _NOTHING else text


def _id(number: object) -> str:
    text = str(number) if isinstance(number, int) and not isinstance(number, bool) else number
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise ValueError(f"a job's number is none: {bounded(number)}")
    return text


def _seconds(value: object) -> int:
    if value in _NOTHING:
        return 0
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LATEST:
        raise ValueError(f"a job's time is no number of seconds: {bounded(value)}")
    return value


def _time(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _exit_code(value: object) -> int | None:
    """Return the exit code of a wait status (v0.0.38), or of the object that newer versions have."""
    if isinstance(value, dict):
        signal = value.get("signal")
        number = _number(signal, "signal_id" if "signal_id" in signal else "id") if isinstance(signal, dict) else 0
        return 128 + number if number else _number(value, "return_code")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return 128 + (value & 0x7F) if value & 0x7F else value >> 8 & 0xFF


def _number(job: Mapping[str, Any], key: str) -> int:
    value = job.get(key, 0)
    if isinstance(value, dict):
        value = value.get("number", 0) if value.get("set", True) else 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"slurmrestd's answer: {key} is no whole number: {bounded(value)}")
    return value


def _text(job: Mapping[str, Any], key: str) -> str:
    value = job.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"slurmrestd's answer: {key} is no text: {bounded(value)}")
    return value


def _list(body: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    entries = body.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"slurmrestd's answer: {key} is no list of objects")
    yield from entries
