"""The Slurm for tests itself: jobs run as their users, faults are real, and nothing is left even after ``kill -9``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import MissingComponent, slurm_files
from .need import need
from .slurm import USERS, Slurm, running_slurm
from .slurm_machines import prepare

ROOT = Path(__file__).parents[2]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LIMIT = 60.0  # seconds that anything may take
JOB = "#!/bin/sh\n"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A cluster."""
    with need(running_slurm()) as one:
        yield one


def until(done: object, what: str) -> None:
    """Wait until a function says so.

    Raises:
        AssertionError: it takes too long.
    """
    assert callable(done)
    limit = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


def rest(slurm: Slurm, path: str, user: str, token: str, body: object = None) -> dict[str, object]:
    """Ask slurmrestd and return its answer, also one of an error."""
    request = urllib.request.Request(f"{slurm.rest_url}/slurm/v0.0.38/{path}")
    request.add_header("X-SLURM-USER-NAME", user)
    request.add_header("X-SLURM-USER-TOKEN", token)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with DIRECT.open(request, timeout=10) as answer:
            found: dict[str, object] = json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return {"status": refused.code}
    return found


def test_a_job_runs_as_its_user_with_all_groups_on_a_node_of_its_own(slurm: Slurm) -> None:
    """A job's uid, groups, host name and HOME are those of the user and the node."""
    script = JOB + "id -u; id -Gn; hostname; pwd; cat /proc/1/comm\n"
    done = slurm.run_as("alice", ["sbatch", "--wait", "--nodelist=n2", "--output=out"], stdin=script)
    assert done.returncode == 0, done.stderr
    home = slurm.home / "alice"
    assert (home / "out").read_text().splitlines() == ["62001", "atlas grid", "n2", str(home), "tini"]
    assert (home / "out").stat().st_uid == USERS["alice"].uid


