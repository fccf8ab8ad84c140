"""A server that no state names is found by its private folder, and nothing else ever is."""

# The event loop of a test has nothing else to do:
# ruff: noqa: ASYNC110, ASYNC222, ASYNC240

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.local_find import command_line
from nbplatform_spawners.hosts.local_helper import LAUNCHER, LOG_FILE, STATUS_FILE, read_progress, start_helper
from nbplatform_spawners.hosts.local_machine import LocalMachine
from nbplatform_spawners.hosts.local_process import LaunchError, find_running, launch, status, stop
from nbplatform_spawners.hosts.proc import process_info
from tests.local.conftest import SERVER_ID, Workshop
from tests.local.plans import server_plan


async def test_a_forgotten_server_is_found_by_its_folder_and_stopped(workshop: Workshop) -> None:
    """All is as it was at the launch, the control groups too; once it is stopped there is none."""
    process = await workshop.start(workshop.script("exec sleep 1000"))
    found = find_running(Path(process.directory))
    assert found == process
    assert status(process) is None
    assert await stop(process, 10)
    assert status(process) == 143
    assert not [group for group in process.cgroups if Path(group).exists()]
    assert find_running(Path(process.directory)) is None


async def test_of_two_servers_each_is_found_by_its_own_folder(workshop: Workshop) -> None:
    """Also when one folder's name begins with the other's."""
    first = await workshop.start(workshop.script("exec sleep 1000"))
    longer = Path(first.directory + "0")
    longer.mkdir(mode=0o700)
    second = await launch(workshop.script("exec sleep 1000"), workshop.machine, longer, SERVER_ID)
    workshop.started.append(second)
    assert find_running(Path(first.directory)) == first
    assert find_running(longer) == second
    (longer / STATUS_FILE).write_bytes((Path(first.directory) / STATUS_FILE).read_bytes())
    assert find_running(longer) is None


async def test_a_server_without_a_sandbox_is_found(tmp_path: Path) -> None:
    """By its supervisor, also when the server was not named yet; a stop of what was found ends both."""
    machine = LocalMachine("plain", (), memory=2**30)
    process = await launch(server_plan(("/bin/sleep", "1000")), machine, tmp_path, SERVER_ID)
    try:
        assert find_running(tmp_path) == process
        assert not process.sandboxed
        (tmp_path / STATUS_FILE).write_text(json.dumps({"child-pid": process.pid}))
        found = find_running(tmp_path)
        assert found == process
        assert await stop(found, 0)
    finally:
        assert await stop(process, 0)
    assert find_running(tmp_path) is None


SLEEPER = "import sys, time; print(end='', flush=True); time.sleep(1000)"


def other_process(folder: Path, *, prints_here: bool, mentions: bool) -> subprocess.Popen[bytes]:
    """Start a process that is no server of this folder, and write the status of a server that had its id."""
    log = folder / LOG_FILE
    log.touch()
    output = log if prints_here else folder / "elsewhere"
    with output.open("ab") as file:
        words = [str(folder / "passwd")] if mentions else []
        stranger = subprocess.Popen([sys.executable, "-c", SLEEPER, *words], stdout=file)
    while SLEEPER not in command_line(stranger.pid):  # the kernel shows it a moment after the program was started
        assert stranger.poll() is None
    said = ({"child-pid": stranger.pid}, {"server-pid": 2})
    (folder / STATUS_FILE).write_text("".join(json.dumps(line) + "\n" for line in said))
    return stranger


STRANGERS = {
    "a process that has nothing to do with it": (False, False),
    "one that mentions the folder": (False, True),
    "one that prints to the log": (True, False),
}


@pytest.mark.parametrize(("prints_here", "mentions"), STRANGERS.values(), ids=STRANGERS)
async def test_a_stale_status_names_nobody(tmp_path: Path, prints_here: bool, mentions: bool) -> None:
    """The process id was used again: whoever has it now is not the server."""
    stranger = other_process(tmp_path, prints_here=prints_here, mentions=mentions)
    try:
        assert process_info(stranger.pid) is not None
        assert find_running(tmp_path) is None
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_process_that_ended_and_waits_for_its_parent_is_none(tmp_path: Path) -> None:
    """A zombie keeps its id."""
    with other_process(tmp_path, prints_here=True, mentions=True) as server:
        try:
            assert find_running(tmp_path) is not None
        finally:
            server.kill()
        os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
        assert find_running(tmp_path) is None


NO_SERVER = {
    "no folder": "none",
    "an empty folder": "",
    "no path": "a\0b",
    "a path that cannot be encoded": "\ud800",
}


@pytest.mark.parametrize("name", NO_SERVER.values(), ids=NO_SERVER)
def test_where_nothing_was_started_nothing_is_found(tmp_path: Path, name: str) -> None:
    """It never raises."""
    assert find_running(tmp_path / name) is None


DAMAGED = {
    "nothing": b"",
    "garbage": b"null\n[1]\n\xff\n",
    "the kernel": b'{"child-pid": 0}',
    "text": b'{"child-pid": "x"}',
}


@pytest.mark.parametrize("said", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_status_finds_nothing(tmp_path: Path, said: bytes) -> None:
    """No more than one that is missing."""
    (tmp_path / STATUS_FILE).write_bytes(said)
    (tmp_path / LOG_FILE).touch()
    assert find_running(tmp_path) is None


async def test_a_sandbox_whose_server_was_not_reached_yet_is_found(workshop: Workshop) -> None:
    """It may still become a server; a stop ends it, and its control groups go."""
    slow = workshop.folder / "home/alice/slow"
    slow.write_text("#!/bin/sh\nexec sleep 1000\n")
    slow.chmod(0o755)
    assert workshop.machine.view is not None
    machine = replace(workshop.machine, view=replace(workshop.machine.view, python="/home/alice/slow"))
    directory = workshop.directory()
    start = asyncio.create_task(launch(workshop.script("true"), machine, directory, SERVER_ID))
    while read_progress(directory).pid is None:
        await asyncio.sleep(0.005)
    found = find_running(directory)
    assert found is not None
    assert found.pid == read_progress(directory).pid
    assert await stop(found, 0)
    with pytest.raises(LaunchError):
        await start
    assert find_running(directory) is None
    assert not [group for group in found.cgroups if Path(group).exists()]


async def test_a_helper_that_hangs_is_found(tmp_path: Path) -> None:
    """As at storage that does not answer: there is no status yet, and a start that goes on later is nobody's."""
    directory, group = tmp_path / "run", tmp_path / "group"
    for folder in (directory, group):
        folder.mkdir()
    os.mkfifo(group / "cgroup.procs")  # to open it is to wait
    spec = {"mode": "plain", "cgroups": [str(group)], "staged": [], "argv": ["/bin/true"]}
    with start_helper(directory, {}, lambda _: spec) as helper:
        try:
            while LAUNCHER not in command_line(helper.pid):
                assert helper.poll() is None
            found = find_running(directory)
            assert found is not None
            assert found.pid == helper.pid
            assert await stop(found, 0)
        finally:
            helper.kill()
    assert find_running(directory) is None
