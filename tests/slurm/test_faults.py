"""A Slurm that stops, hangs, restarts and loses nodes, seen by both doors and by a cluster at work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.slurm_dask.commands import CommandSlurm
from nbplatform_spawners.slurm_dask.errors import SlurmUnavailable
from nbplatform_spawners.slurm_dask.rest import RestSlurm
from nbplatform_spawners.slurm_dask.service_key import Key, KeyTokens
from nbplatform_spawners.slurm_dask.slurm import Slurm as Door
from tests.components.slurm import Slurm
from tests.slurm.doors import job_script, until, until_state
from tests.slurm.driven import TOTAL

SOON = 2.0
"""Seconds that a call may take where Slurm does not answer."""
MOST_OF_A_NODE = 6
PROGRAM = Path(__file__).with_name("driven.py")
SITE = """\
slurm: {{way: commands, timeout: 5s}}
workers: {{shared: [{home}, {prefix}]}}
defaults: {{cores: 1, memory: 300M}}
"""


@pytest.fixture(params=["commands", "rest"])
async def door(request: pytest.FixtureRequest, slurm: Slurm) -> AsyncIterator[Door]:
    """Open alice's doors, one after the other."""
    if request.param == "commands":
        found: Door = CommandSlurm(SOON, environ={**slurm.environment("alice"), "HOME": str(slurm.home / "alice")})
    else:
        found = RestSlurm(slurm.rest_url, KeyTokens(Key(str(slurm.jwt_key), 600), "alice"), SOON)
    yield found
    await found.close()


async def test_after_a_restart_of_slurm_the_jobs_are_as_before(door: Door, slurm: Slurm) -> None:
    """A door that said that Slurm is down says, with nothing made anew, what is once Slurm is back."""
    job = await door.submit(job_script(), name="dask-worker-0123456789ab-1")
    await until_state(door, job, "RUNNING")
    slurm.stop_controller()
    with pytest.raises(SlurmUnavailable):
        await door.jobs([job])
    slurm.start_controller()
    await until_state(door, job, "RUNNING")
    await door.cancel([job])
    await until_state(door, job, "CANCELLED")


async def test_a_hung_slurm_that_goes_on_is_asked_again(door: Door, slurm: Slurm) -> None:
    """While the controller hangs each call says so; afterwards the same door works."""
    slurm.hang_controller()
    with pytest.raises(SlurmUnavailable):
        await door.partitions()
    with pytest.raises(SlurmUnavailable):
        await door.cancel(["1"])
    slurm.continue_controller()
    assert {"main", "htc", "gpu", "tiny", "closed"} <= set(await door.partitions())


WAITS: dict[str, tuple[str, str]] = {
    "a full partition": ("tiny", "Resources"),
    "a partition that is down": ("closed", "PartitionDown"),
}


@pytest.mark.parametrize(("partition", "reason"), WAITS.values(), ids=WAITS)
async def test_a_waiting_job_says_why(door: Door, slurm: Slurm, partition: str, reason: str) -> None:
    """The word that Slurm has for it comes with the job."""
    with slurm.filled("tiny"):
        job = await door.submit(job_script("waits", "sleep 600", f"--partition={partition}"), name="waits")

        async def told() -> bool:
            state = (await door.jobs([job]))[job]
            return state.pending and state.reason == reason

        await until(told)
        await door.cancel([job])


async def test_a_job_of_a_lost_node_has_ended(door: Door, slurm: Slurm) -> None:
    """The job is over for whoever asks, and one that must not run twice does not."""
    script = job_script("lost", "sleep 600", "--partition=gpu", "--no-requeue")
    job = await door.submit(script, name="lost")
    await until_state(door, job, "RUNNING")
    slurm.lose_node("n3")
    slurm.command("scontrol", "update", "NodeName=n3", "State=DOWN", "Reason=lost")

    async def over() -> bool:
        return (await door.jobs([job]))[job].ended

    await until(over)
    assert (await door.jobs([job]))[job].state == "NODE_FAIL"


class Cluster:
    """A user's process that holds a cluster and does what it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, line: str) -> None:
        """Tell it something; :meth:`hear` follows."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """Return its next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the user's process has ended"
        return json.loads(line)

    def ask(self, line: str) -> Any:
        """Tell it something and return what it says."""
        self.tell(line)
        answer = self.hear()
        assert "error" not in answer, answer
        return answer["said"]


@contextmanager
def cluster(slurm: Slurm, **arguments: Any) -> Iterator[Cluster]:
    """A cluster of alice; its process is killed at the end if it still runs."""
    site = slurm.places.top / "site-faults.yaml"
    site.write_text(SITE.format(home=slurm.home, prefix=sys.prefix))
    environment = slurm.user_environment("alice", {"NBPLATFORM_SLURM_SITE": str(site)})
    words = slurm.words_as("alice", [sys.executable, PROGRAM, json.dumps(arguments)])
    log = slurm.places.top / "log" / "driven.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            words, env=environment, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            one = Cluster(process)
            first = one.hear()
            assert first == {"ready": True}, first
            yield one
        finally:
            process.kill()


def stopped(slurm: Slurm) -> None:
    """Stop the controller; the next step starts it."""
    slurm.stop_controller()


def hung(slurm: Slurm) -> None:
    """Hang the controller; the next step lets it go on."""
    slurm.hang_controller()


def restarted(slurm: Slurm) -> None:
    """Restart the controller."""
    slurm.restart()


FAULTS = {"stopped": stopped, "hung": hung, "restarted": restarted}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_scaling_goes_on_after_a_fault_of_slurm(slurm: Slurm, fault: Callable[[Slurm], None]) -> None:
    """What runs goes on computing meanwhile; once Slurm is back the cluster gets the size asked for, and closes."""
    with cluster(slurm, n_workers=1) as one:
        one.ask("wait 1")
        fault(slurm)
        one.ask("scale 3")
        assert one.ask("compute 0.01") == TOTAL
        slurm.mend_daemons()
        one.ask("scale 3")
        one.ask("wait 3")
        assert one.ask("compute 0.01") == TOTAL
        one.ask("close")
        slurm.wait_for_jobs(0, limit=5)


def test_a_computation_ends_correctly_when_a_node_with_workers_is_lost(slurm: Slurm) -> None:
    """Tasks of the lost worker are done by others, and no result is missing or counted twice."""
    with cluster(slurm, n_workers=3, cores=MOST_OF_A_NODE) as one:
        one.ask("wait 3")
        hosts = {node.address: name for name, node in slurm.nodes.items()}
        assert set(one.ask("workers")) == set(hosts), "each worker fills a node"
        lost = next(name for address, name in hosts.items() if address != one.ask("scheduler"))
        one.ask("begin 1")
        slurm.lose_node(lost)
        assert one.ask("end") == TOTAL
        assert slurm.nodes[lost].address not in one.ask("workers")
        one.ask("close")