def test_a_process_of_root_calls_commands_that_run_as_a_user(slurm: Slurm) -> None:
    """What asks for ``sbatch`` on PATH submits as the user whose environment it has."""
    words = ["sbatch", "--parsable", "--partition=tiny"]
    done = subprocess.run(words, input=JOB + "sleep 60", env=slurm.environment("bob"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert slurm.job_count("bob") == 1
    assert slurm.job_count("alice") == 0
    slurm.clear()
    assert slurm.job_count() == 0


def test_users_are_unknown_to_the_machine(slurm: Slurm) -> None:
    """The machine's own accounts are not changed."""
    assert slurm.run_as("alice", ["id", "-un"]).stdout == "alice\n"
    assert subprocess.run(["id", "alice"], capture_output=True).returncode != 0


def test_a_token_lets_its_user_in_and_nobody_else(slurm: Slurm) -> None:
    """A JWT serves the user it names, until it ends."""
    job = {"name": "by-rest", "environment": {"PATH": "/usr/bin:/bin"}, "partition": "htc"}
    job |= {"current_working_directory": str(slurm.home / "alice")}
    body = {"script": JOB + "id -u > by-rest", "job": job}
    assert "job_id" in rest(slurm, "job/submit", "alice", slurm.mint("alice"), body)
    until(lambda: (slurm.home / "alice" / "by-rest").exists(), "the job did not run")
    assert "jobs" in rest(slurm, "jobs", "alice", slurm.mint("alice"))
    for token in (slurm.mint("bob"), slurm.mint("alice", -60), "no-token"):
        refused = rest(slurm, "job/submit", "alice", token, body)
        assert "status" in refused or refused["errors"]
    slurm.clear()


REFUSED = {
    "a user without an account": ("dave", ["--partition=htc"], "Invalid account"),
    "an account of others": ("bob", ["--account=atlas"], "Invalid account"),
    "an unknown partition": ("alice", ["--partition=nowhere"], "invalid partition"),
    "too long for the partition": ("alice", ["--partition=main", "--time=02:00:00"], "Requested time limit is invalid"),
    "more than a node has": ("alice", ["--cpus-per-task=99"], "More processors requested than permitted"),
}


@pytest.mark.parametrize(("user", "options", "words"), REFUSED.values(), ids=REFUSED)
def test_accounts_and_limits_are_enforced(slurm: Slurm, user: str, options: list[str], words: str) -> None:
    """Slurm refuses what the accounting does not allow."""
    done = slurm.run_as(user, ["sbatch", *options], stdin=JOB)
    assert done.returncode != 0
    assert words in done.stderr


def test_a_user_with_a_limit_waits_or_is_refused(slurm: Slurm) -> None:
    """carol may have two jobs, of which one runs."""
    done = [slurm.run_as("carol", ["sbatch"], stdin=JOB + "sleep 60").returncode for _ in range(3)]
    assert done == [0, 0, 1]
    until(lambda: any("AssocMaxJobsLimit" in line for line in slurm.squeue("carol")), "the limit is not told")
    slurm.clear()


def test_a_full_partition_makes_others_wait(slurm: Slurm) -> None:
    """While one job fills ``tiny``, another one there waits for resources."""
    with slurm.filled("tiny"):
        slurm.run_as("alice", ["sbatch", "--partition=tiny"], stdin=JOB + "sleep 60")
        until(lambda: any("Resources" in line for line in slurm.squeue("alice")), "it does not wait")
    slurm.clear()


def test_gpus_are_given_to_jobs(slurm: Slurm) -> None:
    """A job gets the GPU it asks for, of the node that has some."""
    words = ["srun", "--partition=gpu", "--gres=gpu:1", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; hostname"]
    assert slurm.run_as("alice", words).stdout.split() == ["0", "n3"]


def test_a_hung_controller_makes_commands_hang_until_it_goes_on(slurm: Slurm) -> None:
    """A controller that hangs takes connections and does not answer."""
    slurm.hang_controller()
    with pytest.raises(subprocess.TimeoutExpired):
        slurm.run_as("alice", ["squeue"], timeout=2)
    slurm.continue_controller()
    assert slurm.run_as("alice", ["squeue"]).returncode == 0


def test_jobs_live_on_while_the_controller_is_down(slurm: Slurm) -> None:
    """A controller that comes back knows the jobs it had."""
    with slurm.filled("tiny") as number:
        slurm.stop_controller()
        assert slurm.run_as("bob", ["squeue"]).returncode != 0
        slurm.start_controller()
        assert [line.split()[0] for line in slurm.squeue("bob")] == [number]


def test_a_lost_node_ends_its_jobs_and_comes_back(slurm: Slurm) -> None:
    """Slurm finds out that a node is gone, ends what ran there, and uses it again when it is back."""
    done = slurm.run_as("alice", ["sbatch", "--parsable", "--nodelist=n2", "--no-requeue"], stdin=JOB + "sleep 600")
    number = done.stdout.strip()
    until(lambda: "RUNNING" in "".join(slurm.squeue("alice")), "the job does not run")
    slurm.lose_node("n2")
    until(lambda: slurm.job_count("alice") == 0, "the job is still there")
    assert "NODE_FAIL" in "".join(slurm.squeue("alice", states="NODE_FAIL"))
    slurm.bring_back("n2")
    assert slurm.run_as("alice", ["srun", "--nodelist=n2", "hostname"]).stdout == "n2\n", number


def test_folders_that_only_root_may_enter_are_opened_for_the_way_to_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout in root's own HOME is reachable by the cluster's users, and nothing else of that HOME is."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts")
    closed = tmp_path / "root"
    (closed / "environment" / "bin").mkdir(parents=True)
    (closed / "secret").touch()
    (tmp_path / "etc").mkdir()
    (tmp_path / "spare").mkdir()
    for folder in (*tmp_path.parents[:-2], tmp_path):
        folder.chmod(0o755)
    closed.chmod(0o700)
    monkeypatch.setattr(sys, "prefix", str(closed / "environment"))
    script = f"{prepare(tmp_path / 'etc', tmp_path / 'spare')}\nsetpriv --reuid=62001 --clear-groups find {closed}"
    words = ["unshare", "--mount", "--propagation=slave", "sh", "-ec", script]
    found = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert found == [str(closed), str(closed / "environment"), str(closed / "environment" / "bin")]


OWNER = """
import sys, time
from tests.components.slurm import running_slurm
with running_slurm(accounting=False) as slurm:
    slurm.run_as("alice", ["sbatch", "--nodelist=n1"], stdin="#!/bin/sh\\nexec sleep 7654.25\\n")
    while "RUNNING" not in "".join(slurm.squeue()):
        time.sleep(0.05)
    print(slurm.places.top.parent, flush=True)
    time.sleep(600)
"""


def left_over(folder: str) -> list[str]:
    """Return command lines of processes that have to do with a folder, and the sleeping job's."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in words or "sleep 7654.25" in words:
            found.append(words)
    return found


def test_nothing_is_left_when_the_owner_is_killed(slurm: Slurm) -> None:
    """Daemons, nodes, jobs and folders end with the owner, even by ``kill -9``."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout as output:
        folder = output.readline().strip()
        assert left_over(folder)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    until(lambda: not left_over(folder) and not Path(folder).exists(), "something is left")


def test_a_machine_without_a_program_is_told_which_package_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said in one sentence with the way to get it."""
    monkeypatch.setattr(slurm_files, "PROGRAMS", {"no-such-slurmctld": "slurmctld"})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MissingComponent, match="apt-get install slurmctld"), running_slurm():
        pass
