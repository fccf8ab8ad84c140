"""The files on the pages of the culler and of the audit file: each does what the page says, with real events."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from prometheus_client.metrics import MetricWrapperBase

from benchmarks.culler_verdicts import SITE, user_model
from nbplatform_spawners.accounts.parse import parse_accounts
from nbplatform_spawners.culler.metrics import Metrics
from nbplatform_spawners.culler.models import running_servers
from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.events import Cause, Event, event_line, refusal_event, spawn_event, stop_event, warning_event
from nbplatform_spawners.rules.model import Origin
from tests.culler.hub_double import FakeServer, HubDouble
from tests.house.pages import ROOT, CodeBlock, code_blocks

CULLER, AUDIT = "docs/how-to/culler.md", "docs/how-to/audit.md"
REFERENCE = ROOT / "docs" / "reference"
NOW = datetime.fromisoformat("2026-11-24T06:12:04.318+00:00")
STOP_AT = datetime.fromisoformat("2026-11-24T08:12:04+00:00")
GROUPS = {"users": 61000, "atlas": 61100, "deep-learning": 61200}
STATE: dict[str, Any] = {
    "identity": {"uid": 62001, "groups": GROUPS, "provider": None},
    "profile": "gpu",
    "generation": "3f045076fc9f",
    "host": "gpu01",
    "pool": "gpu",
    "gpus": ["GPU-0a1b"],
    "gpu_count": 1,
    "memory": 16 << 30,
}
LIMITS = {"cull_after_gpu": 86400, "warn_before": 7200, "max_age": None, "busy_max": None, "extend": 0}
CAUSE = Cause(
    "idle",
    "a GPU server idle for 1 day (limit of defaults, 90-defaults.yaml:2)",
    Origin("defaults", "90-defaults.yaml", 2),
    LIMITS,
    STOP_AT,
    79203,
)


def block(page: str, language: str, holds: str) -> CodeBlock:
    """Return the one block of a page in a language that holds these words."""
    (found,) = [one for one in code_blocks(page) if one.language == language and holds in one.text]
    return found


def warning(**changed: Any) -> Event:
    """Return the event that the page shows, with changes of its cause."""
    return warning_event(NOW, "alice", "", STATE, Cause(**{**vars(CAUSE), **changed}))


def test_the_event_of_a_warning_is_the_one_on_the_page() -> None:
    """What the builder makes of such a server is what the page shows, and fits the schema."""
    shown = json.loads(block(CULLER, "json", '"action": "warning"').text)
    assert json.loads(event_line(warning())) == shown
    schema = json.loads((REFERENCE / "audit-event.schema.json").read_text())
    Draft202012Validator(schema).validate(shown)


def mail_of(event: bytes, folder: Path) -> email.message.EmailMessage:
    """Run the page's script with an event, and a ``sendmail`` that keeps what it is given; return the mail."""
    sendmail = folder / "sendmail"
    sendmail.write_text(f'#!/bin/sh\n[ "$*" = "-t -i" ] && cat > {folder}/mail\n')
    sendmail.chmod(0o755)
    script = block(CULLER, "python", "EmailMessage").text
    assert script.startswith("#!/usr/bin/env python3\n")
    path = folder / "mail-warning"
    path.write_text(script.replace("/usr/sbin/sendmail", str(sendmail)))
    command, env = [sys.executable, str(path)], {**os.environ, "TZ": "UTC"}
    subprocess.run(command, input=event, env=env, check=True, timeout=30, capture_output=True)
    found = email.message_from_bytes((folder / "mail").read_bytes(), policy=email.policy.default)
    assert isinstance(found, email.message.EmailMessage)
    return found


@pytest.mark.parametrize(
    ("name", "to"),
    [
        pytest.param("alice", "alice@example.org", id="a plain name"),
        pytest.param("ada@uni", '"ada@uni"@example.org', id="a name with an at sign is one address"),
    ],
)
def test_the_mail_names_server_reason_and_time(name: str, to: str, tmp_path: Path) -> None:
    """One mail to the owner alone, with the sentence of the event and the time of the stop."""
    mail = mail_of(event_line(warning_event(NOW, name, "", STATE, CAUSE)), tmp_path)
    assert mail["To"] == to
    body = mail.get_content()
    assert "your server gpu: a GPU server idle for 1 day (limit of defaults, 90-defaults.yaml:2)." in body
    assert "stopped on 24 Nov at 08:12;" in body
    assert "Use it and it goes on." in body


def test_the_mail_of_a_warning_without_a_stop_names_none(tmp_path: Path) -> None:
    """Where no stop is planned the event has no ``stop_at``, and the mail promises none."""
    body = mail_of(
        event_line(warning(reason="not-allowed", why="no rule allows it", stop_at=None)), tmp_path
    ).get_content()
    assert "no rule allows it" in body
    assert "stopped" not in body
    assert "Use it" not in body


# The dry run

DAY, HOUR = 86400.0, 3600.0


def server_of(name: str, profile: str, idle: float, server: str = "", **more: Any) -> FakeServer:
    """Return a server of somebody of the example site."""
    person = parse_accounts((SITE / "accounts.yaml").read_bytes(), "accounts.yaml").accounts[name].identity
    state = user_model(person, profile, datetime.now(UTC))["servers"][""]["state"]
    return FakeServer(name, server, **{"idle": idle, "hub_idle": 60.0, "age": 10 * DAY, "state": state, **more})


