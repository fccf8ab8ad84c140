"""The audit events and the file they are written to: the schema, the index template and real events agree."""

from __future__ import annotations

import json
import logging
import os
import resource
import stat
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.event_file import EventFile
from nbplatform_spawners.events import (
    ACTIONS,
    OUTCOMES,
    Cause,
    Event,
    event_line,
    extension_event,
    job_event,
    refusal_event,
    spawn_event,
    stop_event,
    warning_event,
)
from nbplatform_spawners.hosts.admit import Placement
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.plan import SpawnPlan
from nbplatform_spawners.rules.model import Origin

REFERENCE = Path(__file__).parents[2] / "docs/reference"
SCHEMA = json.loads((REFERENCE / "audit-event.schema.json").read_text(encoding="utf-8"))
TEMPLATE = json.loads((REFERENCE / "audit-index-template.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)
NOW = datetime(2026, 11, 24, 8, 12, 30, 5000, tzinfo=timezone(timedelta(hours=1)))
ADA = Identity("ada", 62001, 61000, {"users": 61000, "deep-learning": 61300}, "users", "/home/ada", provider="edugain")
PLAN = SpawnPlan(
    identity=ADA,
    server="train",
    profile="gpu",
    command=("nbplatform-singleuser",),
    image=None,
    memory=16 * 1024**3,
    cpu=4.0,
    mounts=(),
    hidden=(),
    env={"JUPYTERHUB_API_TOKEN": "planted-secret"},
    placement=Placement(host="gpu01", pool="gpu", gpus=("GPU-0a",)),
    reasons={"allow": "allowed by rule 'deep learning may use GPUs'"},
    generation="3f9c",
    gpus=1,
    idle={"cull_after_gpu": 86400, "max_age": None},
)
STATE = PLAN.to_state(NOW)
RULE = Origin("deep learning may use GPUs", "20-gpu-whitelist.yaml", 2)
CAUSE = Cause(
    reason="idle",
    why="nobody has used this GPU server for 1 day",
    origin=RULE,
    limits={"cull_after_gpu": 3600, "extend": None},
    stop_at=NOW + timedelta(hours=2),
    idle_seconds=82800.4,
)
JOB = {"job": "4711", "job_name": "dask-worker-0a1b2c3d4e5f-1", "cluster": "0a1b2c3d4e5f", "why": "its server is gone"}
OURS = {
    "server": "train",
    "profile": "gpu",
    "pool": "gpu",
    "generation": "3f9c",
    "gpu_count": 1,
    "memory": 16 * 1024**3,
    "gpus": ["GPU-0a"],
    "groups": ["deep-learning", "users"],
    "provider": "edugain",
    "rule": "deep learning may use GPUs",
    "where": "20-gpu-whitelist.yaml:2",
}
EVENTS: dict[str, Event] = {
    "spawn": spawn_event(NOW, "ada", "train", STATE, RULE),
    "refusal": refusal_event(NOW, "ada", "", "gpu", Refusal("quota", "2 of 2 GPUs are yours"), ADA),
    "refusal of a stranger": refusal_event(NOW, "a/b\n\x1b[31m\ud800", "", None, Refusal("account", "who?")),
    "warning": warning_event(NOW, "ada", "train", STATE, CAUSE),
    "extension": extension_event(NOW, "ada", "train", STATE, CAUSE),
    "stop": stop_event(NOW, "ada", "train", STATE, CAUSE),
    "job": job_event(NOW, ("ada", "train"), JOB, "success"),
    "job of a stranger": job_event(NOW, ("a/b\n\x1b[31m\ud800", ""), dict.fromkeys(JOB, "x" * 5000), "failure"),
    "failed stop": stop_event(NOW, "ada", "", {}, Cause("max_age", "too old", outcome="failure")),
}


def test_a_spawn_says_who_got_what_where_and_why() -> None:
    """The whole event, as it is; nothing of the environment or HOME."""
    assert EVENTS["spawn"] == {
        "@timestamp": "2026-11-24T07:12:30.005Z",
        "ecs": {"version": "8.11.0"},
        "event": {
            "kind": "event",
            "category": ["session"],
            "type": ["start"],
            "action": "spawn",
            "outcome": "success",
            "dataset": "nbplatform.audit",
        },
        "message": "allowed by rule 'deep learning may use GPUs'",
        "user": {"name": "ada", "id": "62001"},
        "host": {"name": "gpu01"},
        "nbplatform": {**OURS, "limits": {"cull_after_gpu": 86400, "max_age": None}},
    }


def test_what_a_server_does_not_hold_is_left_out() -> None:
    """No GPU and no limit of memory are no number: who counts GPUs finds those that have some."""
    bare = spawn_event(NOW, "ada", "", {**STATE, "gpus": [], "gpu_count": 0, "memory": 0}, RULE)["nbplatform"]
    assert set(OURS) - set(bare) == {"gpus", "gpu_count", "memory"}


def test_a_refusal_says_what_was_asked_for() -> None:
    """Label, sentence, profile, and who it was as far as that is known."""
    event = EVENTS["refusal"]
    assert (event["event"]["action"], event["event"]["outcome"]) == ("refusal", "failure")
    assert (event["event"]["reason"], event["message"]) == ("quota", "2 of 2 GPUs are yours")
    assert event["user"] == {"name": "ada", "id": "62001"}
    assert event["nbplatform"]["profile"] == "gpu"
    assert EVENTS["refusal of a stranger"]["nbplatform"] == {"server": ""}


@pytest.mark.parametrize("action", ["warning", "extension", "stop"])
def test_what_the_culler_does_says_why_and_by_which_limits(action: str) -> None:
    """The limits that hold now, not those of the start; when, and how long the server was idle."""
    event = EVENTS[action]
    assert event["event"]["action"] == action
    assert event["event"]["reason"] == "idle"
    assert event["message"] == "nobody has used this GPU server for 1 day"
    assert event["host"] == {"name": "gpu01"}
    assert event["nbplatform"] == {
        **OURS,
        "limits": {"cull_after_gpu": 3600, "extend": None},
        "idle_seconds": 82800,
        "stop_at": "2026-11-24T09:12:30.005Z",
    }


def test_a_job_that_was_ended_says_whose_it_was() -> None:
    """Its number and name in Slurm, its cluster, and the server that is gone."""
    event = EVENTS["job"]
    assert (event["event"]["action"], event["event"]["type"], event["event"]["reason"]) == (
        "job_end",
        ["end"],
        "orphan",
    )
    assert (event["message"], event["user"]) == ("its server is gone", {"name": "ada"})
    assert event["nbplatform"] == {"server": "train", **{key: JOB[key] for key in ("job", "job_name", "cluster")}}


def test_an_unknown_outcome_is_refused() -> None:
    """The schema names three."""
    with pytest.raises(ValueError, match="an outcome is one of"):
        Cause("idle", "why", outcome="done")


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_every_event_fits_the_schema(event: Event) -> None:
    """One line of ASCII whatever the names hold, without a secret, which the schema accepts."""
    line = event_line(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.isascii()
    assert b"\x1b" not in line
    assert b"planted-secret" not in line
    assert b"/home/ada" not in line
    assert json.loads(line) == event
    VALID.validate(json.loads(line))


WRONG_STATES: dict[str, dict[str, Any]] = {
    "empty": {},
    "another spawner's": {"pid": 4711, "object_id": "0a1b"},
    "every value of another type": dict.fromkeys(STATE, 1.5),
    "every value a text": dict.fromkeys(STATE, "x"),
    "every value a list": {key: [None, {}] for key in STATE},
    "every value an object": {key: {"a": [1], "uid": True, "groups": {None: 1, 7: 2}} for key in STATE},
    "negative and huge": {**STATE, "memory": -1, "gpu_count": 10**30, "idle": {"cull_after": -5, "max_age": True}},
    "long and many": {
        **STATE,
        "host": "h" * 5000,
        "gpus": ["g" * 5000] * 1000,
        "identity": {"uid": 1, "groups": dict.fromkeys(map(str, range(5000)), 1)},
        "idle": dict.fromkeys(map(str, range(5000)), 1),
    },
}


@pytest.mark.parametrize("state", WRONG_STATES.values(), ids=WRONG_STATES)
def test_a_state_of_another_form_makes_a_smaller_event(state: dict[str, Any]) -> None:
    """A backend's or an older version's state must neither break the file's format nor the spawner."""
    for event in (spawn_event(NOW, "ada", "", state), stop_event(NOW, "ada", "", state, CAUSE)):
        VALID.validate(json.loads(event_line(event)))


def test_the_schema_can_refuse() -> None:
    """It is closed at each level: an unknown key, or a time of another form, does not pass."""
    good = EVENTS["stop"]
    for bad in (
        {**good, "x": 1},
        {**good, "nbplatform": {**good["nbplatform"], "token": "x"}},
        {**good, "@timestamp": "2026-11-24T07:12:30+00:00"},
        {**good, "user": {}},
    ):
        assert not VALID.is_valid(bad)
    assert set(SCHEMA["properties"]["event"]["properties"]["action"]["enum"]) == set(ACTIONS)
    assert set(SCHEMA["properties"]["event"]["properties"]["outcome"]["enum"]) == set(OUTCOMES)


def leaves(node: dict[str, Any], path: str = "") -> dict[str, str]:
    """Return the path of each field of the schema, and the type that its values need in an index."""
    node = {**SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], **node} if "$ref" in node else node
    if "properties" in node:
        found: dict[str, str] = {}
        for key, value in node["properties"].items():
            found |= leaves(value, f"{path}.{key}".lstrip("."))
        return found
    if node.get("type") == "array":
        return leaves(node["items"], path)
    if node.get("type") == "object":
        return {path: "object"}
    if node.get("type") == "integer":
        return {path: "long"}
    return {path: "date" if "T[0-9]" in node.get("pattern", "") else "keyword"}


def mapped(node: dict[str, Any], path: str = "") -> dict[str, str]:
    """Return the path of each field of the index template, and its type."""
    if "properties" not in node:
        return {path: node["type"]}
    found: dict[str, str] = {}
    for key, value in node["properties"].items():
        found |= mapped(value, f"{path}.{key}".lstrip("."))
    return found


def test_the_index_template_maps_every_field_of_the_schema() -> None:
    """Neither has a field that the other lacks; a sentence is searched by word, all other texts as a whole."""
    assert mapped(TEMPLATE["template"]["mappings"]) == {**leaves(SCHEMA), "message": "match_only_text"}
    assert TEMPLATE["index_patterns"] == ["logs-nbplatform.audit-*"]


def lines_of(path: Path) -> list[Any]:
    """Return the events of a file."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines() if line]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the audit file is to be."""
    return tmp_path / "audit.jsonl"


def test_events_are_added_and_the_file_is_not_for_everybody(path: Path) -> None:
    """What stands in it stays; others than owner and group read nothing."""
    for _ in range(2):
        file = EventFile(path)
        file.write(EVENTS["spawn"])
        file.write(EVENTS["stop"])
        file.close()
    assert lines_of(path) == [EVENTS["spawn"], EVENTS["stop"]] * 2
    assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0


def rotate_by_move(path: Path) -> None:
    """As logrotate does with ``nocreate``."""
    path.rename(path.with_suffix(".1"))


def rotate_by_move_and_create(path: Path) -> None:
    """As logrotate does with ``create``."""
    path.rename(path.with_suffix(".1"))
    path.touch()


def rotate_by_cut(path: Path) -> None:
    """As logrotate does with ``copytruncate``."""
    os.truncate(path, 0)


@pytest.mark.parametrize("rotate", [rotate_by_move, rotate_by_move_and_create, rotate_by_cut, Path.unlink])
def test_a_rotated_file_is_gone_on_with(path: Path, rotate: Any) -> None:
    """However it is rotated, the next event is the new file's first line, whole, and no zero bytes precede it."""
    file = EventFile(path)
    file.write(EVENTS["spawn"])
    rotate(path)
    file.write(EVENTS["stop"])
    file.close()
    assert lines_of(path) == [EVENTS["stop"]]


def test_a_line_cut_by_a_crash_takes_no_other_with_it(path: Path) -> None:
    """The event after half an event begins on its own line."""
    path.write_bytes(b'{"@timestamp":"2026-')
    file = EventFile(path)
    file.write(EVENTS["spawn"])
    file.write(EVENTS["stop"])
    file.close()
    torn, *whole = path.read_bytes().splitlines()
    assert torn == b'{"@timestamp":"2026-'
    assert [json.loads(line) for line in whole] == [EVENTS["spawn"], EVENTS["stop"]]


def test_several_writers_never_mix_their_lines(path: Path) -> None:
    """The hub and the culler may share a file: each event is one write to its end."""
    files = [EventFile(path) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda file=file: [file.write(EVENTS["stop"]) for _ in range(100)]) for file in files
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for file in files:
        file.close()
    assert lines_of(path) == [EVENTS["stop"]] * 400


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A missing folder or full disk stops nobody's server: one line when it begins, one with the count when it ends."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "later/audit.jsonl"
    file = EventFile(path, logging.getLogger("audit"))
    for _ in range(3):
        file.write(EVENTS["spawn"])
    path.parent.mkdir()
    file.write(EVENTS["stop"])
    file.write(EVENTS["stop"])
    file.close()
    assert lines_of(path) == [EVENTS["stop"]] * 2
    assert caplog.messages == [
        f"audit events are lost, {path} cannot be written: No such file or directory",
        f"audit events are written to {path} again; lost: 3",
    ]


def test_a_full_disk_costs_the_events_that_do_not_fit(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A limit on the file's size stands for the full disk: what comes after it is whole, what is lost is counted."""
    file = EventFile(path, logging.getLogger("audit"))
    file.write(EVENTS["spawn"])
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
    try:
        file.write(EVENTS["stop"])
        file.write(EVENTS["stop"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.write(EVENTS["warning"])
    file.close()
    first, torn, last = path.read_bytes().splitlines()
    assert (json.loads(first), json.loads(last)) == (EVENTS["spawn"], EVENTS["warning"])
    assert event_line(EVENTS["stop"]).startswith(torn)
    assert caplog.messages[0].endswith("the disk took only a part of an event")
    assert caplog.messages[1:] == [f"audit events are written to {path} again; lost: 2"]


def test_a_pipe_in_its_place_holds_nobody_up(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Opening a pipe that nobody reads must not stop the hub."""
    os.mkfifo(path)
    EventFile(path, logging.getLogger("audit")).write(EVENTS["spawn"])
    assert [message.partition(" cannot")[0] for message in caplog.messages] == [f"audit events are lost, {path}"]