def dry_run(folder: Path, servers: list[FakeServer], warned: str) -> str:
    """Run the command of the page on a hub with these servers; one was warned before.  Returns what it prints."""
    shutil.copytree(SITE / "placement_rules", folder / "rules")
    with HubDouble(servers) as hub:
        before = (datetime.now(UTC) - timedelta(hours=4)).isoformat()
        (server,) = running_servers(json.loads(hub._models[warned]))
        record = {"version": 1, "contact": datetime.now(UTC).isoformat(), "warned": {server.key: before}}
        (folder / "nbplatform-culler.json").write_text(json.dumps(record))
        script = block(CULLER, "sh", "nbplatform-culler --dry-run").text
        script = script.replace("…", hub.token).replace("http://127.0.0.1:8081/hub/api", hub.url)
        script = script.replace("nbplatform-culler", f"{sys.executable} -m nbplatform_spawners.culler", 1)
        script = script.replace("/etc/jupyterhub/placement_rules", str(folder / "rules"))
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = ["sh", "-e", "-c", script]
        ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert not hub.stopped
        assert not hub.boards
    assert json.loads((folder / "nbplatform-culler.json").read_text()) == record
    return ran.stdout


def test_a_dry_run_prints_the_table_of_the_page_and_does_nothing(tmp_path: Path) -> None:
    """Of a site with one server of every kind; no server is stopped or told, and the culler's file stays as it is."""
    servers = [
        server_of("alice", "gpu", 22.7 * HOUR),
        server_of("bob", "cpu", 3.1 * DAY, "train"),
        server_of("dan", "cpu", 2 * DAY + 22.5 * HOUR),
        server_of("erin", "cpu", 5 * DAY),
        server_of("frank", "cpu-large", 30.0, busy=1, busy_for=2 * HOUR),
        server_of("mallory", "gpu", 2 * HOUR),
        server_of("heidi", "cpu", 4 * DAY, hub_idle=2 * HOUR + 5, mode="error"),
        server_of("carol", "cpu", 600.0, age=2 * HOUR),
    ]
    assert dry_run(tmp_path, servers, "bob") == block(CULLER, "text", "bob/train  stop").text


def names_of_metrics() -> dict[str, set[str]]:
    """Return the labels of each of the culler's metrics, by the name that Prometheus has."""
    found = [one for one in vars(Metrics()).values() if isinstance(one, MetricWrapperBase)]
    return {one._name + ("_total" if one._type == "counter" else ""): set(one._labelnames) for one in found}


def test_the_alerts_ask_for_metrics_that_there_are() -> None:
    """Each expression names metrics and labels of the culler; each alert says what it means."""
    rules = yaml.safe_load(block(CULLER, "yaml", "alert: ").text)["groups"][0]["rules"]
    known = names_of_metrics()
    for rule in rules:
        asked = re.findall(r"(nbplatform_\w+)(?:\{(\w+)[!=])?", rule["expr"])
        assert asked, rule
        for name, label in asked:
            assert name in known, rule["alert"]
            assert not label or label in known[name], rule["alert"]
        assert rule["annotations"]["summary"]


# The audit file


def test_what_filebeat_and_vector_write_is_of_the_template() -> None:
    """Both read the file of the page and write, as a data stream wants it, to a name that the template matches."""
    (pattern,) = json.loads((REFERENCE / "audit-index-template.json").read_text())["index_patterns"]
    beat = yaml.safe_load(block(AUDIT, "yaml", "filebeat.inputs").text)
    vector = tomllib.loads(block(AUDIT, "toml", "[sources.audit]").text)
    configured = block(AUDIT, "python", "audit_file").text
    assert fnmatch(beat["output.elasticsearch"]["index"], pattern)
    sink = vector["sinks"]["elasticsearch"]
    assert fnmatch(sink["bulk"]["index"], pattern)
    assert sink["bulk"]["action"] == "create"
    assert sink["inputs"] == [*vector["transforms"]]
    assert vector["transforms"]["event"]["inputs"] == [*vector["sources"]]
    (path,) = beat["filebeat.inputs"][0]["paths"]
    assert [path] == vector["sources"]["audit"]["include"]
    assert f'"{path}"' in configured
    assert block(AUDIT, "text", "weekly").text.startswith(f"{path} {{\n")


def test_logrotate_takes_the_page(tmp_path: Path) -> None:
    """It reads the file without an error; the path and the user are those of this test."""
    logrotate = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    if logrotate is None:
        pytest.skip("logrotate is not installed")
    audit = tmp_path / "audit.jsonl"
    audit.write_bytes(event_line(warning()))
    text = block(AUDIT, "text", "weekly").text.replace("/var/log/jupyterhub/audit.jsonl", str(audit))
    config = tmp_path / "logrotate.conf"
    config.write_text(re.sub(r"^ *su .*\n", "", text, flags=re.MULTILINE))
    config.chmod(stat.S_IRUSR | stat.S_IWUSR)
    command = [logrotate, "--force", "--state", str(tmp_path / "state"), str(config)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not audit.exists()
    assert (tmp_path / "audit.jsonl.1").read_bytes() == event_line(warning())


def test_jq_answers_the_questions_of_the_page(tmp_path: Path) -> None:
    """Who was stopped, and how many GPUs each group was given; refusals and servers without a GPU do not count."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    events = [
        spawn_event(NOW, "alice", "", STATE),
        spawn_event(NOW, "alice", "two", {**STATE, "gpu_count": 2}),
        spawn_event(NOW, "bob", "", {**STATE, "gpus": [], "gpu_count": 0}),
        refusal_event(NOW, "carol", "", "gpu", Refusal("full", "both are taken")),
        warning(),
        stop_event(STOP_AT, "alice", "", STATE, CAUSE),
    ]
    (tmp_path / "audit.jsonl").write_bytes(b"".join(map(event_line, events)))
    script = block(AUDIT, "sh", "jq -r").text
    ran = subprocess.run(
        ["sh", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )
    assert ran.stdout == "2026-11-24T08:12:04.000Z\talice\tidle\natlas\t3\n"
